"""POST /v1/messages: Anthropic's Messages with `code_execution`, answered without a model by running the code."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects import messages, sse
from ipy_codeinterp.gateway import running, streaming
from ipy_codeinterp.gateway.files import FILES
from ipy_codeinterp.gateway.runs import NotCode, Passage, Place, place
from ipy_codeinterp.gateway.sandbox import SANDBOX
from ipy_codeinterp.sandbox.pool import IDLE_EXPIRY

MOST_BODY = 128 << 20
CONTAINER_LIFE = timedelta(seconds=IDLE_EXPIRY)


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/messages", answer)


async def answer(request: web.Request) -> web.StreamResponse:
    """One request, from its JSON to the last event."""
    asked = messages.decode_request(await running.read_json(request))
    profile = running.profile_of(asked.model)
    if asked.tool is None:
        raise NotCode(f"{running.NO_MODEL}, with a code_execution tool")
    code = await running.code_in(asked.text, asked.language)
    files = [request.app[FILES].find(id) for id in asked.file_ids]
    inputs = await asyncio.to_thread(running.inputs_of, files) if files else ()
    job = running.job_of(code, asked, profile, inputs, await running.values_of(request.app[FILES], asked))
    sandbox = await request.app[SANDBOX].ready()
    extras = running.extras_of(sandbox, asked, code.language)
    async with place(sandbox.pool, asked.container, code.language, job.memory, extras, keep=asked.keep) as where:
        passage = Passage(where, job, request.app[FILES], sandbox.pool)
        envelope = _envelope(request, asked, code.text, where, sandbox.isolation_with(where.container.extras))
        async with contextlib.aclosing(passage.events()) as events:
            await anext(events, None)  # from here on it is known that the text is code
            if asked.stream:
                return await streaming.tell(request, _Story(envelope), passage, events, running.HEADERS)
            async for _ in events:
                pass
        return web.json_response(messages.encode_reply(envelope, passage.ran), headers=running.HEADERS)


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


@dataclass(frozen=True, slots=True)
class _Story:
    """A run in the events of the Messages format."""

    envelope: messages.Envelope
    keep_alive: bytes = sse.encode({"type": "ping"})

    def begin(self) -> Iterator[bytes]:
        return map(sse.encode, messages.encode_start(self.envelope))

    def more(self, event: Any) -> Iterator[bytes]:
        if self.envelope.extended:
            yield sse.encode(messages.encode_output(event))

    def end(self, ran: messages.Ran) -> Iterator[bytes]:
        return map(sse.encode, messages.encode_end(self.envelope, ran))

    def fail(self, message: str) -> Iterator[bytes]:
        yield sse.encode(messages.encode_error("api_error", message, self.envelope.message_id))
