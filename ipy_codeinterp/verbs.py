"""Verbs that `%interp` and `ipy-codeinterp` share: one grammar, one answer. To add one, add a row to VERBS."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ipy_codeinterp import registry
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.settings import Settings, money
from ipy_codeinterp.store import against, database, ledger, place, stats
from ipy_codeinterp.store.schema import from_nano

BEGINNING = datetime.min.replace(tzinfo=UTC)
EXPORTS: dict[str, Callable[..., str]] = {".csv": stats.as_csv, ".jsonl": stats.as_jsonl}


@dataclass(frozen=True, slots=True)
class Verb:
    """`add` puts its arguments on a parser; `run` does it and returns what to print."""

    name: str
    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Settings, argparse.Namespace], str]


def store_of(settings: Settings) -> Path:
    return place.of(settings.data_dir).path


# --- stats ----------------------------------------------------------------------------------------


def _add_stats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="30d", help="only calls of this long: minutes, hours, days, weeks (m h d w)")
    parser.add_argument("--by", metavar="NAMES", help=f"a row for each of: {', '.join(stats.BY)}; several with commas")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write every call into FILE.csv or FILE.jsonl")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with a vendor's usage export (CSV)")


def _stats(settings: Settings, options: argparse.Namespace) -> str:
    now = datetime.now(UTC)
    by = [registry.find("group", name.strip(), stats.BY) for name in (options.by or "").split(",") if name.strip()]
    since = now - _window(options.since) if options.since else None
    with database.reading(store_of(settings)) as connection:
        calls = list(stats.calls(connection, since or BEGINNING)) if connection else []
    if options.export:
        return _export(calls, options.export)
    if options.against:
        return against.table(against.compare(calls, options.against))
    found = stats.stats(calls, by, now=now, since=since)
    return stats.as_json(found) if options.json else stats.table(found) if found else "no calls"


def _window(said: str) -> timedelta:
    try:
        return stats.window(said)
    except ValueError as error:
        raise InvalidInput(f"--since {said}: {error}", hint="write 30d, 12h, 90m or 4w") from None


def _export(calls: list[stats.Call], path: Path) -> str:
    if path.suffix not in EXPORTS:
        raise InvalidInput(f"{path} is none of {', '.join(EXPORTS)}", hint=f"name it {path.stem}.csv")
    try:
        path.write_text(EXPORTS[path.suffix](calls), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}", hint="name another file") from None
    return f"{len(calls)} calls in {path}"


# --- budget ---------------------------------------------------------------------------------------


def _add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settle", nargs=2, metavar=("ID", "USD"), help="say what a call of unknown cost has cost")


def _budget(settings: Settings, options: argparse.Namespace) -> str:
    if options.settle:
        return _settled(settings, *options.settle)
    with database.reading(store_of(settings)) as connection:
        today = ledger.balance(connection, f"day:{datetime.now(UTC):%Y-%m-%d}") if connection else ledger.Balance()
        open_ = connection.execute(OPEN).fetchall() if connection else []
    allowed = "no limit" if settings.budget_day is None else f"of ${settings.budget_day}"
    session = "no limit" if settings.budget is None else f"${settings.budget}"
    lines = [
        f"today: ${today.spent:.4f} spent, ${today.held:.4f} held, {allowed} (budget_day)",
        f"a session may spend: {session} (budget)",
    ]
    for id, started_at, offer, reserved in open_:
        lines.append(f"unknown: {id}  {started_at[:16]}  {offer}  at most ${from_nano(reserved) or Decimal(0):.4f}")
    return "\n".join(lines)


OPEN = (
    "SELECT id, started_at, model || '@' || provider, reserved FROM attempts"
    " WHERE state = 'unknown' AND held > 0 ORDER BY started_at"
)


def _settled(settings: Settings, id: str, said: str) -> str:
    try:
        amount = money(said)
    except ValueError as error:
        raise InvalidInput(f"{said!r} is {error}", hint="write 0.25") from None
    if amount is None:
        raise InvalidInput(f"{said!r} is not an amount of USD", hint="write 0.25")
    done: list[bool] = []

    def work(connection: sqlite3.Connection) -> None:
        done.append(ledger.settle_by_hand(connection, id, amount))

    store = database.Database(store_of(settings), limit=settings.data_limit << 20)
    store.write(work).result()
    store.close()
    if not done[0]:
        raise UnknownName(f"{id} is no call of unknown cost", hint="`budget` lists them")
    return f"{id} has cost ${amount}"


VERBS = {
    verb.name: verb
    for verb in (
        Verb("stats", "say how many calls there were, how well, how fast, for how much", _add_stats, _stats),
        Verb("budget", "say what is spent and held, and what is left", _add_budget, _budget),
    )
}
