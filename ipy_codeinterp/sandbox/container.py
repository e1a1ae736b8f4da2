"""A place that code runs in: one runner, one run at a time, kept or thrown away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator

from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.job import NOTHING_MORE, ContainerGone, Event, Extras, Job
from ipy_codeinterp.sandbox.memory import SLACK
from ipy_codeinterp.sandbox.run import Run

INTERRUPT_GRACE = 2.0  # seconds that code has to end after an interrupt before it is killed


class Container:
    """One runner. Use `run()` again and again; `close()` at the end."""

    def __init__(self, child: Child, memory: int | None = None, extras: Extras = NOTHING_MORE) -> None:
        self._child = child
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()
        self._settling: asyncio.Task[None] | None = None
        self._run: Run | None = None
        self._status: int | None = None
        self._why_gone = "its interpreter died"
        self.last_used = time.monotonic()
        self.memory = memory  # bytes it was started with
        self.extras = extras
        self._last_memory: int | None = None
        self.warm = False  # whether it was waiting when it was asked for

    @property
    def alive(self) -> bool:
        return self._child.lives

    @property
    def language(self) -> str:
        return self._child.language

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    @property
    def ahead(self) -> bool:
        """Whether the next event of the run that is going on is here already."""
        return self._run is not None and self._run.ahead

    def outgrew(self) -> bool:
        """Whether what its last run left behind takes more memory than that run was allowed."""
        limit = self._last_memory
        return bool(limit and self.alive and not self.busy and self._child.watch_memory(limit).look() > limit + SLACK)

    def memory_used(self) -> int:
        """Bytes that it holds beyond what it shares with its siblings."""
        return self._child.watch_memory(0).look() if self.alive else 0

    async def run(self, job: Job) -> AsyncGenerator[Event]:
        """Run `job` after those that came before it; leaving early interrupts it."""
        await self._lock.acquire()
        if not self.alive:  # it died while others were before us
            self._lock.release()
            raise ContainerGone(self._why_gone)
        self._last_memory = job.memory
        run = self._run = Run(self._child, job, next(self._numbers))
        try:
            async with contextlib.aclosing(run.events()) as events:
                async for event in events:
                    yield event
        finally:
            self.last_used = time.monotonic()
            if run.over:
                self._lock.release()
            else:
                self._settling = asyncio.create_task(self._settle(run))

    async def _settle(self, run: Run) -> None:
        """After a cancelled run: give the code a moment to stop by itself, then make it."""
        try:
            if not await run.stop(INTERRUPT_GRACE):
                self._why_gone = "it did not stop when it was interrupted"
        finally:
            self.last_used = time.monotonic()
            self._lock.release()

    async def close(self) -> None:
        """Kill what runs and wait until nothing of it is left."""
        self._child.kill()
        if self._settling:
            with contextlib.suppress(Exception):
                await self._settling
        if self._status is None:
            self._status = await self._child.closed()
