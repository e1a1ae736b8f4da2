"""Everything one notebook or script holds open: settings, store, meter, the gateway's process, and the way in.

This is the composition root: the only place that knows both wings.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from ipy_codeinterp import attachments, catalog, languages, registry, settings
from ipy_codeinterp.bridge import Bridge, Emit
from ipy_codeinterp.errors import InvalidInput, NothingToRun, Rejected, SandboxError
from ipy_codeinterp.execution import ContainerState, Event, Execution, File, Result
from ipy_codeinterp.gateway.process import GatewayProcess
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Meter

if TYPE_CHECKING:  # aiohttp costs more to import than everything else here: only the first run pays for it
    from ipy_codeinterp.client import Client, Ids
    from ipy_codeinterp.client.transport import Endpoint


class Session:
    """Runs code, and keeps what came of it.

    `async with Session() as s: r = await s.execute(code)`, or from synchronous code `s.run(code)`. Settings are given
    by name: `Session(model="claude")`.
    """

    def __init__(self, base: Settings | None = None, **changes: Any) -> None:
        self.settings = (base or settings.load()).changed(**changes)
        self.meter = Meter()
        self.on_settled: Callable[[Attempt], None] = lambda _: None
        self._gateway = GatewayProcess(self.settings)
        self._database = Database(self.settings.data_dir / "store.sqlite", limit=self.settings.data_limit << 20)
        self._bridge = Bridge()
        self._clients: dict[object, Client] = {}  # by loop
        self._ids: Ids | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        _open_sessions.add(self)
        atexit.register(self.close)

    # --- the ways in ---

    async def execute(
        self,
        code: str | Execution,
        *,
        model: str | None = None,
        language: str = "python",
        container: str | None = None,
        timeout: float | None = None,
        files: Iterable[str | os.PathLike[str] | File] = (),
        mounts: Iterable[str | os.PathLike[str]] = (),
        packages: Iterable[str] = (),
        emit: Emit | None = None,
    ) -> Result:
        """Run `code` and return what came of it. The code raising, or hitting a limit, is a Result.

        `timeout` is seconds; `files` are paths, laid by name into the working folder; `mounts` are folders that the
        code may read where they lie, of those that the settings allow; `packages` are installed from the index for this
        run (`"polars>=1"`; wheels only). Raises `InterpError`.
        """
        how: dict[str, Any] = {"language": language, "container": container, "timeout": timeout, "mounts": mounts}
        how["packages"] = packages
        # a file is read to know its content: not on the event loop
        known = await asyncio.to_thread(attachments.read, files) if files else ()
        execution = self.execution(code, model=model, files=known, **how)
        offer = catalog.find(execution.model or self.settings.model)
        async with self._client() as client:
            return await client.execute(execution, offer, emit or _ignore)

    async def stream(self, code: str | Execution, **how: Any) -> AsyncIterator[Event | Result]:
        """Run `code` and yield its events while it runs; the last thing is the Result. Takes what `execute` takes."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(64)

        async def run() -> Result:
            try:
                return await self.execute(code, emit=queue.put, **how)
            finally:
                await queue.put(None)

        running = asyncio.create_task(run())
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield await running
        finally:
            running.cancel()
            while not running.done():  # it may wait for room to say its last word
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
                await asyncio.wait({running}, timeout=0.01)
            if not running.cancelled():
                running.exception()

    async def map(
        self, codes: Iterable[str | Execution], *, concurrency: int = 8, ordered: bool = False, **how: Any
    ) -> AsyncIterator[tuple[int, Result]]:
        """Run many; yield `(index, result)` as they finish, or in the order given with `ordered`.

        Takes what `execute` takes. At most `concurrency` run at a time, and no more are taken from `codes` ahead.
        Code that raises is a Result like any other; one that could not be run at all (blank, say) raises here and
        cancels what is still running.
        """
        if concurrency < 1:
            raise InvalidInput(f"concurrency = {concurrency} runs nothing", hint="use 1 or more")
        numbered = enumerate(codes)
        running: dict[asyncio.Task[Result], int] = {}
        waiting: dict[int, Result] = {}
        following = 0
        try:
            while True:
                self._fill(running, numbered, concurrency - (len(waiting) if ordered else 0), how)
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                failures = [task for task in done if task.exception()]
                waiting |= {running.pop(task): task.result() for task in done if task not in failures}
                while waiting and (not ordered or following in waiting):
                    index = following if ordered else min(waiting)
                    yield index, waiting.pop(index)
                    following += 1
                for task in failures:  # what has finished was given first
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _fill(self, running: dict[asyncio.Task[Result], int], numbered: Any, most: int, how: dict[str, Any]) -> None:
        while len(running) < max(most, 1) and (following := next(numbered, None)) is not None:
            index, code = following
            running[asyncio.create_task(self.execute(code, **how))] = index

    def run(
        self,
        code: str | Execution,
        *,
        show: Callable[[Event], None] | None = None,
        pause: Callable[[], None] | None = None,
        **how: Any,
    ) -> Result:
        """The same from synchronous code, also where an event loop is running. Events go to `show`, on this thread.

        `pause` is called while there is nothing to show.
        """
        self._check_open()
        return self._bridge.run(lambda emit: self.execute(code, emit=emit, **how), show or (lambda _: None), pause)

    async def fetch(self, file: File) -> bytes:
        """The content of a file that a run left (one of `result.files`)."""
        if file.id is None:
            raise InvalidInput(f"{file.name} was not left by a run", hint="give one of result.files")
        async with self._client() as client:
            return await client.transport.download(file.id)

    def containers(self) -> list[ContainerState]:
        """The named containers that live, by name."""
        self._check_open()
        return self._bridge.call(self._containers())

    def end_container(self, name: str) -> None:
        """End the container of that name, at once; the next run that names it gets a new one.

        Raises `UnknownName` with the nearest name there is.
        """
        self._check_open()
        self._bridge.call(self._end_container(name))

    async def _containers(self) -> list[ContainerState]:
        async with self._client() as client:
            names = {id: name for name, id in client.ids.containers.items()}
            rows = await client.transport.containers() if names else []
        known = [(names[row.pop("id")], row) for row in rows if row["id"] in names]
        return [ContainerState(name, **row) for name, row in sorted(known, key=lambda pair: pair[0])]

    async def _end_container(self, name: str) -> None:
        async with self._client() as client:
            id = registry.find("container", name, client.ids.containers)
            del client.ids.containers[name]
            with contextlib.suppress(Rejected):  # it has ended by itself
                await client.transport.end_container(id)

    def execution(
        self,
        code: str | Execution,
        *,
        model: str | None = None,
        language: str = "python",
        container: str | None = None,
        timeout: float | None = None,
        files: Iterable[str | os.PathLike[str] | File] = (),
        mounts: Iterable[str | os.PathLike[str]] = (),
        packages: Iterable[str] = (),
    ) -> Execution:
        """What is asked, checked. Raises `InvalidInput` for what cannot be run."""
        folders = tuple(sorted({os.path.abspath(os.path.expanduser(folder)) for folder in mounts}))
        if isinstance(code, Execution):
            if (model, language, container, timeout, files, folders, packages) != (
                None,
                "python",
                None,
                None,
                (),
                (),
                (),
            ):
                raise InvalidInput("an Execution says itself how it is run", hint="make another: dataclasses.replace")
            return _checked(code)
        return _checked(
            Execution(
                code,
                language=languages.find(language).name,
                model=model or self.settings.model,
                container=container,
                timeout=self.settings.timeout if timeout is None else timeout,
                files=attachments.read(files),
                mounts=folders,
                packages=tuple(packages),
                figure_format=self.settings.figure_format,
                figure_dpi=self.settings.figure_dpi,
            )
        )

    # --- life ---

    def start(self) -> None:
        """Start the local gateway now, in the background."""
        self._check_open()
        self._gateway.start()

    async def __aenter__(self) -> Self:
        self._check_open()
        self._clients[asyncio.get_running_loop()] = self._new_client()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def aclose(self) -> None:
        """Close what belongs to this loop, then everything else."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client:
            await client.close()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Let go of everything: processes, threads, sockets, the file. Calling it again does nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        _open_sessions.discard(self)
        atexit.unregister(self.close)
        client = self._clients.pop(self._bridge.loop, None) if self._bridge.loop else None
        if client:
            self._bridge.call(client.close())
        self._bridge.close()
        self._gateway.close()
        self._database.close()

    # --- inside ---

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        """The chain of the running loop: sockets belong to one loop.

        It is kept for a loop that entered this session, and for our own; any other may end at any time, with nobody
        to close what it leaves, so there it is made for one call.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        if loop is self._bridge.loop:
            self._clients[loop] = self._clients.get(loop) or self._new_client()
        if loop in self._clients:
            yield self._clients[loop]
            return
        passing = self._clients[_Passing()] = self._new_client()
        try:
            yield passing
        finally:
            await passing.close()
            self._clients = {key: client for key, client in self._clients.items() if client is not passing}

    def _new_client(self) -> Client:
        from ipy_codeinterp.client import Client, Ids

        with self._lock:
            self._ids = self._ids or Ids()
        return Client(self._endpoint, self._database, self._settled, self._ids)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise SandboxError(
                "this process was forked from the one that opened the session", hint="open a Session of its own here"
            )
        if self._closed:
            raise SandboxError("this session is closed", hint="open another: Session()")

    async def _endpoint(self) -> Endpoint:
        from ipy_codeinterp.client.transport import Endpoint

        address = self._gateway.known_address
        if address is None:
            address = await asyncio.to_thread(self._gateway.address)
        return Endpoint(address.base_url, address.token, lambda: self._gateway.is_alive)

    def _settled(self, attempt: Attempt) -> None:
        with self._lock:
            self.meter.add(attempt)
        self.on_settled(attempt)

    def _abandon(self) -> None:
        """In a forked child this session is dead; only its sockets are closed, by number."""
        for client in self._clients.values():
            client.transport.abandon()


class _Passing:
    """The key of a client that is made for one call."""


async def _ignore(_: Event) -> None:
    pass


def _checked(execution: Execution) -> Execution:
    if execution.kind != "code":
        raise InvalidInput("a task in words needs a model, and there is none here", hint="send code")
    if is_blank(execution.body, languages.find(execution.language).comment):
        raise NothingToRun("nothing to run: there is no code", hint="write some code below the first line")
    timeout = execution.timeout
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidInput(f"timeout of {timeout} seconds", hint="use a positive number")
    return execution


def is_blank(code: str, comment: str) -> bool:
    """Whether there is nothing but space and comments."""
    return all(not line.strip() or line.lstrip().startswith(comment) for line in code.splitlines())


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _abandon_all() -> None:
    for session in list(_open_sessions):
        session._abandon()


os.register_at_fork(after_in_child=_abandon_all)
