"""/v1/models and the counting of tokens: what clients ask before they send anything.

The models are profiles of the sandbox, in the shape of the vendor whose client asks. Names of a family that are not
listed (`claude-sonnet-5`) are served too, and found by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ipy_codeinterp import catalog
from ipy_codeinterp.dialects.openai_errors import Invalid
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.gateway import running, shapes, tokens

OWNER = "ipy-codeinterp"
SINCE = 1_735_689_600  # seconds since 1970: 2025-01-01; they have no date of their own
SINCE_AS_TEXT = "2025-01-01T00:00:00Z"


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/models", list_all)
    app.router.add_get("/v1/models/{id}", retrieve)
    app.router.add_post("/v1/messages/count_tokens", count_tokens)


async def list_all(request: web.Request) -> web.Response:
    rows = [_shown(request, name) for name in sorted(catalog.profiles())]
    if shapes.is_anthropic(request):
        ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        return web.json_response({"data": rows, "has_more": False, "next_page": None, **ends}, headers=running.HEADERS)
    return web.json_response({"object": "list", "data": rows}, headers=running.HEADERS)


async def retrieve(request: web.Request) -> web.Response:
    id = request.match_info["id"]
    if catalog.profile_of(id) is None:
        raise Invalid(f"The model '{id[:80]}' does not exist.", param="model", code="model_not_found", status=404)
    return web.json_response(_shown(request, id), headers=running.HEADERS)


def _shown(request: web.Request, name: str) -> dict[str, Any]:
    if shapes.is_anthropic(request):
        about = {"display_name": f"{name} (no model: the sandbox of this machine)", "lifecycle": "active"}
        return {"id": name, "type": "model", "created_at": SINCE_AS_TEXT, **about}
    return {"id": name, "object": "model", "created": SINCE, "owned_by": OWNER}


async def count_tokens(request: web.Request) -> web.Response:
    """Of a Messages request: of all its words, and of its tools as they are written."""
    body = await running.read_json(request)
    if not isinstance(body, Mapping) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise Rejected("messages: at least one message is required")
    if not isinstance(body.get("model"), str):
        raise Rejected("model: field required")
    counted = await tokens.count("\n".join(_words(body)))
    return web.json_response({"input_tokens": counted}, headers={**running.HEADERS, **tokens.headers()})


def _words(body: Mapping[str, Any]) -> list[str]:
    said: list[Any] = [body.get("system"), *(m.get("content") for m in body["messages"] if isinstance(m, Mapping))]
    texts = [text for each in said for text in _texts(each)]
    return [*texts, json.dumps(body["tools"])] if body.get("tools") else texts


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    blocks = content if isinstance(content, list) else []
    return [b["text"] for b in blocks if isinstance(b, Mapping) and isinstance(b.get("text"), str)]
