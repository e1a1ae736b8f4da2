"""The whole engine against a priced provider on loopback: the ledger has the bill, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.catalog import Limits, Offer
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.errors import DeadlineExceeded, InterpError, NoOffer, OverBudget, Rejected, UnknownName
from ipy_codeinterp.execution import Restarted, Result
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import database
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider

ROUNDS = int(os.environ.get("KILL_ROUNDS", "20"))
KILLED = """
import asyncio, sys
from pathlib import Path
from tests.test_engine import At, settings_in
from ipy_codeinterp.session import Session

async def main(folder, url):
    async with Session(settings_in(Path(folder)), providers=[At(url)]) as session:
        print("on", flush=True)
        async for _ in session.map((f"print({i})" for i in range(10**6)), concurrency=8, model="claude@scripted"):
            pass

asyncio.run(main(*sys.argv[1:]))
"""


class At:
    """The provider, as another process knows it."""

    name = "scripted"

    def __init__(self, url: str) -> None:
        self._url = url
        self.offers = {"claude": ScriptedProvider().offer()}

    def endpoint(self) -> Endpoint:
        return Endpoint(self._url, "scripted", lambda: True, ours=False)


def settings_in(folder: Path, **changes: Any) -> Settings:
    known: dict[str, Any] = {"data_dir": folder, "warm": "never", "budget": None, "cache": "off"}
    return Settings(**{**known, **changes})


def rows(folder: Path) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM attempts ORDER BY rowid")]


def settled(folder: Path) -> Decimal:
    return Decimal(sum(row["billed"] for row in rows(folder) if row["state"] == "settled")) / 10**9


async def outcomes(session: Session, codes: list[str], **how: Any) -> list[Result | InterpError]:
    many = session.map(codes, concurrency=50, ordered=True, model="claude@scripted", **how)
    return [outcome async for _, outcome in many]


def test_the_ledger_has_the_bill(tmp_path: Path) -> None:
    """D10, D37: every attempt that was billed is in the ledger with what its tokens in and out really cost, to the
    nano-dollar, and each Result says it."""

    async def main() -> tuple[ScriptedProvider, list[Result | InterpError]]:
        async with ScriptedProvider() as provider:
            provider.offer()
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                return provider, await outcomes(session, [f"print({number})" for number in range(60)])

    provider, results = asyncio.run(main())
    assert settled(tmp_path) == provider.billed > 0
    assert {row["id"] for row in rows(tmp_path)} == {billed.attempt_id for billed in provider.bill}
    assert sum(r.cost.billed or 0 for r in results if isinstance(r, Result)) == provider.billed


def test_as_many_at_once_as_are_asked_for(tmp_path: Path) -> None:
    """D20: no pool of connections holds back what the limits let through: 150 asked for together are there together."""

    async def main() -> int:
        async def with_all_others(_: float) -> None:
            if len(provider.requests) == 150:
                together.set()
            await together.wait()

        together = asyncio.Event()
        async with ScriptedProvider(otherwise=Reply(delay=1.0), sleep=with_all_others) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path, deadline=60.0), providers=[provider]) as session:
                codes = (f"print({number})" for number in range(150))
                many = session.map(codes, concurrency=150, model="claude@scripted")
                return sum([isinstance(outcome, Result) async for _, outcome in many])

    assert asyncio.run(main()) == 150


def test_no_async_with(tmp_path: Path) -> None:
    """D21: a session needs no `async with`: it opens what it needs on whichever loop asks, one after the other."""
    with served() as (_, url), Session(settings_in(tmp_path), providers=[At(url)]) as session:
        said = [asyncio.run(session.execute(code, model="claude@scripted")).stdout for code in ("1", "2")]
        assert [*said, session.run("3", model="claude@scripted").stdout] == ["1", "2", "3"]


def test_a_hundred_with_three_that_fail(tmp_path: Path) -> None:
    """D25: of a hundred at once three are refused: ninety-seven Results, three typed errors, all in the ledger."""
    wrong = {"print(7)", "print(40)", "print(73)"}

    def script(number: int, body: Any) -> Reply | Fail:
        text = body["messages"][0]["content"][0]["text"]
        return Fail(400, "invalid_request_error") if any(code in text for code in wrong) else Reply()

    async def main() -> list[Result | InterpError]:
        async with ScriptedProvider(script) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                return await outcomes(session, [f"print({number})" for number in range(100)])

    found = asyncio.run(main())
    assert [index for index, each in enumerate(found) if isinstance(each, Rejected)] == [7, 40, 73]
    assert [each.ok for each in found if isinstance(each, Result)] == [True] * 97
    assert len(rows(tmp_path)) == 100


def test_the_session_has_a_budget(tmp_path: Path) -> None:
    """What could cost more than the session may spend is refused; what is spent stays below it."""

    async def main() -> tuple[ScriptedProvider, list[Result | InterpError]]:
        async with ScriptedProvider() as provider:
            provider.offer()
            async with Session(settings_in(tmp_path, budget=Decimal("0.5")), providers=[provider]) as session:
                return provider, await outcomes(session, [f"print({number})" for number in range(200)])

    provider, found = asyncio.run(main())
    assert {type(each) for each in found} == {Result, OverBudget}
    assert 0 < provider.billed <= Decimal("0.5")
    assert len(provider.requests) == sum(isinstance(each, Result) for each in found)


def test_one_call_has_a_budget(tmp_path: Path) -> None:
    """A call that could cost more than it may is refused before it is sent."""

    async def main() -> ScriptedProvider:
        async with ScriptedProvider() as provider:
            provider.offer()
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                with pytest.raises(OverBudget, match="not sent"):
                    await session.execute("1", model="claude@scripted", max_cost=0.001)
        return provider

    assert asyncio.run(main()).requests == []


def test_another_when_one_gives_up(tmp_path: Path) -> None:
    """D28, D29: when the asked provider gives up, the next really runs it; the Result says who, and why."""
    told: list[Any] = []

    async def note(event: Any) -> None:
        told.append(event)

    async def main() -> tuple[Result, ScriptedProvider, ScriptedProvider]:
        async with ScriptedProvider(otherwise=Fail(529)) as full, ScriptedProvider(name="other") as other:
            full.offer()
            other.offer("gpt")
            known = settings_in(tmp_path, fallback=("gpt@other",), attempts=1)
            async with Session(known, providers=[full, other]) as session:
                return await session.execute("print(1)", model="claude@scripted", emit=note), full, other

    result, full, other = asyncio.run(main())
    assert (result.offer, len(full.requests), len(other.requests)) == ("gpt@other", 1, 1)
    assert "not claude@scripted: Overloaded" in (result.why or "")
    assert any(isinstance(event, Restarted) for event in told)
    assert [(row["provider"], row["outcome"]) for row in rows(tmp_path)] == [("scripted", None), ("other", "ok")]


def test_nobody_is_left(tmp_path: Path) -> None:
    """When all give up one error says why of each."""

    async def main() -> None:
        async with ScriptedProvider(otherwise=Fail(529)) as full:
            full.offer()
            full.offer("gpt")
            known = settings_in(tmp_path, fallback=("gpt@scripted",), attempts=1)
            async with Session(known, providers=[full]) as session:
                await session.execute("print(1)", model="claude@scripted")

    with pytest.raises(NoOffer) as caught:
        asyncio.run(main())
    assert set(caught.value.reasons) == {"claude@scripted", "gpt@scripted"}


def test_the_cheapest_is_measured(tmp_path: Path) -> None:
    """The ledger teaches the router: what turned out dearer is not asked when the cheapest is wanted."""

    async def main() -> list[str]:
        dear, cheap = Reply(usage=None, stdout="x" * 4000), Reply()
        async with ScriptedProvider(otherwise=dear) as first, ScriptedProvider(name="other", otherwise=cheap) as second:
            first.offer()
            second.offer()
            known = settings_in(tmp_path, fallback=("claude@other",))
            async with Session(known, providers=[first, second]) as session:
                for offer in ("claude@scripted", "claude@other"):
                    await session.execute("print('x' * 100)" * (50 if "scripted" in offer else 1), model=offer)
                session.flush()
                how = {"model": "claude@scripted", "policy": "cheapest"}
                return [(await session.execute(f"print({number})", **how)).offer for number in range(3)]

    assert asyncio.run(main()) == ["claude@other"] * 3


def test_limits_hold(tmp_path: Path) -> None:
    """Of many at once no more than the provider's limit are under way together."""
    running, most = 0, 0

    async def main() -> list[Result | InterpError]:
        async def slowly(_: float) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1

        async with ScriptedProvider(otherwise=Reply(delay=1.0), sleep=slowly) as provider:
            provider.offer(limits=Limits(concurrency=3))
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                return await outcomes(session, [f"print({number})" for number in range(30)])

    assert [each.ok for each in asyncio.run(main()) if isinstance(each, Result)] == [True] * 30
    assert most == 3


def test_the_whole_call_has_a_deadline(tmp_path: Path) -> None:
    """D19: whatever a call waits for, it ends in its time with an error that says so."""

    async def main() -> None:
        async with ScriptedProvider(otherwise=Reply(delay=60.0)) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path, deadline=0.2), providers=[provider]) as session:
                await session.execute("print(1)", model="claude@scripted")

    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())
    assert [row["state"] for row in rows(tmp_path)] == ["unknown"]


def test_what_was_avoided(tmp_path: Path) -> None:
    """Equal cells are paid for once, in flight and later; the ledger says what that avoided (D11, D15)."""

    async def main() -> ScriptedProvider:
        async with ScriptedProvider(otherwise=Reply(delay=0.05)) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path, cache="auto"), providers=[provider]) as session:
                await outcomes(session, ["print(1)"] * 20)
                await outcomes(session, ["print(1)"] * 5)
                (found,) = session.stats()
                assert (found.calls, found.ok, found.cost) == (25, 25, provider.billed)
                assert found.avoided == 24 * provider.billed
                assert {(s.group["source"], s.calls) for s in session.stats(by=["source"])} == {
                    ("live", 1),
                    ("shared", 19),
                    ("cache", 5),
                }
        return provider

    assert len(asyncio.run(main()).requests) == 1


def test_the_store_was_away_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was billed while another process held the store is in the ledger when the session has closed."""
    monkeypatch.setattr(database, "BUSY", 0.1)
    with served() as (provider, url), Session(settings_in(tmp_path), providers=[At(url)]) as session:
        session.run("print(1)", model="claude@scripted")
        with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            session.run("print(2)", model="claude@scripted")
    assert settled(tmp_path) == provider.billed
    assert {row["id"] for row in rows(tmp_path)} == {billed.attempt_id for billed in provider.bill}


def test_names_of_offers(tmp_path: Path) -> None:
    """A model that the provider has not is an error with the nearest one."""
    nobody = At("http://127.0.0.1:9")
    with Session(settings_in(tmp_path), providers=[nobody]) as session, pytest.raises(UnknownName) as caught:
        session.run("1", model="claud@scripted")
    assert "claude" in caught.value.hint


# --- killed at any moment -------------------------------------------------------------------------


@contextlib.contextmanager
def served() -> Iterator[tuple[ScriptedProvider, str]]:
    """A provider that lives on a thread of its own."""
    loop = asyncio.new_event_loop()
    provider = ScriptedProvider()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result(10)
        yield provider, provider.endpoint().base_url
    finally:
        asyncio.run_coroutine_threadsafe(provider.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("round", range(ROUNDS))
def test_killed_at_a_random_moment(tmp_path: Path, round: int) -> None:
    """Whenever the process is killed, each call that was billed is in its ledger, what is settled is what was billed,
    and the file is whole."""
    source = random.Random(round)
    with served() as (provider, url):
        command = [sys.executable, "-c", KILLED, str(tmp_path), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(source.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        bill = {billed.attempt_id: billed.cost for billed in provider.bill}

    if not (tmp_path / "store.sqlite").exists():
        assert not bill
        return
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if connection.execute("PRAGMA user_version").fetchone() == (0,):  # it was about to be made
            assert not bill
            return
    noted = {row["id"]: row for row in rows(tmp_path)}
    assert set(bill) <= set(noted)
    for id, row in noted.items():
        if row["state"] == "settled":
            assert Decimal(row["billed"]) / 10**9 == bill.get(id, 0)
        else:
            assert bill.get(id, Decimal(0)) <= Decimal(row["held"]) / 10**9


def test_the_offer_is_public() -> None:
    """What a provider offers is a plain value that says its own name."""
    offer: Offer = ScriptedProvider(name="somebody").offer("claude")
    assert str(offer) == "claude@somebody"
