"""The account: each attempt is noted before it is made, and settled whatever comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.client.account import Account
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.errors import Unreachable
from ipy_codeinterp.execution import Event, Execution, Result, Usage
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt

PATIENCE = 10  # seconds


async def ignore(_: Event) -> None:
    pass


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "store.sqlite", limit=1 << 20)
    yield opened
    opened.close()


def rows(database: Database) -> list[dict[str, Any]]:
    database.write(lambda _: None).result(PATIENCE)
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM attempts ORDER BY rowid")]


def a_run(model: str = "claude") -> Run:
    return Run(Execution("x"), catalog.find(model), ignore)


async def replies(run: Run) -> Result:
    return run.result("error", usage=Usage(1_000_000, 100_000, True))


async def breaks(run: Run) -> Result:
    raise Unreachable("no")


async def is_cancelled(run: Run) -> Result:
    raise asyncio.CancelledError


def test_reply(database: Database) -> None:
    """A reply is settled with what it used and cost, and its Result says the cost."""
    settled: list[Attempt] = []

    result = asyncio.run(Account(database, settled.append)(a_run(), replies))

    (attempt,), (row,) = settled, rows(database)
    price = catalog.models()["claude"].price
    assert result.cost.listed == price.input + price.output / 10
    assert (result.cost.billed, attempt.cost) == (Decimal(0), result.cost)
    assert (attempt.outcome, attempt.usage) == ("error", result.usage)
    assert (row["id"], row["result_id"], row["state"]) == (attempt.id, result.id, "settled")
    assert (row["outcome"], row["input_tokens"], row["listed"]) == ("error", 1_000_000, str(result.cost.listed))


def test_noted_before_it_is_made(database: Database) -> None:
    """While an attempt is under way it is in the ledger as reserved: it may have been billed."""

    async def look(run: Run) -> Result:
        states.extend((row["state"], row["result_id"]) for row in rows(database))
        return run.result("ok")

    states: list[tuple[str, str]] = []
    run = a_run()
    asyncio.run(Account(database, lambda _: None)(run, look))
    assert states == [("reserved", run.id)]


@pytest.mark.parametrize(
    ("handler", "error", "outcome"),
    [
        pytest.param(breaks, Unreachable, None, id="no reply"),
        pytest.param(is_cancelled, asyncio.CancelledError, "cancelled", id="cancelled"),
    ],
)
def test_no_result(database: Database, handler: Any, error: type[BaseException], outcome: str | None) -> None:
    """An attempt that ends without a Result is settled all the same, and what ended it goes on upward."""
    settled: list[Attempt] = []

    with pytest.raises(error):
        asyncio.run(Account(database, settled.append)(a_run(), handler))

    (attempt,), (row,) = settled, rows(database)
    assert (attempt.outcome, attempt.cost.billed, attempt.cost.listed) == (outcome, Decimal(0), None)
    assert attempt.seconds is not None
    assert (row["state"], row["outcome"], row["listed"]) == ("settled", outcome, None)


def test_each_try_is_an_attempt(database: Database) -> None:
    """Each passage of one run is an attempt of its own, and the Result counts them."""
    settled: list[Attempt] = []
    account, run = Account(database, settled.append), a_run()

    async def twice() -> Result:
        with contextlib.suppress(Unreachable):
            await account(run, breaks)
        return await account(run, replies)

    result = asyncio.run(twice())
    assert result.attempts == 2
    assert len({attempt.id for attempt in settled}) == 2
    assert [row["result_id"] for row in rows(database)] == [run.id, run.id]


def test_model_without_a_list_price(database: Database) -> None:
    """What nobody sells has no list price, and costs nothing here."""
    result = asyncio.run(Account(database, lambda _: None)(a_run("local"), replies))

    assert (result.cost.billed, result.cost.listed) == (Decimal(0), None)
