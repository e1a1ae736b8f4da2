"""A run as server-sent events: what is here already travels together, and a silent stream is kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol

from aiohttp import web

from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.gateway.runs import Passage

log = logging.getLogger(__name__)
KEEP_ALIVE_EVERY = 15.0  # seconds of silence
MOST_TOGETHER = 16  # events in one write
COMMENT = b": still running\n\n"  # every parser of events passes over it
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


class Story(Protocol):
    """How a format tells of a run, in bytes of whole events."""

    @property
    def keep_alive(self) -> bytes: ...

    def begin(self) -> Iterable[bytes]: ...

    def more(self, event: Any) -> Iterable[bytes]:
        """Of an output, while the code runs."""

    def end(self, ran: Ran) -> Iterable[bytes]: ...

    def fail(self, message: str) -> Iterable[bytes]:
        """The last words of a stream whose status has been sent."""


async def tell(
    request: web.Request, story: Story, passage: Passage, events: AsyncIterator[Any], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Tell of the rest of `events`, and of how it ended."""
    response = web.StreamResponse(headers={**headers, **HEADERS})
    await response.prepare(request)
    said = [*story.begin()]
    try:
        async with _kept_alive(response, story.keep_alive):
            if not passage.ahead:
                await _written(response, said)
            async for event in events:
                said += story.more(event)
                if not passage.ahead or len(said) > MOST_TOGETHER:
                    await _written(response, said)
        said += story.end(passage.ran)
    except ConnectionError:
        raise
    except Exception as error:
        log.exception("a stream failed")
        said += story.fail(f"{type(error).__name__}: {error}")
    await response.write_eof(b"".join(said))
    return response


async def told(request: web.Request, events: Iterable[bytes], headers: Mapping[str, str]) -> web.StreamResponse:
    """A stream whose events are all known."""
    response = web.StreamResponse(headers={**headers, **HEADERS})
    await response.prepare(request)
    await response.write_eof(b"".join(events))
    return response


async def _written(response: web.StreamResponse, said: list[bytes]) -> None:
    if said:
        await response.write(b"".join(said))
        said.clear()


@contextlib.asynccontextmanager
async def _kept_alive(response: web.StreamResponse, words: bytes) -> AsyncIterator[None]:
    """Clients give up on a stream that is silent for long."""

    async def speak() -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_EVERY)
            await response.write(words)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task
