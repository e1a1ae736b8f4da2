"""Keeping an interpreter warm: tiny calls at their times, with the price told first, and an end of their own.

Each is a call like any other: budgets and limits hold, and it is in the ledger, labelled `warmup=yes`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from ipy_codeinterp import settings
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.errors import InterpError, InvalidInput, NotAllowed
from ipy_codeinterp.execution import Event, Execution, Result, Usage
from ipy_codeinterp.store import stats

if TYPE_CHECKING:
    from ipy_codeinterp.session import Session

CODE = "pass"
LABELS = {"warmup": "yes"}
TYPICAL = Usage(500, 50, estimated=True)  # tokens of a call that says next to nothing
MOST_CALLS = 10_000

Execute = Callable[..., Awaitable[Result]]
Sleep = Callable[[float], Awaitable[object]]


# --- what it will be ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One call, `at` seconds from the begin; USD that it should cost, and that it costs at worst."""

    at: float
    expected: Decimal
    worst: Decimal


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls to one offer. `every` is the seconds between them; None is one call, now."""

    offer: str
    calls: tuple[Call, ...]
    every: float | None = None
    duration: float | None = None

    @property
    def expected(self) -> Decimal:
        return sum((call.expected for call in self.calls), Decimal(0))

    @property
    def worst(self) -> Decimal:
        return sum((call.worst for call in self.calls), Decimal(0))

    def __str__(self) -> str:
        price = f"about ${self.expected:.4f}, at most ${self.worst:.4f}" if self.worst else "free"
        if self.every is None or self.duration is None:
            return f"{self.offer}: one call now: {price}"
        when = f"one every {_words(self.every)} for {_words(self.duration)}"
        return f"{self.offer}: {_count(len(self.calls))}, {when}: {price}"


def plan(offer: Offer, every: float | None = None, duration: float | None = None) -> Plan:
    """The calls that keep `offer` warm for `duration` seconds: the first now, and then one `every` so many seconds.

    Without both it is one call. Raises `InvalidInput` for one without the other, and for times that make no sense.
    """
    from ipy_codeinterp.client.chain import Run

    if (every is None) != (duration is None):
        raise InvalidInput("--every and --for go together", hint="--every 5m --for 1h")
    times = [0.0]
    if every is not None and duration is not None:
        if not 0 < every <= duration < math.inf:
            raise InvalidInput(f"every {_words(every)} for {_words(duration)}", hint="--for is at least --every")
        if (count := math.ceil(duration / every)) > MOST_CALLS:
            raise InvalidInput(f"{count:,} calls", hint=f"{MOST_CALLS:,} is the most: call less often, or not so long")
        times = [number * every for number in range(count)]
    expected = offer.cost(TYPICAL).billed or Decimal(0)
    worst = offer.cost(Run(Execution(CODE), offer, _nobody).worst_case).billed or Decimal(0)
    return Plan(str(offer), tuple(Call(at, expected, worst) for at in times), every, duration)


async def _nobody(_: Event) -> None:
    pass


# --- doing it -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Warming:
    """A plan that is carried out, and how far it is: calls answered and missed, USD that they cost at worst."""

    plan: Plan
    done: int = 0
    missed: int = 0
    spent: Decimal = Decimal(0)
    error: InterpError | None = None  # what ended it
    future: Future[None] | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        return self.future is not None and not self.future.done()

    def stop(self) -> None:
        """End it now; a call that is under way is cut short. Calling it again does nothing."""
        if self.future:
            self.future.cancel()

    def __str__(self) -> str:
        missed = f", {self.missed} missed" if self.missed else ""
        why = f"; ended by {type(self.error).__name__}: {self.error}" if self.error else ""
        return f"{self.plan.offer}: {self.done} of {_count(len(self.plan.calls))}{missed}, ${self.spent:.4f}{why}"


async def keep_warm(
    execute: Execute,
    warming: Warming,
    *,
    max_cost: Decimal | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Make the calls of `warming.plan` at their times, by `execute` (a session's), and note in it what came of them.

    `max_cost` is the USD that all of them together may cost. A call that is late by a whole interval is left out. An
    error that may pass costs its call only, any other ends it, and is raised.
    """
    began = clock()
    for call in warming.plan.calls:
        late = clock() - began - call.at
        if warming.plan.every is not None and late >= warming.plan.every:
            warming.missed += 1
            continue
        if late < 0:
            await sleep(-late)
        await _make(execute, warming, call, None if max_cost is None else max_cost - warming.spent)


async def _make(execute: Execute, warming: Warming, call: Call, left: Decimal | None) -> None:
    offer = warming.plan.offer
    try:
        how = {"cache": False, "aside": False, "policy": "pinned", "max_cost": left}
        result = await execute(CODE, model=offer, labels=LABELS, **how)
    except InterpError as error:
        warming.missed += 1
        warming.spent += call.worst if getattr(error, "may_have_run", False) else 0
        if error.transient and len(warming.plan.calls) > 1:
            return
        warming.error = error
        raise
    warming.spent += call.worst if result.cost.billed is None else result.cost.billed
    if result.offer == offer:
        warming.done += 1
    else:  # a fallback answered: that warms somebody else
        warming.missed += 1


def begin(session: Session, planned: Plan, max_cost: Decimal | None = None) -> Warming:
    """Carry out `planned` in the background of `session`; it ends by itself, with the session, or by `stop()`."""
    if session.is_replay:
        raise NotAllowed("a replay warms nothing", hint="unset IPY_CODEINTERP_REPLAY")
    warming = Warming(planned)
    warming.future = session.in_background(keep_warm(session.execute, warming, max_cost=max_cost))
    return warming


def run(session: Session, planned: Plan, max_cost: Decimal | None = None) -> Warming:
    """The same, and wait for its end. Raises what ended it; an interrupt stops it."""
    warming = begin(session, planned, max_cost)
    assert warming.future is not None
    try:
        with contextlib.suppress(CancelledError):  # the session was closed
            warming.future.result()
    except KeyboardInterrupt:
        warming.stop()
        raise
    return warming


# --- words ----------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What both faces take beside the name of the interpreter."""
    parser.add_argument("--warm", action="store_true", help="make a tiny call, so that the next ones find it warm")
    parser.add_argument("--every", metavar="5m", help="with --warm: again after so long (m, h)")
    parser.add_argument("--for", dest="duration", metavar="1h", help="with --every: so long, then end")
    parser.add_argument("--max-cost", metavar="USD", help="with --warm: the most that all its calls may cost")


def planned(session: Session, options: argparse.Namespace) -> tuple[Plan, Decimal | None]:
    """The plan that the arguments ask for, and what it may cost. Raises `InvalidInput`."""
    times = (_seconds("--every", options.every), _seconds("--for", options.duration))
    try:
        most = settings.money(options.max_cost)
    except ValueError as error:
        raise InvalidInput(f"--max-cost {options.max_cost}: {error}", hint="use a number of US dollars") from None
    return plan(session.offer(options.name), *times), most


def _seconds(flag: str, said: str | None) -> float | None:
    try:
        return None if said is None else stats.window(said).total_seconds()
    except ValueError as error:
        raise InvalidInput(f"{flag} {said}: {error}", hint="write 5m or 1h") from None


def _count(calls: int) -> str:
    return f"{calls} call" if calls == 1 else f"{calls} calls"


def _words(seconds: float) -> str:
    """`300` is `5m`."""
    units = (("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
    name, unit = next(((n, u.total_seconds()) for n, u in units if seconds >= u.total_seconds()), ("s", 1.0))
    return f"{seconds / unit:g}{name}"
