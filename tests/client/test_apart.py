"""A store that goes away and comes back: no dollar is spent twice meanwhile, and no attempt is missing afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.catalog import Offer, Price
from ipy_codeinterp.client.account import Account, Funds
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.errors import OverBudget, StoreError
from ipy_codeinterp.execution import Event, Execution, Result, Usage
from ipy_codeinterp.store import ledger
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Balance, Origin

PRICE = Price(Decimal(1000), Decimal(1000), "test", date(2026, 1, 1))  # a thousandth of a dollar a token
OFFER = Offer("claude", "test", 60.0, 1 << 30, price=PRICE, most_tokens=1)
WORST = Decimal("1.002")


class Shaky(Database):
    """A store that may be away."""

    is_away = False

    def _commit(self, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        if self.is_away:
            raise sqlite3.OperationalError("database is locked")
        return super()._commit(works)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Shaky]:
    opened = Shaky(tmp_path / "store.sqlite", limit=1 << 20)
    yield opened
    opened.close()


def account(database: Database, budget: str) -> Account:
    return Account(database, lambda _: None, lambda: Origin("s"), lambda: Funds(session=Decimal(budget)))


async def ignore(_: Event) -> None:
    pass


async def costs_a_dollar(run: Run) -> Result:
    return run.result("ok", usage=Usage(999, 1))


def once(chain: Account, handler: Any = costs_a_dollar) -> Result:
    return asyncio.run(chain(Run(Execution("x"), OFFER, ignore), handler))


def until_refused(chain: Account) -> int:
    """How many calls the budget lets through."""
    done = 0
    with contextlib.suppress(OverBudget):
        while True:
            once(chain)
            done += 1
    return done


def wait_for(database: Shaky) -> None:
    """Until what was handed in is done, or has failed."""
    with contextlib.suppress(StoreError):
        database.flush()


def states(database: Shaky) -> list[tuple[str, int]]:
    database.flush()
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        return connection.execute("SELECT state, billed FROM attempts ORDER BY rowid").fetchall()


def kept(database: Shaky) -> Balance:
    return database.run(lambda connection: ledger.balance(connection, "session:s")).result()


def test_no_dollar_twice(database: Shaky) -> None:
    """What was spent before the store went away counts while it is, and what is spent then counts when it is back."""
    chain = account(database, "5.5")
    for _ in range(3):
        once(chain)

    database.is_away = True
    assert until_refused(chain) == 2
    database.is_away = False
    assert until_refused(chain) == 0
    assert kept(database) == Balance(Decimal(5))


def test_nothing_is_missing(database: Shaky) -> None:
    """What was noted while the store was away is in the ledger as soon as something is sent after it is back."""
    chain = account(database, "100")
    once(chain)
    database.is_away = True
    once(chain)
    once(chain)
    wait_for(database)
    database.is_away = False
    once(chain)

    assert states(database) == [("settled", 10**9)] * 4
    assert kept(database) == Balance(Decimal(4))


@pytest.mark.parametrize("away_first", [True, False], ids=["comes back", "goes away"])
def test_under_way_meanwhile(database: Shaky, away_first: bool) -> None:
    """An attempt during which the store comes back, or goes away, is settled in the ledger with what it cost."""

    async def changes(run: Run) -> Result:
        wait_for(database)
        database.is_away = not away_first
        return await costs_a_dollar(run)

    chain = account(database, "100")
    database.is_away = away_first
    once(chain, changes)
    wait_for(database)
    database.is_away = False
    once(chain)

    assert states(database) == [("settled", 10**9)] * 2
    assert kept(database) == Balance(Decimal(2))


def test_what_is_open_stays_held(database: Shaky) -> None:
    """What a lost call may have cost is held also where the store was away when it was lost."""

    async def lost(run: Run) -> Result:
        raise ZeroDivisionError

    chain = account(database, "2")
    database.is_away = True
    with pytest.raises(ZeroDivisionError):
        once(chain, lost)
    with pytest.raises(OverBudget):
        once(chain)
    database.is_away = False
    with pytest.raises(OverBudget):
        once(chain)

    assert states(database) == [("unknown", None)]
    assert kept(database) == Balance(held=WORST)
