"""What the journal keeps, looked through: a line for each Result, and one of them whole, by its id or a part of it."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ipy_codeinterp import ids, registry
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.store import batches, journal
from ipy_codeinterp.store.journal import ALWAYS
from ipy_codeinterp.store.schema import from_nano

PREFIX = "run_"  # of most ids: a beginning may leave it out
MOST_NEAR = 1000  # of the newest ids, among which the nearest is looked for
MOST_NAMED = 5
MOST_HEAD = 4000  # characters of the code, of which a line is shown


@dataclass(frozen=True, slots=True)
class Entry:
    """One Result in a line. `billed` is USD, None where nobody knows; then `at_most` is what was held for it.

    `head` is how its code, or its task, begins.
    """

    id: str
    created_at: datetime
    offer: str
    outcome: str
    source: str
    notebook: str | None
    billed: Decimal | None
    at_most: Decimal | None
    head: str

    @property
    def first_line(self) -> str:
        """The first line that says something."""
        return next((line.strip() for line in self.head.splitlines() if line.strip()), "")


@dataclass(frozen=True, slots=True)
class Kept:
    """One Result with what it came of."""

    created_at: datetime
    execution: Execution
    result: Result


# What the attempts say counts for more than what the Result says: one that was cut short knows nothing of its cost.
ENTRIES = f"""
SELECT results.id, created_at, offer, results.outcome, json_extract(result, '$.source'), calls.notebook,
       calls.billed, calls.most, json_extract(result, '$.cost.billed'),
       substr(json_extract(execution, '$.body'), 1, {MOST_HEAD})
FROM results LEFT JOIN (
    SELECT result_id, MAX(notebook) AS notebook, SUM(COALESCE(billed, reserved)) AS most,
           CASE WHEN COUNT(billed) = COUNT(*) THEN SUM(billed) END AS billed
    FROM attempts GROUP BY result_id
) AS calls ON calls.result_id = results.id
WHERE created_at >= :since AND (:notebook IS NULL OR calls.notebook = :notebook)
ORDER BY created_at DESC, results.rowid DESC LIMIT :limit
"""


def entries(
    connection: sqlite3.Connection, *, since: datetime = ALWAYS, notebook: str | None = None, limit: int = -1
) -> list[Entry]:
    """The newest first, at most `limit`. Raises `UnknownName` for a notebook that has none."""
    if notebook is not None:
        registry.find("notebook", notebook, dict.fromkeys(_notebooks(connection)))
    asked = {"since": since.isoformat(), "notebook": notebook, "limit": limit}
    return [_entry(row) for row in connection.execute(ENTRIES, asked)]


def _entry(row: Sequence[str | int | None]) -> Entry:
    id, created_at, offer, outcome, source, notebook, billed, most, said, head = row
    cost = None if said is None else Decimal(str(said))
    known = cost if most is None and billed is None else from_nano(_whole(billed))
    return Entry(
        str(id),
        datetime.fromisoformat(str(created_at)),
        str(offer),
        str(outcome),
        str(source),
        None if notebook is None else str(notebook),
        known,
        known if known is not None else from_nano(_whole(most)),
        str(head or ""),
    )


def _whole(value: str | int | None) -> int | None:
    return None if value is None else int(value)


def _notebooks(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT DISTINCT notebook FROM attempts WHERE notebook IS NOT NULL")]


def find(connection: sqlite3.Connection, said: str) -> Kept:
    """The Result whose id is `said`, or begins or ends so where no other does; `batch_...` is what came of that.

    Raises `UnknownName` with the nearest id, and `InvalidInput` where several do.
    """
    id = _id(connection, said)
    row = connection.execute("SELECT created_at, execution FROM results WHERE id = ?", (id,)).fetchone()
    result = journal.find(connection, id)
    if row is None or result is None:
        raise UnknownName(f"unknown result {said!r}", hint=_nearest(said, _newest(connection)))
    return Kept(datetime.fromisoformat(row[0]), batches.decode(row[1]), result)


def _nearest(said: str, ids: Sequence[str]) -> str:
    near = difflib.get_close_matches(said, ids, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else "`history` lists them"


def chain(connection: sqlite3.Connection | None, id: str, most: int) -> list[Kept]:
    """The Result of `id` and those that it went on from, the newest first, as far as they are kept.

    Raises `UnknownName` for the first.
    """
    if connection is None:
        raise UnknownName(f"unknown result {id!r}", hint="nothing is kept yet")
    links = [find(connection, id)]
    while (before := links[-1].execution.after) and len(links) < most and journal.has(connection, before):
        links.append(find(connection, before))
    return links


def newest(connection: sqlite3.Connection) -> str | None:
    """The id of the newest; None where there is none."""
    return next(iter(_newest(connection, 1)), None)


def _newest(connection: sqlite3.Connection, limit: int = MOST_NEAR) -> list[str]:
    rows = connection.execute("SELECT id FROM results ORDER BY created_at DESC, rowid DESC LIMIT ?", (limit,))
    return [id for (id,) in rows]


def _id(connection: sqlite3.Connection, said: str) -> str:
    begun = [id for begin in (said, PREFIX + said) for id in _beginning(connection, begin)] if said else []
    found = begun or _ending(connection, said)
    if said in found or len(found) == 1:
        return said if said in found else found[0]
    if found:
        more = ", ..." if len(found) > MOST_NAMED else ""
        named = ", ".join(found[:MOST_NAMED]) + more
        raise InvalidInput(f"{said!r} is a part of several ids", hint=f"say more of it: {named}")
    row = connection.execute("SELECT run_id FROM batches WHERE id = ? AND run_id IS NOT NULL", (said,)).fetchone()
    return str(row[0]) if row else said


def _ending(connection: sqlite3.Connection, end: str) -> list[str]:
    """Some of the ids that end so, the newest first: those of one process differ nowhere else, so its own count."""
    if not end:
        return []
    rows = connection.execute(
        "SELECT id FROM results WHERE substr(id, -length(:end)) = :end ORDER BY created_at DESC LIMIT :most",
        {"end": end, "most": MOST_NEAR},
    )
    found = [id for (id,) in rows]
    return [id for id in found if ids.is_own(id)] or found


def _beginning(connection: sqlite3.Connection, begin: str) -> list[str]:
    """Some of the ids that begin so, by the index."""
    rows = connection.execute(
        "SELECT id FROM results WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (begin, begin + "\U0010ffff", MOST_NAMED + 1),
    )
    return [id for (id,) in rows]
