"""POST /v1/messages: Anthropic's Messages with `code_execution`, answered without a model by running the code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from ipy_codeinterp import catalog, languages
from ipy_codeinterp.dialects import messages, prompt, sse
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.gateway.files import FILES
from ipy_codeinterp.gateway.runs import NotCode, Passage, Place, place
from ipy_codeinterp.gateway.sandbox import SANDBOX
from ipy_codeinterp.sandbox import packages
from ipy_codeinterp.sandbox.job import Extras, Input, Job
from ipy_codeinterp.sandbox.pool import IDLE_EXPIRY

log = logging.getLogger(__name__)
PING_EVERY = 15.0  # seconds of silence
MOST_BODY = 128 << 20
MOST_TOGETHER = 16  # events in one write
LONG = 1 << 20  # characters: more than this is not scanned on the event loop
MOST_TIMEOUT = 24 * 3600.0
NO_MODEL = "no model here: send code"
CONTAINER_LIFE = timedelta(seconds=IDLE_EXPIRY)


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/messages", answer)


async def answer(request: web.Request) -> web.StreamResponse:
    """One request, from its JSON to the last event."""
    asked = messages.decode_request(await _json(request))
    profile = catalog.profile_of(asked.model)
    if profile is None:
        raise Rejected(f"model: {asked.model[:80]!r} is not served here", status=404)
    code, language, must_parse = await _code_of(asked)
    if not languages.find(language).is_installed:
        raise _not_installed(languages.find(language))
    job = Job(
        code,
        inputs=await asyncio.to_thread(_inputs, request, asked) if asked.file_ids else (),
        timeout=min(asked.timeout or profile.timeout, MOST_TIMEOUT),
        memory=min(asked.memory or profile.memory, profile.memory),
        must_parse=must_parse,
        figure_format=asked.figure_format,
        figure_dpi=asked.figure_dpi,
    )
    sandbox = await request.app[SANDBOX].ready()
    if asked.packages and language != "python":
        raise Rejected("packages are for Python", hint=f"{language} has what this machine has", param="packages")
    extras = Extras(sandbox.allowed(asked.mounts), packages.checked(asked.packages), sandbox.may_connect(asked.network))
    async with place(sandbox.pool, asked, language, job.memory, extras) as where:
        passage = Passage(where, job, request.app[FILES], sandbox.pool)
        envelope = _envelope(request, asked, code, where, sandbox.isolation_with(where.container.extras))
        async with contextlib.aclosing(passage.events()) as events:
            await anext(events, None)  # from here on it is known that the text is code
            if asked.stream:
                return await _stream(request, envelope, passage, events)
            async for _ in events:
                pass
        return web.json_response(messages.encode_reply(envelope, passage.ran), headers=_headers())


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise Rejected("the body is not valid JSON") from None


async def _code_of(asked: messages.Asked) -> tuple[str, str, bool]:
    """The code in the last user message, its language, and whether it is still to be seen that it is code."""
    if asked.tool is None:
        raise NotCode(f"{NO_MODEL}, with a code_execution tool")
    find = prompt.blocks
    found = await asyncio.to_thread(find, asked.text) if len(asked.text) > LONG else find(asked.text)
    if len(found) > 1:
        raise NotCode(f"{NO_MODEL} in one fenced block, not in {len(found)}")
    if not found and not asked.text.strip():
        raise NotCode(NO_MODEL)
    if not found:
        return asked.text, asked.language or "python", True
    labelled = languages.of_fence(found[0].label)
    return found[0].content, asked.language or (labelled.name if labelled else "python"), False


def _not_installed(language: languages.Language) -> Rejected:
    return Rejected(f"{language.program} is not installed on this machine", hint=language.install, param="language")


def _inputs(request: web.Request, asked: messages.Asked) -> tuple[Input, ...]:
    kept = [request.app[FILES].find(id) for id in asked.file_ids]
    names = [file.name for file in kept]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Rejected(f"container_upload: two files are called {twice!r}")
    return tuple(Input(file.name, file.read()) for file in kept)


def _envelope(
    request: web.Request, asked: messages.Asked, code: str, where: Place, isolation: str
) -> messages.Envelope:
    return messages.Envelope(
        message_id=f"msg_{secrets.token_hex(12)}",
        tool_use_id=f"srvtoolu_{secrets.token_hex(12)}",
        asked=asked,
        code=code,
        container=where.id,
        container_new=where.new,
        expires_at=(datetime.now(UTC) + CONTAINER_LIFE).isoformat().replace("+00:00", "Z"),
        isolation=isolation,
        warm=where.container.warm,
        language=where.container.language,
        extended=request.headers.get(messages.EXTENSION) == "1",
    )


def _headers() -> dict[str, str]:
    return {"x-ipy-codeinterp-model": "none"}  # whoever wants to know can see that no model was asked


async def _stream(
    request: web.Request, envelope: messages.Envelope, passage: Passage, events: AsyncIterator[Any]
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={**_headers(), "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    said = [*map(sse.encode, messages.encode_start(envelope))]
    try:
        async with _pinging(response):
            if not passage.ahead:
                await _written(response, said)
            async for event in events:
                if envelope.extended:
                    said.append(sse.encode(messages.encode_output(event)))
                if not passage.ahead or len(said) > MOST_TOGETHER:  # what is here already travels together
                    await _written(response, said)
        said += map(sse.encode, messages.encode_end(envelope, passage.ran))
    except ConnectionError:
        raise
    except Exception as error:  # the status has been sent: what went wrong is the stream's last word
        log.exception("a stream failed")
        said.append(
            sse.encode(messages.encode_error("api_error", f"{type(error).__name__}: {error}", envelope.message_id))
        )
    await response.write_eof(b"".join(said))
    return response


async def _written(response: web.StreamResponse, said: list[bytes]) -> None:
    if said:
        await response.write(b"".join(said))
        said.clear()


@contextlib.asynccontextmanager
async def _pinging(response: web.StreamResponse) -> AsyncIterator[None]:
    """Clients give up on a stream that is silent for long."""

    async def ping() -> None:
        while True:
            await asyncio.sleep(PING_EVERY)
            await response.write(sse.encode({"type": "ping"}))

    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task
