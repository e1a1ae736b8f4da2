"""What was given to vendors' own batches: which of ours went together, and what the vendor calls that.

    waiting -> sent -> done             a Result is in the journal, under the batch's run
       ^        | |
       |        | +-> failed, expired   the vendor says so, and bills nothing; or it has lost the result
       |        v
       |    cancelling -> cancelled     the vendor says so; what it had done by then is `done`
       +--- sent                        the vendor never got it

A sending is kept before it is sent, with the reservations of all that go in it, and its vendor's id as soon as that is
known. One without that id may have arrived: nothing in it is sent again until the vendor's list shows that it did not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ipy_codeinterp.errors import OverBudget
from ipy_codeinterp.execution import Cost, Result, Usage
from ipy_codeinterp.store import journal, ledger
from ipy_codeinterp.store.batches import COLUMNS, KEPT, MAY_HAVE_RUN, Batch, State, batch_of, is_owner_alive
from ipy_codeinterp.store.ledger import Attempt, Budgets
from ipy_codeinterp.store.schema import from_nano

NOTHING = Cost(billed=Decimal(0))
OPEN = "state IN ('sent', 'cancelling')"


@dataclass(frozen=True, slots=True)
class Sending:
    """Several that go together. `began_at` is just before it was sent; `vendor_id` is None until the vendor said it.

    `is_cancelled` where nobody wants any of it any more.
    """

    id: str
    provider: str
    began_at: datetime
    count: int
    vendor_id: str | None = None
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """One execution as it goes into its vendor's batch, as JSON; `attempt` has what it may cost."""

    batch: Batch
    attempt: Attempt
    request: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """What came of one: its state, what else is to be said, and the Result where there is one.

    `cost` and `usage` are those of its request in the vendor's batch; the Result may have taken more.
    """

    state: State
    error: str | None = None
    result: Result | None = None
    cost: Cost = NOTHING
    usage: Usage = Usage()  # noqa: RUF009 - frozen


def attempt_id(run_id: str) -> str:
    """The attempt that is a run's request in its vendor's batch."""
    return f"att_{run_id.removeprefix('run_')}"


# --- sent -----------------------------------------------------------------------------------------


def waiting(connection: sqlite3.Connection) -> list[Batch]:
    """What is to be given to vendors, the oldest first."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM batches WHERE state = 'waiting' AND by_vendor ORDER BY rowid")
    return [batch_of(row) for row in rows.fetchall()]


def begin(
    connection: sqlite3.Connection,
    sending: Sending,
    owner: str,
    attempts: Sequence[tuple[Batch, Attempt, Budgets]],
    not_before: datetime,
) -> list[Batch]:
    """Note that they are about to be sent together, each with its attempt; returns those that may be.

    What somebody else has taken, or cancelled, is left out, and so is what its budget does not allow: that waits.
    """
    taken = []
    for batch, attempt, budgets in attempts:
        if _state(connection, batch.id) != "waiting":
            continue
        try:
            ledger.reserve(connection, attempt, budgets)
        except OverBudget as error:
            put_off(connection, batch, f"{type(error).__name__}: {error}", not_before)
            continue
        taken.append(replace(batch, state="sent", run_id=attempt.result_id, tries=batch.tries + 1, sending=sending.id))
        connection.execute(
            "UPDATE batches SET state = 'sent', run_id = ?, tries = ?, sending = ?, error = NULL WHERE id = ?",
            (attempt.result_id, batch.tries + 1, sending.id, batch.id),
        )
    if taken:
        old = (sending.began_at - KEPT).isoformat()
        connection.execute("DELETE FROM sendings WHERE state = 'ended' AND began_at < ?", (old,))
        row = (sending.id, sending.provider, sending.began_at.isoformat(), len(taken), owner)
        connection.execute("INSERT INTO sendings VALUES (?, ?, 'sending', ?, ?, NULL, ?)", row)
    return taken


def arrived(connection: sqlite3.Connection, id: str, vendor_id: str) -> None:
    """The vendor has it, and calls it so."""
    connection.execute("UPDATE sendings SET state = 'sent', vendor_id = ? WHERE id = ?", (vendor_id, id))


def never_arrived(connection: sqlite3.Connection, id: str, error: str, not_before: datetime, state: State) -> None:
    """The vendor has nothing of it, which cost nothing: they wait again, or whatever `state` says."""
    for batch in members(connection, id):
        _settle(connection, batch, End(state))
        now = "cancelled" if batch.state == "cancelling" else state
        connection.execute(
            "UPDATE batches SET state = ?, error = ?, not_before = ?, sending = NULL WHERE id = ?",
            (now, error, not_before.isoformat(), batch.id),
        )
    connection.execute("DELETE FROM sendings WHERE id = ?", (id,))


def put_off(connection: sqlite3.Connection, batch: Batch, error: str, not_before: datetime) -> None:
    """It was not sent, and waits until then."""
    connection.execute(
        "UPDATE batches SET error = ?, not_before = ? WHERE id = ? AND state = 'waiting'",
        (error, not_before.isoformat(), batch.id),
    )


def refuse(connection: sqlite3.Connection, batch: Batch, error: str) -> None:
    """It was not sent, and never will be."""
    connection.execute(
        "UPDATE batches SET state = 'failed', error = ? WHERE id = ? AND state = 'waiting'", (error, batch.id)
    )


# --- looked after ---------------------------------------------------------------------------------


def claim(connection: sqlite3.Connection, owner: str, is_able: Callable[[str], bool]) -> list[Sending]:
    """Those that have not ended, of providers that are here, and that nobody else who lives looks after."""
    found = []
    for id, provider, began_at, count, vendor_id, before in connection.execute(
        "SELECT id, provider, began_at, count, vendor_id, owner FROM sendings WHERE state != 'ended' ORDER BY rowid"
    ).fetchall():
        if not is_able(provider) or (before != owner and is_owner_alive(before or "")):
            continue
        connection.execute("UPDATE sendings SET owner = ? WHERE id = ?", (owner, id))
        wanted = f"SELECT 1 FROM batches WHERE sending = ? AND {OPEN} AND state != 'cancelling'"
        is_cancelled = connection.execute(wanted, (id,)).fetchone() is None
        found.append(Sending(id, provider, datetime.fromisoformat(began_at), count, vendor_id, is_cancelled))
    return found


def release(connection: sqlite3.Connection, owner: str) -> None:
    """Whoever comes next may look after what `owner` did."""
    connection.execute("UPDATE sendings SET owner = NULL WHERE owner = ?", (owner,))


def members(connection: sqlite3.Connection, id: str) -> list[Batch]:
    """Those of a sending of which nothing has come yet."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM batches WHERE sending = ? AND {OPEN} ORDER BY rowid", (id,))
    return [batch_of(row) for row in rows.fetchall()]


def vendor_ids(connection: sqlite3.Connection, provider: str) -> set[str]:
    """What the vendor calls those that it is known to have."""
    rows = connection.execute("SELECT vendor_id FROM sendings WHERE provider = ? AND vendor_id NOT NULL", (provider,))
    return {id for (id,) in rows.fetchall()}


def note(connection: sqlite3.Connection, id: str, error: str | None) -> None:
    """What was the matter when it was last looked at."""
    connection.execute(f"UPDATE batches SET error = ? WHERE sending = ? AND {OPEN}", (error, id))


def has_gone_on(connection: sqlite3.Connection, run_id: str) -> bool:
    """Whether another request was made for that run since: it may have been billed, and is not made again."""
    said = "SELECT 1 FROM attempts WHERE result_id = ? AND id != ?"
    return connection.execute(said, (run_id, attempt_id(run_id))).fetchone() is not None


# --- ended ----------------------------------------------------------------------------------------


def land(connection: sqlite3.Connection, batch: Batch, end: End) -> Attempt | None:
    """Keep what came of one: its Result, what it cost, its state. None where that is kept already."""
    if _state(connection, batch.id) not in ("sent", "cancelling"):
        return None
    attempt = _settle(connection, batch, end)
    if end.result is not None:
        journal.insert(connection, batch.execution, end.result)
    connection.execute("UPDATE batches SET state = ?, error = ? WHERE id = ?", (end.state, end.error, batch.id))
    return attempt


def close(connection: sqlite3.Connection, id: str, why: str) -> None:
    """The vendor has nothing more to say; what has no result until now may have been billed."""
    for batch in members(connection, id):
        land(connection, batch, End("failed", f"{why}; {MAY_HAVE_RUN}", cost=Cost()))
    connection.execute("UPDATE sendings SET state = 'ended', owner = NULL WHERE id = ?", (id,))


# --- inside ---------------------------------------------------------------------------------------


def _state(connection: sqlite3.Connection, id: str) -> Any:
    row = connection.execute("SELECT state FROM batches WHERE id = ?", (id,)).fetchone()
    return row and row[0]


def _settle(connection: sqlite3.Connection, batch: Batch, end: End) -> Attempt | None:
    """Settle the attempt of `batch`, unless somebody has; `end.cost` is that of the vendor's batch alone."""
    id = attempt_id(batch.run_id or "")
    row = connection.execute("SELECT state, provider, model, reserved FROM attempts WHERE id = ?", (id,)).fetchone()
    if row is None or row[0] == "settled":
        return None
    _, provider, model, reserved = row
    attempt = Attempt.begun(id, batch.run_id or "", provider, model, reserved=from_nano(reserved))
    attempt = attempt.settled(outcome=end.result and end.result.outcome, usage=end.usage, cost=end.cost)
    ledger.settle(connection, attempt)
    return attempt
