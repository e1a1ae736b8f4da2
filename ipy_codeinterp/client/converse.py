"""What a vendor's ids are to us: files are uploaded once, containers have the user's names, lost ones are made anew."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.errors import GatewayLost, Rejected
from ipy_codeinterp.execution import Execution, Notice, Result

Locks = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, asyncio.Lock]]
UPLOADING = None  # no container is called so


@dataclass(slots=True)
class Ids:
    """What one gateway calls our containers (by name) and files (by name and content); a session has one of these."""

    gateway: str | None = None
    containers: dict[str, str] = field(default_factory=dict)
    uploads: dict[tuple[str, str], str] = field(default_factory=dict)
    _locks: Locks = field(default_factory=weakref.WeakKeyDictionary)

    def lock(self, name: str | None) -> asyncio.Lock:
        """The lock of that name, of the running loop."""
        locks = self._locks.setdefault(asyncio.get_running_loop(), {})
        return locks.setdefault(name, asyncio.Lock())


class Converse:
    """Middleware. Runs of one container pass one at a time, in the order they came."""

    def __init__(self, transport: Transport, ids: Ids) -> None:
        self._transport = transport
        self._ids = ids

    async def __call__(self, run: Run, handler: Handler) -> Result:
        async with self._turn(run.execution.container):
            await self._notice_new_gateway(run)
            try:
                return await self._converse(run, handler)
            except Rejected as error:
                if error.status != 404:
                    raise
                await self._forget_ids(run, error)
                return await self._converse(run, handler)
            except GatewayLost as error:
                raise GatewayLost(str(error), hint=self._with_lost_containers(error.hint)) from error

    async def _converse(self, run: Run, handler: Handler) -> Result:
        name = run.execution.container
        run.container_id = self._ids.containers.get(name) if name else None
        run.file_ids = await self._upload(run.execution)
        try:
            return await handler(run)
        finally:
            self._remember(run, name)

    def _remember(self, run: Run, name: str | None) -> None:
        """Also after an interrupt: our gateway names the container at the start of the stream."""
        id = (run.decoder and run.decoder.container) or run.container_id
        if name and id:
            self._ids.containers[name] = id

    async def _upload(self, execution: Execution) -> tuple[str, ...]:
        ids = []
        async with self._ids.lock(UPLOADING):  # else runs that start together would each send the same file
            for file in execution.files:
                content = (file.name, file.sha256 or "")
                if content not in self._ids.uploads:
                    self._ids.uploads[content] = await self._transport.upload(file)
                ids.append(self._ids.uploads[content])
        return tuple(ids)

    async def _forget_ids(self, run: Run, error: Rejected) -> None:
        """The gateway does not know an id any more: begin again with new ones, once, and say what that loses."""
        if run.container_id is None and not run.file_ids:
            raise error
        self._ids.uploads.clear()
        if run.execution.container and run.container_id and error.param == "container":
            self._ids.containers.pop(run.execution.container, None)
            run.container_id, run.decoder = None, None
            why = error.hint or str(error)
            await run.emit(Notice(f"container {run.execution.container!r} is new, its variables are gone: {why}"))

    async def _notice_new_gateway(self, run: Run) -> None:
        base_url = (await self._transport.endpoint()).base_url
        if self._ids.gateway not in (None, base_url):
            if self._ids.containers:
                await run.emit(Notice(f"the local gateway was started anew; lost containers: {self._names()}"))
            self._ids.containers.clear()
            self._ids.uploads.clear()
        self._ids.gateway = base_url

    def _with_lost_containers(self, hint: str) -> str:
        return f"{hint}; lost containers: {self._names()}" if self._ids.containers else hint

    def _names(self) -> str:
        return ", ".join(sorted(self._ids.containers))

    @contextlib.asynccontextmanager
    async def _turn(self, container: str | None) -> AsyncIterator[None]:
        if container is None:
            yield
            return
        async with self._ids.lock(container):
            yield
