"""Warm containers in waiting, and those that are kept by id.

`fresh()` gives one that nobody has used and nobody will use again; `keep()` and `find()` are for state. Starting one
takes a second of imports, so a few wait warm; a burst beyond them starts more on demand and is never refused.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.container import Container, start
from ipy_codeinterp.sandbox.isolation import Isolation

SIZE = 2  # containers that wait warm
MOST_KEPT = 16
IDLE_EXPIRY = 30 * 60.0  # seconds
SWEEP_EVERY = 30.0
MOST_REMEMBERED = 1000


class Pool:
    """Makes, keeps and ends containers; `close()` leaves nothing behind."""

    def __init__(
        self, isolation: Isolation, *, size: int = SIZE, most_kept: int = MOST_KEPT, idle_expiry: float = IDLE_EXPIRY
    ) -> None:
        self._isolation = isolation
        self._size = size
        self._most_kept = most_kept
        self._idle_expiry = idle_expiry
        self._ready: deque[Container] = deque()
        self._waiting: deque[asyncio.Future[Container]] = deque()
        self._starts: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(max(os.cpu_count() or 1, 2))
        self._kept: dict[str, Container] = {}
        self._ended: dict[str, str] = {}  # why a kept container is no more
        self._closings: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    def open(self) -> None:
        """Begin to warm the first containers."""
        self._sweeper = asyncio.create_task(self._sweep_for_ever())
        self._refill()

    async def close(self) -> None:
        self._closed = True
        tasks = [*self._starts, *([self._sweeper] if self._sweeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for container in [*self._ready, *self._kept.values()]:
            self.end(container)
        await asyncio.gather(*self._closings, return_exceptions=True)

    @property
    def isolation(self) -> str:
        return self._isolation.name

    @property
    def warm(self) -> int:
        """How many containers wait."""
        return len(self._ready)

    @property
    def kept(self) -> int:
        return len(self._kept)

    async def fresh(self) -> Container:
        """A container nobody has used. The caller ends it, or keeps it."""
        while self._ready:
            container = self._ready.popleft()
            if container.alive:
                self._refill()
                return container
            self.end(container)
        waiter: asyncio.Future[Container] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._refill()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._ready.append(waiter.result())  # it came in the same moment
            raise

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

    def _refill(self) -> None:
        wanted = len(self._waiting) + self._size - len(self._ready) - len(self._starts)
        for _ in range(0 if self._closed else wanted):
            task = asyncio.create_task(self._start())
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)

    async def _start(self) -> None:
        try:
            async with self._at_once:
                try:
                    container = await start(await Child.start(self._isolation))
                except SandboxError:  # killed from outside, say: once is no reason to give up
                    container = await start(await Child.start(self._isolation))
        except (SandboxError, OSError) as error:  # OSError: no descriptors, no processes, no memory left
            if waiter := self._next_waiter():
                known = isinstance(error, SandboxError)
                waiter.set_exception(error if known else SandboxError(f"the sandbox did not start: {error}"))
            return
        if waiter := self._next_waiter():
            waiter.set_result(container)
        else:
            self._ready.append(container)

    def _next_waiter(self) -> asyncio.Future[Container] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_EVERY, self._idle_expiry))
            self._sweep(time.monotonic())

    def _sweep(self, now: float) -> None:
        for id, container in list(self._kept.items()):
            if not container.alive:
                self.forget(id, "its interpreter died")
            elif not container.busy and now - container.last_used > self._idle_expiry:
                self.forget(id, f"it was idle for {self._idle_expiry / 60:.0f} minutes")
