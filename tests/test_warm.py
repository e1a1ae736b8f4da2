"""Keeping warm: what it will cost is known before, what it costs is in the ledger, and it ends by itself."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
from collections.abc import Awaitable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import ipy_codeinterp.__main__ as shell
from ipy_codeinterp import catalog, warm
from ipy_codeinterp.errors import InterpError, InvalidInput, NotAllowed, OverBudget, Overloaded, Rejected
from ipy_codeinterp.execution import Cost, Result
from ipy_codeinterp.session import Session
from ipy_codeinterp.testing import ColdStart, Reply, ScriptedProvider

from .desks import BareDesk
from .test_engine import rows, settings_in, settled

OFFER = ScriptedProvider().offer()
HOUR, IDLE = 3600.0, 300.0  # seconds; after the second without a call it is cold


# --- the plan -------------------------------------------------------------------------------------


def test_the_plan() -> None:
    """D59: the first call is now, the others an interval after each other, none at the end; the sums are theirs."""
    planned = warm.plan(OFFER, every=300.0, duration=HOUR)

    assert [call.at for call in planned.calls] == [300.0 * n for n in range(12)]
    assert planned.worst == 12 * planned.calls[0].worst > planned.expected == 12 * planned.calls[0].expected > 0
    assert str(planned) == "claude@scripted: 12 calls, one every 5m for 1h: about $0.0270, at most $1.5107"
    assert [call.at for call in warm.plan(OFFER).calls] == [0.0]


def test_local_is_free() -> None:
    """A call on this machine costs nothing, and the plan says so."""
    planned = warm.plan(catalog.find("claude"), every=60.0, duration=120.0)

    assert (planned.worst, str(planned)) == (0, "claude@local: 2 calls, one every 1m for 2m: free")


@pytest.mark.parametrize(
    "times", [(300.0, None), (None, 60.0), (300.0, 60.0), (0.0, 60.0), (-1.0, 60.0), (0.001, HOUR), (1.0, float("inf"))]
)
def test_no_plan(times: Any) -> None:
    """What would not end, never begin, or call without a pause is refused."""
    with pytest.raises(InvalidInput):
        warm.plan(OFFER, *times)


# --- cold starts ----------------------------------------------------------------------------------


class Clock:
    """Virtual time for so many `parties`: it jumps to the next thing that is waited for when all of them wait."""

    def __init__(self, parties: int) -> None:
        self.now = 0.0
        self._parties = parties
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        until = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._numbers), until))
        self._jump()
        await until

    async def party(self, work: Awaitable[object]) -> None:
        try:
            await work
        finally:
            self._parties -= 1
            self._jump()

    def _jump(self) -> None:
        if self._waiting and len(self._waiting) >= self._parties:
            self.now, _, until = heapq.heappop(self._waiting)
            until.set_result(None)


class Cold:
    """A script: whoever comes after more than IDLE seconds without a call waits 3 to 8 s for it to start."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock, self._random = clock, random.Random(seed)
        self._last = -HOUR
        self.starts: list[float] = []

    def __call__(self, number: int, body: Any) -> Reply | ColdStart:
        idle, self._last = self._clock.now - self._last, self._clock.now
        if idle <= IDLE:
            return Reply()
        self.starts.append(self._clock.now)
        return ColdStart(self._random.uniform(3, 8))


def an_hour(folder: Path, seed: int, *, warmed: bool) -> tuple[Cold, Decimal, warm.Warming, list[float]]:
    """Six calls of a user in an hour, far apart: the script, the bill, the warming, the seconds each call took."""
    clock = Clock(2 if warmed else 1)
    script, source, took = Cold(clock, seed), random.Random(seed), list[float]()

    async def user(session: Session) -> None:
        for _ in range(6):
            await clock.sleep(source.uniform(310, 580))
            began = clock.now
            await session.execute(f"print({began})", model="claude@scripted")
            took.append(clock.now - began)

    async def main() -> tuple[Cold, Decimal, warm.Warming, list[float]]:
        async with ScriptedProvider(script, clock=clock.time, sleep=clock.sleep) as provider:
            warming = warm.Warming(warm.plan(provider.offer(), every=IDLE, duration=HOUR))
            async with Session(settings_in(folder), providers=[provider]) as session:
                work: list[Awaitable[object]] = [user(session)]
                if warmed:
                    work.append(warm.keep_warm(session.execute, warming, clock=clock.time, sleep=clock.sleep))
                await asyncio.gather(*map(clock.party, work))
                session.flush()
            return script, provider.billed, warming, took

    return asyncio.run(main())


@pytest.mark.parametrize("seed", range(3))
def test_warmed_calls_meet_no_cold_start(tmp_path: Path, seed: int) -> None:
    """D59: only the first warm-up meets a cold start, no call of the user does; without it each would; what it all cost
    is in the ledger, warm-ups by their label."""
    (tmp_path / "cold").mkdir()
    (tmp_path / "warm").mkdir()
    cold, *_, waited = an_hour(tmp_path / "cold", seed, warmed=False)
    assert len(cold.starts) == 6
    assert min(waited) >= 3

    script, billed, warming, took = an_hour(tmp_path / "warm", seed, warmed=True)
    assert script.starts == [0.0]
    assert took == [0.0] * 6
    assert (warming.done, warming.missed) == (12, 0)
    assert settled(tmp_path / "warm") == billed
    own = [row for row in rows(tmp_path / "warm") if json.loads(row["labels"] or "{}") == warm.LABELS]
    assert Decimal(sum(row["billed"] for row in own)) / 10**9 == warming.spent < billed
    assert (len(own), warming.spent < warming.plan.expected) == (12, True)


# --- one call after the other ---------------------------------------------------------------------


def carry_out(answers: list[Any], *, slow: float = 0.0, max_cost: Decimal | None = None) -> tuple[warm.Warming, list]:
    """Four calls, one a minute, to somebody who gives `answers` in turn; also when each was made, and for how much."""
    clock, asked = SimpleNamespace(now=0.0), list[Any]()
    warming = warm.Warming(warm.plan(OFFER, every=60.0, duration=240.0))

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    async def execute(code: str, **how: Any) -> Result:
        asked.append((clock.now, how["max_cost"]))
        clock.now += slow
        answer = answers[len(asked) - 1]
        if isinstance(answer, InterpError):
            raise answer
        return cast(Result, answer)

    work = warm.keep_warm(execute, warming, max_cost=max_cost, clock=lambda: clock.now, sleep=sleep)
    try:
        asyncio.run(work)
    except InterpError as error:
        assert error is warming.error
    return warming, asked


def answered(provider: str = "scripted", cost: str | None = "0.01") -> Result:
    billed = None if cost is None else Decimal(cost)
    return Result("run_1", outcome="ok", provider=provider, model="claude", cost=Cost(billed))


def test_all_together_have_a_budget() -> None:
    """Each call may cost what is left; a cost that nobody knows counts at its worst."""
    worst = warm.plan(OFFER).worst
    warming, asked = carry_out([answered(cost=None), *[answered()] * 3], max_cost=Decimal(1))

    assert [left for _, left in asked] == [1, 1 - worst, 1 - worst - Decimal("0.01"), 1 - worst - Decimal("0.02")]
    assert warming.spent == worst + Decimal("0.03")


def test_what_passes_and_what_does_not() -> None:
    """A busy provider costs one call, what no waiting mends ends it all, and says so (D50)."""
    warming, asked = carry_out([Overloaded("busy"), answered(), Rejected("no")])

    assert [at for at, _ in asked] == [0.0, 60.0, 120.0]
    assert (warming.done, warming.missed) == (1, 2)
    assert str(warming).endswith("1 of 4 calls, 2 missed, $0.0100; ended by Rejected: no")


def test_late_calls_are_left_out() -> None:
    """Where a call takes longer than the interval, those it covered are not made up for: no burst, and no drift."""
    warming, asked = carry_out([answered()] * 4, slow=130.0)

    assert [at for at, _ in asked] == [0.0, 130.0]
    assert (warming.done, warming.missed) == (2, 2)


def test_another_answers() -> None:
    """A call that a fallback answered warmed somebody else: it is paid for, and missed."""
    warming, _ = carry_out([answered("other"), *[answered()] * 3])

    assert (warming.done, warming.missed, warming.spent) == (3, 1, Decimal("0.04"))


# --- in a session ---------------------------------------------------------------------------------


def test_budgets_hold(tmp_path: Path) -> None:
    """A warm-up that could cost more than is left is refused like any other call, before it is sent."""

    async def main() -> ScriptedProvider:
        async with ScriptedProvider() as provider:
            provider.offer()
            async with Session(settings_in(tmp_path, budget=Decimal("0.01")), providers=[provider]) as session:
                with pytest.raises(OverBudget):
                    await warm.keep_warm(session.execute, warm.Warming(warm.plan(session.offer("claude@scripted"))))
        return provider

    assert asyncio.run(main()).requests == []


async def background(folder: Path, *, stop: bool) -> tuple[ScriptedProvider, warm.Warming]:
    async with ScriptedProvider() as provider:
        planned = warm.plan(provider.offer(), every=60.0, duration=HOUR)
        with Session(settings_in(folder), providers=[provider]) as session:
            warming = warm.begin(session, planned)
            while not warming.done:
                await asyncio.sleep(0.005)
            assert warming.is_running
            if stop:
                warming.stop()
                assert not warming.is_running
            await asyncio.to_thread(session.close)
        return provider, warming


@pytest.mark.parametrize("stop", [True, False])
def test_it_ends(tmp_path: Path, stop: bool) -> None:
    """In the background it ends when it is told to, and when its session closes; what it cost stays."""
    provider, warming = asyncio.run(background(tmp_path, stop=stop))

    assert (warming.is_running, warming.done, len(provider.requests)) == (False, 1, 1)
    assert settled(tmp_path) == provider.billed == warming.spent


def test_not_in_a_closed_session(tmp_path: Path) -> None:
    """A session that is closed or replays begins none."""
    session = Session(settings_in(tmp_path))
    session.close()
    with pytest.raises(InterpError, match="closed"):
        warm.begin(session, warm.plan(OFFER))
    with pytest.raises(NotAllowed):
        warm.begin(cast(Session, SimpleNamespace(is_replay=True)), warm.plan(OFFER))


# --- both faces -----------------------------------------------------------------------------------


class Faced:
    """As much of a session as the faces use; a call is answered at once."""

    is_replay = False

    def __init__(self, *_: Any) -> None:
        self.settings = SimpleNamespace(model="claude")
        self.asked: list[str] = []

    def __enter__(self) -> Faced:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def offer(self, name: str | None = None) -> catalog.Offer:
        return catalog.find(name or "claude")

    async def execute(self, code: str, **how: Any) -> Result:
        self.asked.append(how["model"])
        return Result("run_1", outcome="ok", provider="local", model="claude", cost=Cost(Decimal(0)))

    def in_background(self, work: Any) -> Any:
        ran = asyncio.run(_first(work))
        return SimpleNamespace(result=lambda: ran, done=lambda: False, cancel=lambda: None)


async def _first(work: Any) -> None:
    """Let `work` make its first call."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()


def test_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    """The price is said before the first call; `--stop` ends it and says what came of it."""
    session = Faced()
    own = BareDesk(session)

    own.perform("models claude --warm --every 5m --for 1h")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "claude@local: 12 calls, one every 5m for 1h: free"
    assert "claude@local --warm --stop" in second
    assert session.asked == ["claude@local"]

    own.perform("models --warm --stop")
    assert capsys.readouterr().out == "claude@local: 1 of 12 calls, $0.0000\n"
    own.perform("models --warm --stop")
    assert capsys.readouterr().out == "claude@local is not being warmed\n"


def test_the_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The shell takes the same words, and stays until the end."""
    monkeypatch.setattr("ipy_codeinterp.session.Session", Faced)

    assert shell.main(["models", "claude", "--warm"]) == shell.OK
    assert capsys.readouterr().out == "claude@local: one call now: free\nclaude@local: 1 of 1 call, $0.0000\n"
    assert shell.main(["models", "--warm", "--every", "5m"]) == shell.USAGE
    assert shell.main(["models", "--warm", "--every", "5", "--for", "1h"]) == shell.USAGE
    assert shell.main(["models", "--warm", "--max-cost", "much"]) == shell.USAGE
    assert "--max-cost much" in capsys.readouterr().err
