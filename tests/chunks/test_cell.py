"""What comes back from a range is the word of a stranger: bounded, checked, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipy_codeinterp.chunks import cell
from ipy_codeinterp.chunks.report import RangeFailed, Report
from ipy_codeinterp.chunks.work import Failure, Range
from ipy_codeinterp.execution import Display, Error

from .here import ended, too_much

SUMMARY = {"count": 2, "mean": 1.5, "m2": 0.5, "min": 1, "max": 2}


def told(kind: Any, value: Any) -> str:
    return json.dumps({"kind": kind, "value": value})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        '{"kind": "value"}',
        told("pickle", 1),
        told(["value"], 1),
        told(None, 1),
        "[" * 200_000,
        f'{{"kind": "value", "value": {"9" * 5000}}}',
        f'{{"kind": "value", "value": "{"x" * cell.MOST_VALUE}"}}',
        told("series", [["a", 1], ["a", 2]]),
        told("series", [[{}, 1]]),
        told("series", {"a": 1}),
        told("table", {"columns": ["a"], "rows": [[1, 2]]}),
        told("table", {"columns": [1], "rows": [[1]]}),
        told("table", []),
        told("summary", {"x": {**SUMMARY, "count": -1}}),
        told("summary", {"x": {**SUMMARY, "count": True}}),
        told("summary", {"x": {**SUMMARY, "m2": -1.0}}),
        told("summary", {"x": {**SUMMARY, "mean": "1"}}),
        told("summary", {"x": {**SUMMARY, "max": 10**30}}),
        told("summary", {"x": {}}),
        told("summary", [SUMMARY]),
        told("look", [["a", "object", False]]),
        told("look", [["a", "int64", 1]]),
        told("look", 5),
    ],
    ids=lambda text: text[:40],
)
def test_refused(text: str) -> None:
    """What is not exactly of a known form is refused, whatever it is."""
    with pytest.raises(ValueError):
        cell.read(text)
    assert isinstance(cell.judge(ended("ok", Display({cell.MIME: text}))), Failure)


@pytest.mark.parametrize("data", [{}, {cell.MIME: {"kind": "value"}}, {cell.MIME: None}], ids=str)
def test_no_text(data: dict[str, Any]) -> None:
    """A display that is no text tells no value."""
    assert isinstance(cell.judge(ended("ok", Display(data))), Failure)


def test_the_last_one_counts() -> None:
    """What the cell shows in our type is not shown, and what comes last is the value."""
    result = ended("ok", *(Display({cell.MIME: told("value", n)}) for n in (1, 2)), Display({"text/plain": "x"}))

    answer = cell.judge(result)

    assert isinstance(answer, cell.Answer)
    assert answer.value == 2
    assert cell.shown(result) == (Display({"text/plain": "x"}),)


def test_too_much() -> None:
    """Fewer rows may do after a limit or a crash, not after an exception (D51)."""
    error = ended("error", Error("KeyError", "'x'"))

    judged = [cell.judge(result) for result in (too_much(), ended("crashed"), error)]

    assert [isinstance(each, Failure) and each.too_much for each in judged] == [True, True, False]


def test_words_are_made_harmless() -> None:
    """What a failure says is safe to show, and no longer than it must be."""
    failure = cell.judge(ended("error", Error("E", "\x1b]0;title\x07\x1b[2J" + "x" * 10_000, ("\x1b[2Jy",))))
    assert isinstance(failure, Failure)

    shown = "".join(RangeFailed(Range(0, 1), failure, Report(None, 1))._render_traceback_())  # type: ignore[arg-type]

    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert len(shown) < 2000
