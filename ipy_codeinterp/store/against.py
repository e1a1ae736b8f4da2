"""The ledger beside a vendor's own export of usage: where the two differ, and by how much.

Vendors name their columns differently and change them: each of ours is found by any of the names it is known by.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.store.schema import from_nano
from ipy_codeinterp.store.stats import Call
from ipy_codeinterp.tables import columns

MOST_BYTES = 256 << 20
# What we read, and what vendors call it (compared in lower case, without spaces, dots and underscores).
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "modelversion", "snapshotid", "lineitem", "sku"),
    "calls": ("nummodelrequests", "requests", "numrequests", "calls", "count"),
    "input": ("inputtokens", "ncontexttokenstotal", "usageinputtokensnocache", "prompttokens"),
    "output": ("outputtokens", "ngeneratedtokenstotal", "usageoutputtokens", "completiontokens"),
    "cost": ("cost", "costusd", "amount", "amountvalue", "costinusd", "billed"),
}


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one model. None where that side does not say it."""

    calls: int | None = None
    input: int | None = None
    output: int | None = None
    cost: Decimal | None = None


def compare(calls: Iterable[Call], path: Path) -> dict[str, tuple[Sums, Sums]]:
    """Ours and theirs, by model. Raises `InvalidInput` for a file that is no such export."""
    ours, theirs = of_calls(calls), of_export(path)
    return {name: (ours.get(name, Sums(0, 0, 0, Decimal(0))), theirs.get(name, Sums())) for name in {**ours, **theirs}}


def of_calls(calls: Iterable[Call]) -> dict[str, Sums]:
    """What was asked live; what was served again never reached a vendor."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.source == "live":
            found[call.model].append(call)
    return {model: _sums(of_model) for model, of_model in found.items()}


def _sums(calls: Sequence[Call]) -> Sums:
    return Sums(
        calls=sum(call.attempts for call in calls),
        input=sum(call.input_tokens or 0 for call in calls),
        output=sum(call.output_tokens or 0 for call in calls),
        cost=Decimal(from_nano(sum(call.least for call in calls)) or 0),
    )


def of_export(path: Path) -> dict[str, Sums]:
    """The sums of a vendor's file."""
    rows = _rows(path)
    known = {ours: theirs for ours in COLUMNS if (theirs := _column(ours, rows[0] if rows else {}))}
    if "model" not in known or len(known) == 1:
        raise InvalidInput(
            f"{path} is no usage export that is known here: its columns are {', '.join(rows[0]) if rows else 'none'}",
            hint="it needs a column for the model, and one for tokens, requests or cost",
        )
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for number, row in enumerate(rows, 2):
        for ours, theirs in known.items():
            if ours != "model":
                sums[row[known["model"]]][ours] += _number(row[theirs], path, number)
    return {model: _as_sums(amounts) for model, amounts in sums.items()}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{path} has more than {MOST_BYTES >> 20} MB", hint="export a shorter time")
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint="give a CSV file") from None


def _column(ours: str, row: Mapping[str, str]) -> str | None:
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in row}
    return next((plain[name] for name in COLUMNS[ours] if name in plain), None)


def _number(text: str, path: Path, line: int) -> Decimal:
    try:
        return Decimal(text.strip().lstrip("$").replace(",", "") or 0)
    except InvalidOperation:
        raise InvalidInput(f"line {line} of {path}: {text!r} is no number", hint="export it again") from None


def _as_sums(amounts: Mapping[str, Decimal]) -> Sums:
    whole = {name: int(amounts[name]) for name in ("calls", "input", "output") if name in amounts}
    return Sums(**whole, cost=amounts.get("cost"))


def table(found: Mapping[str, tuple[Sums, Sums]]) -> str:
    """Ours and theirs in turn, and the difference of what both say."""
    rows = []
    for model, (ours, theirs) in sorted(found.items()):
        rows += [[model, "ledger", *_cells(ours)], ["", "vendor", *_cells(theirs)]]
        rows += [["", "difference", *_cells(_difference(ours, theirs))]]
    return columns(("MODEL", "", "CALLS", "INPUT", "OUTPUT", "COST"), rows)


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
