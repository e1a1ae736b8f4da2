"""Verbs that `%interp` and `ipy-codeinterp` share: one grammar, one answer. To add one, add a row to VERBS."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ipy_codeinterp import batch, looking_back, registry
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Output
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.settings import Settings, money
from ipy_codeinterp.store import against, batches, database, ledger, place, stats
from ipy_codeinterp.store.batches import ENDED, Batch
from ipy_codeinterp.store.schema import from_nano
from ipy_codeinterp.tables import columns

if TYPE_CHECKING:
    from ipy_codeinterp.session import Session

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
    since = now - looking_back.window(options.since) if options.since else None
    with database.reading(store_of(settings)) as connection:
        calls = list(stats.calls(connection, since or BEGINNING)) if connection else []
        older = stats.older(connection) if connection and since is None else ""
    if options.export:
        return _export(calls, options.export)
    if options.against:
        export = against.of_export(options.against)
        return against.table(against.compare(calls, export), export.days)
    found = stats.stats(calls, by, now=now, since=since)
    if options.json:
        return stats.as_json(found)
    return "\n".join(filter(None, (stats.table(found) if found else "no calls", older)))


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


# --- batch ----------------------------------------------------------------------------------------

BATCH_ACTIONS = {
    "list": "what is put aside, and how far it is",
    "wait": "run what waits until it has ended",
    "collect": "show what came of one",
    "cancel": "do not run one, or cut it short",
}


def _add_batch(parser: argparse.ArgumentParser) -> None:
    actions = "; ".join(f"{name}: {words}" for name, words in BATCH_ACTIONS.items())
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help=actions)
    parser.add_argument("id", nargs="?", metavar="ID", help="which one: batch_...")


def _batch(settings: Settings, options: argparse.Namespace) -> str:
    """What needs nothing but the store."""
    check_batch(options)
    found = batch.read(store_of(settings))
    if options.action == "cancel":
        return _cancelled(settings, registry.find("batch", options.id, {each.id: each for each in found}))
    return batches_table(found, datetime.now(UTC)) if found else "nothing is put aside: %%interp --batch does"


def check_batch(options: argparse.Namespace) -> None:
    """Raises `InvalidInput` or `UnknownName` for an action that is none, or lacks its ID."""
    registry.find("action", options.action, BATCH_ACTIONS)
    if options.action in ("collect", "cancel") and options.id is None:
        raise InvalidInput(f"batch {options.action} which?", hint=f"batch {options.action} ID; batch list names them")
    if options.action == "list" and options.id is not None:
        raise InvalidInput(
            f"batch list takes no {options.id}", hint=f"batch collect {options.id} shows what came of it"
        )


def needs_session(name: str, options: argparse.Namespace) -> bool:
    """Whether a verb runs code or shows outputs: then `with_session` does it, not `run`."""
    return name == "batch" and options.action in ("wait", "collect")


def with_session(
    session: Session, options: argparse.Namespace, show: Callable[[Output], None], told: Callable[[str], None]
) -> str:
    """Wait for the batch, or show again what came of one; outputs go to `show`, progress to `told`."""
    check_batch(options)
    if options.action == "collect":
        result = session.batches.collect(options.id)
        for output in result.outputs:
            show(output)
        return result.ending
    found = session.batches.wait([options.id] if options.id else [], told=told)
    left = [each for each in found if each.state not in ENDED]
    nobody = f"{len(left)} wait for a provider that is not here: {', '.join(sorted({each.offer for each in left}))}"
    return nobody if left else ""


def _cancelled(settings: Settings, chosen: Batch) -> str:
    store = database.Database(store_of(settings), limit=settings.data_limit << 20)
    try:
        state = store.run(lambda connection: batches.cancel(connection, chosen.id)).result()
    finally:
        store.close()
    if state is None:
        raise InvalidInput(f"{chosen.id} is {chosen.state}", hint=batch.TOO_LATE)
    said = batch.cancelled(chosen, state)
    return f"{said}: batch wait tells it" if state == "cancelling" else said


def batches_table(found: Sequence[Batch], now: datetime) -> str:
    """A row each: id, age, state, offer, the first line of its code, the last error."""
    rows = []
    for each in found:
        code = next((line.strip() for line in each.execution.body.splitlines() if line.strip()), "")
        error = " ".join((each.error or "").split())
        told = (_age(now - each.created_at), each.state, each.offer, _cut(code), _cut(error))
        rows.append((each.id, *map(safe_text, told)))
    return columns(("ID", "AGE", "STATE", "OFFER", "CODE", "LAST ERROR"), rows)


def _age(age: timedelta) -> str:
    minutes = max(int(age.total_seconds() // 60), 0)
    return f"{minutes} m" if minutes < 60 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _cut(text: str, most: int = 48) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


# --- sanitizer ------------------------------------------------------------------------------------

SANITIZER = Path(__file__).with_name("nbval.cfg")


def _add_nothing(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def _sanitizer(settings: Settings, options: argparse.Namespace) -> str:
    return str(SANITIZER)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("stats", "say how many calls there were, how well, how fast, for how much", _add_stats, _stats),
        Verb("history", "list what was run, with what it cost", looking_back.add_history, looking_back.listed),
        Verb("show", "show again what came of one, for nothing", looking_back.add_show, looking_back.shown),
        Verb("export", "write Results into a file of your own", looking_back.add_export, looking_back.exported),
        Verb("budget", "say what is spent and held, and what is left", _add_budget, _budget),
        Verb("batch", "list what is put aside, wait for it, collect one or cancel it", _add_batch, _batch),
        Verb("sanitizer", "say where the file is that nbval takes: --nbval-sanitize-with", _add_nothing, _sanitizer),
    )
}
