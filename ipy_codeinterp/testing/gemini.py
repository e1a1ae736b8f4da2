"""A Gemini on loopback that says what its script holds, at once or in a stream; it runs nothing.

Each request takes the next entry of the script, the last one for ever: parts to answer with, or an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

USAGE = {"promptTokenCount": 16, "toolUsePromptTokenCount": 60, "candidatesTokenCount": 40, "totalTokenCount": 116}


@dataclass(frozen=True, slots=True)
class Says:
    """A reply of these parts. Without a `reason` it ends before its end."""

    parts: Sequence[Mapping[str, Any]]
    reason: str | None = "STOP"
    usage: Mapping[str, Any] = field(default_factory=lambda: USAGE)


@dataclass(frozen=True, slots=True)
class Fails:
    """An error. With status 200 it comes in the body alone."""

    status: int
    name: str
    details: Sequence[Mapping[str, Any]] = ()


class ScriptedGemini:
    """Listens while it is entered, at `base_url`; `requests` are the bodies it got, with `key` what opens it."""

    def __init__(self, *script: Says | Fails, key: str = "scripted") -> None:
        self.requests: list[Mapping[str, Any]] = []
        self.base_url = ""
        self._script = script
        self._key = key
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{version:v1|v1beta}/models/{call}", self._answer)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("x-goog-api-key") != self._key:
            wrong_key = Fails(400, "INVALID_ARGUMENT", [{"reason": "API_KEY_INVALID"}])
            return web.json_response(_error(wrong_key), status=400)
        model, _, verb = request.match_info["call"].partition(":")
        self.requests.append(await request.json())
        action = self._script[min(len(self.requests), len(self._script)) - 1]
        streamed = verb == "streamGenerateContent"
        if isinstance(action, Fails):
            body = _error(action)
            return web.json_response([body] if streamed else body, status=action.status)
        if not streamed:
            return web.json_response(_chunk(model, action.parts, action) | {"usageMetadata": action.usage})
        if request.query.get("alt") != "sse":
            return web.json_response(list(chunks(model, action)))
        lines = (f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks(model, action))
        return web.Response(text="".join(lines), content_type="text/event-stream")


def chunks(model: str, says: Says) -> Iterator[dict[str, Any]]:
    """The stream of a reply: a part each; only the last has a reason, and the whole usage."""
    early = {"promptTokenCount": says.usage.get("promptTokenCount", 0)}
    for part in says.parts[:-1]:
        yield _chunk(model, [part], None) | {"usageMetadata": early}
    yield _chunk(model, says.parts[-1:], says) | {"usageMetadata": says.usage}


def _chunk(model: str, parts: Sequence[Mapping[str, Any]], ending: Says | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if ending and ending.reason:
        candidate["finishReason"] = ending.reason
    return {"candidates": [candidate], "modelVersion": model, "responseId": "scripted"}


def _error(fails: Fails) -> dict[str, Any]:
    said = {"code": fails.status, "message": "says the script", "status": fails.name}
    return {"error": said | ({"details": list(fails.details)} if fails.details else {})}
