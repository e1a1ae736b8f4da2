"""The ledger: each attempt is noted before it is made, and the sums say when something is missing in them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.execution import Cost, Usage
from ipy_codeinterp.store import database, ledger
from ipy_codeinterp.store.ledger import Attempt, Meter, Totals


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(tmp_path / "store.sqlite", limit=1 << 20)) as opened:
        opened.row_factory = sqlite3.Row
        yield opened


def an_attempt(**facts: Any) -> Attempt:
    return Attempt.begun("att_1", "run_1", "local", "claude").settled(**facts)


def kept(connection: sqlite3.Connection) -> dict[str, Any]:
    (row,) = connection.execute("SELECT * FROM attempts")
    return dict(row)


def test_reserved(connection: sqlite3.Connection) -> None:
    """An attempt is there before its outcome is, with whose it is."""
    ledger.reserve(connection, an_attempt())

    found = kept(connection)
    assert (found["state"], found["outcome"], found["billed"]) == ("reserved", None, None)
    assert (found["provider"], found["model"], found["result_id"]) == ("local", "claude", "run_1")
    assert found["owner_pid"] == os.getpid()
    assert found["started_at"].endswith("+00:00")


def test_settled(connection: sqlite3.Connection) -> None:
    """What came of an attempt is kept to the nano-dollar."""
    attempt = an_attempt(
        outcome="ok",
        seconds=0.5,
        usage=Usage(10, 20, True),
        cost=Cost(Decimal("0.000000001"), Decimal("0.10"), True, "claude"),
        request_id="req_1",
    )
    ledger.reserve(connection, attempt)

    ledger.settle(connection, attempt)

    found = kept(connection)
    assert (found["state"], found["outcome"], found["seconds"]) == ("settled", "ok", 0.5)
    assert (found["input_tokens"], found["output_tokens"], found["estimated"]) == (10, 20, 1)
    assert (Decimal(found["billed"]), found["listed"], found["price"]) == (Decimal("0.000000001"), "0.10", "claude")
    assert found["request_id"] == "req_1"


def test_unknown_stays_unknown(connection: sqlite3.Connection) -> None:
    """What nobody knows is NULL in the ledger, never zero."""
    attempt = an_attempt(outcome="cancelled")
    ledger.reserve(connection, attempt)

    ledger.settle(connection, attempt)

    found = kept(connection)
    assert [found[name] for name in ("seconds", "input_tokens", "output_tokens", "billed", "listed")] == [None] * 5


def metered(*attempts: Attempt) -> Totals:
    meter = Meter()
    for attempt in attempts:
        meter.add(attempt)
    return meter.totals


def test_nothing_yet() -> None:
    """A session that has asked nothing has cost nothing and knows no latency."""
    assert metered() == Totals(0, 0, Decimal(0), True, Decimal(0), None, None)


def test_sums() -> None:
    """Sums are the sums of their parts, exactly."""
    cost = Cost(Decimal("0.1"), Decimal("0.2"))

    totals = metered(*[an_attempt(outcome="ok", seconds=1.0, cost=cost)] * 3)

    assert totals == Totals(3, 0, Decimal("0.3"), True, Decimal("0.6"), 1.0, 1.0)


def test_lower_bound() -> None:
    """A sum that lacks an unknown part says so, and goes on saying so."""
    known, unknown = an_attempt(outcome="ok", cost=Cost(Decimal(1), Decimal(1))), an_attempt(outcome="ok")

    totals = metered(known, unknown, known)

    assert (totals.billed, totals.billed_is_all) == (Decimal(2), False)


@pytest.mark.parametrize(
    ("outcome", "failures"),
    [("ok", 0), ("unknown", 0), ("error", 1), ("limit", 1), ("cancelled", 1), ("crashed", 1), (None, 1)],
)
def test_failures(outcome: Any, failures: int) -> None:
    """What did not end well is a failure, also what got no reply; what is not known is none."""
    assert metered(an_attempt(outcome=outcome)).failures == failures


@pytest.mark.parametrize(
    ("latencies", "p50", "p95"),
    [
        ([3.0], 3.0, 3.0),
        ([2.0, 1.0], 1.0, 2.0),
        ([3.0, 1.0, 2.0], 2.0, 3.0),
        (range(100, 0, -1), 50, 95),
        ([*range(1, 20), 100], 10, 19),
    ],
    ids=["one", "two", "three", "hundred", "one slow in twenty"],
)
def test_percentiles(latencies: Any, p50: float, p95: float) -> None:
    """A percentile is the smallest latency that so many percent of all do not exceed, in any order they come."""
    totals = metered(*[an_attempt(seconds=seconds) for seconds in latencies])

    assert (totals.p50, totals.p95) == (p50, p95)


def test_unmeasured_latency() -> None:
    """An attempt that nobody timed counts as a call, not as a latency."""
    totals = metered(an_attempt(seconds=2.0), an_attempt(seconds=None))

    assert (totals.calls, totals.p50) == (2, 2.0)
