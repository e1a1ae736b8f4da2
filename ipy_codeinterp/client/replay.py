"""Recording what comes, and replaying it: a replay stands in for the whole chain, and runs nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from ipy_codeinterp import shield
from ipy_codeinterp.client.cache import tell
from ipy_codeinterp.client.chain import Emit, Handler, Run
from ipy_codeinterp.client.misses import missed
from ipy_codeinterp.execution import Event, Execution, Phase, Result
from ipy_codeinterp.store.recording import Recording

Download = Callable[[str], Awaitable[bytes]]  # the content of a file, by the id that the provider gave it


async def replay(recording: Recording, execution: Execution, emit: Emit) -> Result:
    """What was recorded of `execution`, told again. Raises `ReplayMiss` for what was not recorded."""
    entry = recording.take(execution)
    if entry is None:
        raise missed(recording, execution)
    result = shield.masked_result(await asyncio.to_thread(recording.result, entry))
    await emit(Phase("running"))
    await tell(result, emit)
    return result


@dataclass(slots=True)
class Recorder:
    """What a session records into. With `only_missing`, runs that are recorded already are replayed.

    `owed` has, by container, the runs that were replayed and not made: one that is missing needs the state they leave.
    """

    recording: Recording
    only_missing: bool = False
    owed: dict[str, list[Execution]] = field(default_factory=dict)

    def ended(self, container: str) -> bool:
        """That container was ended; returns whether there was none but in the recording."""
        self.recording.ended(container)
        return self.owed.pop(container, None) is not None


class Record:
    """Middleware, one event loop's own. Every Result is in the recording before anybody is told."""

    def __init__(self, recorder: Recorder, download: Download) -> None:
        self._recorder = recorder
        self._recording = recorder.recording
        self._download = download
        self._turns: dict[str, asyncio.Lock] = {}

    async def __call__(self, run: Run, handler: Handler) -> Result:
        async with self._turn(run.execution.container):
            if self._recorder.only_missing and self._recording.peek(run.execution):
                self._owe(run.execution)
                return await replay(self._recording, run.execution, run.emit)
            await self._catch_up(run, handler)
            result = await handler(run)
            contents = {file.sha256: await self._download(file.id) for file in result.files if file.sha256 and file.id}
            await asyncio.to_thread(self._recording.keep, run.execution, result, contents)
            return result

    def _owe(self, execution: Execution) -> None:
        if execution.container is not None:
            self._recorder.owed.setdefault(execution.container, []).append(execution)

    async def _catch_up(self, run: Run, handler: Handler) -> None:
        """Make the runs that the container has not seen. They are kept and paid for like any other, but not shown."""
        owed = self._recorder.owed.get(run.execution.container or "", [])
        while owed:
            await handler(Run(owed[0], run.offer, _ignore, use_cache=False))
            del owed[0]

    @contextlib.asynccontextmanager
    async def _turn(self, container: str | None) -> AsyncIterator[None]:
        """One run of a container at a time: its address is the chain of those before it."""
        if container is None:
            yield
            return
        async with self._turns.setdefault(container, asyncio.Lock()):
            yield


async def _ignore(_: Event) -> None:
    pass
