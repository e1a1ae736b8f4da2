"""The loop of a benchmark: it makes the calls of a plan, and adds a row for each.

Laws: a call that has its row is not made again, one whose Result is in the journal neither; nothing is served from the
cache or shared with another call; who fails is a row like any other; what an oracle has to work out it works out
before the clock of the calls runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ipy_codeinterp import amounts, pace
from ipy_codeinterp.bench import intervals, plan
from ipy_codeinterp.bench.grading import grade
from ipy_codeinterp.bench.plan import Call, Plan
from ipy_codeinterp.bench.rows import Row, Run
from ipy_codeinterp.bench.workload import Case
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    InterpError,
    InvalidInput,
    NotAllowed,
    OverBudget,
    QuotaExceeded,
)
from ipy_codeinterp.execution import Cost, Display, Event, Execution, Result, Update, Usage
from ipy_codeinterp.session import Session

# What no other call would fare better with: it ends the benchmark when a warm-up meets it.
HOPELESS = (InvalidInput, NotAllowed, AuthenticationFailed, QuotaExceeded)
TELL_EVERY = 0.1  # seconds
Ask = Callable[[Call], Case]
Emit = Callable[[Event], Awaitable[None]]
PLACE = "bench"  # the display that says how far it is


async def ignore(_: Event) -> None:
    """Whoever wants no events."""


@dataclass(slots=True)
class Bench:
    """One run under way, in one event loop. `stopped` says why it ended before its plan did."""

    session: Session
    run: Run
    ask: Ask
    emit: Emit = ignore
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    stopped: str = ""
    _began: float = 0.0
    _spent: Decimal = Decimal(0)
    _is_lower_bound: bool = False
    _is_spent: bool = False
    _held: dict[str, Decimal] = field(default_factory=dict)  # USD, by call: what it may cost or have cost
    _holds: set[str] = field(default_factory=set)  # calls under way, which may give some back
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _under_way: int = 0
    _done: int = 0
    _failed: int = 0
    _told_at: float = -math.inf
    _has_told: bool = False
    _done_before: int = 0

    @property
    def plan(self) -> Plan:
        return self.run.plan

    async def all(self) -> None:
        """Warm up, measure, and draw the cold curve. Raises `InterpError` where nothing can be measured."""
        for row in self.run.rows.values():
            self._count(row)
        await self._warm_up()
        if not self._is_spent:
            await self._measure()
        if not self._is_spent:
            await self._cold()

    # --- phases ---

    async def _warm_up(self) -> None:
        self._begin()
        for call in plan.warm_ups(self.plan):
            if await self._has_row(call):
                continue
            case = await asyncio.to_thread(self.ask, call)
            if not await self._hold(call, case):
                return
            await self._one(call, case, is_first=True)

    async def _measure(self) -> None:
        self._done_before = self._done
        flow = _Flow(None if self._is_open else self.plan.concurrency)
        self._begin()
        async with flow:
            async for calls in self._prepared():
                if calls and self._is_precise():
                    self.stopped = f"every interval was as narrow as {self.plan.until:.0%} of its figure"
                    break
                for call, case in calls:
                    if not await self._started(flow, call, case):
                        return
                if not self._is_open and self.plan.until:
                    await flow.empty()

    async def _prepared(self) -> AsyncIterator[list[tuple[Call, Case]]]:
        """What each round has still to ask, with the oracle's answers.

        Of an open loop all are worked out before the first call: an oracle must not make one late.
        """
        found = []
        for calls in plan.rounds(self.plan):
            missing = [call for call in calls if not await self._has_row(call)]
            cases = await asyncio.to_thread(lambda asked: [self.ask(call) for call in asked], missing)
            asked = list(zip(missing, cases, strict=True))
            if self._is_open:
                found.append(asked)
            else:
                yield [(replace(call, intended=None), case) for call, case in asked]
        first = next((call.intended or 0.0 for calls in found for call, _ in calls), 0.0)
        self._begin()
        for asked in found:  # what was done before a kill takes nothing of the time of what is left
            yield [(replace(call, intended=(call.intended or 0.0) - first), case) for call, case in asked]

    async def _started(self, flow: _Flow, call: Call, case: Case) -> bool:
        """Start it in its time, when there is room and money for it. Whether it was."""
        if call.intended is not None and (early := self._began + call.intended - self.clock()) > 0:
            await self.sleep(early)
        await flow.room()
        if self._is_spent or not await self._hold(call, case):
            return False
        flow.start(self._one(call, case))
        return True

    async def _cold(self) -> None:
        """Quiet is quiet of all: nothing else is asked meanwhile."""
        for quiet, calls in plan.cold(self.plan):
            missing = [call for call in calls if not await self._has_row(call)]
            if not missing:
                continue
            cases = [await asyncio.to_thread(self.ask, call) for call in missing]
            await self._rest(quiet)
            self._begin()
            async with _Flow(None) as flow:
                for call, case in zip(missing, cases, strict=True):
                    if not await self._started(flow, replace(call, intended=None), case):
                        return

    async def _rest(self, seconds: float) -> None:
        if seconds and not self.session.is_replay:
            await self._tell(f"quiet for {pace.duration(seconds)}, to see how long a call takes after it")
            await self.sleep(seconds)

    @property
    def _is_open(self) -> bool:
        """A replay has no arrivals: it takes one after the other, so that it is the same every time."""
        return self.plan.rate is not None and not self.session.is_replay

    def _begin(self) -> None:
        self._began = self.clock()

    # --- one call ---

    async def _one(self, call: Call, case: Case, *, is_first: bool = False) -> None:
        began, since = self.clock(), datetime.now(UTC)
        self._under_way += 1
        try:
            came = await self._made(call, case, is_first=is_first)
            if isinstance(came, OverBudget):  # of the session, or of the day: it was not made, and no other will be
                self._stop(str(came))
                return
            ended = self.clock()
            row = await self._row(call, case, came, began, ended, since)
            self.run.add(row)
            self._count(row)
            if row.billed is not None:
                self._release(call)
        finally:
            self._under_way -= 1
            self._holds.discard(call.id)
            self._freed.set()
        await self._say()

    async def _made(self, call: Call, case: Case, *, is_first: bool) -> Result | InterpError:
        try:
            return await self.session.execute(execution_of(self.session, call, case), id=call.id, **TERMS)
        except HOPELESS as error:
            if is_first:
                raise
            return error
        except InterpError as error:
            return error

    async def _row(
        self, call: Call, case: Case, came: Result | InterpError, began: float, ended: float, since: datetime
    ) -> Row:
        waited_from = began if call.intended is None else self._began + call.intended
        latency = ended - waited_from
        if self.session.is_replay and isinstance(came, Result):
            latency = came.timings.total or 0.0
        at = 0.0 if self.session.is_replay else round(began - self._began, 6)
        if isinstance(came, Result):
            return await asyncio.to_thread(row_of_result, call, case, came, at, latency)
        spent = await asyncio.to_thread(self.session.spent, call.id, since)
        return _row(
            call, case, type(came).__name__, at, latency,
            ok=False, right=None if case.answer is None else False, why="",
            attempts=spent.attempts, cost=Cost(spent.billed, spent.listed), usage=Usage(),
        )  # fmt: skip

    async def _has_row(self, call: Call) -> bool:
        """Also where a kill came between the journal and the row: nobody pays twice for that."""
        if self.run.row(call) is not None:
            return True
        if not self.run.is_resumed or call.phase != "measured":
            return False
        result = await asyncio.to_thread(self.session.kept, call.id)
        if result is None or result.outcome == "cancelled":
            return False
        case = await asyncio.to_thread(self.ask, call)
        latency = result.timings.total or 0.0
        row = row_of_result(call, case, result, call.intended or 0.0, latency)
        self.run.add(row)
        self._count(row)
        return True

    # --- money ---

    async def _hold(self, call: Call, case: Case) -> bool:
        """Set aside what it may cost at most, when there is as much; wait for what is under way to give some back."""
        if self.plan.budget is None or self.session.is_replay:
            return True
        worst = self.session.at_most(execution_of(self.session, call, case))
        if worst is None:
            raise OverBudget(f"{call.offer} has no price: no budget can hold it", hint="leave --budget away")
        while self._spent + sum(self._held.values()) + worst > self.plan.budget:
            if not self._holds:
                self._stop(f"more than ${self.plan.budget} could have been spent")
                return False
            self._freed.clear()
            await self._freed.wait()
        self._holds.add(call.id)
        self._held[call.id] = worst
        return True

    def _release(self, call: Call) -> None:
        """What was held for it is known now; of a call whose cost nobody knows it stays held."""
        self._held.pop(call.id, None)

    def _stop(self, why: str) -> None:
        self._is_spent, self.stopped = True, self.stopped or why

    def _count(self, row: Row) -> None:
        self._is_lower_bound |= row.billed is None
        self._spent += row.billed or 0
        self._done += row.phase == "measured"
        self._failed += row.phase == "measured" and row.success is False

    # --- how far it is ---

    def _is_precise(self) -> bool:
        """Whether every offer's success and median latency are known as well as wanted; asked between rounds."""
        if self.plan.until is None:
            return False
        for offer in self.plan.offers:
            rows = [row for row in self.run.rows.values() if row.offer == offer and row.phase == "measured"]
            if not is_precise(rows, self.plan.until):
                return False
        return True

    async def _say(self) -> None:
        if (now := self.clock()) - self._told_at < TELL_EVERY:
            return
        self._told_at = now
        total = self.plan.total
        left = pace.remaining(self._done - self._done_before, total - self._done_before, now - self._began)
        cost = f"{'>= ' if self._is_lower_bound else ''}{amounts.money(self._spent)} so far"
        words = f"{self._done} of {total} done, {self._failed} failed, {self._under_way} under way, {cost}"
        await self._tell(pace.line(words, self._done, total, left))

    async def _tell(self, words: str) -> None:
        data = {"text/plain": words}
        await self.emit(Update(PLACE, data) if self._has_told else Display(data, display_id=PLACE))
        self._has_told = True


TERMS: dict[str, Any] = {"cache": False, "aside": False, "bound": True, "labels": {"purpose": "bench"}}


def execution_of(session: Session, call: Call, case: Case) -> Execution:
    """What is asked of the call's offer. Raises `InvalidInput` for what cannot be run at all."""
    how = {"language": case.language, "timeout": case.timeout, "kind": case.kind, "expect": case.expect}
    return session.execution(case.body, model=call.model, **how)


def row_of_result(call: Call, case: Case, result: Result, began: float, latency: float) -> Row:
    """With its answer graded."""
    graded = grade(case, result)
    return _row(
        call, case, result.outcome, began, latency,
        ok=result.ok, right=graded.right, why=graded.why, attempts=result.attempts, cost=result.cost,
        usage=result.usage, verbatim=result.verbatim if case.kind == "code" else None,
    )  # fmt: skip


def _row(
    call: Call,
    case: Case,
    outcome: str,
    began: float,
    latency: float,
    *,
    ok: bool | None,
    right: bool | None,
    why: str,
    attempts: int,
    cost: Cost,
    usage: Usage,
    verbatim: bool | None = None,
) -> Row:
    return Row(
        id=call.id,
        phase=call.phase,
        workload=case.workload,
        category=case.category,
        size=case.size,
        language=case.language,
        kind=case.kind,
        seed=call.seed,
        offer=call.offer,
        repeat=call.repeat,
        outcome=outcome,
        ok=ok,
        right=right,
        why=why,
        verbatim=verbatim,
        intended=None if call.intended is None else round(call.intended, 6),
        began=began,
        latency=latency,
        attempts=attempts,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        billed=cost.billed,
        listed=cost.listed,
    )


def is_precise(rows: Sequence[Row], wanted: float) -> bool:
    """Whether half the interval is at most that share of the figure: of the median latency and of success."""
    good = sorted(row.latency for row in rows if row.success)
    median = intervals.percentile(good, 50)
    if median is None or median.interval is None:
        return False
    share = intervals.wilson(len(good), len(rows))
    narrow = (median.interval.high - median.interval.low) / 2 <= wanted * median.value
    return narrow and (share.high - share.low) / 2 <= wanted * len(good) / len(rows)


class _Flow:
    """Tasks of which at most so many run at a time (None: any number). An error ends it, and all of them."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Flow:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.empty()
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Awaitable[None]) -> None:
        self._tasks.add(asyncio.ensure_future(work))

    async def room(self) -> None:
        """Until another may start. Raises what one of those that ended has raised."""
        while self._most is not None and len(self._tasks) >= self._most:
            await self._one_less()
        self._look()

    async def empty(self) -> None:
        """Until all have ended."""
        while self._tasks:
            await self._one_less()

    async def _one_less(self) -> None:
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._look()

    def _look(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()


@contextlib.asynccontextmanager
async def opened(run: Run) -> AsyncIterator[Run]:
    """The run's file is opened and locked off the event loop."""
    await asyncio.to_thread(run.__enter__)
    try:
        yield run
    finally:
        run.__exit__()
