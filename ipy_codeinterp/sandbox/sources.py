"""Where runners come from: forks of a zygote, or programs of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from typing import Protocol

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import environment, network
from ipy_codeinterp.sandbox.cgroup import Cgroups
from ipy_codeinterp.sandbox.child import Child, warmed
from ipy_codeinterp.sandbox.isolation import Bubblewrap, Isolation
from ipy_codeinterp.sandbox.job import NOTHING_MORE, Extras
from ipy_codeinterp.sandbox.packages import installed
from ipy_codeinterp.sandbox.spawn import only_child, spawn
from ipy_codeinterp.sandbox.zygote import Zygote

LOOK_EVERY = 1.0  # seconds between looks at whether the environment has changed


class Source(Protocol):
    """Starts runners. `forks` says whether that is quick."""

    name: str
    forks: bool

    async def start(self, language: str, memory: int | None, extras: Extras = NOTHING_MORE) -> Child:
        """A runner that waits for code, with `extras`. Raises `SandboxError`."""

    async def tidy(self) -> None:
        """Let go of what is not needed any more."""

    async def close(self) -> None: ...


def of(isolation: Isolation) -> Source:
    return Forks(isolation) if isinstance(isolation, Bubblewrap) and isolation.forks else Programs(isolation)


class Programs:
    """Each runner is a program of its own, and pays for its imports. As many start at once as there are cores."""

    forks = False

    def __init__(self, isolation: Isolation) -> None:
        self.name = isolation.name
        self._isolation = isolation
        self._cgroups = Cgroups.find()
        self._at_once = asyncio.Semaphore(max(os.cpu_count() or 1, 2))

    async def start(self, language: str, memory: int | None, extras: Extras = NOTHING_MORE) -> Child:
        isolation = self._isolation
        if extras and isinstance(isolation, Bubblewrap):
            packages = await installed(isolation, extras.packages) if extras.packages else None
            isolation = replace(isolation, folders=extras.folders, packages=packages, network=extras.network)
        helper = network.helper() if isinstance(isolation, Bubblewrap) and isolation.network else None
        async with self._at_once:
            try:
                return await self._started(isolation, language, memory, helper)
            except SandboxError:  # killed from outside, say: once is no reason to give up
                return await self._started(isolation, language, memory, helper)

    async def _started(
        self, isolation: Isolation, language: str, memory: int | None, helper: network.Helper | None
    ) -> Child:
        child = await warmed(await spawn(isolation, language, memory, self._cgroups))
        return await networked(child, helper) if helper else child

    async def tidy(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def networked(child: Child, helper: network.Helper) -> Child:
    """`child`, once it has a network. One that cannot have it is ended."""
    try:
        init = only_child(child.pid)
        if init is None:
            raise SandboxError("the sandbox ended before it had a network")
        child.way = await network.opened(helper, child.pid, init)
    except BaseException:
        child.kill()
        await child.closed()
        raise
    return child


class Forks:
    """One zygote, started when it is first needed, again when it died, and anew when its environment has changed."""

    forks = True

    def __init__(self, isolation: Bubblewrap) -> None:
        self.name = isolation.name
        self._isolation = isolation
        self._programs = Programs(isolation)
        self._zygote: asyncio.Task[Zygote] | None = None
        self._retired: list[Zygote] = []
        self._key = isolation.environment.key
        self._looked = time.monotonic()

    async def start(self, language: str, memory: int | None, extras: Extras = NOTHING_MORE) -> Child:
        if extras:  # the zygote's view of this machine is made when it starts
            return await self._programs.start(language, memory, extras)
        self._look()
        try:
            return await warmed(await (await self._current()).fork(language, memory))
        except SandboxError:  # killed from outside, say: once is no reason to give up
            return await warmed(await (await self._current()).fork(language, memory))

    async def tidy(self) -> None:
        idle = [zygote for zygote in self._retired if not zygote.children]
        self._retired = [zygote for zygote in self._retired if zygote.children]
        for zygote in idle:
            await zygote.close()

    async def close(self) -> None:
        if self._zygote:
            self._zygote.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxError):
                self._retired.append(await self._zygote)
        for zygote in self._retired:
            await zygote.close()

    async def _current(self) -> Zygote:
        task = self._zygote
        if task is None or (task.done() and (task.cancelled() or task.exception() or not task.result().lives)):
            if task and not task.cancelled() and not task.exception():
                self._retired.append(task.result())
            task = self._zygote = asyncio.create_task(Zygote.start(self._isolation))
        return await asyncio.shield(task)

    def _look(self) -> None:
        """Modules that are installed or upgraded count from the next fork on; what runs keeps the old ones."""
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        key = environment.key_of(self._isolation.environment)
        if key != self._key:
            self._key = key
            if self._zygote and self._zygote.done() and not self._zygote.exception():
                self._retired.append(self._zygote.result())
            self._zygote = None
