"""How a cell ends: the exception it fails with, and what the user should know of how a model went about it."""

from __future__ import annotations

from collections.abc import Iterator

from ipy_codeinterp.errors import CodeError, Crashed, LimitReached
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook.hints import Surroundings, hints

MOST_MESSAGE = 2000  # characters of an exception's text
MOST_REMARK = 500  # characters of what a model said instead

STOPPED = "the run was stopped; what it had printed is kept"
LEFT = "left at once; what ends the run goes on behind"

# Why a model stopped before its end, in words.
STOPS = {
    "length": "stopped at the most tokens that a reply may have: allow more with --max-cost, or ask for less",
    "context": "stopped, since all that was said no longer fits: ask for less, or begin anew",
    "refused": "would not do this",
    "filtered": "was stopped by its provider's filter",
}


def failure(result: Result, around: Surroundings) -> CodeError | None:
    """The exception a cell fails with, for a Result that is not ok; `unknown` is not a failure."""
    advice = [safe_text(hint) for hint in hints(result.error, result.limit, around)]
    traceback = [safe_text(line) for line in result.error.traceback] if result.error else []
    if result.outcome == "limit":
        return LimitReached(result.ending, traceback=[*traceback, result.ending], hints=advice)
    if result.outcome == "crashed":
        return Crashed(result.ending)
    if result.outcome == "error":
        error = result.error
        message = safe_text(f"{error.ename}: {error.evalue}" if error else "the code failed")[:MOST_MESSAGE]
        return CodeError(message, traceback=traceback, hints=advice)
    return None


def remarks(execution: Execution, result: Result) -> Iterator[str]:
    """What the user should know of how a model went about it."""
    if execution.kind == "code" and result.verbatim is False:
        yield f"{result.offer} changed the code before it ran: `result.steps` has what ran"
    if execution.execute and not result.steps and result.outcome in ("ok", "unknown"):
        said = f": {safe_text(result.text.strip())[:MOST_REMARK]}" if execution.kind == "code" and result.text else ""
        yield f"{result.offer} answered without running any code{said}"
    if result.stop in STOPS:
        yield f"{result.offer} {STOPS[result.stop]}"


def is_second(error: KeyboardInterrupt) -> bool:
    """Whether it came while the first one was being answered."""
    return isinstance(error.__context__, KeyboardInterrupt)


def interrupted(said: str = STOPPED) -> KeyboardInterrupt:
    """A KeyboardInterrupt that shows itself without our frames."""
    error = KeyboardInterrupt(said)
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {error}"]  # type: ignore[attr-defined]
    return error
