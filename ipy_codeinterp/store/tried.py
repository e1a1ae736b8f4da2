"""What one session tried since a moment, attempt by attempt: for whoever wants to know how a cell came to fail."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ipy_codeinterp.store.schema import from_nano

MOST = 50


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt: at which offer, how it went, in how many seconds, for how much (USD), and what they call it."""

    offer: str
    outcome: str
    seconds: float | None
    billed: Decimal | None
    request_id: str | None

    def __str__(self) -> str:
        time = "" if self.seconds is None else f" after {self.seconds:.2f} s"
        cost = "unknown cost" if self.billed is None else f"${self.billed:.4f}"
        return f"{self.offer}: {self.outcome}{time}, {cost}" + (
            f", request {self.request_id}" if self.request_id else ""
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What the attempts for one Result have cost so far, USD; None where the cost of one is not known."""

    attempts: int = 0
    billed: Decimal | None = None
    listed: Decimal | None = None


def spent(connection: sqlite3.Connection, result_id: str, begun: datetime) -> Spent:
    """Of the Result of that id, whether there is one or not, by attempts that began at or after `begun`."""
    columns = "COUNT(*), CASE WHEN COUNT(billed) = COUNT(*) THEN SUM(billed) END, SUM(listed)"
    asked = f"SELECT {columns} FROM attempts WHERE started_at >= ? AND result_id = ?"
    attempts, billed, listed = connection.execute(asked, (begun.isoformat(), result_id)).fetchone()
    return Spent(attempts, from_nano(billed) if attempts else Decimal(0), from_nano(listed))


def since(connection: sqlite3.Connection, session: str, begun: datetime) -> list[Tried]:
    """The attempts of `session` that began at or after `begun`, in their order, at most the first fifty."""
    rows = connection.execute(
        "SELECT model || '@' || provider, COALESCE(outcome, 'not answered'), seconds, billed, request_id FROM attempts"
        " WHERE session = ? AND started_at >= ? ORDER BY rowid LIMIT ?",
        (session, begun.isoformat(), MOST),
    )
    return [Tried(offer, outcome, seconds, from_nano(billed), id) for offer, outcome, seconds, billed, id in rows]
