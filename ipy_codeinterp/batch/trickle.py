"""Runs what was put aside, a few at a time, while there is something that can be done here.

It passes the session's whole chain, so that limits, budgets and retries hold. When an offer gives up, what waits for it
rests for a while that grows with each failure, and then one of them shows whether it is well again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from ipy_codeinterp import ids
from ipy_codeinterp.errors import (
    DeadlineExceeded,
    GatewayLost,
    InterpError,
    NoOffer,
    OverBudget,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    StoreError,
    Unreachable,
)
from ipy_codeinterp.execution import Result
from ipy_codeinterp.store import batches
from ipy_codeinterp.store.batches import Batch

T = TypeVar("T")
LATER = (Overloaded, Unreachable, GatewayLost, DeadlineExceeded, QuotaExceeded, OverBudget)
AT_ONCE = 2  # runs under way together
LOOK_EVERY = 2.0  # seconds: how often it is looked whether another process has cancelled what runs here


class Store(Protocol):
    """Runs work in a transaction, in order, and gives a future of its answer."""

    def run(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an offer rests that gave up, in seconds: `first`, then twice as long each time, up to `most`.

    A random half of that is taken off, so that sessions do not return together; what a provider asks for is the least,
    up to `longest`.
    """

    first: float = 5.0
    most: float = 900.0
    longest: float = 3600.0

    def pause(self, failures: int, asked: float, chance: float) -> float:
        """Seconds after that many failures in a row; `chance` is between 0 and 1."""
        bound = min(self.most, self.first * 2.0 ** min(failures - 1, 64))
        return min(asked + bound * (1 + chance) / 2, self.longest)


DEFAULT_PACE = Pace()


def is_for_later(error: InterpError) -> bool:
    """Whether it may go better later: no capacity, no way there, no money left, no time. Not a wrong request."""
    causes = error.causes if isinstance(error, NoOffer) else ()
    return isinstance(error, LATER) or any(map(is_for_later, causes))


class Trickle:
    """`run()` runs what waits until nothing is left that can be done here. One event loop's own.

    `execute` passes one through the chain under its `run_id`; `is_known` says whether there is a provider for an offer;
    `twice` whether what may have been billed may be run again.
    """

    def __init__(
        self,
        store: Store,
        execute: Callable[[Batch], Awaitable[Result]],
        owner: str,
        *,
        is_known: Callable[[str], bool] = lambda _: True,
        twice: Callable[[], bool] = lambda: False,
        at_once: int = AT_ONCE,
        pace: Pace = DEFAULT_PACE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._execute = execute
        self._owner = owner
        self._is_known = is_known
        self._twice = twice
        self._at_once = at_once
        self._pace = pace
        self._now = now
        self._chance = chance
        self._running: dict[asyncio.Task[None], Batch] = {}
        self._unwanted: set[str] = set()  # ids of those that were cancelled while they ran
        self._rests: dict[str, _Rest] = {}
        self._woken = asyncio.Event()
        self.is_stopping = False  # nothing more is taken

    async def run(self) -> None:
        """Raises `StoreError` where the store cannot be read."""
        try:
            while (pause := await self._fill()) is not None or self._running:
                await self._wait(pause)
        finally:
            await self._release()

    def wake(self) -> None:
        """There may be something new to take."""
        self._woken.set()

    async def _fill(self) -> float | None:
        """Take what there is room for; seconds until the next may be due, None where none is to be waited for."""
        self._woken.clear()
        await self._cut_short_the_unwanted()
        while not self.is_stopping and len(self._running) < self._at_once:
            batch, pause = await asyncio.wrap_future(self._store.run(self._take))
            if batch is None:
                return pause
            self._running[asyncio.create_task(self._pass(batch))] = batch
        return None

    def _take(self, connection: sqlite3.Connection) -> tuple[Batch | None, float | None]:
        now = self._now()
        batches.take_back(connection, now, twice=self._twice())
        batch = batches.take(connection, self._owner, ids.new("run"), now, lambda offer: self._may_try(offer, now))
        if batch is not None:
            return batch, None
        due = [max(at, self._rest(offer).until) for offer, at in self._due(connection, now).items()]
        return None, max((min(due) - now).total_seconds(), 0.01) if due else None

    def _due(self, connection: sqlite3.Connection, now: datetime) -> Mapping[str, datetime]:
        found = batches.next_due(connection, now)
        return {offer: at for offer, at in found.items() if self._is_known(offer) and not self._is_tried(offer)}

    def _may_try(self, offer: str, now: datetime) -> bool:
        return self._is_known(offer) and not self._is_tried(offer) and self._rest(offer).until <= now

    def _is_tried(self, offer: str) -> bool:
        """Whether one of those that rested is under way, to show whether it is well again."""
        return self._rest(offer).failures > 0 and any(each.offer == offer for each in self._running.values())

    def _rest(self, offer: str) -> _Rest:
        return self._rests.get(offer, _NO_REST)

    async def _cut_short_the_unwanted(self) -> None:
        if not self._running:
            return
        found = await asyncio.wrap_future(self._store.run(lambda connection: batches.unwanted(connection, self._owner)))
        for task, batch in self._running.items():
            if batch.id in found - self._unwanted:
                self._unwanted.add(batch.id)
                task.cancel()

    async def _wait(self, pause: float | None) -> None:
        """Until one has ended, something is new, the pause is over, or it is time to look for what was cancelled."""
        pause = min(pause or LOOK_EVERY, LOOK_EVERY) if self._running else pause
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({woken, *self._running}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        self._running = {task: batch for task, batch in self._running.items() if not task.done()}

    async def _pass(self, batch: Batch) -> None:
        try:
            await self._execute(batch)
        except asyncio.CancelledError:
            if batch.id not in self._unwanted:
                raise
            await self._write(lambda connection: batches.stopped(connection, batch))
        except InterpError as error:
            await self._write(self._given_up(batch, error))
        except Exception as error:  # not ours: it would come again and again
            said = f"{type(error).__name__}: {error}"
            await self._write(lambda connection: batches.failed(connection, batch, said))
        else:
            self._rests.pop(batch.offer, None)
            await self._write(lambda connection: batches.done(connection, batch))

    def _given_up(self, batch: Batch, error: InterpError) -> Callable[[sqlite3.Connection], object]:
        said = f"{type(error).__name__}: {error}"
        if not is_for_later(error):
            return lambda connection: batches.failed(connection, batch, said)
        failures = self._rest(batch.offer).failures + 1
        asked = error.retry_after if isinstance(error, ProviderError) else None
        until = self._now() + timedelta(seconds=self._pace.pause(failures, asked or 0.0, self._chance()))
        self._rests[batch.offer] = _Rest(failures, until)
        return partial(batches.put_back, batch=batch, error=said, not_before=until, twice=self._twice())

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Where it cannot be kept, the batch is still `running`; whoever takes it back finds out what came of it."""
        with contextlib.suppress(StoreError):
            await asyncio.wrap_future(self._store.run(work))

    async def _release(self) -> None:
        """Nothing of ours is `running` any more, also what was just being taken."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        twice, now = self._twice(), self._now()
        await self._write(lambda connection: batches.take_back(connection, now, twice=twice, released=self._owner))


@dataclass(frozen=True, slots=True)
class _Rest:
    """Of an offer: how often it gave up, one time after the other, and until when it is left alone."""

    failures: int = 0
    until: datetime = datetime.min.replace(tzinfo=UTC)  # noqa: RUF009 - frozen


_NO_REST = _Rest()
