"""A conversation with a provider: its own names for our containers and files, and as many rounds as the work needs.

A round is one request and its reply. There is another one where the provider pauses, and where the model calls code
that is for us to run: that runs here, in the local sandbox, while no place at the provider is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from ipy_codeinterp.catalog import LOCAL
from ipy_codeinterp.client import loading
from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.figures import with_figures
from ipy_codeinterp.client.rounds import answer, joined, step_of
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.dialects.dialect import Answer, Call, Reply, Round
from ipy_codeinterp.errors import GatewayLost, InterpError, Rejected
from ipy_codeinterp.execution import Execution, File, Notice, Phase, Result, Step, Timings

Locks = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, asyncio.Lock]]
RunTool = Callable[[Execution, Run], Awaitable[Result]]
NOT_ALONE = contextlib.nullcontext()  # what starts fresh waits for nobody
UPLOADING = None  # no container is called so
MOST_ROUNDS = 12  # of one conversation
GONE = ("expired", "not found", "no longer", "does not exist", "expected container_id")  # as some say with a 400


@dataclass(slots=True)
class Ids:
    """What one provider calls our containers (by name) and files (by name and content); a session has one of these."""

    gateway: str | None = None
    containers: dict[str, str] = field(default_factory=dict)
    uploads: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)  # where the code of a task ran, by its run
    _locks: Locks = field(default_factory=weakref.WeakKeyDictionary)
    _others: dict[str, Ids] = field(default_factory=dict)  # of other providers, by name

    def of(self, provider: str) -> Ids:
        """Those of `provider`; these are our own gateway's."""
        return self if provider == LOCAL else self._others.setdefault(provider, Ids())

    def holders(self, name: str) -> list[str]:
        """The providers that have a container of that name."""
        return [who for who, ids in {LOCAL: self, **self._others}.items() if name in ids.containers]

    def lock(self, name: str | None) -> asyncio.Lock:
        """The lock of that name, of the running loop."""
        locks = self._locks.setdefault(asyncio.get_running_loop(), {})
        return locks.setdefault(name, asyncio.Lock())


class Converse:
    """Middleware. Runs of one container pass one at a time, in the order they came; `run_tool` runs code here."""

    def __init__(
        self, transport: Transport, ids: Ids, run_tool: RunTool, loader: Callable[[], File] | None = None
    ) -> None:
        self._loader = loader
        self._transport = transport
        self._ids = ids
        self._run_tool = run_tool

    async def __call__(self, run: Run, handler: Handler) -> Result:
        ids = self._ids.of(run.offer.provider)
        container = run.execution.container
        async with ids.lock(container) if container else NOT_ALONE:
            await self._notice_new_gateway(run, ids)
            try:
                return await self._converse(run, handler, ids)
            except Rejected as error:
                if not _is_of_an_id(run, error):
                    raise
                await _forget_ids(run, ids, error)
                return await self._converse(run, handler, ids)
            except GatewayLost as error:
                raise GatewayLost(str(error), hint=_with_lost_containers(ids, error.hint)) from error

    async def _converse(self, run: Run, handler: Handler, ids: Ids) -> Result:
        name = run.execution.container
        run.container_id = ids.containers.get(name) if name else ids.tasks.get(run.execution.after or "")
        if name and run.container_id is None and (others := self._ids.holders(name)):
            words = f"container {name!r} is new at {run.offer.provider}: that of {' and '.join(others)} is another one"
            await run.emit(Notice(words))
        run.inputs = await self._given(run, ids, run.execution.inputs)
        run.files = (*await self._given(run, ids, run.execution.files), *await self._loading(run, ids))
        run.rounds, run.parts, run.carried = (), (), 0
        try:
            return await self._rounds(run, handler)
        finally:
            _remember(run, ids, name)

    async def _rounds(self, run: Run, handler: Handler) -> Result:
        """One round after the other, until the work is done; what was paid for is kept, whatever comes later."""
        results = [await self._round(run, handler)]
        if not _goes_on(run.reply):
            return results[0]
        async with contextlib.AsyncExitStack() as stack:
            tools = _Tools(run, self._run_tool, stack, self._transport, self._ids)
            while (reply := run.reply) is not None and _goes_on(reply):
                answers = [await tools.run(call) for call in reply.calls]
                results[-1] = replace(results[-1], parts=(*results[-1].parts, *tools.steps()))
                run.parts = tuple(part for each in results for part in each.parts)
                if _is_done(run, reply, answers):
                    break
                if len(results) == MOST_ROUNDS:
                    await run.emit(Notice(f"ended after {MOST_ROUNDS} rounds: the model would have gone on"))
                    break
                _carry(run, reply, results[-1], answers)
                try:
                    results.append(await self._round(run, handler))
                except InterpError as error:
                    if not any(answer.ok for answer in answers):
                        raise
                    await run.emit(Notice(f"the model could not go on ({error}); its code had run"))
                    break
        return joined(run, results)

    async def _round(self, run: Run, handler: Handler) -> Result:
        """One request and its reply, with the figures that stayed at the provider."""
        run.timings, run.queue_noted = Timings(), 0.0
        result = await handler(run)
        if run.offer.is_local or not any(step.files for step in result.steps):
            return result
        began = time.monotonic()
        whole, known = await with_figures(self._transport, run, result), result.timings
        fetched = (known.transfer or 0.0) + time.monotonic() - began
        return replace(whole, timings=replace(known, transfer=fetched))

    async def _given(self, run: Run, ids: Ids, files: tuple[File, ...]) -> tuple[File, ...]:
        """The files with the ids that the provider has for them; without, where they travel inside the request."""
        if not files or not await self._transport.takes_files(run.offer.provider):
            return tuple(replace(file, id=None) for file in files)
        found = []
        async with ids.lock(UPLOADING):  # else runs that start together would each send the same file
            for file in files:
                content = (file.name, file.sha256 or "")
                if content not in ids.uploads:
                    await run.emit(Phase("transferring"))
                    ids.uploads[content] = await self._transport.upload(file, run.offer.provider)
                found.append(replace(file, id=ids.uploads[content]))
        return tuple(found)

    async def _loading(self, run: Run, ids: Ids) -> tuple[File, ...]:
        """Values, and what loads them, as files for an interpreter that is not ours."""
        endpoint = await self._transport.endpoint(run.offer.provider)
        if endpoint.ours or endpoint.dialect.UPLOADS is None or not loading.is_needed(run.execution):
            return ()
        await run.emit(Notice(loading.notice(run.execution, run.offer.provider)))
        loader = (await asyncio.to_thread(self._loader),) if self._loader else ()
        return (*run.inputs, *await self._given(run, ids, loader))

    async def _notice_new_gateway(self, run: Run, ids: Ids) -> None:
        base_url = (await self._transport.endpoint(run.offer.provider)).base_url
        if ids.gateway not in (None, base_url):
            if ids.containers:
                await run.emit(Notice(f"the local gateway was started anew; lost containers: {_names(ids)}"))
            ids.containers.clear()
            ids.uploads.clear()
            ids.tasks.clear()
        ids.gateway = base_url


class _Tools:
    """The calls of one conversation, run here: those of a task see each other's variables."""

    def __init__(
        self, run: Run, run_tool: RunTool, stack: contextlib.AsyncExitStack, transport: Transport, ids: Ids
    ) -> None:
        self._run = run
        self._run_tool = run_tool
        self._stack = stack
        self._transport = transport
        self._ids = ids
        self._results: list[tuple[Call, Result]] = []
        self._container: str | None = None

    async def run(self, call: Call) -> Answer:
        if call.fault:
            return Answer(call, call.fault, ok=False)
        asked = self._run.execution
        execution = Execution(
            call.code,
            language=call.language,
            model=LOCAL,
            container=self._place(),
            timeout=asked.timeout,
            files=asked.files,
            inputs=asked.inputs,
            get=asked.get,
            figure_format=asked.figure_format,
            figure_dpi=asked.figure_dpi,
        )
        result = await self._run_tool(execution, self._run)
        self._results.append((call, result))
        return answer(call, result)

    def steps(self) -> tuple[Step, ...]:
        """Those of the calls that ran since this was last asked."""
        results, self._results = self._results, []
        return tuple(step_of(call, result, self._run.execution) for call, result in results)

    def _place(self) -> str | None:
        asked = self._run.execution
        if asked.container:
            return f"{asked.container}@{self._run.offer.provider}"
        if asked.kind == "code":
            return None
        if self._container is None:
            self._container = self._ids.tasks.get(asked.after or "", self._run.id)
            self._stack.push_async_callback(self._keep if self._run.keeps else self._end, self._container)
        return self._container

    async def _keep(self, name: str) -> None:
        """This is the place to go on from: those of tasks before it are needed no more."""
        others = {other for other in self._ids.tasks.values() if other != name}
        self._ids.tasks = {self._run.id: name}
        for other in others:
            await self._end(other)

    async def _end(self, name: str) -> None:
        id = self._ids.containers.pop(name, None)
        if id:
            with contextlib.suppress(InterpError):
                await self._transport.end_container(id)


def _goes_on(reply: Reply | None) -> bool:
    return reply is not None and (bool(reply.calls) or reply.stop == "paused")


def _is_done(run: Run, reply: Reply, answers: list[Answer]) -> bool:
    """Code that was to be run as it is has run: what a model would say of it is neither asked nor paid for."""
    return run.execution.kind == "code" and bool(answers) and all(answer.ok for answer in answers)


def _carry(run: Run, reply: Reply, result: Result, answers: list[Answer]) -> None:
    """What the next round has to repeat, and the tokens that it takes."""
    run.rounds = (*run.rounds, Round(reply.said, tuple(answers)))
    counted = (result.usage.input_tokens or 0) + (result.usage.output_tokens or 0)
    run.carried = counted + sum(len(answer.text.encode("utf-8", "replace")) for answer in answers)
    run.container_id = reply.container or run.container_id


def _remember(run: Run, ids: Ids, name: str | None) -> None:
    """Also after an interrupt: our gateway names the container at the start of the stream."""
    id = (run.decoder and run.decoder.container) or run.container_id
    if name and id:
        ids.containers[name] = id
    elif id and run.execution.kind == "task" and run.keeps:
        ids.tasks = {run.id: id}


def _is_of_an_id(run: Run, error: Rejected) -> bool:
    """Whether it is an id that the provider does not know any more; some say so in the words of a wrong request."""
    if run.container_id is None and not any(file.id for file in (*run.files, *run.inputs)):
        return False
    said = f"{error.param or ''} {error}".lower()
    return error.status == 404 or ("container" in said and any(word in said for word in GONE))


async def _forget_ids(run: Run, ids: Ids, error: Rejected) -> None:
    """Begin again with new ones, once, and say what that loses."""
    ids.uploads.clear()
    of_container = "container" in f"{error.param or ''} {error}".lower()
    if run.execution.container and run.container_id and of_container:
        ids.containers.pop(run.execution.container, None)
        run.container_id, run.decoder = None, None
        why = error.hint or str(error)
        await run.emit(Notice(f"container {run.execution.container!r} is new, its variables are gone: {why}"))
    elif run.container_id and of_container and ids.tasks.pop(run.execution.after or "", None):
        run.container_id, run.decoder = None, None
        await run.emit(Notice(f"what the code before had made is gone: {error.hint or error}"))


def _with_lost_containers(ids: Ids, hint: str) -> str:
    return f"{hint}; lost containers: {_names(ids)}" if ids.containers else hint


def _names(ids: Ids) -> str:
    return ", ".join(sorted(ids.containers))
