"""Trying again: what is repeated and what never, how long is waited, and that there is an end to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.retry import ONCE, WAITING, Retry, RetryBudget, RetryPolicy
from ipy_codeinterp.dialects import messages, retry_after
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.retry_after import Advice
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    DeadlineExceeded,
    GatewayLost,
    InterpError,
    InvalidInput,
    NotAllowed,
    Overloaded,
    QuotaExceeded,
    Rejected,
    Unreachable,
)
from ipy_codeinterp.execution import Event, Execution, Notice, Phase, Restarted, Result, Stream

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MAY_RUN_TWICE = RetryPolicy(may_run_twice=True)


@dataclass
class Bench:
    """A Retry on a clock that only its own sleeping moves, over a provider that fails as it is told."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    jitter: Callable[[], float] = lambda: 1.0
    now: float = 1000.0
    sleeps: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    attempts: int = 0

    def __post_init__(self) -> None:
        self.retry = Retry(self.policy, clock=lambda: self.now, sleep=self._sleep, random=self.jitter)

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    def run(self, *errors: InterpError, shows: Iterable[Event] = (), left: float | None = None, **how: Any) -> Result:
        """One call, whose attempts fail so, in turn, after having shown something; the one after them succeeds."""
        ahead = iter(errors)

        async def handler(run: Run) -> Result:
            run.attempts += 1
            self.attempts += 1
            for event in shows:
                await run.emit(event)
            for error in ahead:
                raise error
            return run.result("ok")

        return asyncio.run(self.retry(self.a_run(left, **how), handler))

    def a_run(self, left: float | None = None, **how: Any) -> Run:
        deadline = None if left is None else self.now + left
        return Run(Execution("x", **how), catalog.find("claude"), self.emit, deadline=deadline)


def overloaded(**facts: Any) -> Overloaded:
    return Overloaded("busy", **facts)


def for_ever(**facts: Any) -> list[InterpError]:
    return [overloaded(**facts) for _ in range(50)]


# --- what is repeated -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(overloaded(status=429), id="asked to come back"),
        pytest.param(overloaded(status=529, should_retry=True), id="and told to"),
        pytest.param(Unreachable("no connection"), id="no connection"),
        pytest.param(Rejected("conflict", status=409, should_retry=True), id="not transient, but told to"),
    ],
)
def test_repeated(error: InterpError) -> None:
    """What is transient, or should be tried again by the provider's own word, is tried again (D17)."""
    bench = Bench()

    assert bench.run(error).ok
    assert bench.attempts == 2


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(AuthenticationFailed("no", status=401), id="401"),
        pytest.param(Rejected("no", status=400), id="400"),
        pytest.param(QuotaExceeded("no credit", status=429), id="quota"),
        pytest.param(QuotaExceeded("no credit", status=429, should_retry=True, retry_after=1.0), id="quota, told to"),
        pytest.param(BadReply("no reply at all"), id="not the format"),
        pytest.param(BadReply("half", may_have_run=True, should_retry=False), id="a reply that broke off, told not to"),
        pytest.param(overloaded(should_retry=False), id="told not to"),
        pytest.param(NotAllowed("no"), id="not allowed"),
    ],
)
def test_never_repeated(error: InterpError) -> None:
    """What waiting does not mend is raised at once, with the hint that it had, and nothing is slept (D49, D50)."""
    bench = Bench(MAY_RUN_TWICE)

    with pytest.raises(InterpError) as caught:
        bench.run(error)

    assert caught.value is error
    assert (bench.attempts, bench.sleeps, bench.events, error.hint) == (1, [], [], "")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Unreachable("lost", may_have_run=True),
        lambda: overloaded(status=504, may_have_run=True),
        lambda: overloaded(status=504, may_have_run=True, should_retry=True),
        lambda: GatewayLost("died"),
        lambda: BadReply("half a reply", may_have_run=True),
    ],
    ids=["lost", "504", "told to", "gateway", "broke off"],
)
def test_may_have_run(make: Callable[[], InterpError]) -> None:
    """What may have run is repeated only where the user allows it to run twice (D18)."""
    careful, bold = Bench(), Bench(MAY_RUN_TWICE)

    with pytest.raises(InterpError) as caught:
        careful.run(make())

    assert careful.attempts == 1
    assert "may have run" in caught.value.hint
    assert bold.run(make()).ok
    assert bold.attempts == 2


def test_lost_container() -> None:
    """A container that died with its gateway is not silently made anew by a repeat, whatever is allowed."""
    bench = Bench(MAY_RUN_TWICE)

    with pytest.raises(GatewayLost):
        bench.run(GatewayLost("died"), container="mine")

    assert bench.attempts == 1


def test_cancelled() -> None:
    """An interrupt ends the call, also between two attempts."""

    async def main() -> None:
        asleep = asyncio.Event()

        async def sleep(_: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        async def handler(run: Run) -> Result:
            raise overloaded()

        running = asyncio.ensure_future(Retry(sleep=sleep)(Bench().a_run(), handler))
        await asleep.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


# --- how long is waited ---------------------------------------------------------------------------


def test_full_jitter() -> None:
    """Each wait is a random part of a doubling, bounded whole, so that callers do not return together (D16)."""
    least = Bench(RetryPolicy(attempts=8, most=5.0), jitter=lambda: 0.0)
    most = Bench(RetryPolicy(attempts=8, most=5.0), jitter=lambda: 1.0)
    for bench in (least, most):
        assert bench.run(*for_ever()[:7]).ok

    assert least.sleeps == [0.0] * 7
    assert most.sleeps == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_retry_after_is_the_floor() -> None:
    """What the provider asks for is the least that is waited, and the jitter comes on top of it (D16)."""
    jitter = itertools.cycle([0.0, 0.5, 1.0])
    bench = Bench(jitter=lambda: next(jitter))

    bench.run(*for_ever(retry_after=7.0)[:3])

    assert bench.sleeps == [7.0, 7.5, 9.0]


def test_no_sleep_after_the_last() -> None:
    """Where no attempt is left nothing is slept, and the hint says how often it was tried (D16)."""
    bench = Bench(RetryPolicy(attempts=3))

    with pytest.raises(Overloaded) as caught:
        bench.run(*for_ever())

    assert (bench.attempts, len(bench.sleeps)) == (3, 2)
    assert "given up after 3 attempts" in caught.value.hint


def test_once() -> None:
    """A policy of one attempt repeats nothing, and says nothing about it."""
    bench = Bench(ONCE)

    with pytest.raises(Overloaded) as caught:
        bench.run(*for_ever())

    assert (bench.attempts, caught.value.hint) == (1, "")


def test_longest_wait() -> None:
    """A provider that asks for hours is not obeyed: it fails at once and the hint names the time."""
    bench = Bench()

    with pytest.raises(Overloaded) as caught:
        bench.run(overloaded(retry_after=4_294_967.0, hint="slow down"))

    assert (bench.attempts, bench.sleeps) == (1, [])
    assert caught.value.hint == "slow down; it asks to come back in 4294967 s, and the longest wait is 60 s"


def test_wait_past_the_deadline() -> None:
    """A wait that would end after the deadline is not begun: it fails at once and the hint names both times."""
    bench = Bench(jitter=lambda: 0.0)

    with pytest.raises(Overloaded) as caught:
        bench.run(overloaded(retry_after=20.0), left=10.0)

    assert (bench.attempts, bench.sleeps) == (1, [])
    assert "in 20.0 s, and the call has 10.0 s left" in caught.value.hint


def test_never_past_the_deadline() -> None:
    """However many attempts are left, the last one begins before the deadline (D16, D19)."""
    bench = Bench(RetryPolicy(attempts=50, most=4.0))
    start = bench.now

    with pytest.raises(Overloaded):
        bench.run(*for_ever(), left=20.0)

    assert 16.0 <= bench.now - start < 20.0


def test_deadline_is_over() -> None:
    """A call that comes after its deadline sends nothing."""
    bench = Bench()

    with pytest.raises(DeadlineExceeded, match="before anything was sent"):
        bench.run(left=0.0)

    assert bench.attempts == 0


def test_deadline_under_way() -> None:
    """An attempt that is under way at the deadline is cancelled, and the error says that it had been made (D19)."""
    ended = []

    async def handler(run: Run) -> Result:
        run.attempts += 1
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(run)
        raise AssertionError

    bench = Bench()
    with pytest.raises(DeadlineExceeded, match="after 1 of its attempts"):
        asyncio.run(bench.retry(bench.a_run(left=0.01), handler))
    assert len(ended) == 1


def test_timeout_of_another() -> None:
    """A timeout that is not the deadline's is not taken for it."""

    async def handler(run: Run) -> Result:
        raise TimeoutError("another's")

    bench = Bench()
    with pytest.raises(TimeoutError, match="another's"):
        asyncio.run(bench.retry(bench.a_run(left=60.0), handler))


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first": -1.0}, {"window": 0.0}], ids=str)
def test_impossible_policy(wrong: dict[str, Any]) -> None:
    """A policy that means nothing cannot be made."""
    with pytest.raises(InvalidInput):
        RetryPolicy(**wrong)


# --- the share of all calls -----------------------------------------------------------------------


def test_budget() -> None:
    """A provider that fails always gets a tenth more requests than there are calls, and not four times as many."""
    bench = Bench(RetryPolicy(first=0.0))

    for _ in range(1000):
        with contextlib.suppress(Overloaded):
            bench.run(*for_ever())

    assert bench.attempts == 1000 + 100 + bench.policy.spare


def test_one_call_alone() -> None:
    """Whoever calls once may try again as often as the policy says, for there is something to spare."""
    bench = Bench(RetryPolicy(attempts=8, first=0.0))

    assert bench.run(*for_ever()[:7]).ok


def test_over_budget() -> None:
    """The hint of a call that the share keeps from trying again says so."""
    bench = Bench(RetryPolicy(budget=0.0, spare=0))

    with pytest.raises(Overloaded) as caught:
        bench.run(*for_ever())

    assert "too many of the last calls to local were repeats" in caught.value.hint
    assert bench.sleeps == []


def test_budget_comes_back() -> None:
    """What was repeated long ago is not held against anybody, and what went well long ago saves nothing up."""
    now = 0.0
    policy = RetryPolicy(budget=0.5, spare=1, window=10.0)
    budget = RetryBudget(policy, lambda: now)
    assert [budget.take(), budget.take()] == [True, False]
    now = 100.0
    assert budget.take()
    for _ in range(1000):
        budget.note_call()
    now = 300.0
    assert [budget.take(), budget.take()] == [True, False]


# --- what is told, and what the next attempt begins with ------------------------------------------


def test_waiting_is_told() -> None:
    """Where nothing was shown yet, the user sees that it waits."""
    bench = Bench()

    bench.run(overloaded(), shows=[Phase("queued"), Notice("a word")])

    assert bench.events[:3] == [Phase("queued"), Notice("a word"), WAITING]


def test_restart_is_told() -> None:
    """Where something was shown, it is said why it no longer counts, once for each attempt."""
    bench = Bench(MAY_RUN_TWICE)
    lost = [Unreachable("lost", may_have_run=True), Unreachable("again", may_have_run=True)]

    bench.run(*lost, shows=[Stream("stdout", "1")])

    shown = Stream("stdout", "1")
    assert bench.events == [shown, Restarted("lost"), shown, Restarted("again"), shown]


@pytest.mark.parametrize("container", [None, "mine"])
def test_begins_anew(container: str | None) -> None:
    """The next attempt knows nothing of what the last one said, but goes to the container that it was given."""
    seen: list[tuple[Any, str | None]] = []

    async def handler(run: Run) -> Result:
        seen.append((run.decoder, run.container_id))
        if len(seen) == 1:
            run.decoder = messages.Decoder(Ask(Execution("x"), "claude", 1))
            list(run.decoder.feed({"type": "ipy_codeinterp.start", "container": "c_1"}))
            raise Unreachable("lost", may_have_run=True)
        return run.result("ok")

    bench = Bench(MAY_RUN_TWICE)
    asyncio.run(bench.retry(bench.a_run(container=container), handler))

    assert seen == [(None, None), (None, "c_1" if container else None)]


def test_leaves_the_run_as_it_was() -> None:
    """Whoever is outside emits to the same place before and after."""

    async def main() -> None:
        bench = Bench()
        run = bench.a_run()
        handler: Handler = lambda run: _ok(run)  # noqa: E731
        await bench.retry(run, handler)
        assert run.emit == bench.emit

    asyncio.run(main())


async def _ok(run: Run) -> Result:
    return run.result("ok")


# --- what the headers say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "advice"),
    [
        ({}, Advice()),
        ({"Retry-After": "7"}, Advice(7.0)),
        ({"retry-after": " 1.5 "}, Advice(1.5)),
        ({"retry-after-ms": "250", "retry-after": "7"}, Advice(0.25)),
        ({"retry-after-ms": "soon", "retry-after": "7"}, Advice(7.0)),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:30 GMT"}, Advice(30.0)),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:30 -0000"}, Advice(30.0)),
        ({"Retry-After": "Thu, 01 Jan 2026 14:00:30 +0200"}, Advice(30.0)),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:00 GMT"}, Advice(0.0)),
        *[({"Retry-After": said}, Advice()) for said in ("", "-1", "nan", "inf", "1e999", "later", "32 Foo 2026")],
        ({"x-should-retry": "true"}, Advice(should_retry=True)),
        ({"X-Should-Retry": "False", "retry-after": "0"}, Advice(0.0, False)),
        ({"x-should-retry": "perhaps"}, Advice()),
    ],
    ids=str,
)
def test_headers(headers: dict[str, str], advice: Advice) -> None:
    """Seconds, milliseconds and dates are all read, the word of the provider too, and nonsense is nothing (D16)."""
    assert retry_after.read(headers, NOON) == advice


def test_date_is_told_from_now() -> None:
    """A date is so many seconds from now, and not from when it was written."""
    headers = {"Retry-After": "Thu, 01 Jan 2026 12:00:30 GMT"}

    assert retry_after.read(headers, NOON + timedelta(seconds=20)).retry_after == 10.0


@pytest.mark.parametrize(
    ("status", "error", "expected", "may_have_run"),
    [
        *[(status, {}, Overloaded, False) for status in (408, 409, 425, 429, 500, 502, 503, 529)],
        *[(status, {}, Overloaded, True) for status in (504, 524)],
        (402, {}, QuotaExceeded, False),
        (400, {"type": "billing_error"}, QuotaExceeded, False),
        (429, {"type": "rate_limit_error"}, Overloaded, False),
        (429, {"type": "insufficient_quota"}, QuotaExceeded, False),
        (429, {"type": "requests", "code": "insufficient_quota"}, QuotaExceeded, False),
        (
            429,
            {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}},
            QuotaExceeded,
            False,
        ),
        (429, {"type": "rate_limit_error", "details": "x", "message": "insufficient_quota"}, Overloaded, False),
        (422, {}, Rejected, False),
    ],
)
def test_statuses(status: int, error: dict[str, Any], expected: type[InterpError], may_have_run: bool) -> None:
    """A status, or the name of the error, says what it is; its words never do (D17, D49)."""
    found = messages.error_of({"error": error}, status, advice=Advice(2.0, False))

    assert type(found) is expected
    assert (found.retry_after, found.should_retry, found.may_have_run) == (2.0, False, may_have_run)
