"""The sandbox wing without a gateway: code goes into a real container, what came of it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ipy_codeinterp import testing
from ipy_codeinterp.execution import Error
from ipy_codeinterp.sandbox import sources
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.isolation import Isolation
from ipy_codeinterp.sandbox.job import Job
from ipy_codeinterp.sandbox.pool import Pool

T = TypeVar("T")
MEMORY = 1 << 30
AGAINST_HANGS = 60.0


class Ran(testing.Ran):
    """What one run said, with what these tests ask of it beside."""

    @property
    def outcome(self) -> str:
        return self.verdict.outcome

    @property
    def limit(self) -> str | None:
        return self.verdict.limit and self.verdict.limit.name

    @property
    def error(self) -> Error | None:
        return next((e for e in self.events if isinstance(e, Error)), None)

    @property
    def files(self) -> dict[str, bytes]:
        return {file.name: file.data for file in self.verdict.files}


class Wing:
    """Containers on an event loop of their own. `run()` uses one that is shared, and made anew when it has died."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._runner = asyncio.Runner()
        self._source = sources.of(isolation)
        self._pool = Pool(self._source, size=1)
        self._others: list[sources.Source] = []
        self._shared: Container | None = None
        self.do(self._open())

    async def _open(self) -> None:
        self._pool.open()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def fresh(self, language: str = "python") -> Container:
        """A container nobody else uses; `end()` it."""
        return self.do(self._pool.fresh(language, MEMORY))

    def start(self) -> Container:
        """The same, but started by this process as it is now."""

        async def started() -> Container:
            source = sources.of(self._isolation)
            self._others.append(source)
            return Container(await source.start("python", None))

        return self.do(started())

    def end(self, container: Container) -> None:
        self.do(container.close())

    def run(self, code: str, *, container: Container | None = None, **job: Any) -> Ran:
        """Run `code` to its end, in the shared container unless one is given."""
        return self.do(gather(container or self.shared, code, **job))

    @property
    def shared(self) -> Container:
        if self._shared and not self._shared.alive:
            self.end(self._shared)
            self._shared = None
        self._shared = self._shared or self.fresh()
        return self._shared

    def close(self) -> None:
        if self._shared:
            self.end(self._shared)
        self.do(self._pool.close())
        for source in self._others:
            self.do(source.close())
        self._runner.close()


async def gather(container: Container, code: str, **job: Any) -> Ran:
    job = {"timeout": AGAINST_HANGS, "memory": MEMORY, **job}
    return Ran([event async for event in container.run(Job(code, **job))])
