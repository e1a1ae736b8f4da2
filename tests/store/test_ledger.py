"""The ledger: each attempt is noted before it is made, and the sums say when something is missing in them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.errors import OverBudget
from ipy_codeinterp.execution import Cost, Usage
from ipy_codeinterp.store import database, ledger
from ipy_codeinterp.store.ledger import Attempt, Balance, Origin


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
    """D10: what came of an attempt is kept to the nano-dollar, as whole ones: no cents, no floats."""
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
    assert (found["billed"], found["listed"], found["price"]) == (1, 100_000_000, "claude")
    assert found["request_id"] == "req_1"


def test_unknown_stays_unknown(connection: sqlite3.Connection) -> None:
    """What nobody knows is NULL in the ledger, never zero."""
    attempt = an_attempt(outcome="cancelled")
    ledger.reserve(connection, attempt)

    ledger.settle(connection, attempt)

    found = kept(connection)
    assert [found[name] for name in ("seconds", "input_tokens", "output_tokens", "billed", "listed")] == [None] * 5


# --- budgets ----------------------------------------------------------------------------------------


def priced(id: str = "att_1", reserved: str = "0.4", session: str = "s") -> Attempt:
    return Attempt.begun(id, "run_1", "test", "claude", origin=Origin(session), reserved=Decimal(reserved))


def held(connection: sqlite3.Connection) -> tuple[Balance, Balance]:
    session, day = priced().scopes
    return ledger.balance(connection, session), ledger.balance(connection, day)


def test_worst_case_is_held(connection: sqlite3.Connection) -> None:
    """Until an attempt is settled its worst case counts; then what it has cost does, to the nano-dollar."""
    ledger.reserve(connection, priced())
    assert held(connection) == (Balance(held=Decimal("0.4")),) * 2

    ledger.settle(connection, priced().settled(cost=Cost(Decimal("0.123456789"))))
    assert held(connection) == (Balance(spent=Decimal("0.123456789")),) * 2


@pytest.mark.parametrize("scope", [0, 1], ids=["session", "day"])
def test_over_budget(connection: sqlite3.Connection, scope: int) -> None:
    """What could cost more than is left is refused with what is left, and leaves nothing behind."""
    budgets = {priced().scopes[scope]: Decimal(1)}
    ledger.reserve(connection, priced("a"), budgets)
    ledger.reserve(connection, priced("b"), budgets)

    with pytest.raises(OverBudget, match=r"up to \$0.4000, and \$0.2000 is left of the (session|day)'s \$1"):
        ledger.reserve(connection, priced("c"), budgets)

    assert [id for (id,) in connection.execute("SELECT id FROM attempts")] == ["a", "b"]
    assert held(connection) == (Balance(held=Decimal("0.8")),) * 2
    ledger.reserve(connection, priced("d", "0.2"), budgets)


def test_other_sessions_have_budgets_of_their_own(connection: sqlite3.Connection) -> None:
    """A session's budget knows nothing of another's; the day's is for all."""
    budgets = {priced().scopes[0]: Decimal("0.5")}
    ledger.reserve(connection, priced("a", session="other"), budgets)
    ledger.reserve(connection, priced("b"), budgets)

    assert held(connection) == (Balance(held=Decimal("0.4")), Balance(held=Decimal("0.8")))


def test_unknown_goes_on_being_held(connection: sqlite3.Connection) -> None:
    """What nobody knows the cost of counts at its worst, until somebody says it, or for a day."""
    for id in "abc":
        ledger.reserve(connection, priced(id))
        ledger.settle(connection, priced(id).settled(outcome="cancelled"))
    assert states(connection) == ["unknown"] * 3
    assert held(connection)[0] == Balance(held=Decimal("1.2"))

    assert ledger.settle_by_hand(connection, "a", Decimal("0.25"))
    assert not ledger.settle_by_hand(connection, "a", Decimal("0.25"))
    assert held(connection)[0] == Balance(Decimal("0.25"), Decimal("0.8"))

    ledger.review(connection, datetime.now(UTC) + timedelta(hours=23))
    assert held(connection)[0].held == Decimal("0.8")
    ledger.review(connection, datetime.now(UTC) + timedelta(hours=25))
    assert held(connection)[0] == Balance(Decimal("0.25"))
    assert states(connection) == ["settled", "unknown", "unknown"]


def test_what_the_dead_left_open(connection: sqlite3.Connection) -> None:
    """Attempts of a process that is gone are unknown, also when its number is another's now; ours stay."""
    for id in "abc":
        ledger.reserve(connection, priced(id))
    gone = subprocess.Popen(["true"])
    gone.wait()
    connection.execute("UPDATE attempts SET owner_pid = ? WHERE id = 'a'", (gone.pid,))
    connection.execute("UPDATE attempts SET owner_pid = 1, owner_started = -1 WHERE id = 'b'")

    ledger.review(connection, datetime.now(UTC))

    assert states(connection) == ["unknown", "unknown", "reserved"]
    assert held(connection)[0] == Balance(held=Decimal("1.2"))


def test_a_day_later_nothing_waits_to_be_opened(connection: sqlite3.Connection) -> None:
    """Also in a session that lives for days, what nobody has settled for a day is not held against the next call."""
    budgets = {priced("").scopes[0]: Decimal("0.7")}
    ledger.reserve(connection, priced("a"), budgets)
    ledger.settle(connection, priced("a").settled(outcome="cancelled"))

    with pytest.raises(OverBudget):
        ledger.reserve(connection, priced("b"), budgets)
    tomorrow = replace(priced("c"), started_at=datetime.now(UTC) + timedelta(hours=25))
    ledger.reserve(connection, tomorrow, budgets)

    assert states(connection) == ["unknown", "reserved"]


def states(connection: sqlite3.Connection) -> list[str]:
    return [state for (state,) in connection.execute("SELECT state FROM attempts ORDER BY id")]
