"""The ledger: every attempt and its cost, and what is held and spent of each budget."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ipy_codeinterp.changed import changed
from ipy_codeinterp.errors import OverBudget
from ipy_codeinterp.execution import Cost, Outcome, Timings, Usage
from ipy_codeinterp.store.owners import started, this_started
from ipy_codeinterp.store.schema import NANO, to_nano

FORGOTTEN_AFTER = timedelta(hours=24)  # what nobody has settled until then is no longer held against a budget
Budgets = Mapping[str, Decimal]  # USD by scope
MOVED = "ON CONFLICT (scope) DO UPDATE SET spent = spent + excluded.spent, held = held + excluded.held"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where attempts come from: the session, the notebook it belongs to, and the user's labels."""

    session: str = ""
    notebook: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one offer. `reserved` is the most it can cost, USD; unknown cost is None, never 0."""

    id: str
    result_id: str
    provider: str
    model: str
    started_at: datetime
    origin: Origin = Origin()
    reserved: Decimal | None = None
    outcome: Outcome | None = None
    seconds: float | None = None
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    cost: Cost = Cost()  # noqa: RUF009 - frozen
    timings: Timings = Timings()  # noqa: RUF009 - frozen
    request_id: str | None = None

    @classmethod
    def begun(cls, id: str, result_id: str, provider: str, model: str, **facts: Any) -> Attempt:
        return cls(id, result_id, provider, model, datetime.now(UTC), **facts)

    def settled(self, **facts: Any) -> Attempt:
        return changed(self, **facts)

    @property
    def scopes(self) -> tuple[str, str]:
        """The budgets it counts against: its session's, and that of its day."""
        return f"session:{self.origin.session}", f"day:{self.started_at.date()}"


def reserve(connection: sqlite3.Connection, attempt: Attempt, budgets: Budgets | None = None) -> dict[str, Balance]:
    """Note that `attempt` is about to be made: one that is never settled may have been billed.

    Its worst case is held against its scopes until then; returns what is spent and held with it, by the scopes of
    `budgets`. Raises `OverBudget` where that is more than is left of one of them, and notes nothing.
    """
    reserved = to_nano(attempt.reserved)
    held = reserved or 0
    balances: dict[str, Balance] = {}
    if held:
        balances = _afforded(connection, attempt, held, budgets or {})
        _move(connection, attempt.scopes, spent=0, held=held)
    connection.execute(
        "INSERT INTO attempts (id, result_id, session, provider, model, state, started_at, reserved, held, notebook,"
        " labels, owner_pid, owner_started) VALUES (?, ?, ?, ?, ?, 'reserved', ?, ?, ?, ?, ?, ?, ?)",
        (
            attempt.id,
            attempt.result_id,
            attempt.origin.session,
            attempt.provider,
            attempt.model,
            attempt.started_at.isoformat(),
            reserved,
            held,
            attempt.origin.notebook,
            json.dumps(dict(attempt.origin.labels), sort_keys=True) if attempt.origin.labels else None,
            os.getpid(),
            this_started(),
        ),
    )
    return balances


def settle(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Note what came of it. Where nobody knows what it cost it is `unknown`, and goes on being held."""
    usage, cost, timings = attempt.usage, attempt.cost, attempt.timings
    billed = to_nano(cost.billed)
    if billed or (billed == 0 and attempt.reserved):  # what was free and held nothing moves nothing
        _spend(connection, attempt.id, billed)
    connection.execute(
        "UPDATE attempts SET state = ?, held = iif(?, held, 0), outcome = ?, billed = ?, listed = ?, items = ?,"
        " price = ?, input_tokens = ?, output_tokens = ?, estimated = ?, queue = ?, connect = ?, first_byte = ?,"
        " thinking = ?, execution = ?, transfer = ?, seconds = ?, request_id = ? WHERE id = ?",
        (
            "unknown" if billed is None else "settled",
            billed is None,
            attempt.outcome,
            billed,
            to_nano(cost.listed),
            json.dumps({name: str(amount) for name, amount in cost.items.items()}) if cost.items else None,
            cost.price,
            usage.input_tokens,
            usage.output_tokens,
            usage.estimated,
            timings.queue,
            timings.connect,
            timings.first_byte,
            timings.model,
            timings.execution,
            timings.transfer,
            attempt.seconds,
            attempt.request_id,
            attempt.id,
        ),
    )


def note_served(connection: sqlite3.Connection, attempt: Attempt, source: str) -> None:
    """Note a Result that was served again: nothing was sent, and its cost says what that avoided."""
    reserve(connection, attempt)
    settle(connection, attempt)
    avoided = to_nano(attempt.cost.avoided)
    connection.execute("UPDATE attempts SET source = ?, avoided = ? WHERE id = ?", (source, avoided, attempt.id))


def settle_by_hand(connection: sqlite3.Connection, id: str, billed: Decimal) -> bool:
    """Say what an open attempt has cost (USD). Whether there was one."""
    amount = to_nano(billed)
    assert amount is not None
    open_ = "WHERE id = ? AND state != 'settled'"
    if connection.execute(f"SELECT 1 FROM attempts {open_}", (id,)).fetchone() is None:
        return False
    _release(connection, id, amount)
    connection.execute(f"UPDATE attempts SET state = 'settled', billed = ? {open_}", (amount, id))
    return True


def review(connection: sqlite3.Connection, now: datetime) -> None:
    """What a process that died left open is unknown; what is unknown for a day is no longer held."""
    rows = connection.execute("SELECT id, owner_pid, owner_started FROM attempts WHERE state = 'reserved'").fetchall()
    dead = [id for id, pid, since in rows if pid != os.getpid() and started(pid) != since]
    connection.executemany("UPDATE attempts SET state = 'unknown' WHERE id = ?", [(id,) for id in dead])
    old = (now - FORGOTTEN_AFTER).isoformat()
    forgotten = "SELECT id FROM attempts WHERE state = 'unknown' AND held > 0 AND started_at < ?"
    for (id,) in connection.execute(forgotten, (old,)).fetchall():
        _release(connection, id, 0)


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one scope, USD: what is spent for certain, and what open attempts may still cost."""

    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)


def balance(connection: sqlite3.Connection, scope: str) -> Balance:
    return _balances(connection, [scope])[0][1]


def _balances(connection: sqlite3.Connection, scopes: Sequence[str]) -> list[tuple[str, Balance]]:
    """Of one scope or two, in that order."""
    rows = connection.execute("SELECT scope, spent, held FROM budgets WHERE scope IN (?, ?)", (scopes[0], scopes[-1]))
    found = {scope: Balance(Decimal(spent) / NANO, Decimal(held) / NANO) for scope, spent, held in rows.fetchall()}
    return [(scope, found.get(scope, Balance())) for scope in scopes]


def _afforded(connection: sqlite3.Connection, attempt: Attempt, held: int, budgets: Budgets) -> dict[str, Balance]:
    """What is spent and held with `held` nano-dollars more, by scope. Raises `OverBudget`."""
    known = [scope for scope in attempt.scopes if scope in budgets]
    if not known:
        return {}
    try:
        return {scope: _check(scope, each, held, budgets[scope]) for scope, each in _balances(connection, known)}
    except OverBudget:  # what others have left open may be free by now: a session lives for weeks
        review(connection, attempt.started_at)
    return {scope: _check(scope, each, held, budgets[scope]) for scope, each in _balances(connection, known)}


def _check(scope: str, so_far: Balance, held: int, budget: Decimal) -> Balance:
    worst = Decimal(held) / NANO
    left = budget - so_far.spent - so_far.held
    if worst > left:
        kind = scope.partition(":")[0]
        open_ = f" (${so_far.held:.4f} of it held for calls that are not settled)" if so_far.held else ""
        name = "budget" if kind == "session" else "budget_day"
        raise OverBudget(
            f"this may cost up to ${worst:.4f}, and ${max(left, Decimal(0)):.4f} is left of the {kind}'s ${budget}"
            f"{open_}: nothing was sent",
            hint=f"raise it with %config InterpMagics.{name} = USD, or ask for less",
        )
    return Balance(so_far.spent, so_far.held + worst)


def _release(connection: sqlite3.Connection, id: str, billed: int) -> None:
    """What was held for an attempt is held no longer, and what it cost is spent."""
    _spend(connection, id, billed)
    connection.execute("UPDATE attempts SET held = 0 WHERE id = ?", (id,))


def _spend(connection: sqlite3.Connection, id: str, billed: int) -> None:
    """The same in the budgets alone: the caller writes the attempt's row."""
    connection.execute(
        "INSERT INTO budgets"
        " SELECT 'session:' || session, ?1, -held FROM attempts WHERE id = ?2 AND (held OR ?1)"
        " UNION ALL SELECT 'day:' || substr(started_at, 1, 10), ?1, -held FROM attempts WHERE id = ?2 AND (held OR ?1)"
        f" {MOVED}",
        (billed, id),
    )


def _move(connection: sqlite3.Connection, scopes: tuple[str, str], *, spent: int, held: int) -> None:
    session, day = scopes
    connection.execute(
        f"INSERT INTO budgets VALUES (?, ?, ?), (?, ?, ?) {MOVED}",
        (session, spent, held, day, spent, held),
    )
