"""POST /v1/chat/completions: code that comes with an interpreter is run; code that comes with a function is called.

No vendor runs code here; relays are said to. A request in their form, `code_interpreter` among the tools, is answered
with what the code printed.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects import extension, sse
from ipy_codeinterp.dialects.completions import serving
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.gateway import running, streaming, tokens
from ipy_codeinterp.gateway.files import FILES
from ipy_codeinterp.gateway.runs import NotCode, Passage, place
from ipy_codeinterp.gateway.sandbox import SANDBOX


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/chat/completions", answer)


async def answer(request: web.Request) -> web.StreamResponse:
    """One request, from its JSON to the last chunk."""
    asked = serving.decode_request(await running.read_json(request))
    running.profile_of(asked.model)
    envelope = serving.Envelope(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        asked=asked,
        prompt_tokens=await tokens.count(asked.all_text),
        extended=request.headers.get(extension.HEADER) == "1",
    )
    if asked.runs:
        return await _run(request, envelope)
    if asked.function is None:
        raise NotCode(f"{running.NO_MODEL}, with a code_interpreter tool or a function that takes code")
    if asked.answered:
        return await _say(request, envelope, serving.words(serving.NOTHING_TO_ADD))
    code = await running.code_in(asked.text, asked.wanted.language)
    called = serving.call_of(envelope, f"call_{secrets.token_hex(12)}", code.text, code.language)
    return await _say(request, envelope, called)


async def _say(request: web.Request, envelope: serving.Envelope, message: Mapping[str, Any]) -> web.StreamResponse:
    """A message that is known from the start."""
    written = await tokens.count(_words_of(message))
    headers = {**running.HEADERS, **tokens.headers()}
    if not envelope.asked.stream:
        return web.json_response(serving.encode_reply(envelope, message, written), headers=headers)
    chunks = (*map(_chunk, serving.encode_whole(envelope, message, written)), serving.DONE)
    return await streaming.told(request, chunks, headers)


def _words_of(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls") or ()
    return str(message["content"] or "") + "".join(call["function"]["arguments"] for call in calls)


async def _run(request: web.Request, envelope: serving.Envelope) -> web.StreamResponse:
    asked = envelope.asked
    profile = running.profile_of(asked.model)
    code = await running.code_in(asked.text, asked.wanted.language)
    sandbox = await request.app[SANDBOX].ready()
    extras = running.extras_of(sandbox, asked.wanted, code.language)
    values = await running.values_of(request.app[FILES], asked.wanted)
    job = running.job_of(code, asked.wanted, profile, values=values)
    headers = {**running.HEADERS, **tokens.headers()}
    async with place(sandbox.pool, None, code.language, job.memory, extras, keep=False) as where:
        passage = Passage(where, job, request.app[FILES], sandbox.pool)
        written = await tokens.count(job.code)
        async with contextlib.aclosing(passage.events()) as events:
            await anext(events, None)  # from here on it is known that the text is code
            if asked.stream:
                story = _Story(envelope, written)
                return await streaming.tell(request, story, passage, events, headers)
            async for _ in events:
                pass
        ran = passage.ran
        message = serving.words(serving.printed(ran))
        return web.json_response(serving.encode_reply(envelope, message, written, ran), headers=headers)


def _chunk(chunk: Mapping[str, Any]) -> bytes:
    """Chunks have no type, so their events have no name."""
    return f"data: {json.dumps(chunk)}\n\n".encode()


@dataclass(frozen=True, slots=True)
class _Story:
    """A run in chunks, each with what was printed since the one before."""

    envelope: serving.Envelope
    written: int = field(default=0)
    keep_alive: bytes = streaming.COMMENT

    def begin(self) -> Iterator[bytes]:
        yield _chunk(serving.encode_start(self.envelope))

    def more(self, event: Any) -> Iterator[bytes]:
        if self.envelope.extended:
            yield sse.encode(extension.encode_output(event))
        if text := extension.text_of(event):
            yield _chunk(serving.encode_piece(self.envelope, text))

    def end(self, ran: Ran) -> Iterator[bytes]:
        if text := extension.end_of(ran):
            yield _chunk(serving.encode_piece(self.envelope, text))
        yield from map(_chunk, serving.encode_end(self.envelope, self.written))
        yield serving.DONE

    def fail(self, message: str) -> Iterator[bytes]:
        yield _chunk({"error": {"message": message, "type": "server_error", "param": None, "code": "server_error"}})
