"""The batch: executions that were put aside, who has taken which, and what became of each.

    waiting -> running -> done          a Result is in the journal, under the batch's run
       |  ^       |
       |  +-------+----> failed         waiting does not mend it, or it may have been billed already
       |          v
       |      cancelling                whoever runs it looks, and cuts it short; its Result may be here before that
       |          v
       +---------------> cancelled

What goes to its vendor's own batches (`by_vendor`) is `sent` in place of `running`, and may end as `expired`;
sendings.py has that way.

The rule for what left no Result, whether its process was killed or the provider gave up: it goes back to `waiting`
only where the ledger is sure that its attempts cost nothing, so that nothing is billed twice; `twice` allows it all the
same. That is why the id of the run is kept here before anything is sent.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from ipy_codeinterp.execution import Execution, File
from ipy_codeinterp.store import owners
from ipy_codeinterp.store.schema import from_nano, to_nano

State = Literal["waiting", "running", "sent", "cancelling", "done", "failed", "expired", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "expired", "cancelled")
KEPT = timedelta(days=90)  # what has ended, since it was put aside
FARTHEST = timedelta(hours=2)  # a pause that is longer was written by a clock that was wrong
MAY_BE_BILLED = "it was cut short, and what it did until then may be billed"
MAY_HAVE_RUN = "it may have run, and been billed, without its Result being kept: not run again"
COLUMNS = (
    "id, created_at, state, execution, offer, terms, tries, not_before, error, run_id, owner, spent, notebook,"
    " by_vendor, sending"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How it is to be run, beside what: `max_cost` is USD of all its attempts."""

    max_cost: Decimal | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    critical: bool = False
    cache: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """One execution that was put aside.

    `offer` is as asked, `tries` counts the runs so far, `run_id` is that of the last one and of its Result, `error` the
    last error. It is not run before `not_before`; `spent` (USD) is what runs without a Result may have cost. One that
    is `by_vendor` goes to its vendor's own batches, with the `sending` of that id.
    """

    id: str
    created_at: datetime
    execution: Execution
    offer: str
    terms: Terms = Terms()
    state: State = "waiting"
    tries: int = 0
    not_before: datetime = datetime.min.replace(tzinfo=UTC)  # noqa: RUF009 - frozen
    error: str | None = None
    run_id: str | None = None
    owner: str | None = None
    spent: Decimal = Decimal(0)
    notebook: str | None = None
    by_vendor: bool = False
    sending: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one is, without what it is."""

    id: str
    state: State
    offer: str


# --- put, take, end -------------------------------------------------------------------------------


def put(connection: sqlite3.Connection, batch: Batch) -> None:
    """Keep `batch`; what ended long ago is forgotten."""
    old = (batch.created_at - KEPT).isoformat()
    connection.execute(f"DELETE FROM batches WHERE state IN {ENDED} AND created_at < ?", (old,))
    connection.execute(f"INSERT INTO batches ({COLUMNS}) VALUES ({', '.join('?' * 15)})", _row(batch))


def put_instead(connection: sqlite3.Connection, batch: Batch, run_id: str) -> bool:
    """Keep `batch` in the place of the run of that id. Not, and False, where that may have been billed."""
    if may_have_cost(connection, run_id):
        return False
    put(connection, batch)
    return True


def take(
    connection: sqlite3.Connection, owner: str, run_id: str, now: datetime, is_able: Callable[[str], bool]
) -> Batch | None:
    """The oldest that is due and whose offer `is_able`, for `owner` to run under `run_id`; None where there is none."""
    due = {offer for offer, at in next_due(connection, now).items() if at <= now and is_able(offer)}
    row = connection.execute(
        f"SELECT {COLUMNS} FROM batches WHERE state = 'waiting' AND NOT by_vendor"
        f" AND offer IN ({', '.join('?' * len(due))})"
        " AND (not_before <= ? OR not_before > ?) ORDER BY rowid LIMIT 1",
        (*due, now.isoformat(), (now + FARTHEST).isoformat()),
    ).fetchone()
    if row is None:
        return None
    batch = replace(batch_of(row), state="running", owner=owner, run_id=run_id)
    batch = replace(batch, tries=batch.tries + 1)
    connection.execute(
        "UPDATE batches SET state = 'running', owner = ?, run_id = ?, tries = ? WHERE id = ?",
        (owner, run_id, batch.tries, batch.id),
    )
    return batch


def done(connection: sqlite3.Connection, batch: Batch) -> None:
    """Its Result is in the journal under its run."""
    _end(connection, batch, "done", None)


def failed(connection: sqlite3.Connection, batch: Batch, error: str) -> None:
    """Nothing will come of it."""
    if stopped(connection, batch):
        return
    _end(connection, batch, "failed", error)


def put_back(
    connection: sqlite3.Connection, batch: Batch, error: str | None, not_before: datetime, *, twice: bool = False
) -> State:
    """It left no Result: it waits again, has failed where it may have been billed, or was cancelled. Returns which."""
    assert batch.run_id is not None
    if stopped(connection, batch):
        return "cancelled"
    cost = _worst_cost(connection, batch.run_id)
    if cost != 0 and not twice:
        failed(connection, batch, f"{error}; {MAY_HAVE_RUN}" if error else MAY_HAVE_RUN)
        return "failed"
    spent = to_nano(batch.spent + (from_nano(cost) or 0))
    changed = connection.execute(
        "UPDATE batches SET state = 'waiting', owner = NULL, error = ?, not_before = ?, spent = ?"
        " WHERE id = ? AND run_id = ? AND state = 'running'",
        (error, not_before.isoformat(), spent, batch.id, batch.run_id),
    ).rowcount
    if changed and not cost:  # nothing ran: the journal keeps the one Result that will come
        connection.execute("DELETE FROM results WHERE id = ? AND outcome IN ('unknown', 'cancelled')", (batch.run_id,))
    return "waiting"


def stopped(connection: sqlite3.Connection, batch: Batch) -> bool:
    """It was cut short, if somebody has cancelled it. Whether that was so."""
    error = MAY_BE_BILLED if may_have_cost(connection, batch.run_id or "") else None
    ended = "UPDATE batches SET state = 'cancelled', error = ?, owner = NULL WHERE id = ? AND state = 'cancelling'"
    return connection.execute(ended, (error, batch.id)).rowcount > 0


def unwanted(connection: sqlite3.Connection, owner: str) -> set[str]:
    """Ids of what `owner` runs, and somebody has cancelled."""
    rows = connection.execute("SELECT id FROM batches WHERE state = 'cancelling' AND owner = ?", (owner,))
    return {id for (id,) in rows}


def take_back(
    connection: sqlite3.Connection, now: datetime, *, twice: bool = False, released: str | None = None
) -> None:
    """What is running at a process that died, or at the owner who is `released`, has ended or waits again."""
    under_way = "state = 'running' OR (state = 'cancelling' AND NOT by_vendor)"
    rows = connection.execute(f"SELECT {COLUMNS} FROM batches WHERE {under_way}").fetchall()
    for batch in map(batch_of, rows):
        if batch.owner != released and is_owner_alive(batch.owner or ""):
            continue
        if _has_result(connection, batch.run_id or ""):
            done(connection, batch)
        else:
            put_back(connection, batch, batch.error, now, twice=twice)


def cancel(connection: sqlite3.Connection, id: str) -> State | None:
    """What that made of it: `cancelled` for what was waiting, `cancelling` for what somebody has; None: too late."""
    changed: dict[State, State] = {"waiting": "cancelled"}
    for before, after in (changed | dict.fromkeys(("running", "sent", "cancelling"), "cancelling")).items():
        said = "UPDATE batches SET state = ? WHERE id = ? AND state = ?"
        if connection.execute(said, (after, id, before)).rowcount:
            return after
    return None


# --- read -----------------------------------------------------------------------------------------


def all_of(connection: sqlite3.Connection) -> list[Batch]:
    """All there are, the oldest first."""
    return [batch_of(row) for row in connection.execute(f"SELECT {COLUMNS} FROM batches ORDER BY rowid").fetchall()]


def newest(connection: sqlite3.Connection, most: int) -> list[str]:
    """The ids of those that were put aside last."""
    return [id for (id,) in connection.execute("SELECT id FROM batches ORDER BY rowid DESC LIMIT ?", (most,))]


def standings(connection: sqlite3.Connection) -> list[Standing]:
    """How each stands, the oldest first: what can be asked again and again."""
    return [Standing(*row) for row in connection.execute("SELECT id, state, offer FROM batches ORDER BY rowid")]


def next_due(connection: sqlite3.Connection, now: datetime) -> dict[str, datetime]:
    """When the next one of each offer may run, for those that have one waiting."""
    rows = connection.execute(
        "SELECT offer, MIN(CASE WHEN not_before > ? THEN '' ELSE not_before END) FROM batches"
        " WHERE state = 'waiting' AND NOT by_vendor GROUP BY offer",
        ((now + FARTHEST).isoformat(),),
    ).fetchall()
    return {offer: datetime.fromisoformat(at) if at else now for offer, at in rows}


def may_have_cost(connection: sqlite3.Connection, run_id: str) -> bool:
    """Whether the attempts of that run may have been billed."""
    return _worst_cost(connection, run_id) != 0


def owner(session: str) -> str:
    """The name under which a session of this process takes what it runs."""
    return f"{owners.this_process()}/{owners.boot()}/{session}"


# --- executions as text ---------------------------------------------------------------------------


def encode(execution: Execution) -> str:
    """An Execution as JSON text: its files by path and hash, not by content."""
    content = {f.name: getattr(execution, f.name) for f in fields(execution)}
    for name in ("files", "inputs"):
        content[name] = [
            {"name": f.name, "sha256": f.sha256, "size": f.size, "path": str(f.path) if f.path else None}
            for f in content[name]
        ]
    return json.dumps(content)


def decode(text: str) -> Execution:
    """The way back. A field that this version does not know is left out."""
    known = {f.name for f in fields(Execution)}
    content: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in known}
    for name in ("files", "inputs"):
        content[name] = [File(**{**f, "path": Path(f["path"]) if f["path"] else None}) for f in content.get(name, [])]
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    return Execution(**plain)


# --- inside ---------------------------------------------------------------------------------------


def _end(connection: sqlite3.Connection, batch: Batch, state: State, error: str | None) -> None:
    connection.execute(
        "UPDATE batches SET state = ?, error = ?, owner = NULL WHERE id = ? AND run_id = ?"
        " AND state IN ('running', 'cancelling')",
        (state, error, batch.id, batch.run_id),
    )


def _worst_cost(connection: sqlite3.Connection, run_id: str) -> int | None:
    """Nano-dollars that the attempts of a run can have cost; None where nobody knows."""
    unknown, amount = connection.execute(
        "SELECT COALESCE(SUM(COALESCE(billed, reserved) IS NULL), 0), COALESCE(SUM(COALESCE(billed, reserved)), 0)"
        " FROM attempts WHERE result_id = ?",
        (run_id,),
    ).fetchone()
    return None if unknown else int(amount)


def _has_result(connection: sqlite3.Connection, run_id: str) -> bool:
    """Whether the journal has what came of it: a run that was cut short leaves `unknown` or `cancelled` there, too."""
    row = connection.execute("SELECT outcome FROM results WHERE id = ?", (run_id,)).fetchone()
    if row is None or row[0] == "cancelled":
        return False
    replied = "SELECT 1 FROM attempts WHERE result_id = ? AND outcome = 'unknown'"
    return row[0] != "unknown" or connection.execute(replied, (run_id,)).fetchone() is not None


def is_owner_alive(owner: str) -> bool:
    """Whether the process lives that took something under this name."""
    process, _, rest = owner.partition("/")
    return rest.partition("/")[0] == owners.boot() and owners.is_alive(process)


def _row(batch: Batch) -> tuple[Any, ...]:
    terms = {f.name: getattr(batch.terms, f.name) for f in fields(batch.terms)}
    terms |= {"labels": dict(batch.terms.labels)}
    return (
        batch.id,
        batch.created_at.isoformat(),
        batch.state,
        encode(batch.execution),
        batch.offer,
        json.dumps(terms, default=str),
        batch.tries,
        batch.not_before.isoformat(),
        batch.error,
        batch.run_id,
        batch.owner,
        to_nano(batch.spent),
        batch.notebook,
        batch.by_vendor,
        batch.sending,
    )


def batch_of(row: tuple[Any, ...]) -> Batch:
    """A row of `COLUMNS`."""
    said = dict(zip(COLUMNS.split(", "), row, strict=True))
    terms = json.loads(said["terms"])
    most = terms["max_cost"]
    return Batch(
        **{
            **said,
            "created_at": datetime.fromisoformat(said["created_at"]),
            "execution": decode(said["execution"]),
            "terms": Terms(**{**terms, "max_cost": None if most is None else Decimal(most)}),
            "not_before": datetime.fromisoformat(said["not_before"]),
            "spent": from_nano(said["spent"]) or Decimal(0),
            "by_vendor": bool(said["by_vendor"]),
        }
    )
