"""The gateway's sandbox: found and warmed behind the first requests, which wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ipy_codeinterp.errors import NotAllowed, Rejected
from ipy_codeinterp.sandbox import environment, isolation, sources
from ipy_codeinterp.sandbox.isolation import Bubblewrap, Isolation
from ipy_codeinterp.sandbox.job import Extras
from ipy_codeinterp.sandbox.pool import Pool
from ipy_codeinterp.sandbox.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Ready:
    """A sandbox that works."""

    pool: Pool
    environment: environment.Environment
    mountable: tuple[Path, ...] = ()
    network: bool = False

    def allowed(self, folders: Sequence[str]) -> tuple[Path, ...]:
        """The folders that are asked for, with every link followed. Raises `NotAllowed`."""
        return tuple(sorted({self._allowed(folder) for folder in folders}))

    def _allowed(self, folder: str) -> Path:
        place = Path(folder)
        if not place.is_absolute() or not place.is_dir():
            raise Rejected(f"{folder} is not a folder on this machine", hint="give its whole path", param="mounts")
        place = place.resolve()
        if not any(place == known or known in place.parents for known in self.mountable):
            raise NotAllowed(
                f"{folder} may not be mounted; nothing was run",
                hint=f"to allow it, set IPY_CODEINTERP_MOUNTS={folder} before the session starts (then %reload_ext)",
            )
        return place

    def may_connect(self, asked: bool) -> bool:
        """Whether the run has a network, which is only ever asked for by name. Raises `NotAllowed`."""
        if asked and not self.network:
            raise NotAllowed(
                "the code may not have a network; nothing was run",
                hint="to allow it, set IPY_CODEINTERP_NETWORK=1 before the session starts (then %reload_ext)",
            )
        return asked

    def isolation_with(self, extras: Extras) -> str:
        """What a Result says of its walls."""
        return f"{self.pool.isolation} {extras}".strip()


class Sandbox:
    """`open()` starts to look; `ready()` waits for it and raises `NoIsolation` when there is none."""

    def __init__(
        self,
        *,
        wanted: str,
        python: Path | None,
        home: Path | None,
        cache_dir: Path,
        pool_size: int,
        mountable: Sequence[Path] = (),
        network: bool = False,
    ) -> None:
        self._wanted = wanted
        self._python = python
        self._home = home
        self._scratch = Scratch(cache_dir)
        self._pool_size = pool_size
        self._mountable = tuple(place.resolve() for place in mountable)
        self._network = network
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
        return Ready(pool, found, self._mountable, self._network)

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
