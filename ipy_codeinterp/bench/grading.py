"""Whether an answer is right: what a program printed last, held against what the oracle says.

What was printed is hostile. It is looked at within bounds: so many characters, values and levels, and no number of more
digits than a double has use for. Whatever is beyond them is a wrong answer, never an error of ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ipy_codeinterp.bench.workload import Answer, Case
from ipy_codeinterp.execution import Display, Result
from ipy_codeinterp.mime import safe_bundle
from ipy_codeinterp.tables import cell

MOST_LINE = 200_000  # characters of an answer
MOST_LINES = 1_000  # that are looked at, from the last
MOST_DEPTH = 20
MOST_DIGITS = 400  # of a whole number: no double has more
NEAR_ZERO = 1e-12  # what is no farther from zero than this, where zero is right, is a matter of rounding
_DEPTHS = {"[": 1, "{": 1, "]": -1, "}": -1}
_LAYOUT = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]')


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether it is right, None where nobody knows the answer; if it is not, `why` says what differs, in a line."""

    right: bool | None
    why: str = ""


def grade(case: Case, result: Result) -> Grade:
    """What came of a case. Whether it ran is another question: the outcome says it. Never raises."""
    if case.answer is None:
        return Grade(None)
    why = _missing(case, result)
    if why is None:
        said = answer_of(result.stdout)
        why = (
            "no answer: no line of stdout is a JSON object"
            if said is None
            else differs(case.answer, said, case.tolerance)
        )
    return Grade(not why, cell(why or "", 160))


def _missing(case: Case, result: Result) -> str | None:
    """What had to be there beside the answer."""
    if case.needs and not any(_has(step.code, case.needs) for step in result.steps):
        return "no code that ran holds the lines that the task gives"
    shown = sum(_is_figure(display) for display in result.images) if case.figures else 0
    return f"figures: expected {case.figures}, got {shown}" if shown < case.figures else None


def _is_figure(display: Display) -> bool:
    """Whether it is an image that can be shown, and not only called one."""
    return any(mime.startswith("image/") for mime in safe_bundle(display.data, display.metadata)[0])


def _has(code: str, text: str) -> bool:
    """Line by line; blank ends of lines do not count."""
    lines, wanted = ([line.rstrip() for line in said.strip().splitlines()] for said in (code, text))
    return "\n".join(wanted) in "\n".join(lines)


# --- reading --------------------------------------------------------------------------------------


def answer_of(stdout: str) -> Answer | None:
    """The last line that is a JSON object within the bounds; None where there is none."""
    for line in _last_lines(stdout):
        if (said := _object(line)) is not None:
            return said
    return None


def _last_lines(text: str) -> Iterator[str]:
    """From the last, without a copy of all that is before."""
    end = len(text)
    for _ in range(MOST_LINES):
        start = text.rfind("\n", 0, end) + 1
        if end - start <= MOST_LINE:
            yield text[start:end].strip()
        if start == 0:
            return
        end = start - 1


def _object(line: str) -> Answer | None:
    if not (line.startswith("{") and line.endswith("}")) or _is_too_deep(line):
        return None
    try:
        said = json.loads(line, parse_int=_whole, parse_constant=_no_number, object_pairs_hook=_names)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _is_too_deep(line: str) -> bool:
    depth = 0
    for found in _LAYOUT.finditer(line):
        depth += _DEPTHS.get(found[0], 0)
        if depth > MOST_DEPTH:
            return True
    return False


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else math.inf


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return found


# --- comparing ------------------------------------------------------------------------------------


def differs(want: Any, got: Any, tolerance: float, at: str = "answer") -> str:
    """The first place where they do, in words; empty where nowhere. Whole numbers and words are to be exact."""
    match want:
        case Mapping():
            return _of_names(want, got, tolerance, at)
        case list() | tuple():
            return _of_lists(want, got, tolerance, at)
        case bool() | str() | None:
            is_same = type(got) is type(want) and got == want
        case int():
            is_same = _is_number(got) and got == want
        case _:
            is_same = _is_number(got) and _is_near(float(want), got, tolerance)
    return "" if is_same else f"{at}: expected {_said(want)}, got {_said(got)}"


def _of_names(want: Mapping[str, Any], got: Any, tolerance: float, at: str) -> str:
    if not isinstance(got, Mapping):
        return f"{at}: expected an object, got {_said(got)}"
    if missing := [name for name in want if name not in got]:
        return f"{at}: {_said(missing[0])} is missing"
    if more := [name for name in got if name not in want]:
        return f"{at}: {_said(more[0])} was not asked for"
    each = (differs(want[name], got[name], tolerance, name if at == "answer" else f"{at}.{name}") for name in want)
    return next(filter(None, each), "")


def _of_lists(want: list[Any] | tuple[Any, ...], got: Any, tolerance: float, at: str) -> str:
    if not isinstance(got, list):
        return f"{at}: expected a list, got {_said(got)}"
    if len(got) != len(want):
        return f"{at}: expected {len(want)} values, got {len(got)}"
    each = (differs(one, other, tolerance, f"{at}[{i}]") for i, (one, other) in enumerate(zip(want, got, strict=True)))
    return next(filter(None, each), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_near(want: float, got: float, tolerance: float) -> bool:
    """NaN is near nothing, and no number is near an endless one."""
    try:
        distance = abs(float(got) - want)
    except OverflowError:
        return False
    return distance <= max(tolerance * abs(want), NEAR_ZERO) and math.isfinite(distance)


def _said(value: Any) -> str:
    """A value in few words; of a large one only its kind."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a huge number"
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "an object"
    return repr(value)
