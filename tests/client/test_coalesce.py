"""Coalescing: equal executions in flight are one passage, and nobody's leaving takes another one along."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.catalog import Price
from ipy_codeinterp.client.cache import Sharing
from ipy_codeinterp.client.chain import Run, nobody
from ipy_codeinterp.client.coalesce import AHEAD, LINGER, Coalesce
from ipy_codeinterp.errors import DeadlineExceeded, Overloaded
from ipy_codeinterp.execution import Cost, Event, Execution, Outcome, Result, Stream

from .provider import Provider, lab, runs

PRICED = replace(catalog.find("claude"), price=Price(Decimal(3), Decimal(15), "a list", date(2026, 1, 1)))


@dataclass
class Upstream:
    """What follows in the chain, in the test's own hands: `say`, then `end` or `fail`."""

    calls: list[Run] = field(default_factory=list)
    cancelled: int = 0
    cleaned_up: int = 0
    ending: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def __call__(self, run: Run) -> Result:
        self.calls.append(run)
        run.attempts += 1
        ending = self.ending
        try:
            outcome = await asyncio.shield(ending)
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(0)  # a transport has things to close
            self.cleaned_up += 1
            raise
        return run.result(outcome, cost=Cost(Decimal("0.01")))

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.calls[-1].emit(Stream("stdout", text))


@dataclass
class Caller:
    """Somebody who asks, and what they are told."""

    coalesce: Coalesce
    upstream: Upstream
    code: str = "x"
    how: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    task: asyncio.Task[Result] = None  # type: ignore[assignment]

    async def starts(self) -> Caller:
        run = Run(Execution(self.code), PRICED, self.hears, **self.how)
        self.task = asyncio.create_task(self.coalesce(run, self.upstream))
        await settled()
        return self

    async def hears(self, event: Event) -> None:
        if isinstance(event, Stream):
            self.told.append(event.text)

    async def leaves(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def settled() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


Ask = Callable[..., Caller]


def flying(body: Callable[[Upstream, Ask], Any], *, linger: float = 0) -> None:
    """Run `body` with an upstream, and a way to ask it."""

    async def main() -> None:
        upstream, coalesce = Upstream(), Coalesce(Sharing("auto"), linger=linger)

        def ask(code: str = "x", **how: Any) -> Caller:
            return Caller(coalesce, upstream, code, how)

        await body(upstream, ask)

    asyncio.run(main())


def test_one_passage() -> None:
    """D15: of equal calls in flight one is sent; one Result carries the cost, the others say what they avoided."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        callers = [await ask().starts() for _ in range(20)]
        upstream.ending.set_result("ok")
        first, *others = [await caller.task for caller in callers]

        assert len(upstream.calls) == 1
        assert (first.source, first.cost, first.attempts) == ("live", Cost(Decimal("0.01")), 1)
        assert {result.source for result in others} == {"shared"}
        assert {(r.cost.billed, r.cost.avoided, r.attempts) for r in others} == {(Decimal(0), Decimal("0.01"), 0)}
        assert len({result.id for result in [first, *others]}) == 20

    flying(body)


def test_told_from_the_beginning() -> None:
    """Whoever comes late is told what the others were told, from the first event on."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        early = await ask().starts()
        await upstream.say("a", "b")
        late = await ask().starts()
        assert late.told == ["a", "b"]
        await upstream.say("c")
        upstream.ending.set_result("ok")
        await asyncio.gather(early.task, late.task)

        assert early.told == late.told == ["a", "b", "c"]

    flying(body)


def test_the_first_is_interrupted() -> None:
    """When the first caller leaves, the work goes on, and the next in line is the one who pays."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        callers = [await ask().starts() for _ in range(3)]
        await upstream.say("a")
        await callers[0].leaves()
        assert not upstream.cancelled
        upstream.ending.set_result("ok")
        second, third = [await caller.task for caller in callers[1:]]

        assert (second.source, second.cost.billed) == ("live", Decimal("0.01"))
        assert (third.source, third.cost.billed) == ("shared", Decimal(0))
        assert len(upstream.calls) == 1

    flying(body)


def test_a_follower_is_interrupted() -> None:
    """When a follower leaves nobody else notices."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        first, follower = await ask().starts(), await ask().starts()
        await follower.leaves()
        upstream.ending.set_result("ok")

        assert (await first.task).source == "live"

    flying(body)


def test_all_are_interrupted() -> None:
    """When nobody waits any more the work is cancelled, and has ended before the last one is told."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        callers = [await ask().starts() for _ in range(3)]
        for caller in callers:
            assert not upstream.cancelled
            await caller.leaves()
        assert (upstream.cancelled, upstream.cleaned_up) == (1, 1)

        next_one = await ask().starts()
        assert len(upstream.calls) == 2  # what was cancelled is nobody's answer
        upstream.ending.set_result("ok")
        assert (await next_one.task).source == "live"

    flying(body)


def test_an_error_is_everyones() -> None:
    """D15: an error is shared by all who wait, and by nobody who comes after."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        callers = [await ask().starts() for _ in range(3)]
        upstream.ending.set_exception(Overloaded("come back later"))
        ended = await asyncio.gather(*[caller.task for caller in callers], return_exceptions=True)
        assert [type(each) for each in ended] == [Overloaded] * 3

        with pytest.raises(Overloaded):
            await (await ask().starts()).task
        assert len(upstream.calls) == 2

    flying(body, linger=LINGER)


@pytest.mark.parametrize(("outcome", "calls"), [("ok", 1), ("error", 2)])
def test_just_ended(outcome: Outcome, calls: int) -> None:
    """D15: who looked into the journal too early finds a good answer that has just ended; a bad one is made again."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        first = await ask().starts()
        await upstream.say("a")
        upstream.ending.set_result(outcome)
        await first.task
        late = await ask().starts()

        assert (await late.task).source == ("shared" if outcome == "ok" else "live")
        assert len(upstream.calls) == calls
        assert late.told == (["a"] if outcome == "ok" else [])

    flying(body, linger=LINGER)


def test_what_is_not_equal() -> None:
    """Other code, and a call that wants no cache, are passages of their own."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        for caller in (ask(), ask("y"), ask(use_cache=False), ask(use_cache=False)):
            await caller.starts()
        upstream.ending.set_result("ok")
        await settled()

        assert [run.execution.body for run in upstream.calls] == ["x", "y", "x", "x"]

    flying(body)


def test_the_first_is_out_of_time() -> None:
    """Where the time of the first caller is over the others are not: the next in line sets out anew, for the rest."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        soon = time.monotonic()
        first, *others = [await caller.starts() for caller in (ask(deadline=soon + 1), ask(deadline=soon + 99), ask())]
        ending, upstream.ending = upstream.ending, asyncio.get_running_loop().create_future()
        await upstream.say("a")
        ending.set_exception(DeadlineExceeded("too late"))
        with pytest.raises(DeadlineExceeded):
            await first.task
        await settled()
        await upstream.say("b")
        upstream.ending.set_result("ok")
        results = [await caller.task for caller in others]

        assert [result.source for result in results] == ["live", "shared"]
        assert len(upstream.calls) == 2
        assert [caller.told for caller in others] == [["a", "b"]] * 2

    flying(body)


@pytest.mark.parametrize("terms", [{"max_cost": Decimal(1)}, {"policy": "cheapest"}, {"critical": True}], ids=str)
def test_other_terms(terms: dict[str, Any]) -> None:
    """What may be refused or sent elsewhere on other terms is a passage of its own."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        for caller in (ask(), ask(**terms), ask(**terms)):
            await caller.starts()
        upstream.ending.set_result("ok")
        await settled()

        assert len(upstream.calls) == 2

    flying(body)


def test_done_by_another_offer() -> None:
    """Where the work went to another offer, every Result names that one."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        callers = [await ask().starts() for _ in range(2)]
        upstream.calls[0].offer = replace(PRICED, provider="elsewhere")
        upstream.ending.set_result("ok")

        assert [(await caller.task).offer for caller in callers] == ["claude@elsewhere"] * 2

    flying(body)


def test_a_flood_is_stopped() -> None:
    """A program that says more than anybody takes waits; it goes on when somebody does."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        caller, may_go_on = ask(), asyncio.Event()
        hears = caller.hears

        async def hears_slowly(event: Event) -> None:
            await may_go_on.wait()
            await hears(event)

        caller.hears = hears_slowly  # type: ignore[method-assign]
        await caller.starts()
        flood = asyncio.create_task(upstream.say(*["a"] * (2 * AHEAD)))
        await settled()
        assert not flood.done()
        may_go_on.set()
        await flood
        upstream.ending.set_result("ok")
        await caller.task
        assert caller.told == ["a"] * (2 * AHEAD)

    flying(body)


def test_who_hears_nothing_holds_nobody_up() -> None:
    """A flight does not wait for listeners while somebody waits for its end alone, and who joins late is told all."""

    async def body(upstream: Upstream, ask: Ask) -> None:
        deaf, stuck = ask(), ask()
        deaf.hears, stuck.hears = nobody, never  # type: ignore[method-assign]
        await stuck.starts()
        flood = asyncio.create_task(upstream.say(*["a"] * (2 * AHEAD)))
        await settled()
        assert not flood.done()
        await deaf.starts()
        assert flood.done()
        await deaf.leaves()
        flood = asyncio.create_task(upstream.say(*["b"] * (2 * AHEAD)))
        await settled()
        assert not flood.done()
        late = await ask().starts()
        await flood
        upstream.ending.set_result("ok")
        assert (await late.task).outcome == "ok"
        assert late.told == ["a"] * (2 * AHEAD) + ["b"] * (2 * AHEAD)
        await stuck.leaves()

    flying(body)


async def never(_: Event) -> None:
    await asyncio.Event().wait()


def test_a_thousand(tmp_path: Path) -> None:
    """D15: of 1,000 equal calls through the whole client one reaches the provider; the first is interrupted, and all
    others get their Result, one of which carries the cost."""

    async def main() -> None:
        may_end = asyncio.Event()
        provider = Provider(runs(Stream("stdout", "1\n"), until=may_end))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            calls = [asyncio.create_task(bench.client.execute(Execution("x"), PRICED, ignore)) for _ in range(1000)]
            await provider.has(1)
            calls[0].cancel()
            await asyncio.wait([calls[0]])
            may_end.set()
            results = await asyncio.gather(*calls[1:])

            assert len(provider.requests) == len(bench.attempts) == 1
            assert {result.stdout for result in results} == {"1\n"}
            assert sum(result.source == "live" for result in results) == 1
            assert sum(result.cost.billed or 0 for result in results) == bench.attempts[0].cost.billed
            kept = bench.kept()
            assert (len(kept), sum(result.outcome == "cancelled" for result in kept)) == (1000, 1)

    asyncio.run(main())


async def ignore(_: Event) -> None:
    pass
