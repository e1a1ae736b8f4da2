"""The account: each attempt is noted before it is made, and settled whatever comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.catalog import Offer, Price
from ipy_codeinterp.client.account import Account, Funds
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.errors import BadReply, OverBudget, Rejected, Unreachable
from ipy_codeinterp.execution import Event, Execution, Result, Usage
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Origin
from ipy_codeinterp.store.schema import to_nano

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
    assert (row["outcome"], row["input_tokens"], row["listed"]) == ("error", 1_000_000, to_nano(result.cost.listed))


def test_noted_before_it_is_made(database: Database) -> None:
    """While an attempt is under way it is in the ledger as reserved: it may have been billed."""

    async def look(run: Run) -> Result:
        states.extend((row["state"], row["result_id"]) for row in rows(database))
        return run.result("ok")

    states: list[tuple[str, str]] = []
    run = a_run()
    asyncio.run(Account(database, lambda _: None)(run, look))
    assert states == [("reserved", run.id)]


@pytest.mark.parametrize("price", ["known", "unknown"])
def test_on_disk_before_it_is_sent(database: Database, price: str) -> None:
    """What may be billed is on disk before it is sent, also where nobody knows for how much: a kill loses none."""
    states: list[str] = []

    async def look(run: Run) -> Result:
        with contextlib.closing(sqlite3.connect(database.path)) as connection:
            states.extend(state for (state,) in connection.execute("SELECT state FROM attempts"))
        return run.result("ok")

    run = priced()
    run.offer = OFFER if price == "known" else replace(OFFER, price=None)
    asyncio.run(account(database)(run, look))
    assert states == ["reserved"]


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


# --- money ------------------------------------------------------------------------------------------

PRICE = Price(Decimal(1000), Decimal(1000), "test", date(2026, 1, 1))  # a thousandth of a dollar a token
OFFER = Offer("claude", "test", 60.0, 1 << 30, price=PRICE, most_tokens=1)
WORST = Decimal("1.002")  # 1 byte of code, 1000 tokens around it, 1 of the reply
DOLLAR = Usage(999, 1)


def priced() -> Run:
    return Run(Execution("x"), OFFER, ignore)


async def costs_a_dollar(run: Run) -> Result:
    await asyncio.sleep(0)
    return run.result("ok", usage=DOLLAR)


def account(database: Database, **funds: Decimal) -> Account:
    return Account(database, lambda _: None, lambda: Origin("s"), lambda: Funds(**funds))


def spent(database: Database) -> Decimal:
    nano = sum(row["billed"] for row in rows(database) if row["state"] == "settled")
    return Decimal(nano) / 10**9


def test_the_budget_holds_for_a_thousand_at_once(database: Database) -> None:
    """A thousand calls that start together against a budget for a hundred: what is refused was not sent, and the
    budget is used as far as worst cases let it be."""

    async def all_at_once() -> list[Result | BaseException]:
        chain = account(database, session=Decimal(100))
        return await asyncio.gather(*(chain(priced(), costs_a_dollar) for _ in range(1000)), return_exceptions=True)

    came = asyncio.run(all_at_once())

    results = [each for each in came if isinstance(each, Result)]
    assert {type(each) for each in came} == {Result, OverBudget}
    assert spent(database) == len(results) * Decimal(1) <= 100
    assert len(results) >= 99
    assert len(rows(database)) == len(results)


def test_two_processes_share_the_day(database: Database) -> None:
    """The budget of a day is for all sessions of this machine."""
    ours = account(database, day=Decimal("1.5"))
    other = Database(database.path, limit=1 << 20)
    theirs = Account(other, lambda _: None, lambda: Origin("other"), lambda: Funds(day=Decimal("1.5")))

    asyncio.run(ours(priced(), costs_a_dollar))
    database.flush()  # until what it cost is there: nobody waits for that
    with pytest.raises(OverBudget, match=r"\$0.5000 is left of the day"):
        asyncio.run(theirs(priced(), costs_a_dollar))
    other.close()


def test_one_call_has_a_budget(database: Database) -> None:
    """All attempts of a call together cost no more than the call may: what nobody knows counts at its worst."""
    chain, run = account(database), priced()
    run.max_cost = Decimal(2)

    async def lost(run: Run) -> Result:
        raise BadReply("cut", may_have_run=True)

    with pytest.raises(BadReply):
        asyncio.run(chain(run, lost))
    assert run.spent == WORST
    with pytest.raises(OverBudget, match="after"):
        asyncio.run(chain(run, costs_a_dollar))
    assert [row["state"] for row in rows(database)] == ["unknown"]


@pytest.mark.parametrize(
    ("error", "state", "billed"),
    [
        pytest.param(Unreachable("no"), "settled", 0, id="never arrived"),
        pytest.param(Rejected("no", status=400), "settled", 0, id="refused"),
        pytest.param(Unreachable("cut", may_have_run=True), "unknown", None, id="lost on the way"),
        pytest.param(RuntimeError("ours"), "unknown", None, id="a bug"),
        pytest.param(asyncio.CancelledError(), "unknown", None, id="cancelled"),
    ],
)
def test_what_a_failure_costs(database: Database, error: BaseException, state: str, billed: int | None) -> None:
    """What was not done costs nothing; what may have been done is unknown, never zero."""

    async def fails(run: Run) -> Result:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(account(database, session=Decimal(10))(priced(), fails))

    (row,) = rows(database)
    assert (row["state"], row["billed"], row["held"]) == (state, billed, 0 if billed == 0 else to_nano(WORST))


def test_a_budget_without_a_store(tmp_path: Path) -> None:
    """Where nothing can be written the run goes on, and the budget still holds in this process."""
    nowhere = Database(Path("/dev/null/store.sqlite"), limit=1 << 20)
    chain = account(nowhere, session=Decimal("1.5"))

    assert asyncio.run(chain(priced(), costs_a_dollar)).cost.billed == 1
    with pytest.raises(OverBudget):
        asyncio.run(chain(priced(), costs_a_dollar))
    nowhere.close()


def test_cancelled_while_it_is_being_noted(database: Database) -> None:
    """An attempt that is given up before it is sent holds nothing."""
    entered, go_on = threading.Event(), threading.Event()
    database.write(lambda _: entered.set() or (go_on.wait(PATIENCE) and None))

    async def given_up() -> None:
        task = asyncio.create_task(account(database, session=Decimal(10))(priced(), costs_a_dollar))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(given_up())
    go_on.set()
    (row,) = rows(database)
    assert (row["state"], row["outcome"], row["billed"], row["held"]) == ("settled", "cancelled", 0, 0)
