"""What an error says beyond its few lines: with `--debug` all that is known of it; always, nothing that is secret."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime

from ipy_codeinterp.errors import CodeError, InterpError, NoOffer, ProviderError
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.shield import masked_words


def without_secrets(error: BaseException) -> None:
    """Mask what it, and what it came from, repeats of a line, a header or a setting."""
    for each in _chain(error):
        each.args = tuple(masked_words(word) if isinstance(word, str) else word for word in each.args)
        if isinstance(each, InterpError):
            each.hint = masked_words(each.hint)
        if isinstance(each, CodeError):
            each.traceback = tuple(map(masked_words, each.traceback))


def explain(desk: Desk, error: InterpError, begun: datetime) -> None:
    """Let it show all that is known: the attempts since `begun`, why offers gave up, what it came from, our frames."""
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__))
    told = [
        *_titled("attempts", map(str, desk.session.tried(begun))),
        *_titled("offers", (f"{offer}: {why}" for offer, why in _reasons(error).items())),
        *_titled("came from", _causes(error)),
        *_titled("our own traceback", "".join(frames).splitlines()),
    ]
    error.details = tuple(safe_text(masked_words(line)) for line in told)


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    rows = [f"  {line}" for line in lines]
    return [f"{title}:", *rows] if rows else []


def _reasons(error: InterpError) -> dict[str, str]:
    return error.reasons if isinstance(error, NoOffer) else {}


def _causes(error: InterpError) -> Iterator[str]:
    causes = error.causes if isinstance(error, NoOffer) else ()
    for each in (*list(_chain(error))[1:], *causes):
        yield f"{type(each).__name__}: {each}{_facts(each)}"


def _facts(error: BaseException) -> str:
    if not isinstance(error, ProviderError):
        return ""
    facts = {"provider": error.provider, "status": error.status, "param": error.param, "request": error.request_id}
    told = [f"{name} {value}" for name, value in facts.items() if value]
    return f" ({', '.join(told)})" if told else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """It, and what it was raised from or while handling; a circle ends."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
