"""What the ledger says of many calls: how many, how well, how fast, for how much, and at what pace.

A call is everything with the same result id: retries of one cell are one call that took and cost what all of them did.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.store.latencies import Latencies
from ipy_codeinterp.store.schema import from_nano
from ipy_codeinterp.tables import columns

if TYPE_CHECKING:  # it is there or not, and nobody else here needs it
    from pandas import DataFrame

MONTH = timedelta(days=30.4375)
LEAST_FOR_PACE = 20  # calls
# The fewest calls from which a percentile is bounded above with 95 % confidence whatever the distribution.
LEAST_FOR = {50: 5, 95: 59, 99: 299}
Z = 1.96  # two-sided 95 %
BY = {name: name for name in ("provider", "model", "notebook", "label", "outcome", "source")}


@dataclass(frozen=True, slots=True)
class Pace:
    """USD a month if it goes on as it did during `window` seconds; `low` and `high` hold it with 95 % confidence."""

    expected: Decimal
    low: Decimal
    high: Decimal
    window: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Of the calls of one group. Latencies are seconds, None where there are too few calls to bound them.

    `cost` and `avoided` are USD; `cost` is a lower bound where the cost of some calls is `unknown`.
    """

    group: Mapping[str, str] = field(default_factory=dict)
    calls: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    cost: Decimal = Decimal(0)
    avoided: Decimal = Decimal(0)
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    pace: Pace | None = None

    @property
    def success_rate(self) -> float | None:
        """Of those that ended; None where none did."""
        ended = self.ok + self.failed
        return self.ok / ended if ended else None


@dataclass(frozen=True, slots=True)
class Call:
    """One row of the ledger's view: everything that was tried for one Result."""

    id: str
    started_at: str
    provider: str
    model: str
    source: str
    notebook: str
    label: str
    outcome: str
    seconds: float | None
    billed: int | None  # nano-dollars; None where a part is unknown
    least: int  # nano-dollars that are known
    avoided: int
    attempts: int
    input_tokens: int | None
    output_tokens: int | None


CALLS = """
SELECT result_id, MIN(started_at), provider, model, source, COALESCE(notebook, ''), COALESCE(labels, ''),
       CASE WHEN SUM(outcome = 'ok') > 0 THEN 'ok'
            WHEN SUM(outcome IS NULL AND seconds IS NULL AND state != 'settled') > 0 THEN 'unknown'
            ELSE COALESCE(MAX(outcome), '') END,
       SUM(seconds), CASE WHEN COUNT(billed) = COUNT(*) THEN SUM(billed) END, COALESCE(SUM(billed), 0),
       COALESCE(SUM(avoided), 0), COUNT(*), SUM(input_tokens), SUM(output_tokens)
FROM attempts WHERE started_at >= ? GROUP BY result_id ORDER BY MIN(started_at), MIN(rowid)
"""


NAMES = tuple(f.name for f in fields(Call))


def calls(connection: sqlite3.Connection, since: datetime) -> Iterator[Call]:
    """Every call that began at or after `since`, the oldest first."""
    for row in connection.execute(CALLS, (since.isoformat(),)):
        values = dict(zip(NAMES, row, strict=True))
        yield Call(**{**values, "label": _label(values["label"])})


def older(connection: sqlite3.Connection) -> str:
    """What is kept of attempts that were too old to be kept each, in words; empty where there are none."""
    sums = "SELECT MIN(month), MAX(month), SUM(calls), SUM(ok), SUM(billed), SUM(unknown) FROM months"
    first, last, attempts, ok, billed, unknown = connection.execute(sums).fetchone()
    if not attempts:
        return ""
    months = first if first == last else f"{first} to {last}"
    counted = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return f"{months}, as sums: {counted}, {ok} ok, {'>= ' if unknown else ''}${_usd(billed):.4f}"


def stats(rows: Iterable[Call], by: Sequence[str] = (), *, now: datetime, since: datetime | None = None) -> list[Stats]:
    """The figures of each group, the one with most calls first; of all together without `by`.

    The pace is over the time from `since`, or from the first call, to `now`.
    """
    groups: dict[tuple[str, ...], _Group] = defaultdict(_Group)
    for call in rows:
        groups[tuple(str(getattr(call, name)) for name in by)].add(call)
    if not by and not groups:
        groups[()] = _Group()
    made = [group.stats(dict(zip(by, key, strict=True)), now, since) for key, group in groups.items()]
    return sorted(made, key=lambda stats: -stats.calls)


class _Group:
    """Adds calls up in constant memory."""

    def __init__(self) -> None:
        self._latencies = Latencies()
        self._first: datetime | None = None
        self._counts = {"calls": 0, "ok": 0, "failed": 0, "unknown": 0}
        self._cost = self._squares = self._avoided = 0

    def add(self, call: Call) -> None:
        self._first = self._first or datetime.fromisoformat(call.started_at)
        self._counts["calls"] += 1
        self._counts["ok"] += call.outcome == "ok"
        self._counts["failed"] += call.outcome not in ("ok", "unknown")
        self._counts["unknown"] += call.billed is None
        self._cost += call.least
        self._squares += call.least**2
        self._avoided += call.avoided
        if call.seconds is not None and call.source == "live":
            self._latencies.add(call.seconds)

    def stats(self, group: Mapping[str, str], now: datetime, since: datetime | None) -> Stats:
        return Stats(
            group,
            **self._counts,
            cost=_usd(self._cost),
            avoided=_usd(self._avoided),
            p50=self._percentile(50),
            p95=self._percentile(95),
            p99=self._percentile(99),
            pace=self._pace(now, since),
        )

    def _percentile(self, percent: int) -> float | None:
        return self._latencies.percentile(percent) if self._latencies.count >= LEAST_FOR[percent] else None

    def _pace(self, now: datetime, since: datetime | None) -> Pace | None:
        """Calls come by chance: the variance of what they cost together is the sum of the squares of each."""
        begun = since or self._first
        window = (now - begun).total_seconds() if begun else 0
        if self._counts["calls"] < LEAST_FOR_PACE or window <= 0:
            return None
        months = Decimal(MONTH.total_seconds() / window)
        cost, spread = _usd(self._cost), Decimal(Z * math.sqrt(self._squares) / 1e9)
        low, high = (max(cost - spread, Decimal(0)), cost + spread)
        return Pace(cost * months, low * months, high * months, window)


def _usd(nano: int) -> Decimal:
    return Decimal(from_nano(nano) or 0)


def _label(text: str) -> str:
    return ", ".join(f"{name}={value}" for name, value in json.loads(text).items()) if text else ""


def window(text: str) -> timedelta:
    """`30d`, `12h`, `90m`, `4w` as a duration. Raises `ValueError`."""
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if text[-1:] not in units:
        raise ValueError(f"{text!r} has no unit")
    number = float(text[:-1])
    if not 0 < number < 1e6:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(**{units[text[-1]]: number})


# --- as text --------------------------------------------------------------------------------------


def table(found: Sequence[Stats]) -> str:
    """One row a group; what is not known is a dash, a lower bound has `>=`."""
    names = list(found[0].group) if found else []
    head = [*map(str.upper, names), "CALLS", "OK", "FAILED", "RATE", "COST", "AVOIDED", "P50", "P95", "P99", "A MONTH"]
    return columns(head, map(_row, found))


def _row(stats: Stats) -> list[str]:
    rate = "-" if stats.success_rate is None else f"{100 * stats.success_rate:.1f} %"
    cost = f"{'>= ' if stats.unknown else ''}${stats.cost:.4f}"
    seconds = ("-" if value is None else f"{value:.3g} s" for value in (stats.p50, stats.p95, stats.p99))
    pace = _pace(stats.pace) if stats.pace else "-"
    group = [value or "-" for value in stats.group.values()]
    counts = [str(stats.calls), str(stats.ok), str(stats.failed)]
    return [*group, *counts, rate, cost, f"${stats.avoided:.4f}", *seconds, pace]


def _pace(pace: Pace) -> str:
    """With what it rests on: a minute that is called a month says little."""
    units = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
    name, unit = next(((n, u) for n, u in units if pace.window >= 2 * u), ("s", 1))
    return f"${pace.expected:.2f} ({pace.low:.2f} to {pace.high:.2f}) at the rate of {pace.window / unit:.0f} {name}"


def as_json(found: Sequence[Stats]) -> str:
    return json.dumps([{**asdict(stats), "success_rate": stats.success_rate} for stats in found], default=str, indent=2)


def as_csv(rows: Iterable[Call]) -> str:
    """One line a call, money in USD."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(f.name for f in fields(Call) if f.name != "least")
    for call in rows:
        writer.writerow(_plain(call).values())
    return file.getvalue()


def as_jsonl(rows: Iterable[Call]) -> str:
    """One object a line, money in USD as text."""
    return "".join(json.dumps(_plain(call), default=str) + "\n" for call in rows)


def as_frame(rows: Iterable[Call]) -> DataFrame:
    """One row a call: times are UTC, money is USD as floats, what nobody knows is NaN.

    Raises `InvalidInput` where there is no pandas.
    """
    try:
        import pandas
    except ImportError:
        raise InvalidInput("there is no pandas here", hint="pip install pandas, or export CSV") from None
    frame = pandas.DataFrame([_plain(call) for call in rows], columns=[n for n in NAMES if n != "least"])
    frame["started_at"] = pandas.to_datetime(frame["started_at"], utc=True, format="ISO8601")
    return frame.astype({"billed": "float64", "avoided": "float64"})


def _plain(call: Call) -> dict[str, Any]:
    row = {**asdict(call), "billed": from_nano(call.billed), "avoided": from_nano(call.avoided)}
    del row["least"]
    return row
