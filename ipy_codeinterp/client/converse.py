"""What a vendor's ids are to us: files are uploaded once, containers have the user's names, lost ones are made anew."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ipy_codeinterp.catalog import LOCAL
from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.errors import GatewayLost, Rejected
from ipy_codeinterp.execution import Notice, Result

Locks = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, asyncio.Lock]]
UPLOADING = None  # no container is called so


@dataclass(slots=True)
class Ids:
    """What one provider calls our containers (by name) and files (by name and content); a session has one of these."""

    gateway: str | None = None
    containers: dict[str, str] = field(default_factory=dict)
    uploads: dict[tuple[str, str], str] = field(default_factory=dict)
    _locks: Locks = field(default_factory=weakref.WeakKeyDictionary)
    _others: dict[str, Ids] = field(default_factory=dict)  # of other providers, by name

    def of(self, provider: str) -> Ids:
        """Those of `provider`; these are our own gateway's."""
        return self if provider == LOCAL else self._others.setdefault(provider, Ids())

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
        ids = self._ids.of(run.offer.provider)
        async with _turn(ids, run.execution.container):
            await self._notice_new_gateway(run, ids)
            try:
                return await self._converse(run, handler, ids)
            except Rejected as error:
                if error.status != 404:
                    raise
                await _forget_ids(run, ids, error)
                return await self._converse(run, handler, ids)
            except GatewayLost as error:
                raise GatewayLost(str(error), hint=_with_lost_containers(ids, error.hint)) from error

    async def _converse(self, run: Run, handler: Handler, ids: Ids) -> Result:
        name = run.execution.container
        run.container_id = ids.containers.get(name) if name else None
        run.file_ids = await self._upload(run, ids)
        try:
            return await handler(run)
        finally:
            _remember(run, ids, name)

    async def _upload(self, run: Run, ids: Ids) -> tuple[str, ...]:
        if not run.execution.files:
            return ()
        found = []
        async with ids.lock(UPLOADING):  # else runs that start together would each send the same file
            for file in run.execution.files:
                content = (file.name, file.sha256 or "")
                if content not in ids.uploads:
                    ids.uploads[content] = await self._transport.upload(file, run.offer.provider)
                found.append(ids.uploads[content])
        return tuple(found)

    async def _notice_new_gateway(self, run: Run, ids: Ids) -> None:
        base_url = (await self._transport.endpoint(run.offer.provider)).base_url
        if ids.gateway not in (None, base_url):
            if ids.containers:
                await run.emit(Notice(f"the local gateway was started anew; lost containers: {_names(ids)}"))
            ids.containers.clear()
            ids.uploads.clear()
        ids.gateway = base_url


def _remember(run: Run, ids: Ids, name: str | None) -> None:
    """Also after an interrupt: our gateway names the container at the start of the stream."""
    id = (run.decoder and run.decoder.container) or run.container_id
    if name and id:
        ids.containers[name] = id


async def _forget_ids(run: Run, ids: Ids, error: Rejected) -> None:
    """The provider does not know an id any more: begin again with new ones, once, and say what that loses."""
    if run.container_id is None and not run.file_ids:
        raise error
    ids.uploads.clear()
    if run.execution.container and run.container_id and error.param == "container":
        ids.containers.pop(run.execution.container, None)
        run.container_id, run.decoder = None, None
        why = error.hint or str(error)
        await run.emit(Notice(f"container {run.execution.container!r} is new, its variables are gone: {why}"))


def _with_lost_containers(ids: Ids, hint: str) -> str:
    return f"{hint}; lost containers: {_names(ids)}" if ids.containers else hint


def _names(ids: Ids) -> str:
    return ", ".join(sorted(ids.containers))


@contextlib.asynccontextmanager
async def _turn(ids: Ids, container: str | None) -> AsyncIterator[None]:
    if container is None:
        yield
        return
    async with ids.lock(container):
        yield
