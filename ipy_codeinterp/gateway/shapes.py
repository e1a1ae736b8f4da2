"""Which vendor a request was written for, and what its errors, ids and pages look like to that vendor's clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects import openai_errors
from ipy_codeinterp.dialects.messages import encode_error
from ipy_codeinterp.dialects.openai_errors import Invalid, wrong_value

ANTHROPIC_PATHS = ("/v1/messages",)
OPENAI_PATHS = ("/v1/responses", "/v1/containers", "/v1/chat")
MOST_IN_PAGE = 100
PAGE = 20
MOST_DIGITS = 9
MOST_ID = 512  # characters of a client's own id that is said back
CLIENT_IDS = ("X-Client-Request-Id", "X-Request-ID")

# What an HTTP status is called in an error body of the Messages format.
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
# OpenAI's word for what is wrong, where the part of the request and the status say it.
CODES = {("model", 404): "model_not_found", ("previous_response_id", 400): "previous_response_not_found"}


def is_anthropic(request: web.Request) -> bool:
    """By its path where only one vendor has it, then by the headers that only Anthropic's clients send."""
    if request.path.startswith(OPENAI_PATHS):
        return False
    headers = request.headers
    return request.path.startswith(ANTHROPIC_PATHS) or "anthropic-version" in headers or _has_key_of_theirs(request)


def _has_key_of_theirs(request: web.Request) -> bool:
    """Our own client and plain HTTP ones send Anthropic's key header and may leave out the version."""
    return "x-api-key" in request.headers or "Authorization" not in request.headers


def error(
    request: web.Request,
    status: int,
    message: str,
    request_id: str,
    *,
    kind: str = "",
    hint: str = "",
    param: str | None = None,
    code: str | None = None,
) -> web.Response:
    """The error in the body that the request's vendor has for it; `hint` is a field of ours."""
    if is_anthropic(request):
        body = encode_error(kind or KINDS.get(status, "api_error"), message, request_id)
        body["error"] |= {"param": param} if param else {}
    else:
        code = code or CODES.get((param or "", status))
        body = openai_errors.encode_error(status, message, kind=kind, param=param, code=code)
    body["error"] |= {"hint": hint} if hint else {}
    return web.json_response(body, status=status)


def ids(request: web.Request, request_id: str) -> dict[str, str]:
    """The headers that say which request is answered: ours under both vendors' names, the client's as it named it."""
    said = ((name, request.headers.get(name, "")) for name in CLIENT_IDS)
    theirs = {name: id for name, id in said if 0 < len(id) <= MOST_ID and id.isascii() and id.isprintable()}
    return {"request-id": request_id, "x-request-id": request_id} | {
        ("x-request-id" if name == "X-Request-ID" else name): id for name, id in theirs.items()
    }


def page(
    rows: Sequence[Mapping[str, Any]], query: Mapping[str, str], most: int = MOST_IN_PAGE, default: int = PAGE
) -> dict[str, Any]:
    """A page of OpenAI's lists; `rows` are the latest first. Raises `Invalid` for what is no page."""
    order, limit, after = query.get("order", "desc"), query.get("limit", str(default)), query.get("after")
    if order not in ("asc", "desc"):
        raise wrong_value("order", order, ("asc", "desc"))
    if not limit.isdecimal() or len(limit) > MOST_DIGITS:
        raise Invalid("limit: a number", param="limit", code="invalid_value")
    found = list(rows) if order == "desc" else list(reversed(rows))
    if after:
        place = next((i for i, row in enumerate(found) if row["id"] == after), len(found))
        found = found[place + 1 :]
    shown = found[: min(max(int(limit), 1), most)]
    ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
    return {"object": "list", "data": shown, **ends, "has_more": len(found) > len(shown)}
