"""The gateway's sandbox: found and warmed behind the first requests, which wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ipy_codeinterp.sandbox import environment, isolation, sources
from ipy_codeinterp.sandbox.isolation import Bubblewrap, Isolation
from ipy_codeinterp.sandbox.pool import Pool
from ipy_codeinterp.sandbox.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Ready:
    """A sandbox that works."""

    pool: Pool
    environment: environment.Environment


class Sandbox:
    """`open()` starts to look; `ready()` waits for it and raises `NoIsolation` when there is none."""

    def __init__(self, *, wanted: str, python: Path | None, home: Path | None, cache_dir: Path, pool_size: int) -> None:
        self._wanted = wanted
        self._python = python
        self._home = home
        self._scratch = Scratch(cache_dir)
        self._pool_size = pool_size
        self._opening: asyncio.Task[Ready] | None = None

    def open(self) -> None:
        self._opening = asyncio.create_task(self._open())
        self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())  # told to whoever asks

    async def ready(self) -> Ready:
        assert self._opening is not None, "opened first"
        return await asyncio.shield(self._opening)

    @property
    def is_open(self) -> bool:
        return bool(self._opening and self._opening.done())

    async def _open(self) -> Ready:
        found, chosen = await asyncio.to_thread(self._look)
        pool = Pool(sources.of(chosen), size=self._pool_size)
        pool.open()
        return Ready(pool, found)

    def _look(self) -> tuple[environment.Environment, Isolation]:
        found = environment.find(self._python, self._home)
        chosen = isolation.find(self._wanted, found, self._scratch)
        if isinstance(chosen, Bubblewrap):
            isolation.fill_caches(chosen)
        return found, chosen

    async def close(self) -> None:
        if self._opening:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await (await self._opening).pool.close()
        self._scratch.close()


SANDBOX = web.AppKey("sandbox", Sandbox)
