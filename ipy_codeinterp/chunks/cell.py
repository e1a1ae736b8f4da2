"""The code that is sent for a range, and what is believed of what comes back.

A plan goes in as a literal, a value comes out as JSON in a display of its own type: bounded, and checked here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ipy_codeinterp.chunks.columns import KINDS
from ipy_codeinterp.chunks.rows import Table
from ipy_codeinterp.chunks.summary import Summary
from ipy_codeinterp.chunks.work import Failure, Range
from ipy_codeinterp.execution import Display, Output, Result

MIME = "application/vnd.ipy-codeinterp.range"
FILE = "chunk.csv"  # what the range is called where the code runs, until it is read
MOST_VALUE = 4_000_000  # characters of a range's value, as JSON
LABELS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a range: `value`, of a `kind`, and the `text` it was told in.

    value: what JSON has · series: a dict by label · table: a list of dicts, one a row · summary: `Summary` by column ·
    look: kind and gaps by column
    """

    kind: str
    value: Any
    text: str


def body(table: Table, rows: Range, dtypes: Mapping[str, str] | None, code: str | None) -> str:
    """The code for one range: what is inside, with its plan. Without `code` the range is only looked at."""
    plan = {
        "name": FILE,
        "rows": rows.rows,
        "start": rows.start,
        "separator": table.separator,
        "encoding": table.encoding,
        "dtypes": None if dtypes is None else dict(dtypes),
        "code": code,
        "mime": MIME,
        "most": MOST_VALUE,
    }
    return f"exec({_inside()!r}, {{'__name__': 'chunks', 'plan': {plan!r}, 'shell': get_ipython()}})"


@cache
def _inside() -> str:
    return (resources.files(__package__) / "inside.py").read_text("utf-8")


def judge(result: Result) -> Answer | Failure:
    """The value that the run told, or why it told none."""
    if result.outcome in ("limit", "crashed"):
        return Failure(result.ending, too_much=True, result=result)
    if result.outcome == "error" and result.error:
        return Failure(f"{result.error.ename}: {result.error.evalue}", result=result)
    texts = [text for each in result.outputs if (text := _told(each)) is not None]
    if result.outcome != "ok" or not texts:
        return Failure("the run ended without telling a value", result=result)
    try:
        return read(texts[-1])
    except ValueError as error:
        return Failure(f"what came back is no value: {error}", result=result)


def shown(result: Result) -> tuple[Output, ...]:
    """What the cell itself showed."""
    return tuple(output for output in result.outputs if _told(output) is None)


def _told(output: Output) -> str | None:
    if not isinstance(output, Display) or MIME not in output.data:
        return None
    text = output.data[MIME]
    return text if isinstance(text, str) else ""


# --- what is believed -----------------------------------------------------------------------------


def read(text: str) -> Answer:
    """The value that was told. Raises `ValueError` where it is not what it should be."""
    if len(text) > MOST_VALUE:
        raise ValueError(f"{len(text):,} characters, at most {MOST_VALUE:,}")
    try:
        told = json.loads(text)
        kind = told["kind"]
        return Answer(kind, FORMS[kind](told["value"]), text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (TypeError, KeyError, AttributeError):
        raise ValueError("it is of no known form") from None


def _series(pairs: Any) -> dict[Any, Any]:
    found = {_label(label): value for label, value in pairs}
    if len(found) < len(pairs):
        raise ValueError("a label comes twice")
    return found


def _label(label: Any) -> Any:
    """One of several levels is a tuple."""
    return tuple(map(_label, label)) if isinstance(label, list) else _one_of(label, *LABELS)


def _table(value: Any) -> list[dict[str, Any]]:
    columns = [_one_of(name, str) for name in value["columns"]]
    return [dict(zip(columns, row, strict=True)) for row in value["rows"]]


def _summaries(value: Any) -> dict[str, Summary]:
    return {column: _summary(each) for column, each in value.items()}


def _summary(value: Any) -> Summary:
    count = _one_of(value["count"], int)
    mean, m2 = _number(value["mean"]), _number(value["m2"])
    if not count:
        return Summary()
    if count < 0 or m2 < 0:
        raise ValueError("a count or a sum of squares is below 0")
    return Summary(count, mean, m2, _number(value["min"]), _number(value["max"]))


def _look(value: Any) -> dict[str, tuple[str, bool]]:
    found = {_one_of(name, str): (_one_of(kind, str), _one_of(missing, bool)) for name, kind, missing in value}
    if any(kind not in KINDS for kind, _ in found.values()):
        raise ValueError("a column is of no known kind")
    return found


def _number(value: Any) -> float:
    number: float = _one_of(value, int, float)
    if isinstance(number, int) and number.bit_length() > 64:
        raise ValueError("a number has more than 64 bits")
    return number if isinstance(number, int) or not math.isnan(number) else math.nan


def _one_of(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise TypeError(f"{type(value).__name__} is not expected here")
    return value


FORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda value: value,
    "series": _series,
    "table": _table,
    "summary": _summaries,
    "look": _look,
}
