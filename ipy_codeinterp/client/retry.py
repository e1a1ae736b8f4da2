"""Trying again: the one place where a request is repeated, bounded by attempts, by time, and by a share of all calls.

Repeated is what is `transient`, and what the provider says should be (`x-should-retry`; its "no" counts as well).
Never repeated, whoever says so:

    no credit, no quota              waiting does not mend it
    what may have run                a lost connection, a reply without its end, a gateway that died: it could run, and
                                     be billed, twice; only with `may_run_twice`, and then not where a container died
                                     with its gateway
    too long a wait                  past the deadline or `longest_wait`: it fails at once, and the hint names the time

Before attempt n + 1 it waits `retry_after + random() * min(most, first * 2 ** (n - 1))` seconds: what the provider asks
for is the least, and the jitter over the whole of the rest keeps those who failed together from returning together.
It waits outside the limiter, so nobody's slot is held meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ipy_codeinterp.client.chain import Emit, Handler, Run
from ipy_codeinterp.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayLost,
    InterpError,
    InvalidInput,
    ProviderError,
    QuotaExceeded,
)
from ipy_codeinterp.execution import Event, Notice, Partial, Phase, Restarted, Result

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]
WAITING = Phase("waiting")
OURS = (Phase, Notice, Partial)  # no words of the run itself


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is repeated, and how long is waited for it; all durations are seconds.

    `attempts` are the requests one call may make, `first` and `most` bound the jitter before the second and before
    all later ones, and `longest_wait` is the longest that a provider may make us wait. `budget` is the share of a
    provider's calls that may be repeats, and `spare` how many may be beyond it in a `window`: one call alone may
    always try again.
    """

    attempts: int = 4
    first: float = 0.5
    most: float = 30.0
    longest_wait: float = 60.0
    may_run_twice: bool = False
    budget: float = 0.1
    spare: int = 10
    window: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidInput(f"{self.attempts} attempts", hint="1 is the least: the call itself")
        if min(self.first, self.most, self.longest_wait, self.budget, self.spare) < 0 or self.window <= 0:
            raise InvalidInput("a time or a share of a retry policy is below zero", hint="0 turns a wait off")


DEFAULT_RETRY, ONCE = RetryPolicy(), RetryPolicy(attempts=1)


class Retry:
    """Middleware. Raises the last attempt's error, with the reason why there is no other in its hint.

    `DeadlineExceeded` where the call's own deadline is what ended it; an attempt that is under way then is cancelled.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._budgets: dict[str, RetryBudget] = {}

    async def __call__(self, run: Run, handler: Handler) -> Result:
        return await in_time(run, lambda run: self._attempts(run, handler), self._clock)

    async def _attempts(self, run: Run, handler: Handler) -> Result:
        budget, emit, number = self._budget(run.offer.provider), run.emit, 0
        budget.note_call()
        while True:
            number += 1
            run.emit = watch = _Watch(emit)
            try:
                return await handler(run)
            except InterpError as error:
                wait, reason = self._wait(run, error, number, budget), str(error)
            finally:
                run.emit = emit
            await emit(Restarted(reason) if watch.shown else WAITING)
            _forget(run)
            await self._sleep(wait)

    def _budget(self, provider: str) -> RetryBudget:
        if provider not in self._budgets:
            self._budgets[provider] = RetryBudget(self.policy, self._clock)
        return self._budgets[provider]

    def _wait(self, run: Run, error: InterpError, number: int, budget: RetryBudget) -> float:
        """Seconds until the attempt after the `number`th, which failed with `error`. Raises it where there is none."""
        if not (_is_wanted(error) or _is_cut_short(error)):
            raise error
        ceiling = min(self.policy.most, self.policy.first * 2.0 ** min(number - 1, 64))
        wait = (_asked(error) or 0.0) + self._random() * ceiling
        why_not = self._why_not(run, error, number, wait, budget)
        if why_not is None:
            return wait
        error.hint = "; ".join(filter(None, (error.hint, why_not)))
        raise error

    def _why_not(self, run: Run, error: InterpError, number: int, wait: float, budget: RetryBudget) -> str | None:
        """What stands against another attempt, in words for the hint; None if nothing does, and the budget is charged.

        The order is that of what the user can do about it.
        """
        asked, left, policy = _asked(error), self._left(run), self.policy
        if _may_have_run(error) and not (policy.may_run_twice and _can_run_twice(run, error)):
            return "not tried again: it may have run already"
        if number >= policy.attempts:
            return f"given up after {number} attempts" if number > 1 else ""
        if asked is not None and asked > policy.longest_wait:
            return f"it asks to come back in {asked:.0f} s, and the longest wait is {policy.longest_wait:g} s"
        if wait >= left:
            return f"the next attempt could be in {wait:.1f} s, and the call has {max(left, 0.0):.1f} s left"
        if not budget.take():
            return f"not tried again: too many of the last calls to {run.offer.provider} were repeats"
        return None

    def _left(self, run: Run) -> float:
        return math.inf if run.deadline is None else run.deadline - self._clock()


async def in_time(run: Run, handler: Handler, clock: Clock = time.monotonic) -> Result:
    """Middleware: `handler` is cancelled at the run's deadline, and `DeadlineExceeded` raised in its place."""
    if run.deadline is None:
        return await handler(run)
    left = run.deadline - clock()
    if left <= 0:
        raise _too_late(run)
    limit = asyncio.timeout(left)
    try:
        async with limit:
            return await handler(run)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise _too_late(run) from error


class RetryBudget:
    """Repeats as a share of calls, so that a provider that fails is not asked several times as often as one that works.

    Both counts fade with the time constant `window`: what is long past neither saves up nor is held against anybody.
    """

    def __init__(self, policy: RetryPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._calls = self._repeats = 0.0
        self._faded = clock()

    def note_call(self) -> None:
        self._fade()
        self._calls += 1

    def take(self) -> bool:
        """Whether there may be one more repeat; it is counted then."""
        self._fade()
        share = self._policy.spare + self._policy.budget * self._calls
        allowed = self._repeats + 0.5 < share  # to the nearest whole: what fades never quite ends
        self._repeats += allowed
        return allowed

    def _fade(self) -> None:
        now = self._clock()
        kept = math.exp((self._faded - now) / self._policy.window)
        self._calls, self._repeats, self._faded = self._calls * kept, self._repeats * kept, now


class _Watch:
    """Passes events on, and knows whether there was one that the user sees as the run's own."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.shown = False

    def __call__(self, event: Event) -> Awaitable[None]:
        self.shown = self.shown or not isinstance(event, OURS)
        return self._emit(event)


def _is_wanted(error: InterpError) -> bool:
    if isinstance(error, QuotaExceeded):
        return False
    said = error.should_retry if isinstance(error, ProviderError) else None
    return error.transient if said is None else said


def _is_cut_short(error: InterpError) -> bool:
    """Whether a reply began and has no good end."""
    return isinstance(error, BadReply) and error.may_have_run and error.should_retry is not False


def _asked(error: InterpError) -> float | None:
    return error.retry_after if isinstance(error, ProviderError) else None


def _may_have_run(error: InterpError) -> bool:
    return error.may_have_run if isinstance(error, ProviderError) else isinstance(error, GatewayLost)


def _can_run_twice(run: Run, error: InterpError) -> bool:
    return not (isinstance(error, GatewayLost) and run.execution.container)


def _forget(run: Run) -> None:
    """The next attempt begins without what the last one had said, but in the container that it was given."""
    if run.decoder and run.execution.container:
        run.container_id = run.decoder.container or run.container_id
    run.decoder = None


def _too_late(run: Run) -> DeadlineExceeded:
    made = f"after {run.attempts} of its attempts" if run.attempts else "before anything was sent"
    return DeadlineExceeded(f"the time for the whole call ended {made}", hint="allow the call more time")
