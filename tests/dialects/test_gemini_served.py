"""Gemini's format over HTTP: what the client asks and hears when the other end is the scripted one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from ipy_codeinterp.dialects import gemini, sse
from ipy_codeinterp.dialects.dialect import Ask, Reply
from ipy_codeinterp.errors import AuthenticationFailed, BadReply, QuotaExceeded
from ipy_codeinterp.execution import Execution, Step, Stream, Text
from ipy_codeinterp.testing.gemini import Fails, Says, ScriptedGemini

ASK = Ask(Execution("print(6*7)"), "gemini-x", 100)
PARTS: list[dict[str, Any]] = [
    {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}, "thoughtSignature": "s"},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
    {"text": "42"},
]
PATHS = [
    gemini.path("gemini-x"),
    "/v1beta/models/gemini-x:streamGenerateContent",
    "/v1/models/gemini-x:generateContent",
]


async def replied(path: str, *script: Says | Fails, key: str = "scripted") -> Reply:
    async with ScriptedGemini(*script) as provider, aiohttp.ClientSession(provider.base_url) as http:
        body = gemini.encode_request(ASK)
        async with http.post(path, json=body, headers=gemini.headers(key)) as response:
            said = await response.read()
            if response.status != 200:
                raise gemini.error_of(json.loads(said), response.status)
        assert provider.requests == [body]
        decoder = gemini.decoder(ASK)
        streamed = response.content_type == "text/event-stream"
        chunks = map(json.loads, sse.Parser().feed(said)) if streamed else gemini.events_of(json.loads(said))
        for chunk in chunks:
            list(decoder.feed(chunk))
        return decoder.reply()


@pytest.mark.parametrize("path", PATHS, ids=["stream", "list", "at once"])
def test_there_and_back(path: str) -> None:
    """The same is heard of a stream, of a list and of one object, with the usage that came last."""
    reply = asyncio.run(replied(path, Says(PARTS)))

    assert reply.parts == (Step("print(6*7)", "python", True, (Stream("stdout", "42\n"),), "ok"), Text("42"))
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (76, 40)


@pytest.mark.parametrize("path", PATHS[:2], ids=["stream", "list"])
def test_without_an_end(path: str) -> None:
    """A reply that gives no reason for its end is none."""
    with pytest.raises(BadReply):
        asyncio.run(replied(path, Says(PARTS, reason=None)))


def test_errors() -> None:
    """A wrong key and an empty quota are told apart from a wrong request and a short wait."""
    quota = Fails(429, "RESOURCE_EXHAUSTED", [{"violations": [{"quotaId": "RequestsPerDay"}]}, {"retryDelay": "2s"}])
    with pytest.raises(QuotaExceeded):
        asyncio.run(replied(PATHS[0], quota))
    with pytest.raises(AuthenticationFailed):
        asyncio.run(replied(PATHS[0], Says(PARTS), key="other"))
