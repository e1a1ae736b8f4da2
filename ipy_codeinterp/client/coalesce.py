"""Coalescing: equal executions that are in flight together are one passage of what follows in the chain.

Laws: everyone is told all events, from the first one on; whoever is interrupted leaves alone; when the last one
leaves, the flight is cancelled, and has ended before that one is told; the cost is in one Result, that of the first
who still waits at the end; an error is everyone's, but the time that was over is only that of who set out first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal

from ipy_codeinterp.changed import changed
from ipy_codeinterp.client.cache import Sharing, served
from ipy_codeinterp.client.chain import Emit, Handler, Run, nobody
from ipy_codeinterp.errors import DeadlineExceeded
from ipy_codeinterp.execution import Event, Restarted, Result

LINGER = 1.0  # seconds that a good answer can still be joined: by then it is in the journal, for who looked too early
AHEAD = 64  # events that a flight may be ahead of whoever listens best


# Execution's key, offer, and the terms by which others may do it or refuse it: most cost, policy, whether critical.
Address = tuple[str, str, Decimal | None, str | None, bool]


class Coalesce:
    """Middleware, one event loop's own. Equal executions on equal terms share, where `sharing` allows."""

    def __init__(self, sharing: Sharing, *, linger: float = LINGER) -> None:
        self._sharing = sharing
        self._linger = linger
        self._flights: dict[Address, Flight] = {}
        self._lingering: deque[tuple[float, Address, Flight]] = deque()  # with when they are forgotten, in order

    async def __call__(self, run: Run, handler: Handler) -> Result:
        if not self._sharing.allows(run):
            return await handler(run)
        address = (run.key, str(run.offer), run.max_cost, run.policy, run.critical)
        while True:
            flight = self._flights.get(address) or self._begin(address, run, handler)
            try:
                return await flight.join(run)
            except DeadlineExceeded as error:
                if flight.is_led_by(run) or (run.left is not None and run.left <= 0):
                    raise
                self._forget(address, flight)
                await run.emit(Restarted(str(error)))
            finally:
                if flight.is_abandoned:
                    self._forget(address, flight)  # at once: nobody may join what is being cancelled
                    await flight.cancel()
                    run.attempts, run.spent = flight.bill  # also of an attempt that ended just now

    def _begin(self, address: Address, run: Run, handler: Handler) -> Flight:
        flight = self._flights[address] = Flight(run, handler)
        flight.task.add_done_callback(lambda _: self._landed(address, flight))
        return flight

    def _landed(self, address: Address, flight: Flight) -> None:
        if not (flight.is_good and self._linger):
            self._forget(address, flight)
            return
        loop = asyncio.get_running_loop()
        self._lingering.append((loop.time() + self._linger, address, flight))
        if len(self._lingering) == 1:  # one timer for all
            loop.call_later(self._linger, self._forget_old, loop)

    def _forget_old(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._lingering and self._lingering[0][0] <= loop.time():
            _, address, flight = self._lingering.popleft()
            self._forget(address, flight)
        if self._lingering:
            loop.call_at(self._lingering[0][0], self._forget_old, loop)

    def _forget(self, address: Address, flight: Flight) -> None:
        if self._flights.get(address) is flight:
            del self._flights[address]


class Flight:
    """One passage, and those who wait for it."""

    def __init__(self, first: Run, handler: Handler) -> None:
        self._run = changed(first, emit=self._emit)
        self._events: list[Event] = []
        self._told = 0  # to whoever listens best
        self._deaf = 0  # of those who wait, how many hear no events
        self._waiting: dict[str, Run] = {}  # by id, in the order they came
        self._payer: str | None = None  # an id; empty where nobody waited at the end
        self._changed, self._room, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task = asyncio.ensure_future(handler(self._run))
        self.task.add_done_callback(self._landed)

    @property
    def is_abandoned(self) -> bool:
        return not self._waiting and not self.task.done()

    @property
    def is_good(self) -> bool:
        """Whether it has ended in an answer that may serve again."""
        if not self.task.done() or self.task.cancelled() or self.task.exception():
            return False
        return self.task.result().outcome == "ok"

    @property
    def bill(self) -> tuple[int, Decimal]:
        """Its attempts, and what they cost at most, USD."""
        return self._run.attempts, self._run.spent

    def is_led_by(self, run: Run) -> bool:
        """Whether it was begun by `run`, and has its deadline."""
        return run.id == self._run.id

    async def join(self, run: Run) -> Result:
        """Wait for the end as `run`; returns its Result, or raises what the flight raised."""
        self._waiting[run.id] = run
        try:
            await (self._wait() if run.emit is nobody else self._listen(run.emit))
            self._decide()
            result = self.task.result()
        finally:
            del self._waiting[run.id]
            run.decoder, run.offer = self._run.decoder, self._run.offer  # what there is, also for who leaves early
            if run.id == self._payer or self.is_led_by(run):
                run.attempts, run.request_ids = self._run.attempts, self._run.request_ids
        if run.id != self._payer:
            return served(run, result, "shared")
        return result if result.id == run.id else changed(result, id=run.id)

    async def cancel(self) -> None:
        """End it, and wait until its own clean-up is done."""
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _wait(self) -> None:
        """For the end alone: to be woken for each event costs more than all else here."""
        self._deaf += 1
        self._room.set()
        try:
            await self._ended.wait()
        finally:
            self._deaf -= 1

    async def _listen(self, emit: Emit) -> None:
        told = 0
        while True:
            while told < len(self._events):
                await emit(self._events[told])
                told += 1
                if told > self._told:
                    self._told = told
                    self._room.set()
            if self.task.done():
                return
            self._changed.clear()
            await self._changed.wait()

    async def _emit(self, event: Event) -> None:
        """A flight that is far ahead of everyone waits: a program that floods is stopped, not stored."""
        self._events.append(event)
        self._changed.set()
        while not self._deaf and len(self._events) - self._told > AHEAD:
            self._room.clear()
            await self._room.wait()

    def _landed(self, task: asyncio.Future[Result]) -> None:
        if not task.cancelled():
            task.exception()  # it is known now, also where nobody waits
        self._decide()
        self._changed.set()
        self._ended.set()

    def _decide(self) -> None:
        """Who pays; at the end, by whoever sees it first."""
        if self._payer is None:
            self._payer = next(iter(self._waiting), "")
