"""From a Job to what a reply says of it: which container it runs in, its figures as files, its end in words."""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator

from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import Clear, Display, File, Output, Update
from ipy_codeinterp.gateway.files import Files, as_file
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.frames import Begun
from ipy_codeinterp.sandbox.job import NOTHING_MORE, ContainerGone, Extras, Job, Verdict
from ipy_codeinterp.sandbox.limits import describe_exit
from ipy_codeinterp.sandbox.pool import Pool

MOST_FIGURES = 100  # of one run that are files as well


class NotCode(Rejected):
    """The text is not code, and there is no model here to make it so."""


class Place:
    """A container, its id, and whether it is new. A new one that dies before it has run anything is replaced."""

    def __init__(self, pool: Pool, container: Container, id: str, *, new: bool, kept: bool) -> None:
        self.container = container
        self.id = id
        self.new = new
        self._pool = pool
        self._kept = kept

    async def _again(self) -> Container:
        dead = self.container
        return await self._pool.fresh(dead.language, dead.memory, dead.extras)

    async def replace(self) -> None:
        """Take another container in place of the one that died."""
        dead, self.container = self.container, await self._again()
        if self._kept:
            self._pool.forget(self.id, "it never began")
            self._pool.keep(self.id, self.container)
        else:
            self._pool.end(dead)


@contextlib.asynccontextmanager
async def place(
    pool: Pool,
    container: str | None,
    language: str,
    memory: int | None,
    extras: Extras = NOTHING_MORE,
    *,
    keep: bool = True,
    new_id: str = "",
) -> AsyncIterator[Place]:
    """The `container` that was asked for, or a fresh one, which with `keep` stays afterwards, as `new_id`."""
    if container:
        yield Place(pool, _existing(pool, container, language, extras), container, new=False, kept=True)
        return
    id = new_id or f"container_{secrets.token_hex(12)}"
    fresh = await pool.fresh(language, memory, extras)
    if keep:
        pool.keep(id, fresh)
    where = Place(pool, fresh, id, new=True, kept=keep)
    try:
        yield where
    except NotCode:
        pool.forget(id, "it was made for text that is not code")  # nobody has heard of it
        raise
    finally:
        if not keep:
            pool.end(where.container)


def _existing(pool: Pool, id: str, language: str, extras: Extras) -> Container:
    container = pool.find(id)
    if container is None:
        raise not_found(pool, id)
    if container.language != language:
        hint = f"name another container for {language}"
        raise Rejected(f"this container runs {container.language}, not {language}", hint=hint, param="container")
    if not container.extras.covers(extras):
        hint = "what a container has is settled when it is made: name another one, or restart it"
        raise Rejected(f"this container does not have all of {extras}", hint=hint, param="mounts")
    return container


def not_found(pool: Pool, id: str) -> Rejected:
    """The vendor's answer for a container that is not there, with the reason where it is known."""
    why = pool.why_ended(id)
    return Rejected(f"container not found: {id[:80]}", hint=why or "", status=404, param="container")


class Passage:
    """One run on its way: iterate `events()`, then ask for `ran`."""

    def __init__(self, place: Place, job: Job, files: Files, pool: Pool) -> None:
        self._place = place
        self._job = job
        self._files = files
        self._pool = pool
        self._collector = Collector()
        self._figures: list[File] = []
        self._verdict: Verdict | None = None

    async def events(self) -> AsyncGenerator[Begun | Output | Update | Clear]:
        """Outputs as they come; the first thing is `Begun`. Raises `NotCode` instead when the text is none."""
        try:
            async with contextlib.aclosing(self._events()) as events:
                async for event in events:
                    yield event
        except ContainerGone as error:
            if not self._place.new:
                self._pool.forget(self._place.id, str(error))
                raise not_found(self._pool, self._place.id) from None
            await self._place.replace()
            async with contextlib.aclosing(self._events()) as events:
                async for event in events:
                    yield event

    async def _events(self) -> AsyncGenerator[Begun | Output | Update | Clear]:
        async with contextlib.aclosing(self._place.container.run(self._job)) as events:
            async for event in events:
                if isinstance(event, Verdict):
                    self._end(event)
                    return
                if isinstance(event, Begun):
                    self._pool.runs += 1
                else:
                    self._collector.feed(event)
                if isinstance(event, Display):
                    self._keep_figure(event)
                yield event

    @property
    def ahead(self) -> bool:
        """Whether the next event is here already."""
        return self._place.container.ahead

    @property
    def ran(self) -> Ran:
        assert self._verdict is not None, "only at the end"
        verdict, outputs = self._verdict, self._collector.outputs
        status = verdict.exit_status
        return Ran(
            outputs=outputs,
            outcome=verdict.outcome,
            exit_status=int(verdict.outcome != "ok") if status is None else status if status >= 0 else 128 - status,
            files=(*self._figures, *self._left(verdict)),
            limit=verdict.limit,
            seconds=verdict.seconds,
            note=f"the interpreter ended: {describe_exit(status)}" if verdict.outcome == "crashed" else "",
        )

    def _end(self, verdict: Verdict) -> None:
        if verdict.refused:
            raise NotCode("no model here: send code")
        self._verdict = verdict
        if not verdict.alive and self._pool.find(self._place.id, dead=True):
            why = verdict.limit and f"it hit the {verdict.limit.name} limit"
            self._pool.forget(self._place.id, why or f"its interpreter ended: {describe_exit(verdict.exit_status)}")

    def _keep_figure(self, display: Display) -> None:
        """Each figure is a file as well, as the vendor has it."""
        encoded = display.data.get("image/png")
        if isinstance(encoded, str) and len(self._figures) < MOST_FIGURES:
            with contextlib.suppress(binascii.Error, ValueError):
                name = f"figure-{len(self._figures) + 1}.png"
                self._figures.append(self._keep(name, base64.b64decode(encoded)))

    def _left(self, verdict: Verdict) -> list[File]:
        return [self._keep(file.name, file.data) for file in verdict.files]

    def _keep(self, name: str, data: bytes) -> File:
        return as_file(self._files.add(name, data, downloadable=True))
