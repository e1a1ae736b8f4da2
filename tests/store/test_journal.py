"""The journal gives back the Result that was put in, by its id."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp.execution import (
    Cost,
    Display,
    Error,
    Execution,
    File,
    Limit,
    Result,
    Step,
    Stream,
    Text,
    Timings,
    Usage,
)
from ipy_codeinterp.store import database, journal

OUTPUTS = (
    Stream("stdout", "a\N{SNOWMAN}\ud800\0\n"),
    Display({"text/plain": "1", "application/json": {"a": [1, None]}}, {"a": 1}, "execute_result", "d"),
    Stream("stderr", ""),
    Error("ValueError", "no", ("Traceback", "ValueError: no")),
)
FULL = Result(
    "run_1",
    parts=(
        Text("I run it."),
        Step("print('é')", "python", True, OUTPUTS, "error", "reported", 1, (File("a.csv", "00", 1, id="file_1"),)),
        Step("x", verbatim=None, outcome_source="inferred"),
    ),
    outcome="limit",
    limit=Limit("time", 2.0, "seconds", 2.1),
    usage=Usage(10, None, True, {"input_tokens": 10, "deep": {"a": [1]}}),
    cost=Cost(Decimal("0.00"), Decimal("0.000000001"), True, "claude, 2026-01-01"),
    timings=Timings(first_byte=0.1, execution=None, total=1 / 3),
    attempts=2,
    request_ids=("req_1", "req_2"),
    provider="local",
    model="claude",
    source="replay",
    container="mine",
    container_new=True,
    isolation="bubblewrap",
    native={"id": "msg_1", "content": [{"type": "text"}]},
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(tmp_path / "store.sqlite", limit=1 << 20)) as opened:
        yield opened


@pytest.mark.parametrize("result", [FULL, Result("run_1")], ids=["full", "empty"])
def test_there_and_back(connection: sqlite3.Connection, result: Result) -> None:
    """What was kept is what is found, in every field."""
    journal.insert(connection, Execution("x", timeout=2.0), result)

    found = journal.find(connection, "run_1")

    assert found == result
    assert found is not None
    assert [file.id for file in found.files] == [file.id for file in result.files]


def test_not_there(connection: sqlite3.Connection) -> None:
    """An id that nobody kept gives None."""
    assert journal.find(connection, "run_2") is None


def test_money_is_exact(connection: sqlite3.Connection) -> None:
    """Money comes back to the digit, also to the zeros after the point."""
    cost = Cost(Decimal("1.10"), Decimal("0.1") + Decimal("0.2"))

    journal.insert(connection, Execution("x"), Result("run_1", cost=cost))

    found = journal.find(connection, "run_1")
    assert found is not None
    assert (str(found.cost.billed), str(found.cost.listed)) == ("1.10", "0.3")


def test_row_says_what_it_is(connection: sqlite3.Connection) -> None:
    """A row can be found by its key and read without this program."""
    asked = Execution("print(1)", files=(File("a.csv", "00", 1, path=Path("/here/a.csv")),))

    journal.insert(connection, asked, FULL)

    (row,) = connection.execute("SELECT key, offer, outcome, execution, result FROM results")
    assert row[:3] == (asked.key, "claude@local", "limit")
    assert json.loads(row[3])["body"] == "print(1)"
    assert json.loads(row[4])["parts"][1]["outputs"][0]["name"] == "stdout"


def test_kept_again(connection: sqlite3.Connection) -> None:
    """The last word on a run replaces the one before."""
    journal.insert(connection, Execution("x"), Result("run_1", outcome="unknown"))
    journal.insert(connection, Execution("x"), Result("run_1", outcome="ok"))

    assert journal.find(connection, "run_1") == Result("run_1", outcome="ok")
