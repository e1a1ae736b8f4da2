"""Everything one notebook or script holds open: settings, store, meter, the gateway's process, and the way in.

This is the composition root: the only place that knows both wings.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ipy_codeinterp import asked, batch, exchange, ids, registry, settings
from ipy_codeinterp.batch import Batches, Trickle
from ipy_codeinterp.bridge import Bridge, Emit
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.dialects import earlier
from ipy_codeinterp.errors import (
    Batched,
    InterpError,
    InvalidInput,
    NotAllowed,
    Rejected,
    SandboxError,
    StoreError,
)
from ipy_codeinterp.execution import NOT_ISOLATED, ContainerState, Event, Execution, File, Kind, Notice, Result
from ipy_codeinterp.gateway.process import GatewayProcess
from ipy_codeinterp.many import Progress, run_all
from ipy_codeinterp.providers import Provider, Providers, learn_keys
from ipy_codeinterp.settings import BATCH, Settings
from ipy_codeinterp.store import batches, database, history, journal, ledger, place, stats, tried
from ipy_codeinterp.store.batches import Batch, Terms
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Balance, Budgets, Origin
from ipy_codeinterp.store.meter import Meter
from ipy_codeinterp.store.recording import Recording
from ipy_codeinterp.store.stats import Call
from ipy_codeinterp.store.tried import Spent, Tried
from ipy_codeinterp.together import Ways, run_together

if TYPE_CHECKING:  # aiohttp costs more to import than everything else here: only the first run pays for it
    from pandas import DataFrame

    from ipy_codeinterp.batch.courier import Courier, Times
    from ipy_codeinterp.client import Client, Ids
    from ipy_codeinterp.client.apart import Apart
    from ipy_codeinterp.client.http import Endpoint
    from ipy_codeinterp.client.limit import Standing
    from ipy_codeinterp.client.replay import Recorder
    from ipy_codeinterp.client.vendor_batches import VendorBatches
    from ipy_codeinterp.compare import Comparison
    from ipy_codeinterp.dry_run import DryRun


T = TypeVar("T")
MOST_LINKS = 5  # of tasks that go on from each other, that a model is told of


class Session:
    """Runs code, and keeps what came of it.

    `async with Session() as s: r = await s.execute(code)`, or from synchronous code `s.run(code)`. Settings are given
    by name: `Session(model="claude")`. `providers` are asked by `model="NAME@PROVIDER"`, beside the sandbox here.
    """

    def __init__(self, base: Settings | None = None, *, providers: Iterable[Provider] = (), **changes: Any) -> None:
        self.settings = (base or settings.load()).changed(**changes)
        self._providers = Providers(providers, lambda: self.settings, self._local)
        self.meter = Meter()
        self.notebook: str | None = None  # whose calls these are, for the ledger
        self._name = ids.new("ses")
        self.on_settled: Callable[[Attempt], None] = lambda _: None
        self._gateway = GatewayProcess(self.settings)
        self._database = _store(self.settings)
        self._bridge = Bridge()
        self.recording = _recording(self.settings)
        self._recorder: Recorder | None = None
        self._clients: dict[object, Client] = {}  # by loop
        self._ids: Ids | None = None
        self._apart: Apart | None = None
        self.batch_times: Times | None = None  # of vendors' own batches; None are the usual ones
        workers = (self._trickle, self._courier)
        self.batches = Batches(self._database, self.in_background, workers, self._is_known)
        self._background: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        learn_keys(self.settings)
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
        kind: Kind = "code",
        expect: str | None = None,
        execute: bool = True,
        inputs: Mapping[str, Any] = MappingProxyType({}),
        get: Iterable[str] = (),
        after: str | None = None,
        max_cost: Decimal | float | None = None,
        policy: str | None = None,
        critical: bool = False,
        labels: Mapping[str, str] | None = None,
        cache: bool = True,
        aside: bool = True,
        allow_secrets: bool = False,
        bound: bool = False,
        keep: bool = False,
        id: str | None = None,
        emit: Emit | None = None,
    ) -> Result:
        """Run `code` and return what came of it. The code raising, or hitting a limit, is a Result.

        `timeout` is seconds; `files` are paths, laid by name into the working folder; `mounts` are folders that the
        code may read where they lie, of those that the settings allow; `packages` are installed from the index for this
        run (`"polars>=1"`; wheels only); with `network` the code may speak to public addresses, if the settings allow
        it. A `kind="task"` is words for a model, which writes the code: `expect` says what it is to print ("a JSON list
        of ..."), and without `execute` nothing is run. It goes on from the Result whose id is `after`: at its offer,
        told what was asked and done, and with the variables that are left, where that one was run with `keep`. `inputs`
        are values by name, which the code finds as variables: tables and arrays of pandas, polars, pyarrow and numpy,
        and Python's own; `get` names variables that come back: `fetch_values` has them then. `policy` and `critical`
        say how to choose between offers.
        `max_cost` is the USD that all attempts together may cost, and `labels` are kept with them in the ledger.
        Without `cache` it is run, whatever was kept of an equal one; without `aside` it is not put aside, whatever
        `fallback` says, and a `bound` one is asked of nobody else. The Result has the `id`, where one is given (as
        `ids.new("run")` makes them). What looks like a key is refused, unless `allow_secrets`; in outputs and in what
        is kept it is masked all the same. Raises `InterpError`.
        """
        how: dict[str, Any] = {"language": language, "container": container, "timeout": timeout, "mounts": mounts}
        how |= {"packages": packages, "network": network, "kind": kind, "expect": expect, "execute": execute}
        how |= {"inputs": inputs, "get": get, "model": model, "files": files, "after": after}
        # a file is read to know its content, and a value is written out: not on the event loop
        is_long = bool(files or inputs)
        execution = await asyncio.to_thread(self.execution, code, **how) if is_long else self.execution(code, **how)
        if self.is_replay:
            return await self._replay(execution, emit or _ignore)
        if not allow_secrets:
            await _check_secrets(execution, labels or {})
        terms = Terms(_money(max_cost), labels or {}, _policy(policy), critical, cache)
        offer, id = self._providers.offer(execution.model or self.settings.model), id or ids.new("run")
        before = await asyncio.to_thread(self._before, execution, offer) if execution.after else ""
        passed: dict[str, Any] = {"bound": bound or bool(before), "before": before, "keep": keep}
        try:
            return await self._executed(execution, offer, terms, emit, id, **passed)
        except InterpError as error:
            if aside and not passed["bound"] and BATCH in self.settings.fallback and batch.is_for_later(error):
                await asyncio.to_thread(self._put_instead, execution, offer, terms, id, error)
            raise

    async def _executed(
        self, execution: Execution, offer: Offer, terms: Terms, emit: Emit | None, id: str, **how: Any
    ) -> Result:
        asked.check_can(execution, offer)
        for notice in self._providers.first_words(offer):
            if emit:
                await emit(Notice(notice))
        async with self._client() as client:
            return await client.execute(
                execution,
                offer,
                emit,
                use_cache=terms.cache,
                deadline=self.settings.deadline,
                max_cost=terms.max_cost,
                labels=terms.labels,
                policy=terms.policy,
                critical=terms.critical,
                id=id,
                **how,
            )

    def dry_run(
        self,
        code: str | Execution,
        *,
        models: Iterable[str] = (),
        max_cost: Decimal | float | None = None,
        **how: Any,
    ) -> DryRun:
        """What `execute` would send, and what each offer that it may ask (or each of `models`) could cost.

        Nothing is sent, and no key is needed.

        Raises `InterpError` for what could not be sent.
        """
        from ipy_codeinterp.dry_run import dry_run  # and with it every wire format: no cell at load needs them

        self._check_open()
        execution = self.execution(code, **{name: each for name, each in how.items() if name in asked.DEFAULTS})
        asked_for = list(models) or [execution.model or self.settings.model]
        names = [*asked_for, *(each for each in self.settings.fallback if each != BATCH)]
        offers = [self._providers.meant(name) for name in dict.fromkeys(names)]
        return self._bridge.call(dry_run(execution, offers, self._providers.place, _money(max_cost)))

    def _before(self, execution: Execution, offer: Offer) -> str:
        """What a task goes on from, in words.

        Raises `UnknownName` where that is not in the journal, and `InvalidInput` where another offer did it.
        """
        self.flush()
        with database.reading(self._database.path) as connection:
            links = history.chain(connection, execution.after or "", MOST_LINKS)
        if links[0].result.offer != str(offer):
            done = f"{links[0].result.id} was done by {links[0].result.offer}, not {offer}"
            raise InvalidInput(done, hint="begin anew: --new")
        return earlier.told([(each.execution, each.result) for each in links])

    def batch(
        self,
        code: str | Execution,
        *,
        max_cost: Decimal | float | None = None,
        policy: str | None = None,
        critical: bool = False,
        labels: Mapping[str, str] | None = None,
        cache: bool = True,
        **how: Any,
    ) -> str:
        """Put `code` aside and return its id at once; it is run in the background when its provider has room.

        It is on disk then, and survives this process: `batches` has the rest (`wait`, `collect`, `cancel`). Takes what
        `execute` takes; without a container, mounts and network. An attached file must still be what it is now when its
        turn comes. Where its vendor has batches of its own it goes there, for half the price, unless the setting
        `batches` says `own`. Raises `InterpError`.
        """
        self._check_open()
        if self.is_replay:
            raise NotAllowed("a replay runs nothing, also not later", hint="unset IPY_CODEINTERP_REPLAY")
        execution = self.execution(code, **how)
        asked.check_secrets(execution, labels or {})
        terms = Terms(_money(max_cost), labels or {}, _policy(policy), critical, cache)
        offer = self._providers.offer(execution.model or self.settings.model)
        asked.check_can(execution, offer)
        by_vendor = self._goes_to_its_vendor(offer) and not (execution.inputs or execution.get)
        aside = batch.new_batch(execution, str(offer), terms, self.notebook, by_vendor=by_vendor)
        self._check_able(execution, offer, is_pinned=by_vendor)
        self._check_affordable(execution, _in_batches(offer) if by_vendor else offer, terms, is_pinned=by_vendor)
        return self.batches.put(aside)

    def words_of_batch(self, id: str) -> str:
        """Where it was put, and what that may cost. Raises `UnknownName`."""
        found = self.batches.find(id)
        if not found.by_vendor:
            return f"{id} is put aside"
        from ipy_codeinterp.client.chain import Run

        offer = self._providers.offer(found.offer)
        worst = (each.at_most(Run(found.execution, each, _ignore).worst_case) for each in (_in_batches(offer), offer))
        half, whole = ("an unknown amount" if amount is None else f"${amount:.4f}" for amount in worst)
        return f"{id} is put aside for {offer.provider}'s batches, for at most {half} (at once: {whole}), within a day"

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
        together: int = 1,
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

        With `together` up to so many cells of Python that start fresh and are asked for in the same way are one turn of
        one interpreter, with a Result each: names are a cell's own, modules, files and the process are common. What is
        recorded or replayed is run one by one.
        """
        terms: dict[str, Any] = {"concurrency": concurrency, "ordered": ordered}
        terms |= {"raise_errors": raise_errors, "progress": progress}
        if together == 1 or self.recording:
            outcomes = run_all(lambda code: self.execute(code, **how), codes, **terms)
        else:
            outcomes = run_together(self._ways(how), codes, together, **terms)
        async with contextlib.aclosing(outcomes) as ended:
            async for index, outcome in ended:
                yield index, outcome

    async def compare(
        self,
        code: str | Execution,
        models: Iterable[str],
        *,
        repeat: int = 1,
        cache: bool = True,
        max_cost: Decimal | float | None = None,
        labels: Mapping[str, str] | None = None,
        allow_secrets: bool = False,
        emit: Emit | None = None,
        **how: Any,
    ) -> Comparison:
        """Run `code` at all of `models` at once, `repeat` times in turn, and say whether they agree.

        Each run is bound to its offer, and `max_cost` (USD) is for each. Where it is repeated nothing is served from
        what was kept. One that cannot be run has its error in the Result's place. `emit` is told how far it is, in one
        display. Takes what `execute` takes of a run. Raises `InvalidInput` for what cannot be compared, and
        `UnknownName` for a model that is none.
        """
        from ipy_codeinterp import compare

        is_long = bool(how.get("files") or how.get("inputs"))
        execution = await asyncio.to_thread(self.execution, code, **how) if is_long else self.execution(code, **how)
        names = tuple(models)
        offers = {name: name if self.is_replay else str(self.offer(name)) for name in names}
        compare.check(names, offers, execution, repeat)
        terms: dict[str, Any] = {"cache": cache and repeat == 1, "max_cost": max_cost, "labels": labels, "bound": True}
        terms["allow_secrets"] = allow_secrets
        return await compare.run(lambda each: self.execute(each, **terms), execution, offers, repeat, emit or _ignore)

    def run(
        self,
        code: str | Execution,
        *,
        show: Callable[[Event], None] | None = None,
        pause: Callable[[], None] | None = None,
        idle: Callable[[], None] | None = None,
        **how: Any,
    ) -> Result:
        """The same from synchronous code, also where an event loop is running. Events go to `show`, on this thread.

        While there is nothing to show `pause` is called all the time, and `idle` now and then.
        """
        return self.through(lambda emit: self.execute(code, emit=emit, **how), show, pause, idle)

    def through(
        self,
        work: Callable[[Emit], Coroutine[Any, Any, T]],
        show: Callable[[Event], None] | None = None,
        pause: Callable[[], None] | None = None,
        idle: Callable[[], None] | None = None,
    ) -> T:
        """What `work(emit)` returns, awaited on this session's own loop: `run` for whatever else is to be awaited."""
        self._check_open()
        return self._bridge.run(work, show or (lambda _: None), pause, idle)

    async def fetch(self, file: File) -> bytes:
        """The content of a file that a run left (one of `result.files`)."""
        if file.id is None and self.recording:
            return await asyncio.to_thread(self.recording.content, file)
        if file.id is None:
            raise InvalidInput(f"{file.name} was not left by a run", hint="give one of result.files")
        provider, slash, id = file.id.partition("/")
        async with self._client() as client:
            return await (client.transport.download(id, provider) if slash else client.transport.download(file.id))

    def content(self, file: File) -> bytes:
        """The same from synchronous code."""
        self._check_open()
        return self._bridge.call(self.fetch(file))

    async def fetch_values(self, result: Result) -> dict[str, Any]:
        """The values of the variables that `get` named, by name, from the files of `result`.

        One that did not come back, or came as what is no value, has its error (`InterpError`) in its place.
        """
        named = {name: file for file in result.files if (name := exchange.name_of(file))}
        return {name: await self._value(file) for name, file in named.items()}

    def values(self, result: Result) -> dict[str, Any]:
        """The same from synchronous code."""
        self._check_open()
        return self._bridge.call(self.fetch_values(result))

    async def _value(self, file: File) -> Any:
        folder, most = self.settings.data_dir, self.settings.value_limit << 20
        try:
            if (file.size or 0) > most:
                raise exchange.lost(file.name, f"{exchange.amount(file.size or 0)} are more than value_limit allows")
            data = await asyncio.to_thread(exchange.kept, folder, file.sha256)
            if data is None:
                data = await self.fetch(file)
                await asyncio.to_thread(exchange.keep, folder, hashlib.sha256(data).hexdigest(), data)
            return await asyncio.to_thread(exchange.value_of, file, data)
        except InterpError as error:
            return error

    def stats(self, *, since: timedelta | None = None, by: Iterable[str] = ()) -> list[stats.Stats]:
        """Figures of all calls in the ledger, also of other sessions: of all together, or a group each of `by`.

        `since` is how long ago the oldest began; `by` are of provider, model, notebook, label, outcome, source.
        """
        names = [registry.find("group", name, stats.BY) for name in by]
        now = datetime.now(UTC)
        begun = None if since is None else now - since
        return stats.stats(self._calls(begun), names, now=now, since=begun)

    def calls(self, *, since: timedelta | None = None) -> DataFrame:
        """Those calls themselves, a row each, the oldest first: times in UTC, money in USD, NaN where nobody knows.

        Raises `InvalidInput` where there is no pandas.
        """
        return stats.as_frame(self._calls(None if since is None else datetime.now(UTC) - since))

    def _calls(self, begun: datetime | None) -> list[Call]:
        self.flush()
        with database.reading(self._database.path) as connection:
            return list(stats.calls(connection, begun or datetime.min.replace(tzinfo=UTC))) if connection else []

    def balances(self) -> tuple[Balance, Balance]:
        """What is spent and held of this session's budget and of today's, USD: two rows, however many calls."""
        scopes = Attempt.begun("", "", "", "", origin=Origin(self._name)).scopes
        with database.reading(self._database.path) as connection:
            session, day = (ledger.balance(connection, scope) if connection else Balance() for scope in scopes)
        return session, day

    @property
    def standings(self) -> dict[str, Standing]:
        """How many calls wait and how many are under way now, by offer; without those of whom there are none."""
        found: dict[str, Standing] = {}
        for client in list(self._clients.values()):
            for offer, standing in dict(client.standings).items():
                found[offer] = found[offer] + standing if offer in found else standing
        return found

    def is_kept(self, id: str) -> bool:
        """Whether the journal has the Result of that id: not so where nothing is run, or nothing can be written."""
        with contextlib.suppress(StoreError), database.reading(self._database.path) as connection:
            return connection is not None and journal.has(connection, id)
        return False

    def kept(self, id: str) -> Result | None:
        """The Result of that id, from the journal; None where that has none, or cannot be read."""
        self.flush()
        with contextlib.suppress(StoreError), database.reading(self._database.path) as connection:
            return journal.find(connection, id) if connection else None
        return None

    def spent(self, id: str, begun: datetime) -> Spent:
        """What attempts since `begun` for the Result of that id have cost, whether it came to one or not."""
        self.flush()
        with contextlib.suppress(StoreError), database.reading(self._database.path) as connection:
            return tried.spent(connection, id, begun) if connection else Spent()
        return Spent()

    def at_most(self, execution: Execution) -> Decimal | None:
        """The most that one attempt at its offer can cost, USD; None where that has no price."""
        from ipy_codeinterp.client.chain import Run

        offer = self._providers.offer(execution.model or self.settings.model)
        return offer.at_most(Run(execution, offer, _ignore).worst_case)

    def tried(self, begun: datetime) -> list[Tried]:
        """What this session tried since then, attempt by attempt; nothing where the store cannot be read."""
        self.flush()
        with contextlib.suppress(StoreError), database.reading(self._database.path) as connection:
            return tried.since(connection, self._name, begun) if connection else []
        return []

    def flush(self) -> None:
        """Wait until what was handed to the store is kept."""
        with contextlib.suppress(StoreError):
            self._database.flush()

    def containers(self) -> list[ContainerState]:
        """The named containers that live, by name."""
        self._check_open()
        return self._bridge.call(self._containers())

    @property
    def container_names(self) -> tuple[str, ...]:
        """Those of the containers that this session has made and not ended, without asking where they are."""
        return tuple(sorted(self._ids.containers)) if self._ids else ()

    @property
    def store(self) -> Path:
        """The file that Results and batches are kept in."""
        return self._database.path

    @property
    def is_replay(self) -> bool:
        """Whether a recording answers, and nothing is run."""
        return self.settings.replay is not None

    def offer(self, name: str | None = None) -> Offer:
        """What `name` (`claude`, `claude@local`) means here; without one, what the setting `model` names.

        Raises `UnknownName` with the nearest one, and `NotAllowed` for a provider that is not here.
        """
        return self._providers.offer(name or self.settings.model)

    def in_background(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `work` on this session's own loop; it is cut short when the session closes."""
        try:
            self._check_open()
        except SandboxError:
            work.close()
            raise
        future = self._bridge.begin(work)
        self._background.add(future)
        future.add_done_callback(self._background.discard)
        return future

    def origin(self, execution: Execution) -> dict[str, str]:
        """What outputs of the next run of `execution` say of where they come from."""
        if self.is_replay and self.recording:
            entry = self.recording.peek(execution)
            offer, isolation = (entry.offer, entry.isolation) if entry else (execution.model or "", None)
        else:
            offer = str(self.offer(execution.model))
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

    def execution(self, code: str | Execution, **how: Any) -> Execution:
        """What is asked, checked; `how` is what `execute` takes of a run. Raises `InvalidInput`."""
        return asked.execution(self.settings, code, how)

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
        self.batches.finish(batch.GRACE)
        self._closed = True
        _open_sessions.discard(self)
        atexit.unregister(self.close)
        for future in list(self._background):
            future.cancel()
        client = self._clients.pop(self._bridge.loop, None) if self._bridge.loop else None
        if client:
            self._bridge.call(client.close())
        self._bridge.close()
        self._gateway.close()
        if self._apart:
            self._apart.bring_back()
        self._database.close()

    # --- inside ---

    def _client(self) -> contextlib.AbstractAsyncContextManager[Client]:
        """The chain of the running loop: sockets belong to one loop.

        It is kept for a loop that entered this session, and for our own; any other may end at any time, with nobody
        to close what it leaves, so there it is made for one call.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        if loop is self._bridge.loop:
            self._clients[loop] = self._clients.get(loop) or self._new_client()
        kept = self._clients.get(loop)
        return contextlib.nullcontext(kept) if kept else self._passing_client()

    @contextlib.asynccontextmanager
    async def _passing_client(self) -> AsyncIterator[Client]:
        passing = self._clients[_Passing()] = self._new_client()
        try:
            yield passing
        finally:
            await passing.close()
            self._clients = {key: client for key, client in self._clients.items() if client is not passing}

    def _new_client(self) -> Client:
        from ipy_codeinterp.client import Client, Ids, Policies
        from ipy_codeinterp.client.account import Funds
        from ipy_codeinterp.client.apart import Apart
        from ipy_codeinterp.client.cache import Sharing
        from ipy_codeinterp.client.replay import Recorder
        from ipy_codeinterp.client.retry import RetryPolicy

        is_live = self.recording is not None or self.settings.require == "live"  # nothing is served from what was kept
        with self._lock:
            self._ids = self._ids or Ids()
            self._apart = self._apart or Apart(self._database)
            if self.recording and not self._recorder:
                self._recorder = Recorder(self.recording, self.settings.record_runs == "missing")
        return Client(
            self._providers.endpoint,
            self._database,
            self._settled,
            self._ids,
            Policies(
                retry=RetryPolicy(attempts=self.settings.attempts, may_run_twice=self.settings.may_run_twice),
                sharing=Sharing("off" if is_live else self.settings.cache, self.settings.cache_days),
                rules=self._providers.rules,
                funds=lambda: Funds(self.settings.budget, self.settings.budget_day),
                origin=lambda: Origin(self._name, self.notebook),
                recorder=self._recorder,
                apart=self._apart,
                served=self._served,
                concurrency=lambda: self.settings.concurrency,
                loader=lambda: exchange.loader(self.settings.data_dir),
            ),
        )

    def _ways(self, how: Mapping[str, Any]) -> Ways:
        """Of running several together: `how` is what `map` was given."""
        own = {name: value for name, value in how.items() if name in asked.DEFAULTS}
        terms = {name: value for name, value in how.items() if name not in asked.DEFAULTS}
        terms["max_cost"] = _money(terms.get("max_cost"))

        async def as_execution(code: str | Execution) -> Execution:
            if own.get("files") or own.get("inputs"):
                return await asyncio.to_thread(self.execution, code, **own)
            return self.execution(code, **own)

        async def keep(execution: Execution, result: Result) -> None:
            written = self._database.write(lambda connection: journal.insert(connection, execution, result))
            with contextlib.suppress(StoreError):  # the turn's own Result has said so
                await asyncio.wrap_future(written)

        async def turn(execution: Execution, *, emit: Emit, cache: bool, **how: Any) -> Result:
            labels, policy, critical = how.get("labels") or {}, _policy(how.get("policy")), how.get("critical", False)
            if not how.get("allow_secrets"):
                await _check_secrets(execution, labels)
            terms = Terms(how["max_cost"], labels, policy, critical, cache)
            offer = self._providers.offer(execution.model or self.settings.model)
            return await self._executed(execution, offer, terms, emit, ids.new("run"))

        return Ways(as_execution, self.execute, turn, keep, self._longest, self._is_one_by_one, terms)

    def _longest(self, execution: Execution) -> float:
        return self.offer(execution.model).timeout

    def _is_one_by_one(self, error: InterpError) -> bool:
        """Whether cells are run alone where their turn gave up so: only a cell can be put aside, and collected."""
        return isinstance(error, Rejected) or (BATCH in self.settings.fallback and batch.is_for_later(error))

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

    async def _local(self) -> Endpoint:
        """The gateway on this machine, which is started where it is not."""
        from ipy_codeinterp.client.http import Endpoint

        address = self._gateway.known_address
        if address is None:
            address = await asyncio.to_thread(self._gateway.address)
        return Endpoint(address.base_url, address.token, lambda: self._gateway.is_alive)

    # --- the batch ---

    def _trickle(self) -> Trickle:
        return Trickle(
            self._database,
            self._run_batch,
            batches.owner(self._name),
            is_known=self._is_known,
            twice=lambda: self.settings.may_run_twice,
        )

    def _courier(self) -> Courier:
        from ipy_codeinterp.batch.courier import DEFAULT_TIMES, Courier

        return Courier(
            self._database,
            self._vendor_batches,
            batches.owner(self._name),
            is_known=self._is_known,
            is_here=lambda name: not self.is_replay and self._providers.is_here(name),
            budgets=self._budgets,
            settled=self._settled,
            times=self.batch_times or DEFAULT_TIMES,
        )

    def _vendor_batches(self) -> VendorBatches:
        """Of the running loop, which is our own."""
        from ipy_codeinterp.client.vendor_batches import VendorBatches

        loop = asyncio.get_running_loop()
        client = self._clients[loop] = self._clients.get(loop) or self._new_client()
        origin = lambda: Origin(self._name, self.notebook)  # noqa: E731 - of the time when it is asked
        return VendorBatches(client.transport, client.ids, client.go_on, self._providers.offer, origin)

    def _budgets(self, attempt: Attempt) -> Budgets:
        from ipy_codeinterp.client.account import Funds

        return Funds(self.settings.budget, self.settings.budget_day).budgets(attempt)

    def _goes_to_its_vendor(self, offer: Offer) -> bool:
        """Whether what is put aside goes to the vendor's own batches; what is recorded has to pass here."""
        return self.settings.batches != "own" and not self.recording and self._providers.has_batches(offer)

    async def _run_batch(self, taken: Batch) -> Result:
        assert taken.run_id is not None
        await asyncio.to_thread(asked.check_unchanged, taken.execution)
        most, offer = taken.terms.max_cost, self._providers.offer(taken.offer)
        terms = replace(taken.terms, max_cost=None if most is None else most - taken.spent)
        self._check_affordable(taken.execution, offer, terms)
        return await self._executed(taken.execution, offer, terms, None, taken.run_id)

    def _put_instead(self, execution: Execution, offer: Offer, terms: Terms, id: str, error: InterpError) -> None:
        """Put aside what gave up with `error`, and raise `Batched`; not what cannot be, or may have been billed."""
        with contextlib.suppress(InvalidInput, NotAllowed, StoreError):
            self._check_affordable(execution, offer, terms)
            aside = batch.new_batch(execution, str(offer), terms, self.notebook)
            if self.batches.put_instead(aside, id):
                hint = f"collect it later: batch collect {aside.id}"
                raise Batched(f"put aside as {aside.id}, since {error}", hint=hint, id=aside.id) from error

    def _check_able(self, execution: Execution, offer: Offer, *, is_pinned: bool) -> None:
        """Raises `NoOffer` for what nobody who will be asked can do."""
        from ipy_codeinterp.client.route import able

        rules = self._providers.rules()
        able(execution, [offer, *(() if is_pinned else rules.others)], rules, {})

    def _check_affordable(self, execution: Execution, offer: Offer, terms: Terms, *, is_pinned: bool = False) -> None:
        """What can never be sent for its `max_cost` is refused now, not every time that it is tried.

        What `is_pinned` is asked of no other offer.
        """
        if terms.max_cost is None or (self._providers.rules().others and not is_pinned):
            return
        from ipy_codeinterp.client.chain import Run

        worst = offer.at_most(Run(execution, offer, _ignore).worst_case)
        if worst is not None and worst > terms.max_cost:
            raise NotAllowed(
                f"it may cost up to ${worst:.4f}, and may cost ${terms.max_cost}: it can never be sent",
                hint="allow more with --max-cost USD, or ask for less",
            )

    def _is_known(self, offer: str) -> bool:
        return not self.is_replay and self._providers.is_known(offer)

    def _settled(self, attempt: Attempt) -> None:
        self.meter.add(attempt)
        self.on_settled(attempt)

    def _served(self, attempt: Attempt) -> None:
        self.meter.note_served(attempt)
        self.on_settled(attempt)

    def _abandon(self) -> None:
        """In a forked child this session is dead; only its sockets are closed, by number."""
        for client in self._clients.values():
            client.transport.abandon()


class _Passing:
    """The key of a client that is made for one call."""


async def _ignore(_: Event) -> None:
    pass


async def _check_secrets(execution: Execution, labels: Mapping[str, str]) -> None:
    """Files that go along are read for it: not on the event loop."""
    if execution.files or execution.inputs:
        await asyncio.to_thread(asked.check_secrets, execution, labels)
    else:
        asked.check_secrets(execution, labels)


def _in_batches(offer: Offer) -> Offer:
    """The same at the price of its vendor's batches."""
    return replace(offer, price=offer.batch_price)


def _policy(said: str | None) -> str | None:
    return said and registry.find("policy", said, {name: name for name in settings.CHOICES["policy"]})


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


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _abandon_all() -> None:
    for session in list(_open_sessions):
        session._abandon()


os.register_at_fork(after_in_child=_abandon_all)
