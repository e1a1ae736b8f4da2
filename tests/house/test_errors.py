"""Errors: the tree that is drawn is the tree that is, and no foreign error slips through."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import aiohttp
import pytest

from ipy_codeinterp import errors
from ipy_codeinterp.client.http import FOREIGN
from ipy_codeinterp.errors import BadReply, InterpError, Unreachable

OURS = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, InterpError)]
# Raised inside readers and websockets, never by a request.
NOT_OF_A_REQUEST = {"EofStream", "WebSocketError", "WSMessageTypeError"}
THEIRS = [
    each
    for name, each in inspect.getmembers(aiohttp, inspect.isclass)
    if issubclass(each, Exception) and not issubclass(each, Warning) and name not in NOT_OF_A_REQUEST
]


def drawn() -> Iterator[tuple[str, str, bool]]:
    """Each class of the drawn tree, its parent, and whether it is said to be transient."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│├└─ ]*)([A-Z]\w+)(?=\s{2,}|$)", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            yield found[2], path[depth - 1] if depth else "Exception", line.endswith("  transient")


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_drawn(error: type[InterpError]) -> None:
    """Every error is in the tree, under its parent, and said to be transient when it is."""
    places = {name: (parent, transient) for name, parent, transient in drawn()}

    assert places[error.__name__] == (error.__mro__[1].__name__, error.transient)


def test_nothing_else_is_drawn() -> None:
    """The tree holds no error that does not exist."""
    assert sorted(name for name, _, _ in drawn()) == sorted(error.__name__ for error in OURS)


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_says_what_to_do(error: type[InterpError]) -> None:
    """Every error carries a hint, and shows it in place of our frames."""
    shown = "\n".join(error("what happened", **with_hint(error))._render_traceback_())

    assert "what happened" in shown
    assert "do this" in shown
    assert error.__doc__


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_three_lines(error: type[InterpError]) -> None:
    """Every error renders in at most three lines: what happened, who failed, and always what to do."""
    for hint in ({}, with_hint(error)):
        lines = error("what happened", **hint)._render_traceback_()

        assert len(lines) <= 3 and all("\n" not in line for line in lines)
        assert lines[0].startswith(f"{error.__name__} ({error.failed}): what happened")
        assert ("do this" if hint else error.advice) in "\n".join(lines)


def test_each_says_who_failed() -> None:
    """No error leaves it to its parent to say who failed and what to do, but for the ends of a batch."""
    for said in ("failed", "advice"):
        silent = [each for each in OURS if said not in vars(each)]
        assert all(each.__mro__[1] is errors.BatchEnded for each in silent)


def test_request_id() -> None:
    """A provider's name for the request is said once, for its support, and is no part of the error's own words."""
    named = errors.Overloaded("busy", request_id="req_1")
    said = errors.Overloaded("busy (req_1)", request_id="req_1")

    assert named._render_traceback_()[0] == "Overloaded (the provider is busy): busy (request req_1)"
    assert said._render_traceback_()[0] == "Overloaded (the provider is busy): busy (req_1)"
    assert str(named) == "busy"


def test_codes_own_traceback() -> None:
    """What the code raised is shown as its own traceback, then the hints; details only where they were asked for."""
    error = errors.CodeError("ValueError: x", traceback=["Traceback", "ValueError: x"], hints=["do this"])
    assert error._render_traceback_() == ["Traceback", "ValueError: x", "do this"]

    error.details = ("attempts:", "  one")
    assert error._render_traceback_()[-2:] == ["attempts:", "  one"]


def with_hint(error: type[InterpError]) -> dict[str, object]:
    return {"hints": ["do this"]} if issubclass(error, errors.CodeError) else {"hint": "do this"}


@pytest.mark.parametrize("theirs", THEIRS, ids=lambda theirs: theirs.__name__)
def test_foreign(theirs: type[Exception]) -> None:
    """Every exception that aiohttp can raise for a request means one of ours."""
    ours = next((mine for foreign, mine in FOREIGN if issubclass(theirs, foreign)), None)

    assert ours in (BadReply, Unreachable)
