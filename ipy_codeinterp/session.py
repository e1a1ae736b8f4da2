"""Everything one notebook or script holds open: settings, store, meter, the gateway's process, and the way in.

This is the composition root: the only place that knows both wings.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import secrets
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, Self

from ipy_codeinterp import attachments, catalog, languages, registry, settings
from ipy_codeinterp.bridge import Bridge, Emit
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.errors import InterpError, InvalidInput, NothingToRun, Rejected, SandboxError, StoreError
from ipy_codeinterp.execution import NOT_ISOLATED, ContainerState, Event, Execution, File, Result
from ipy_codeinterp.gateway.process import GatewayProcess
from ipy_codeinterp.many import Progress, run_all
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import database, place, stats
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Meter, Origin
from ipy_codeinterp.store.recording import Recording

if TYPE_CHECKING:  # aiohttp costs more to import than everything else here: only the first run pays for it
    from ipy_codeinterp.client import Client, Ids
    from ipy_codeinterp.client.replay import Recorder
    from ipy_codeinterp.client.transport import Endpoint


class Provider(Protocol):
    """Somebody who runs code for us: what it is called, its offers by model, and where it listens."""

    @property
    def name(self) -> str: ...

    @property
    def offers(self) -> Mapping[str, Offer]: ...

    def endpoint(self) -> Endpoint: ...


class Session:
    """Runs code, and keeps what came of it.

    `async with Session() as s: r = await s.execute(code)`, or from synchronous code `s.run(code)`. Settings are given
    by name: `Session(model="claude")`. `providers` are asked by `model="NAME@PROVIDER"`, beside the sandbox here.
    """

    def __init__(self, base: Settings | None = None, *, providers: Iterable[Provider] = (), **changes: Any) -> None:
        self.settings = (base or settings.load()).changed(**changes)
        self._providers = {provider.name: provider for provider in providers}
        self.meter = Meter()
        self.notebook: str | None = None  # whose calls these are, for the ledger
        self._name = f"ses_{secrets.token_hex(8)}"
        self.on_settled: Callable[[Attempt], None] = lambda _: None
        self._gateway = GatewayProcess(self.settings)
        self._database = _store(self.settings)
        self._bridge = Bridge()
        self.recording = _recording(self.settings)
        self._recorder: Recorder | None = None
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
        network: bool = False,
        max_cost: Decimal | float | None = None,
        policy: str | None = None,
        critical: bool = False,
        labels: Mapping[str, str] | None = None,
        cache: bool = True,
        emit: Emit | None = None,
    ) -> Result:
        """Run `code` and return what came of it. The code raising, or hitting a limit, is a Result.

        `timeout` is seconds; `files` are paths, laid by name into the working folder; `mounts` are folders that the
        code may read where they lie, of those that the settings allow; `packages` are installed from the index for this
        run (`"polars>=1"`; wheels only); with `network` the code may speak to public addresses, if the settings allow
        it. `policy` and `critical` say how to choose between offers. `max_cost` is the USD that all attempts together
        may cost, and `labels` are kept with them in the ledger. Without `cache` it is run, whatever was kept of an
        equal one. Raises `InterpError`.
        """
        how: dict[str, Any] = {"language": language, "container": container, "timeout": timeout, "mounts": mounts}
        how |= {"packages": packages, "network": network}
        # a file is read to know its content: not on the event loop
        known = await asyncio.to_thread(attachments.read, files) if files else ()
        execution = self.execution(code, model=model, files=known, **how)
        if self.is_replay:
            return await self._replay(execution, emit or _ignore)
        offer = self._offer(execution.model or self.settings.model)
        async with self._client() as client:
            return await client.execute(
                execution,
                offer,
                emit or _ignore,
                use_cache=cache,
                deadline=self.settings.deadline,
                max_cost=_money(max_cost),
                labels=labels or {},
                policy=policy and registry.find("policy", policy, {name: name for name in settings.CHOICES["policy"]}),
                critical=critical,
            )

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
        self,
        codes: Iterable[str | Execution],
        *,
        concurrency: int = 8,
        ordered: bool = False,
        raise_errors: bool = False,
        progress: Callable[[Progress], None] | None = None,
        **how: Any,
    ) -> AsyncGenerator[tuple[int, Result | InterpError]]:
        """Run many; yield `(index, result)` as they finish, or in the order given with `ordered`.

        Takes what `execute` takes. At most `concurrency` run at a time, and no more are taken from `codes` ahead: they
        may be endless. Code that raises is a Result like any other; one that could not be run at all (blank, say) gives
        its error in the Result's place, or with `raise_errors` raises it here and cancels what is still running.
        `progress` is told after each.
        """
        outcomes = run_all(
            lambda code: self.execute(code, **how),
            codes,
            concurrency=concurrency,
            ordered=ordered,
            raise_errors=raise_errors,
            progress=progress,
        )
        async with contextlib.aclosing(outcomes) as ended:
            async for index, outcome in ended:
                yield index, outcome

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
        if file.id is None and self.recording:
            return await asyncio.to_thread(self.recording.content, file)
        if file.id is None:
            raise InvalidInput(f"{file.name} was not left by a run", hint="give one of result.files")
        async with self._client() as client:
            return await client.transport.download(file.id)

    def stats(self, *, since: timedelta | None = None, by: Iterable[str] = ()) -> list[stats.Stats]:
        """Figures of all calls in the ledger, also of other sessions: of all together, or a group each of `by`.

        `since` is how long ago the oldest began; `by` are of provider, model, notebook, label, outcome, source.
        """
        names = [registry.find("group", name, stats.BY) for name in by]
        now = datetime.now(UTC)
        begun = None if since is None else now - since
        self.flush()
        with database.reading(self._database.path) as connection:
            calls = list(stats.calls(connection, begun or datetime.min.replace(tzinfo=UTC))) if connection else []
        return stats.stats(calls, names, now=now, since=begun)

    def flush(self) -> None:
        """Wait until what was handed to the store is kept."""
        with contextlib.suppress(StoreError):
            self._database.flush()

    def containers(self) -> list[ContainerState]:
        """The named containers that live, by name."""
        self._check_open()
        return self._bridge.call(self._containers())

    @property
    def is_replay(self) -> bool:
        """Whether a recording answers, and nothing is run."""
        return self.settings.replay is not None

    def origin(self, execution: Execution) -> dict[str, str]:
        """What outputs of the next run of `execution` say of where they come from."""
        if self.is_replay and self.recording:
            entry = self.recording.peek(execution)
            offer, isolation = (entry.offer, entry.isolation) if entry else (execution.model or "", None)
        else:
            offer = str(catalog.find(execution.model or self.settings.model))
            isolation = NOT_ISOLATED if self.settings.isolation == "bare" else None
        return {"offer": offer} | ({"isolation": NOT_ISOLATED} if isolation == NOT_ISOLATED else {})

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
        if self.is_replay and self.recording:
            self.recording.ended(name)
            return
        if self._recorder and self._recorder.ended(name) and name not in (self._ids.containers if self._ids else ()):
            return  # all that ran in it was replayed
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
        network: bool = False,
    ) -> Execution:
        """What is asked, checked. Raises `InvalidInput` for what cannot be run."""
        folders = tuple(sorted({os.path.abspath(os.path.expanduser(folder)) for folder in mounts}))
        if isinstance(code, Execution):
            if (model, language, container, timeout, files, folders, packages, network) != (
                None,
                "python",
                None,
                None,
                (),
                (),
                (),
                False,
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
                network=network,
                figure_format=self.settings.figure_format,
                figure_dpi=self.settings.figure_dpi,
            )
        )

    # --- life ---

    def start(self) -> None:
        """Start the local gateway now, in the background. A replay needs none."""
        self._check_open()
        if not self.is_replay:
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
        from ipy_codeinterp.client import Client, Ids, Policies
        from ipy_codeinterp.client.account import Funds
        from ipy_codeinterp.client.cache import Sharing
        from ipy_codeinterp.client.replay import Recorder
        from ipy_codeinterp.client.retry import RetryPolicy
        from ipy_codeinterp.client.route import Rules

        with self._lock:
            self._ids = self._ids or Ids()
            if self.recording and not self._recorder:
                self._recorder = Recorder(self.recording, self.settings.record_runs == "missing")
        return Client(
            self._endpoint,
            self._database,
            self._settled,
            self._ids,
            Policies(
                retry=RetryPolicy(attempts=self.settings.attempts, may_run_twice=self.settings.may_run_twice),
                sharing=Sharing("off" if self.recording else self.settings.cache, self.settings.cache_days),
                rules=lambda: Rules(self.settings.policy, tuple(map(self._offer, self.settings.fallback))),
                funds=lambda: Funds(self.settings.budget, self.settings.budget_day),
                origin=lambda: Origin(self._name, self.notebook),
                recorder=self._recorder,
            ),
        )

    async def _replay(self, execution: Execution, emit: Emit) -> Result:
        from ipy_codeinterp.client.replay import replay

        self._check_open()
        assert self.recording is not None
        return await replay(self.recording, execution, emit)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise SandboxError(
                "this process was forked from the one that opened the session", hint="open a Session of its own here"
            )
        if self._closed:
            raise SandboxError("this session is closed", hint="open another: Session()")

    async def _endpoint(self, provider: str) -> Endpoint:
        from ipy_codeinterp.client.transport import Endpoint

        if provider in self._providers:
            return self._providers[provider].endpoint()
        address = self._gateway.known_address
        if address is None:
            address = await asyncio.to_thread(self._gateway.address)
        return Endpoint(address.base_url, address.token, lambda: self._gateway.is_alive)

    def _offer(self, name: str) -> Offer:
        model, _, provider = name.partition("@")
        if provider in self._providers:
            return registry.find("model", model, self._providers[provider].offers)
        return catalog.find(name)

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


def _recording(known: Settings) -> Recording | None:
    """What the settings name. Raises `BadRecording` where there is nothing to replay."""
    if known.replay:
        return Recording.existing(known.replay.absolute())
    return Recording(known.record.absolute()) if known.record else None


def _store(settings: Settings) -> Database:
    where, kept = place.of(settings.data_dir), timedelta(days=settings.data_days)
    return Database(where.path, limit=settings.data_limit << 20, kept=kept, notice=where.notice)


def _money(said: Decimal | float | None) -> Decimal | None:
    try:
        return settings.money(said)
    except ValueError as error:
        raise InvalidInput(f"max_cost = {said!r}: {error}", hint="use a number of US dollars") from None


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
