"""Containers in waiting, and those that are kept by id.

`fresh()` gives one that nobody has used and nobody will use again; `keep()` and `find()` are for state. A few wait
warm: more of them while more are asked for, few again when nobody asks. A burst beyond them starts more on demand and
is never refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.job import NOTHING_MORE, Extras
from ipy_codeinterp.sandbox.sources import Source

SIZE = 8  # containers that wait warm, at most
LEAST = 2  # and when nobody has asked for a while
SLOW_SIZE = 2  # of those that cost a second and their own memory each
IDLE_EXPIRY = 30 * 60.0  # seconds
MOST_KEPT = 16
SWEEP_EVERY = 2.0
REFILL_AFTER = 0.02  # seconds that a run has to itself
QUIET = 0.1  # seconds without a request, after which there is no hurry
SHRINK_AFTER = 60.0  # seconds without a request
MOST_REMEMBERED = 1000
AHEAD = "python"  # the language that waits from the beginning
PROGRAMS = ("r", "node")
SLOW_TO_START = ("r",)  # and those of which one waits when they have been used


class Pool:
    """Makes, keeps and ends containers; `close()` leaves nothing behind."""

    def __init__(
        self, source: Source, *, size: int = SIZE, most_kept: int = MOST_KEPT, idle_expiry: float = IDLE_EXPIRY
    ) -> None:
        self._source = source
        self._most = size if source.forks else min(size, SLOW_SIZE)
        self._most_kept = most_kept
        self._idle_expiry = idle_expiry
        self._ready: dict[str, deque[Container]] = {}
        self._wanted = {AHEAD: min(LEAST, self._most)}
        self._memory: dict[str, int | None] = {}  # what each program was last started with
        self._asked: dict[str, float] = {}  # when each language was last asked for
        self._waiters: dict[str, deque[asyncio.Future[Container]]] = {}
        self._fills: dict[str, set[asyncio.Task[None]]] = {}
        self._kept: dict[str, Container] = {}
        self._ended: dict[str, str] = {}  # why a kept container is no more
        self._closings: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False
        self.runs = 0  # that have begun

    def open(self) -> None:
        """Begin to warm the first containers."""
        self._sweeper = asyncio.create_task(self._sweep_for_ever())
        self._refill(AHEAD)

    async def close(self) -> None:
        self._closed = True
        fills = [fill for fills in self._fills.values() for fill in fills]
        tasks = [*fills, *([self._sweeper] if self._sweeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for container in [*self._waiting(), *self._kept.values()]:
            self.end(container)
        await asyncio.gather(*self._closings, return_exceptions=True)
        await self._source.close()

    @property
    def isolation(self) -> str:
        return self._source.name

    @property
    def forks(self) -> bool:
        """Whether a zygote makes them."""
        return self._source.forks

    @property
    def warm(self) -> int:
        """How many containers wait."""
        return sum(1 for _ in self._waiting())

    @property
    def kept(self) -> dict[str, Container]:
        return dict(self._kept)

    async def fresh(self, language: str = AHEAD, memory: int | None = None, extras: Extras = NOTHING_MORE) -> Container:
        """A container nobody has used, with `extras`. The caller ends it, or keeps it.

        A language that is a program of its own is limited to `memory` bytes from its start; the others with each run.
        """
        if extras:
            return await self._started(language, memory, extras)
        if language in PROGRAMS:
            self._memory[language] = memory
        now = time.monotonic()
        is_quiet, self._asked[language] = now - self._asked.get(language, 0) > QUIET, now
        ready = self._ready.setdefault(language, deque())
        while ready:
            container = ready.popleft()
            if container.alive and container.memory == self._memory.get(language):
                container.warm = True
                delay = REFILL_AFTER if ready and is_quiet else 0.0
                asyncio.get_running_loop().call_later(delay, self._refill, language)
                return container
            self.end(container)
        self._grow(language)
        if language in PROGRAMS:
            started = await self._started(language, memory)
            self._refill(language)
            return started
        return await self._next(language)

    def keep(self, id: str, container: Container) -> None:
        """Keep `container` under `id`. Raises `SandboxError` when there is no room and none is idle."""
        if len(self._kept) >= self._most_kept:
            idle = [name for name, kept in self._kept.items() if not kept.busy]
            if not idle:
                raise SandboxError(f"{self._most_kept} containers are busy", hint="wait for one of them to finish")
            self.forget(min(idle, key=lambda name: self._kept[name].last_used), "it was idle and its place was needed")
        self._kept[id] = container

    def find(self, id: str, *, dead: bool = False) -> Container | None:
        """The container kept under `id`, if it lives; with `dead` also if it does not."""
        container = self._kept.get(id)
        if not dead and container and not container.alive:
            self.forget(id, "its interpreter died")
            return None
        return container

    def forget(self, id: str, why: str) -> None:
        """End a kept container, and remember why for whoever asks for it next."""
        container = self._kept.pop(id, None)
        if container:
            self.end(container)
        self._ended[id] = why
        while len(self._ended) > MOST_REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def why_ended(self, id: str) -> str | None:
        return self._ended.get(id)

    def end(self, container: Container) -> None:
        """Kill it now, reap it behind the caller's back."""
        task = asyncio.create_task(container.close())
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    # --- those in waiting ---

    def _waiting(self) -> Iterator[Container]:
        return (container for ready in self._ready.values() for container in ready)

    def _grow(self, language: str) -> None:
        """None was waiting: the next time one more should be."""
        most = self._most if language == AHEAD else int(language in SLOW_TO_START)
        self._wanted[language] = min(self._wanted.get(language, 0) + 1, most)

    def _refill(self, language: str) -> None:
        ready = self._ready.setdefault(language, deque())
        fills = self._fills.setdefault(language, set())
        asked = len(self._waiters.get(language, ())) + self._wanted.get(language, 0)
        for _ in range(0 if self._closed else asked - len(ready) - len(fills)):
            task = asyncio.create_task(self._fill(language))
            fills.add(task)
            task.add_done_callback(fills.discard)

    async def _next(self, language: str) -> Container:
        """The first that is started from now on: one that has been begun for those in waiting may come sooner."""
        waiter: asyncio.Future[Container] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(language, deque()).append(waiter)
        self._refill(language)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._ready[language].append(waiter.result())  # it came in the same moment
            raise

    async def _fill(self, language: str) -> None:
        try:
            container = await self._started(language, self._memory.get(language))
        except SandboxError as error:
            if waiter := self._first_waiter(language):
                waiter.set_exception(error)
            return
        if waiter := self._first_waiter(language):
            waiter.set_result(container)
        else:
            self._ready[language].append(container)

    def _first_waiter(self, language: str) -> asyncio.Future[Container] | None:
        waiters = self._waiters.get(language, deque())
        while waiters:
            if not (waiter := waiters.popleft()).done():
                return waiter
        return None

    async def _started(self, language: str, memory: int | None, extras: Extras = NOTHING_MORE) -> Container:
        try:
            return Container(await self._source.start(language, memory, extras), memory, extras)
        except OSError as error:  # no descriptors, no processes, no memory left
            raise SandboxError(f"the sandbox did not start: {error}") from None

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_EVERY, self._idle_expiry))
            self._sweep(time.monotonic())
            await self._source.tidy()

    def _sweep(self, now: float) -> None:
        for id, container in list(self._kept.items()):
            if container.busy:
                continue
            if not container.alive:
                self.forget(id, "its interpreter died")
            elif container.outgrew():
                self.forget(id, "what it left running hit the memory limit")
            elif now - container.last_used > self._idle_expiry:
                self.forget(id, f"it was idle for {self._idle_expiry / 60:.0f} minutes")
        for language, asked in self._asked.items():
            if now - asked > SHRINK_AFTER:
                self._shrink(language, idle=now - asked > self._idle_expiry)

    def _shrink(self, language: str, *, idle: bool) -> None:
        least = min(LEAST, self._most) if language == AHEAD else 0 if idle else self._wanted.get(language, 0)
        self._wanted[language] = least
        ready = self._ready.get(language, deque())
        while len(ready) > least:
            self.end(ready.pop())
