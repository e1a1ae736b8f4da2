"""The ledger beside a vendor's own export of usage: where the two differ, and by how much.

Vendors name their columns differently and change them: each of ours is found by any of the names it is known by. They
name their models by the day of a snapshot, or as a line of a bill ("gpt-4.1-2025-04-14, input"): it is ours where only
that is more. Where an export has days, only those of the ledger count.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.store.schema import from_nano
from ipy_codeinterp.store.stats import Call
from ipy_codeinterp.tables import columns

MOST_BYTES = 256 << 20
HERE = "local"  # the provider that sends no bill
# What we read, and what vendors call it (compared in lower case, letters and digits only). The first that is there
# counts; one that is split has its other parts beside it.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "modelversion", "snapshotid", "lineitem", "sku"),
    "day": ("usagedateutc", "starttimeiso", "starttime", "date", "day"),
    "calls": ("nummodelrequests", "requests", "numrequests", "calls", "count"),
    "input": ("inputtokens", "ncontexttokenstotal", "usageinputtokensnocache", "prompttokens"),
    "output": ("outputtokens", "ngeneratedtokenstotal", "usageoutputtokens", "completiontokens"),
    "cost": ("cost", "costusd", "amount", "amountvalue", "costinusd", "billed"),
}
BESIDE = {
    "usageinputtokensnocache": (
        "usageinputtokenscachewrite5m",
        "usageinputtokenscachewrite1h",
        "usageinputtokenscacheread",
    )
}
COUNTED = ("calls", "input", "output", "cost")
SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d\d-\d\d|latest)$")


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one model. None where that side does not say it."""

    calls: int | None = None
    input: int | None = None
    output: int | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """A vendor's file: the sums of each model as it is called there, and the days that it has, in UTC."""

    sums: Mapping[str, Sums] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None

    def has(self, call: Call) -> bool:
        """Whether the call was made on one of its days."""
        return not (self.first and self.last) or self.first <= call.started_at[:10] <= self.last

    @property
    def days(self) -> str:
        return f"{self.first} to {self.last}, UTC" if self.first and self.last else ""


def compare(calls: Iterable[Call], export: Export) -> dict[str, tuple[Sums, Sums]]:
    """Ours and theirs, by model."""
    ours = of_calls(call for call in calls if export.has(call))
    theirs: dict[str, list[Sums]] = defaultdict(list)
    for name, sums in export.sums.items():
        theirs[_as_ours(name, ours)].append(sums)
    none = Sums(0, 0, 0, Decimal(0))
    return {name: (ours.get(name, none), _together(theirs.get(name, [Sums()]))) for name in {**ours, **theirs}}


def of_calls(calls: Iterable[Call]) -> dict[str, Sums]:
    """What was asked live elsewhere; what was served again, or ran on this machine, never reached a vendor."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.source == "live" and call.provider != HERE:
            found[call.model].append(call)
    return {model: _sums(of_model) for model, of_model in found.items()}


def _as_ours(name: str, ours: Iterable[str]) -> str:
    """The model of ours that a vendor's name means; itself where there is none."""
    plain = {_plain(each): each for each in ours}
    whole = _plain(name.partition(", ")[0])
    return plain.get(whole) or plain.get(SNAPSHOT.sub("", whole)) or name


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _together(each: Sequence[Sums]) -> Sums:
    """The sum of several lines; None where none of them says it."""
    found: dict[str, Any] = {}
    for name in COUNTED:
        known = [value for sums in each if (value := getattr(sums, name)) is not None]
        found[name] = sum(known[1:], known[0]) if known else None
    return Sums(**found)


def _sums(calls: Sequence[Call]) -> Sums:
    return Sums(
        calls=sum(call.attempts for call in calls),
        input=sum(call.input_tokens or 0 for call in calls),
        output=sum(call.output_tokens or 0 for call in calls),
        cost=Decimal(from_nano(sum(call.least for call in calls)) or 0),
    )


def of_export(path: Path) -> Export:
    """What a vendor's file says. Raises `InvalidInput` for one that is no such export."""
    rows = _rows(path)
    known = {ours: theirs for ours in COLUMNS if (theirs := _columns(ours, rows[0] if rows else {}))}
    if "model" not in known or not known.keys() & set(COUNTED):
        raise InvalidInput(
            f"{path} is no usage export that is known here: its columns are {', '.join(rows[0]) if rows else 'none'}",
            hint="it needs a column for the model, and one for tokens, requests or cost",
        )
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for number, row in enumerate(rows, 2):
        for ours in known.keys() & set(COUNTED):
            sums[row[known["model"][0]]][ours] += sum(_number(row[name], path, number) for name in known[ours])
    days = sorted(filter(None, (_day(row[known["day"][0]]) for row in rows))) if "day" in known else []
    found = {model: _as_sums(amounts) for model, amounts in sums.items()}
    return Export(found, days[0], days[-1]) if days else Export(found)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{path} has more than {MOST_BYTES >> 20} MB", hint="export a shorter time")
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint="give a CSV file") from None


def _columns(ours: str, row: Mapping[str, str]) -> list[str]:
    """Those of the file that hold it: one, and what is counted beside it."""
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in row}
    found = next((name for name in COLUMNS[ours] if name in plain), None)
    return [plain[name] for name in (found, *BESIDE.get(found, ())) if name in plain] if found else []


def _day(said: str) -> str | None:
    """`2026-11-30` of a date, a time or the seconds of an epoch; None for anything else."""
    try:
        if said.strip().isdigit() and len(said.strip()) > len("20261130"):
            return datetime.fromtimestamp(int(said), UTC).date().isoformat()
        at = datetime.fromisoformat(said.strip())
    except (ValueError, OverflowError, OSError):
        return None
    return (at.astimezone(UTC) if at.tzinfo else at).date().isoformat()


def _number(text: str, path: Path, line: int) -> Decimal:
    try:
        return Decimal(text.strip().lstrip("$").replace(",", "") or 0)
    except InvalidOperation:
        raise InvalidInput(f"line {line} of {path}: {text!r} is no number", hint="export it again") from None


def _as_sums(amounts: Mapping[str, Decimal]) -> Sums:
    whole = {name: int(amounts[name]) for name in ("calls", "input", "output") if name in amounts}
    return Sums(**whole, cost=amounts.get("cost"))


def table(found: Mapping[str, tuple[Sums, Sums]], days: str = "") -> str:
    """Ours and theirs in turn, and the difference of what both say; of those `days`."""
    rows = []
    for model, (ours, theirs) in sorted(found.items()):
        rows += [[model, "ledger", *_cells(ours)], ["", "vendor", *_cells(theirs)]]
        rows += [["", "difference", *_cells(_difference(ours, theirs))]]
    told = columns(("MODEL", "", "CALLS", "INPUT", "OUTPUT", "COST"), rows)
    return f"{told}\n{days}" if days else told


def _difference(ours: Sums, theirs: Sums) -> Sums:
    return Sums(
        calls=None if ours.calls is None or theirs.calls is None else theirs.calls - ours.calls,
        input=None if ours.input is None or theirs.input is None else theirs.input - ours.input,
        output=None if ours.output is None or theirs.output is None else theirs.output - ours.output,
        cost=None if ours.cost is None or theirs.cost is None else theirs.cost - ours.cost,
    )


def _cells(sums: Sums) -> list[str]:
    counts = ["-" if value is None else str(value) for value in (sums.calls, sums.input, sums.output)]
    return [*counts, "-" if sums.cost is None else f"${sums.cost:.6f}"]
