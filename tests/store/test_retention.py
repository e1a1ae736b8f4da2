"""Retention: the old goes, the sums stay, and what may still cost something is never deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp.execution import Cost, Usage
from ipy_codeinterp.store import database, ledger, retention
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt

NOW = datetime(2026, 6, 15, tzinfo=UTC)
LIMIT = 1 << 20
ROW = "INSERT INTO results VALUES (?, 'key', ?, 'claude@local', 'ok', '{}', ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(path, limit=LIMIT)) as opened:
        yield opened


def kept(connection: sqlite3.Connection, id: str, age: timedelta, text: str = "{}") -> None:
    connection.execute(ROW, (id, (NOW - age).isoformat(), text))


def attempted(connection: sqlite3.Connection, id: str, at: datetime, billed: str | None, model: str = "claude") -> None:
    attempt = Attempt(id, f"run_{id}", "test", model, at, reserved=Decimal(1))
    ledger.reserve(connection, attempt)
    cost = Cost(None if billed is None else Decimal(billed))
    ledger.settle(connection, attempt.settled(outcome="ok", cost=cost, usage=Usage(2, 3)))


def ids(connection: sqlite3.Connection, table: str = "results") -> list[str]:
    return [id for (id,) in connection.execute(f"SELECT id FROM {table} ORDER BY id")]


def test_old_results_go(connection: sqlite3.Connection) -> None:
    """A Result is kept as many days as was said."""
    for days in (1, 29, 31, 400):
        kept(connection, f"{days:03}", timedelta(days=days))

    retention.tidy(connection, NOW, timedelta(days=30), LIMIT)

    assert ids(connection) == ["001", "029"]


def test_the_oldest_make_room(connection: sqlite3.Connection) -> None:
    """When little room is left the oldest go, until there is some."""
    for number in range(180):
        kept(connection, f"{number:03}", timedelta(hours=180 - number), "x" * 5000)

    retention.tidy(connection, NOW, timedelta(days=30), LIMIT)

    left = ids(connection)
    assert 0 < len(left) < 180
    assert left == [f"{number:03}" for number in range(180 - len(left), 180)]
    assert retention.used(connection) <= retention.ROOMY * LIMIT


def test_a_full_store_makes_room(path: Path) -> None:
    """A store that has become full while it is written to forgets its oldest results and goes on."""
    with closing(Database(path, limit=LIMIT)) as store:
        for number in range(600):
            at = (NOW + timedelta(seconds=number)).isoformat()
            row = (f"{number:04}", at, "x" * 5000)
            store.write(lambda connection, row=row: connection.execute(ROW, row) and None).result(10)
    with closing(sqlite3.connect(path)) as connection:
        left = ids(connection)
    assert left[-1] == "0599"
    assert 50 < len(left) < 250
    assert path.stat().st_size <= LIMIT


def test_monthly_sums(connection: sqlite3.Connection) -> None:
    """Old attempts become sums of their month, exact to the nano-dollar, again and again; recent ones stay."""
    old = datetime(2025, 1, 31, tzinfo=UTC)
    attempted(connection, "a", old, "0.000000001")
    attempted(connection, "b", old, "0.25")
    attempted(connection, "c", old + timedelta(days=1), "0.5")
    attempted(connection, "d", NOW, "0.5")

    retention.roll_up(connection, NOW - timedelta(days=30))
    attempted(connection, "e", old, "0.25")
    retention.roll_up(connection, NOW - timedelta(days=30))

    rows = connection.execute("SELECT month, calls, ok, billed, unknown, input_tokens, output_tokens FROM months")
    assert sorted(rows) == [("2025-01", 3, 3, 500_000_001, 0, 6, 9), ("2025-02", 1, 1, 500_000_000, 0, 2, 3)]
    assert ids(connection, "attempts") == ["d"]


def test_what_may_still_cost_stays(connection: sqlite3.Connection) -> None:
    """An attempt whose cost nobody knows is not rolled up while it is held against a budget."""
    old = datetime(2025, 1, 31, tzinfo=UTC)
    attempted(connection, "a", old, None)

    retention.roll_up(connection, NOW)
    assert ids(connection, "attempts") == ["a"]

    ledger.review(connection, NOW)
    retention.roll_up(connection, NOW)
    assert connection.execute("SELECT calls, billed, unknown FROM months").fetchall() == [(1, 0, 1)]
