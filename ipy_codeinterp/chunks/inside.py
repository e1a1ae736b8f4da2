"""What runs in the sandbox around a cell: it reads the range into `chunk`, runs the cell, and tells its last value.

The host reads this file as text and never imports it; `cell.py` gives it a `plan`:
`name`, `rows`, `start` of the range, how it is read (`separator`, `encoding`, `dtypes`), and the `code` to run on it;
without code the range is only looked at. `mime` and `most` say how the value is told, and its characters at most.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

SCALARS: tuple[type, ...] = (bool, int, float, str)


class Unreadable(Exception):
    """The range cannot be read as it should be."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def main(plan: dict[str, Any], shell: Any) -> None:
    """Run the plan; a cell that raises has shown its own traceback and tells no value."""
    chunk = read(plan)
    if plan["code"] is None:
        tell(plan, shell, "look", [[str(name), *looked_at(column)] for name, column in chunk.items()])
        return
    shell.user_ns.update(chunk=chunk, summarize=summarize)
    del chunk  # the cell may let go of it
    values: list[Any] = []
    shown, sys.displayhook = sys.displayhook, values.append
    try:
        ran = shell.run_cell(plan["code"], store_history=False)
    finally:
        sys.displayhook = shown
    if ran.success or (isinstance(ran.error_in_exec, SystemExit) and not ran.error_in_exec.code):
        tell(plan, shell, *told(values[-1] if values else None))


# --- in -------------------------------------------------------------------------------------------


def read(plan: dict[str, Any]) -> Any:
    """The range as it would be in a frame of the whole file: with its types, and its place in the index."""
    import pandas

    how = {"sep": plan["separator"], "encoding": plan["encoding"], "dtype": plan["dtypes"], "low_memory": False}
    try:
        with warnings.catch_warnings():
            # else a range whose first row is too long would be read with its first fields as an index, or cut off
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            chunk = pandas.read_csv(plan["name"], index_col=False, **how)
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"pandas cannot read it: {type(error).__name__}: {error}") from None
    os.remove(plan["name"])  # files count as memory
    if len(chunk) != plan["rows"]:
        raise Unreadable(f"pandas reads {len(chunk):,} rows where there should be {plan['rows']:,}: check its quotes")
    chunk.index = pandas.RangeIndex(plan["start"], plan["start"] + plan["rows"])
    return chunk


def looked_at(column: Any) -> tuple[str, bool]:
    """What kind of values there are, and whether any is missing."""
    kind, there = column.dtype.kind, column.dropna()
    if there.empty:
        return "empty", True
    if kind == "b" or (kind == "O" and all(isinstance(value, bool) for value in there)):
        return "bool", len(there) < len(column)
    if kind == "i":
        return "natural" if there.min() >= 0 else "int64", len(there) < len(column)
    return {"u": "uint64", "f": "float64"}.get(kind, "str"), len(there) < len(column)


# --- out ------------------------------------------------------------------------------------------


def tell(plan: dict[str, Any], shell: Any, kind: str, value: Any) -> None:
    """Show the value to the host, as JSON in a type of its own."""
    text = json.dumps({"kind": kind, "value": value}, ensure_ascii=True, separators=(",", ":"))
    if len(text) > plan["most"]:
        raise ValueError(f"the value has {len(text):,} characters as JSON: at most {plan['most']:,} can be collected")
    shell.display_pub.publish({plan["mime"]: text})


def told(value: Any) -> tuple[str, Any]:
    """The kind of a cell's last value, and the value as JSON has it."""
    import pandas

    if isinstance(value, Summaries):
        return "summary", value.columns
    if isinstance(value, pandas.Series):
        if not value.index.is_unique:
            raise ValueError("a Series with repeated labels cannot be collected: reset_index() makes a table of it")
        return "series", [[plain(label), plain(each)] for label, each in value.items()]
    if isinstance(value, pandas.DataFrame):
        table = value if isinstance(value.index, pandas.RangeIndex) else value.reset_index()
        columns = [str(plain(name)) for name in table.columns]
        if len(set(columns)) < len(columns):
            raise ValueError("a table with repeated names of columns cannot be collected: rename them")
        return "table", {"columns": columns, "rows": [[*map(plain, row)] for row in table.itertuples(index=False)]}
    return "value", plain(value)


def plain(value: Any) -> Any:
    """`value` as JSON has it: times as ISO text, spans of time as seconds, what is missing as None."""
    if value is None or type(value) in SCALARS:
        return value
    if kind := next((kind for kind in SCALARS if isinstance(value, kind)), None):
        return kind(value)  # a number of numpy's, say
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):  # numpy's own, one or many
        return plain(value.tolist())
    return _plain_of_others(value)


def _plain_of_others(value: Any) -> Any:
    import datetime
    import decimal

    import pandas

    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, pandas.Period, pandas.Interval)):
        return str(value)
    raise TypeError(
        f"a {type(value).__name__} cannot be collected: end with a number, text, a list, a dict, a Series, a DataFrame "
        "or summarize(chunk)"
    )


# --- aggregates that can be merged ----------------------------------------------------------------


class Summaries:
    """Count, mean, m2 (the sum of squared deviations), min and max, by column."""

    def __init__(self, columns: dict[str, dict[str, Any]]) -> None:
        self.columns = columns

    def __repr__(self) -> str:
        return f"Summaries({', '.join(self.columns)})"


def summarize(data: Any) -> Summaries:
    """What the host needs of a DataFrame's numbers (or a Series') to merge it with the other ranges'.

    End a cell with `summarize(chunk)`; missing values do not count, columns of other kinds are left out.
    """
    import pandas

    frame = data.to_frame("value" if data.name is None else data.name) if isinstance(data, pandas.Series) else data
    numbers = frame.select_dtypes("number")
    return Summaries({str(name): _summary(column.dropna()) for name, column in numbers.items()})


def _summary(column: Any) -> dict[str, Any]:
    if column.empty:
        return {"count": 0, "mean": float("nan"), "m2": 0.0, "min": None, "max": None}
    values = column.to_numpy()
    mean = float(values.mean(dtype=float))
    with _quiet():
        deviations = values - mean
        m2 = float((deviations * deviations).sum(dtype=float))
    return {"count": len(values), "mean": mean, "m2": m2, "min": plain(values.min()), "max": plain(values.max())}


def _quiet() -> Any:
    """An infinity less an infinity is no number: numpy need not say so."""
    import numpy

    return numpy.errstate(invalid="ignore", over="ignore")


if "plan" in globals():
    main(globals()["plan"], globals()["shell"])
