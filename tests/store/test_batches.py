"""The batch in the store: what is put aside is kept as it was, taken by one, and never billed twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.execution import Cost, Execution, File, Outcome, Result
from ipy_codeinterp.store import batches, database, journal, ledger, owners
from ipy_codeinterp.store.batches import Batch, Terms
from ipy_codeinterp.store.ledger import Attempt

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
OFFER = "claude@test"
EXECUTION = Execution(
    "print('é')\nprint(2)",
    model="claude",
    timeout=5.0,
    files=(File("a.csv", "ab" * 32, 3, path=Path("/here/a.csv")),),
    packages=("polars>=1",),
)
TERMS = Terms(max_cost=Decimal("0.25"), labels={"task": "x"}, policy="hybrid", critical=True, cache=False)
BATCH = Batch("batch_1", NOW, EXECUTION, OFFER, TERMS, notebook="a.ipynb")
MINE = batches.owner("me")
DEAD = f"1:0/{owners.boot()}/other"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(tmp_path / "store.sqlite", limit=1 << 24)) as opened:
        yield opened


def put(connection: sqlite3.Connection, id: str = "batch_1", **changes: Any) -> Batch:
    batch = replace(BATCH, id=id, **changes)
    batches.put(connection, batch)
    return batch


def take(connection: sqlite3.Connection, run_id: str = "run_1", owner: str = MINE, now: datetime = NOW) -> Batch | None:
    return batches.take(connection, owner, run_id, now, lambda _: True)


def taken(connection: sqlite3.Connection, run_id: str = "run_1", owner: str = MINE) -> Batch:
    batch = take(connection, run_id, owner)
    assert batch is not None
    return batch


def attempted(
    connection: sqlite3.Connection, *, billed: str | None, reserved: str | None = "0.5", is_settled: bool = True
) -> None:
    """An attempt of `run_1`."""
    attempt = Attempt("att_1", "run_1", "test", "claude", NOW, reserved=None if reserved is None else Decimal(reserved))
    ledger.reserve(connection, attempt)
    if is_settled:
        ledger.settle(connection, attempt.settled(cost=Cost(None if billed is None else Decimal(billed))))


def states(connection: sqlite3.Connection) -> list[str]:
    return [batch.state for batch in batches.all_of(connection)]


def test_kept_as_it_was(connection: sqlite3.Connection) -> None:
    """What is put aside comes back equal: code, files by path and hash, and the terms it was asked on."""
    put(connection)

    (found,) = batches.all_of(connection)

    assert found == BATCH
    assert found.execution.key == EXECUTION.key
    assert found.execution.files[0].path == Path("/here/a.csv")


def test_of_another_version() -> None:
    """A field that this version does not know is left out, and one that was not there yet is as usual."""
    text = '{"body": "1", "language": "r", "from_the_future": 1}'

    assert batches.decode(text) == Execution("1", language="r")


def test_the_oldest_first(connection: sqlite3.Connection) -> None:
    """Each is taken once, in the order they came."""
    put(connection, "batch_2")
    put(connection, "batch_1")

    assert [taken(connection).id, taken(connection).id, take(connection)] == ["batch_2", "batch_1", None]
    assert states(connection) == ["running", "running"]


def test_not_before_its_time(connection: sqlite3.Connection) -> None:
    """One that rests is not taken before its pause is over, and the store says when that is."""
    put(connection, not_before=NOW + timedelta(seconds=60))

    assert take(connection) is None
    assert batches.next_due(connection, NOW) == {OFFER: NOW + timedelta(seconds=60)}
    assert take(connection, now=NOW + timedelta(seconds=60)) is not None


def test_a_clock_that_was_wrong(connection: sqlite3.Connection) -> None:
    """A pause of years was written by a clock that stood wrong: it holds nobody up."""
    put(connection, not_before=NOW + timedelta(days=3650))

    assert batches.next_due(connection, NOW) == {OFFER: NOW}
    assert take(connection) is not None


def test_only_what_one_can_do(connection: sqlite3.Connection) -> None:
    """What there is no provider for here stays for another session."""
    put(connection, "batch_1", offer="gpt@other")
    put(connection, "batch_2")

    batch = batches.take(connection, MINE, "run_1", NOW, lambda offer: offer == OFFER)

    assert batch is not None and batch.id == "batch_2"


@pytest.mark.parametrize(
    ("attempt", "state"),
    [
        (None, "waiting"),
        ({"billed": "0"}, "waiting"),
        ({"billed": None, "reserved": "0"}, "waiting"),
        ({"billed": None, "reserved": "0", "is_settled": False}, "waiting"),
        ({"billed": "0.1"}, "failed"),
        ({"billed": None}, "failed"),
        ({"billed": None, "is_settled": False}, "failed"),
        ({"billed": None, "reserved": None}, "failed"),
    ],
    ids=["nothing sent", "refused", "free", "free and open", "billed", "unknown", "open", "no price"],
)
@pytest.mark.parametrize("is_dead", [False, True])
def test_never_billed_twice(
    connection: sqlite3.Connection, attempt: dict[str, Any] | None, state: str, is_dead: bool
) -> None:
    """What left no Result waits again only where its attempts surely cost nothing, whoever gave it up (D18)."""
    put(connection)
    batch = taken(connection, owner=DEAD if is_dead else MINE)
    if attempt is not None:
        attempted(connection, **attempt)

    if is_dead:
        batches.take_back(connection, NOW)
    else:
        batches.put_back(connection, batch, "Overloaded: full", NOW)

    (found,) = batches.all_of(connection)
    assert (found.state, found.owner) == (state, None)
    assert (batches.MAY_HAVE_RUN in (found.error or "")) == (state == "failed")


def test_twice_if_allowed(connection: sqlite3.Connection) -> None:
    """Who allows it twice gets it again, and what the lost one may have cost counts against its `max_cost`."""
    put(connection)
    batch = taken(connection)
    attempted(connection, billed=None, reserved="0.5")

    batches.put_back(connection, batch, "Unreachable: gone", NOW, twice=True)

    again = taken(connection, "run_2")
    assert (again.tries, again.spent, again.error) == (2, Decimal("0.5"), "Unreachable: gone")


@pytest.mark.parametrize("outcome", ["ok", "error", "limit", "crashed"])
def test_a_result_is_an_end(connection: sqlite3.Connection, outcome: Outcome) -> None:
    """Who died after its Result was kept, and before it said so, is done: it is not run again."""
    put(connection)
    taken(connection, owner=DEAD)
    attempted(connection, billed="0.1")
    journal.insert(connection, EXECUTION, Result("run_1", outcome=outcome))

    batches.take_back(connection, NOW)

    assert states(connection) == ["done"]


@pytest.mark.parametrize("outcome", ["unknown", "cancelled"])
def test_a_part_is_no_result(connection: sqlite3.Connection, outcome: Outcome) -> None:
    """What a run that was cut short left in the journal is no Result; where nothing ran it does not stay there."""
    put(connection)
    taken(connection, owner=DEAD)
    journal.insert(connection, EXECUTION, Result("run_1", outcome=outcome))

    batches.take_back(connection, NOW)

    assert states(connection) == ["waiting"]
    assert journal.find(connection, "run_1") is None


def test_an_unknown_outcome_is_a_result(connection: sqlite3.Connection) -> None:
    """A provider that replies without saying how it went has given a Result."""
    put(connection)
    taken(connection, owner=DEAD)
    attempt = Attempt("att_1", "run_1", "test", "claude", NOW)
    ledger.reserve(connection, attempt)
    ledger.settle(connection, attempt.settled(outcome="unknown", cost=Cost(Decimal("0.1"))))
    journal.insert(connection, EXECUTION, Result("run_1", outcome="unknown"))

    batches.take_back(connection, NOW)

    assert states(connection) == ["done"]


def test_the_living_keep_theirs(connection: sqlite3.Connection) -> None:
    """What runs at a process that lives is not taken back, but for the one that says it has let go."""
    put(connection, "batch_1")
    put(connection, "batch_2")
    taken(connection, "run_1", batches.owner("one"))
    taken(connection, "run_2", batches.owner("two"))

    batches.take_back(connection, NOW)
    assert states(connection) == ["running", "running"]

    batches.take_back(connection, NOW, released=batches.owner("two"))
    assert states(connection) == ["running", "waiting"]


def test_of_another_boot(connection: sqlite3.Connection) -> None:
    """A process of before the machine was started anew is dead, whoever has its number now."""
    put(connection)
    taken(connection, owner=f"{owners.this_process()}/another-boot/me")

    batches.take_back(connection, NOW)

    assert states(connection) == ["waiting"]


def test_who_lost_it_says_nothing(connection: sqlite3.Connection) -> None:
    """A session whose batch was taken by another in the meantime changes nothing of it."""
    put(connection)
    late = taken(connection, "run_1")
    batches.put_back(connection, late, None, NOW)
    taken(connection, "run_2")

    batches.failed(connection, late, "late")
    batches.put_back(connection, late, "late", NOW)

    (found,) = batches.all_of(connection)
    assert (found.state, found.run_id, found.error) == ("running", "run_2", None)


def test_cancel(connection: sqlite3.Connection) -> None:
    """What waits is cancelled, once; whoever runs one is asked to cut it short; what has ended is not."""
    put(connection, "batch_1")
    put(connection, "batch_2")
    first = taken(connection)

    assert [batches.cancel(connection, id) for id in ("batch_1", "batch_2", "batch_2", "batch_3")] == [
        "cancelling",
        "cancelled",
        None,
        None,
    ]
    assert take(connection) is None
    assert batches.unwanted(connection, first.owner or "") == {"batch_1"}
    assert batches.stopped(connection, first) and not batches.stopped(connection, first)
    assert batches.cancel(connection, "batch_1") is None


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda c, b: batches.done(c, b), "done"),
        (lambda c, b: batches.failed(c, b, "wrong"), "cancelled"),
        (lambda c, b: batches.put_back(c, b, "full", b.created_at), "cancelled"),
        (lambda c, b: batches.take_back(c, b.created_at, released=b.owner), "cancelled"),
    ],
    ids=["a Result was first", "it failed", "it gave up", "its session closed"],
)
def test_cancelled_while_it_runs(connection: sqlite3.Connection, end: Any, state: str) -> None:
    """A Result that was here before it was cut short stays; else it is cancelled, and never waits again."""
    put(connection, "batch_1")
    batch = taken(connection)
    batches.cancel(connection, "batch_1")

    end(connection, batch)

    (found,) = batches.all_of(connection)
    assert (found.state, found.owner) == (state, None)


def test_instead_of_a_run(connection: sqlite3.Connection) -> None:
    """A run that gave up is put aside only where it surely cost nothing."""
    assert batches.put_instead(connection, BATCH, "run_1")
    attempted(connection, billed=None)
    assert not batches.put_instead(connection, replace(BATCH, id="batch_2"), "run_1")

    assert states(connection) == ["waiting"]


def test_the_old_is_forgotten(connection: sqlite3.Connection) -> None:
    """What ended long ago goes when the next comes; what waits stays, however old."""
    old = NOW - timedelta(days=100)
    put(connection, "batch_1", created_at=old, state="done")
    put(connection, "batch_2", created_at=old)
    put(connection, "batch_3")

    assert [batch.id for batch in batches.all_of(connection)] == ["batch_2", "batch_3"]
