"""Faults on the road: whatever the provider does, a call ends once, in time, and everything billed is in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ipy_codeinterp.client import Client, Policies
from ipy_codeinterp.client.account import Account
from ipy_codeinterp.client.chain import Run, compose
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.client.retry import Retry, RetryPolicy
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.errors import (
    BadReply,
    DeadlineExceeded,
    InterpError,
    Overloaded,
    QuotaExceeded,
    Rejected,
    Unreachable,
)
from ipy_codeinterp.execution import Event, Execution, Restarted, Result, Stream
from ipy_codeinterp.store.database import Database, Then, Work
from ipy_codeinterp.store.ledger import Attempt
from ipy_codeinterp.testing import Action, ColdStart, Fail, Reply, Reset, ScriptedProvider, Stall, Truncate

T = TypeVar("T")
MOMENT = 0.002  # seconds in which what is ready on loopback has come
LATE = 0.01  # seconds that a deadline may be missed by: what a clock cannot tell apart
BUSY = Fail(429, "rate_limit_error", headers={"retry-after": "7"})
NO_CREDIT = Fail(429, "insufficient_quota")


# --- a loop that does not wait --------------------------------------------------------------------


class Impatient(asyncio.SelectorEventLoop):
    """An event loop whose clock goes on to the next timer as soon as nothing happens, and stands still else.

    Minutes pass in milliseconds, and however slow the machine is, work takes no time.
    """

    def __init__(self) -> None:
        self.skipped = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.skipped


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: Impatient) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if not timeout:
            return super().select(timeout)
        ready = super().select(min(timeout, MOMENT))
        self._loop.skipped += 0.0 if ready else timeout
        return ready


def impatiently(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=Impatient) as runner:
        return runner.run(main)


# --- a client at a provider -----------------------------------------------------------------------


class NoStore:
    """A store that is always there and keeps nothing: what is settled is seen on its way."""

    def put(self, work: Work, then: Then = lambda answer, error: None) -> None:
        then({}, None)


@dataclass
class Call:
    """One call: its run, what was shown, what came of it, and how many seconds it took."""

    run: Run
    events: list[Event] = field(default_factory=list)
    ended: Result | BaseException | None = None
    seconds: float = 0.0

    async def emit(self, event: Event) -> None:
        self.events.append(event)


class Bench:
    """Retry, account and transport, on the clock of the running loop."""

    def __init__(self, provider: ScriptedProvider, policy: RetryPolicy, *, ours: bool = False) -> None:
        self.provider = provider
        self.settled: list[Attempt] = []
        self.calls: list[Call] = []
        self._clock = asyncio.get_running_loop().time
        self._ours = ours
        self.transport = Transport(self._connect)
        account = Account(NoStore(), self.settled.append)  # type: ignore[arg-type]
        self._handler = compose([Retry(policy, clock=self._clock), account], self.transport.send)

    async def _connect(self, _: str) -> Endpoint:
        return self.provider.endpoint(ours=self._ours)

    async def call(self, code: str = "x", *, deadline: float | None = None) -> Call:
        """One call from its beginning to its end, whatever that is."""
        began = self._clock()
        call = Call(Run(Execution(code), self.provider.offer(), _nowhere))
        call.run.emit = call.emit
        call.run.deadline = None if deadline is None else began + deadline
        self.calls.append(call)
        try:
            call.ended = await self._handler(call.run)
        except BaseException as error:
            call.ended = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            call.seconds = self._clock() - began
        return call

    @property
    def unsettled(self) -> set[str]:
        """Ids of requests that the provider had and the ledger does not."""
        return {each.attempt_id for each in self.provider.requests} - {attempt.id for attempt in self.settled}


async def _nowhere(_: Event) -> None:
    pass


@contextlib.asynccontextmanager
async def bench(
    script: Iterable[Action] | Callable[..., Action], policy: RetryPolicy | None = None, **how: Any
) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    async with ScriptedProvider(script, clock=loop.time, **how) as provider:
        opened = Bench(provider, policy or RetryPolicy())
        try:
            yield opened
        finally:
            await opened.transport.close()


def called(script: Sequence[Action], policy: RetryPolicy | None = None, **how: Any) -> tuple[Call, Bench]:
    """One call to a provider of that script."""

    async def main() -> tuple[Call, Bench]:
        async with bench(script, policy) as opened:
            return await opened.call(**how), opened

    return impatiently(main())


# --- one fault ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "attempts", "ending"),
    [
        pytest.param(BUSY, 2, Result, id="429"),
        *[pytest.param(Fail(status), 2, Result, id=str(status)) for status in (500, 502, 503, 529)],
        pytest.param(Fail(409, "conflict_error"), 2, Result, id="409"),
        pytest.param(Reply(delay=100.0), 1, Result, id="slow work"),
        pytest.param(Reply(pieces=20, pause=5.0), 1, Result, id="slow body"),
        pytest.param(ColdStart(8.0), 1, Result, id="cold start"),
        pytest.param(Stall(100.0, after_bytes=300), 1, Result, id="stall"),
        pytest.param(NO_CREDIT, 1, QuotaExceeded, id="no credit"),
        pytest.param(Fail(400, "invalid_request_error"), 1, Rejected, id="400"),
        pytest.param(Fail(504, "timeout_error"), 1, Overloaded, id="504"),
        pytest.param(Fail(200), 1, Overloaded, id="error in the stream"),
        pytest.param(Reset(), 1, Unreachable, id="reset"),
        pytest.param(Reset(after_bytes=400), 1, BadReply, id="reset in the reply"),
        pytest.param(Truncate(after_bytes=400), 1, BadReply, id="truncated"),
    ],
)
def test_one_fault(fault: Action, attempts: int, ending: type[object]) -> None:
    """After one fault the call has its Result, or where it may have run already the fault's own error (D17, D18)."""
    call, opened = called([fault])

    assert type(call.ended) is ending
    assert len(opened.provider.requests) == len(opened.settled) == call.run.attempts == attempts


@pytest.mark.parametrize(
    ("fault", "attempts", "ending"),
    [
        pytest.param(Reset(), 2, Result, id="reset"),
        pytest.param(Fail(504, "timeout_error"), 2, Result, id="504"),
        pytest.param(Fail(200), 2, Result, id="error in the stream"),
        pytest.param(Reset(after_bytes=400), 2, Result, id="reset in the reply"),
        pytest.param(Truncate(after_bytes=400), 2, Result, id="truncated"),
    ],
)
def test_allowed_to_run_twice(fault: Action, attempts: int, ending: type[object]) -> None:
    """Who allows it has the code run again, also where a reply broke off (D18)."""
    call, opened = called([fault], RetryPolicy(may_run_twice=True))

    assert type(call.ended) is ending
    assert len(opened.provider.requests) == attempts


def test_an_id_for_each_attempt() -> None:
    """Each attempt tells the provider an id of its own, and the ledger knows it by that (D52)."""
    call, opened = called([BUSY, Fail(), Fail()])

    assert isinstance(call.ended, Result)
    told = [each.attempt_id for each in opened.provider.requests]
    assert told == [attempt.id for attempt in opened.settled]
    assert len(set(told)) == 4


def test_latency_is_the_attempts_own() -> None:
    """What was waited between attempts is no attempt's latency, but part of the call's time (D22)."""
    call, opened = called([BUSY])

    assert call.seconds >= 7.0
    assert sum(attempt.seconds or 0.0 for attempt in opened.settled) < 7.0


@pytest.mark.parametrize("stall", [Stall(10_000.0), Stall(10_000.0, after_bytes=300), Reply(delay=10_000.0)], ids=str)
def test_deadline(stall: Action) -> None:
    """A provider that falls silent is left at the deadline, and what it may have billed is unknown, not 0 (D19)."""
    call, opened = called([stall], deadline=20.0)

    assert isinstance(call.ended, DeadlineExceeded)
    assert 20.0 <= call.seconds < 20.0 + LATE
    (attempt,) = opened.settled
    assert (attempt.outcome, attempt.cost.billed) == ("cancelled", None)
    assert len(opened.provider.bill) == 1


def test_shown_again_is_told() -> None:
    """Where the first attempt had shown something, what it showed is taken back before the next one shows it."""

    async def main() -> Call:
        loop = asyncio.get_running_loop()
        async with ScriptedProvider([Fail(200)], clock=loop.time) as provider:
            opened = Bench(provider, RetryPolicy(may_run_twice=True), ours=True)
            call = await opened.call()
            await opened.transport.close()
            return call

    call = impatiently(main())
    assert isinstance(call.ended, Result)
    shown = [event for event in call.events if isinstance(event, Stream | Restarted)]
    assert shown == [Stream("stdout", "x"), Restarted("says the script"), Stream("stdout", "x")]
    assert call.ended.stdout == "x"


# --- many calls -----------------------------------------------------------------------------------


def test_burst() -> None:
    """Twenty callers, half of them turned away: all get their Result, and nobody comes back before the time (D16)."""

    async def main() -> None:
        async with bench([BUSY] * 10) as opened:
            calls = await asyncio.gather(*[opened.call(str(i)) for i in range(20)])
            assert all(isinstance(call.ended, Result) for call in calls)
            refused, returned = opened.provider.requests[:10], opened.provider.requests[20:]
            first = {each.code: each.at for each in refused}
            assert len(returned) == 10
            assert all(each.at - first[each.code] >= 7.0 for each in returned)

    impatiently(main())


def test_outage() -> None:
    """A provider that fails for everybody gets a tenth more requests than calls, and each call its typed error."""

    async def main() -> None:
        async with bench([], otherwise=Fail(500, "api_error")) as opened:
            calls = await asyncio.gather(*[opened.call() for _ in range(100)])
            assert all(isinstance(call.ended, Overloaded) for call in calls)
            assert len(opened.provider.requests) <= 100 + 10 + RetryPolicy().spare

    impatiently(main())


def test_ledger_and_bill() -> None:
    """What the ledger knows it was billed is what the bill says, to the nano-dollar; the rest of the bill is unknown
    in the ledger and never 0, and what it says was free was not billed."""
    faults = [Reply(), BUSY, Reply(), Reset(), Fail(500), Truncate(), Reset(after_bytes=300), NO_CREDIT, Stall(50.0)]

    async def main() -> None:
        async with bench(lambda number, _: faults[number % len(faults)]) as opened:
            await asyncio.gather(*[opened.call("y" * i, deadline=40.0) for i in range(90)])
            bill = {each.attempt_id: each.cost for each in opened.provider.bill}
            known = {each.id: each.cost.billed for each in opened.settled if each.cost.billed is not None}
            unknown = {each.id for each in opened.settled} - set(known)
            assert {id: cost for id, cost in known.items() if cost} == {
                id: cost for id, cost in bill.items() if id not in unknown
            }
            assert not opened.unsettled
            assert set(bill) <= {each.id for each in opened.settled}

    impatiently(main())


# --- the amplification ----------------------------------------------------------------------------


async def nested_retries(provider: ScriptedProvider, http: aiohttp.ClientSession) -> float:
    """Retries inside a list of fallbacks inside retries; returns the seconds that it would sleep."""
    slept = 0.0
    for _ in range(5):
        for model in ("gpt", "claude", "gpt"):
            for attempt in range(3):
                body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "``\n1\n``"}]}
                async with http.post(f"{provider.endpoint().base_url}/v1/messages", json=body) as response:
                    if response.status == 200:
                        return slept
                slept += 2.0**attempt
    return slept


def test_amplification() -> None:
    """Retries inside retries send 45 requests for one call and sleep 105 s; one owner sends as many as it may (D48)."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ScriptedProvider(otherwise=BUSY, clock=loop.time) as theirs, aiohttp.ClientSession() as http:
            assert await nested_retries(theirs, http) == 105.0
        async with bench([], otherwise=BUSY) as ours:
            call = await ours.call()
        assert len(theirs.requests) == 45
        assert isinstance(call.ended, Overloaded)
        assert len(ours.provider.requests) == RetryPolicy().attempts

    impatiently(main())


# --- in its place in the chain --------------------------------------------------------------------


def test_client_tries_again(tmp_path: Path) -> None:
    """The client that a session makes tries again, and its Result says how often it was tried."""

    async def main() -> None:
        settled: list[Attempt] = []
        database = Database(tmp_path / "s.sqlite", limit=64 << 20)
        async with ScriptedProvider([Fail(headers={"retry-after-ms": "1"})]) as provider:

            async def connect(_: str) -> Endpoint:
                return provider.endpoint()

            client = Client(connect, database, settled.append, policies=Policies(retry=RetryPolicy(first=0.001)))
            result = await client.execute(Execution("x"), provider.offer(), _nowhere)
            await client.close()
            assert (result.stdout, result.attempts, len(settled)) == ("x", 2, 2)
            assert result.cost.billed == provider.billed > Decimal(0)
        await asyncio.to_thread(database.close)

    asyncio.run(main())


# --- everything at once ---------------------------------------------------------------------------

BYTES = st.integers(0, 1500)
SECONDS = st.sampled_from([0.5, 5.0, 50.0, 5000.0])
WAITS = st.sampled_from(["0", "0.2", "9", "100", "nonsense", "Thu, 01 Jan 1970 00:00:00 GMT"])
FAILURES = st.builds(
    lambda status, wait, kind: Fail(status, kind, headers={"retry-after": wait}),
    st.sampled_from([200, 400, 402, 408, 409, 429, 500, 502, 503, 504, 529]),
    WAITS,
    st.sampled_from(["api_error", "rate_limit_error", "insufficient_quota", "of a later year"]),
)
REPLIES = st.builds(Reply, outcome=st.sampled_from(["ok", "error", "limit"]), delay=st.sampled_from([0.0, 3.0]))
SLOW_BODIES = st.builds(Reply, pieces=st.integers(1, 9), pause=SECONDS)
ACTIONS = st.one_of(
    REPLIES,
    SLOW_BODIES,
    FAILURES,
    st.builds(Reset, BYTES, billed=st.booleans()),
    st.builds(Truncate, BYTES),
    st.builds(Stall, SECONDS, BYTES),
    st.builds(ColdStart, SECONDS),
)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 5),
    may_run_twice=st.booleans(),
    spare=st.sampled_from([100, 100, 3, 0]),
    longest_wait=st.sampled_from([60.0, 200.0]),
)


class Faults(RuleBasedStateMachine):
    """Calls, interrupts and a machine that falls asleep, at a provider that does what it likes."""

    @initialize(policy=POLICIES, ours=st.booleans())
    def open(self, policy: RetryPolicy, ours: bool) -> None:
        self.policy = policy
        self.script: list[Action] = []
        self.runner = asyncio.Runner(loop_factory=Impatient)
        self.loop = self.runner.get_loop()
        self.provider = ScriptedProvider(self._action, clock=self.loop.time)
        self.runner.run(self._open(ours))

    async def _open(self, ours: bool) -> None:
        await self.provider.__aenter__()
        self.bench = Bench(self.provider, self.policy, ours=ours)

    def _action(self, *_: object) -> Action:
        return self.script.pop(0) if self.script else Reply()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self._close())
            self.runner.close()

    async def _close(self) -> None:
        await self.bench.transport.close()
        await self.provider.__aexit__()

    @rule(
        actions=st.lists(ACTIONS, max_size=8),
        count=st.integers(1, 4),
        deadline=st.sampled_from([0.0, 1.0, 30.0, 600.0, 600.0]),
    )
    def call(self, actions: list[Action], count: int, deadline: float) -> None:
        self.script += actions

        async def main() -> None:
            calls = await asyncio.gather(*[self.bench.call(deadline=deadline) for _ in range(count)])
            for call in calls:
                assert isinstance(call.ended, Result | InterpError), call.ended
                assert call.seconds <= deadline + LATE

        self.runner.run(main())

    @rule(actions=st.lists(ACTIONS, max_size=4), after=st.sampled_from([0.0, 0.001, 1.0, 10.0]))
    def interrupt(self, actions: list[Action], after: float) -> None:
        self.script += actions

        async def main() -> None:
            running = asyncio.ensure_future(self.bench.call(deadline=600.0))
            await asyncio.wait([running], timeout=after)
            running.cancel()
            await asyncio.wait([running])
            call = self.bench.calls[-1] if running.cancelled() else running.result()
            assert running.cancelled() or isinstance(call.ended, Result | InterpError)

        self.runner.run(main())

    @rule(seconds=SECONDS)
    def the_machine_sleeps(self, seconds: float) -> None:
        self.loop.skipped += seconds  # type: ignore[attr-defined]

    @invariant()
    def everything_is_settled(self) -> None:
        """Each attempt once, each request under its attempt's id, and no call more often than it may."""
        if not hasattr(self, "bench"):
            return
        settled = [attempt.id for attempt in self.bench.settled]
        told = [each.attempt_id for each in self.provider.requests]
        assert len(set(settled)) == len(settled) == sum(call.run.attempts for call in self.bench.calls)
        assert len(set(told)) == len(told)
        assert not self.bench.unsettled
        assert all(call.run.attempts <= self.policy.attempts for call in self.bench.calls)
        assert all(call.run.emit == call.emit for call in self.bench.calls)

    @invariant()
    def nothing_billed_is_free(self) -> None:
        """What the ledger says was free was not billed, and what it says it knows is what the bill says."""
        if not hasattr(self, "bench"):
            return
        bill = {each.attempt_id: each.cost for each in self.provider.bill}
        for attempt in self.bench.settled:
            if attempt.cost.billed is not None:
                assert attempt.cost.billed == bill.get(attempt.id, Decimal(0))


TestFaults = Faults.TestCase
TestFaults.settings = settings(
    max_examples=25,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
