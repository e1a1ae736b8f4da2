"""How an offer has done lately, from the ledger: what a choice between offers is made by."""

from __future__ import annotations

import sqlite3
import statistics
from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp.store.schema import from_nano

LATELY = 200  # calls: older ones say little of what an offer is now


@dataclass(frozen=True, slots=True)
class Track:
    """Calls that ended and those that went well, USD a call (failed ones too), median seconds; None: not known."""

    calls: int = 0
    ok: int = 0
    cost: Decimal | None = None
    seconds: float | None = None

    @property
    def success(self) -> float:
        """Of 1; with few calls nearer to a half, since nobody is perfect after one."""
        return (self.ok + 1) / (self.calls + 2)


def track(connection: sqlite3.Connection, provider: str, model: str) -> Track:
    """Of the last calls of that offer."""
    rows = connection.execute(
        "SELECT outcome IS 'ok', billed, seconds FROM attempts"
        " WHERE provider = ? AND model = ? AND source = 'live' AND state != 'reserved' AND outcome IS NOT 'unknown'"
        " ORDER BY rowid DESC LIMIT ?",
        (provider, model, LATELY),
    ).fetchall()
    billed = [amount for _, amount, _ in rows if amount is not None]
    seconds = [second for is_ok, _, second in rows if is_ok and second is not None]
    return Track(
        calls=len(rows),
        ok=sum(is_ok for is_ok, _, _ in rows),
        cost=Decimal(from_nano(sum(billed)) or 0) / len(billed) if billed else None,
        seconds=statistics.median(seconds) if seconds else None,
    )
