"""What is kept for how long: Results by age and by room, the ledger as monthly sums when it is old.

Open attempts are never deleted: they may still cost something.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

LEDGER_KEPT = timedelta(days=400)  # a year, and a month to compare it with
FULL, ROOMY = 0.8, 0.6  # of the limit: from the first on room is made, down to the second
MOST_AT_ONCE = 100  # results that are deleted before it is asked again

ROLL_UP = """
INSERT INTO months
    SELECT substr(started_at, 1, 7), provider, model, COUNT(*), SUM(outcome IS 'ok'), COALESCE(SUM(billed), 0),
           COALESCE(SUM(listed), 0), SUM(billed IS NULL), COALESCE(SUM(input_tokens), 0),
           COALESCE(SUM(output_tokens), 0)
    FROM attempts WHERE started_at < :before AND held = 0 GROUP BY 1, 2, 3
    ON CONFLICT (month, provider, model) DO UPDATE SET
        calls = calls + excluded.calls, ok = ok + excluded.ok, billed = billed + excluded.billed,
        listed = listed + excluded.listed, unknown = unknown + excluded.unknown,
        input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens
"""


def tidy(connection: sqlite3.Connection, now: datetime, results_kept: timedelta, limit: int) -> None:
    """Delete results older than `results_kept`, or the oldest while the file takes most of `limit` bytes; roll up."""
    connection.execute("DELETE FROM results WHERE created_at < ?", ((now - results_kept).isoformat(),))
    roll_up(connection, now - LEDGER_KEPT)
    if used(connection) > FULL * limit:
        make_room(connection, limit)


def roll_up(connection: sqlite3.Connection, before: datetime) -> None:
    """Attempts before that become sums of their month."""
    connection.execute(ROLL_UP, {"before": before.isoformat()})
    connection.execute("DELETE FROM attempts WHERE started_at < ? AND held = 0", (before.isoformat(),))
    connection.execute("DELETE FROM budgets WHERE scope LIKE 'day:%' AND scope < ?", (f"day:{before:%Y-%m-%d}",))


def make_room(connection: sqlite3.Connection, limit: int) -> None:
    """Delete the oldest results until there is room again."""
    oldest = "DELETE FROM results WHERE rowid IN (SELECT rowid FROM results ORDER BY created_at LIMIT ?)"
    while used(connection) > ROOMY * limit:
        if connection.execute(oldest, (MOST_AT_ONCE,)).rowcount == 0:
            return


def used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
