"""What came of all ranges: the values in the order of the rows, their merged aggregates, and the range that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipy_codeinterp.chunks.summary import Summary, merged
from ipy_codeinterp.chunks.work import Failure, Range
from ipy_codeinterp.errors import CodeError
from ipy_codeinterp.mime import safe_text

MOST_LINES = 20  # of a report as text
MOST_SHOWN = 60  # characters of one value in it
MOST_WHY = 500  # characters of what the code says of its end
COLUMNS = ("count", "mean", "std", "min", "max")


@dataclass(frozen=True, slots=True)
class Done:
    """One range and the last value of its cell: of `kind` value, series, table or summary."""

    rows: Range
    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` of the file at `path`, and what is `done` of them, in their order.

    `resumed` ranges were done by an earlier run, `halved` ones failed and were cut in two; `failed` is the one that
    could not be cut any further, and None where all is done.
    """

    path: Path
    rows: int
    done: tuple[Done, ...] = ()
    resumed: int = 0
    halved: int = 0
    failed: Range | None = None
    checkpoint: Path | None = None

    @property
    def rows_done(self) -> int:
        return sum(each.rows.rows for each in self.done)

    @property
    def values(self) -> tuple[Any, ...]:
        """The last value of each range's cell, in the order of the rows."""
        return tuple(each.value for each in self.done)

    @property
    def summary(self) -> dict[str, Summary] | None:
        """The summaries of all ranges as one, by column; None where a cell ended with something else."""
        if not self.done or any(each.kind != "summary" for each in self.done):
            return None
        return merged(self.values)

    def __str__(self) -> str:
        """As text: the merged summary, else the values."""
        resumed = f", {self.resumed} of them by an earlier run" if self.resumed else ""
        of = "" if self.rows_done == self.rows else f" of {self.rows:,}"
        head = f"{self.rows_done:,}{of} rows in {len(self.done):,} ranges{resumed}"
        summary = self.summary
        return "\n".join([head, *(_summary_lines(summary) if summary else self._value_lines())])

    def _value_lines(self) -> Iterator[str]:
        told = [each for each in self.done if each.value is not None]
        width = max((len(str(each.rows)) for each in told[:MOST_LINES]), default=0)
        for each in told[:MOST_LINES]:
            value = safe_text(repr(each.value))
            yield f"{each.rows!s:<{width}}  {value if len(value) <= MOST_SHOWN else value[: MOST_SHOWN - 1] + '…'}"
        if len(told) > MOST_LINES:
            yield f"… {len(told) - MOST_LINES:,} more"


def _summary_lines(summary: dict[str, Summary]) -> list[str]:
    rows = [["", *COLUMNS]]
    for column, each in list(summary.items())[:MOST_LINES]:
        name = safe_text(column)[:MOST_SHOWN]
        rows.append([name, str(each.count), *(_amount(getattr(each, key)) for key in COLUMNS[1:])])
    first, *others = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join([f"{name:<{first}}", *(f"{cell:>{width}}" for cell, width in zip(cells, others, strict=True))])
        for name, *cells in rows
    ]
    return lines if len(summary) <= MOST_LINES else [*lines, f"… {len(summary) - MOST_LINES:,} more columns"]


def _amount(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


class RangeFailed(CodeError):
    """A range failed and could not be cut any further.

    `rows` is the range, `result` what came of it (None where it could not be run), `report` has what is done.
    """

    def __init__(self, rows: Range, failure: Failure, report: Report) -> None:
        result = failure.result
        error = result.error if result else None
        why = said(failure)
        traceback = [safe_text(line) for line in error.traceback] if error else []
        super().__init__(
            f"{rows} failed: {why}",
            traceback=[*traceback, f"{rows} failed: {why}"],
            hints=[kept(report)],
        )
        self.rows, self.result, self.report = rows, result, report


def said(failure: Failure) -> str:
    """Why it failed, in words that are safe to show."""
    return safe_text(failure.why)[:MOST_WHY]


def kept(report: Report) -> str:
    """What becomes of the work that is done, and how to go on."""
    done = f"{report.rows_done:,} of {report.rows:,} rows are done"
    if report.checkpoint:
        return f"{done} and kept in {report.checkpoint}: the same again goes on from there"
    return f"{done}, and are in the error's report; with a checkpoint folder the same again would go on from there"
