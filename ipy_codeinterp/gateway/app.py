"""The gateway as an aiohttp application: who may speak to it, what errors look like, whether it is well."""

from __future__ import annotations

import hmac
import importlib.metadata
import logging
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from ipy_codeinterp.dialects.openai_errors import Invalid
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    InterpError,
    NoIsolation,
    NotAllowed,
    ProviderError,
    SandboxError,
)
from ipy_codeinterp.gateway import (
    completions,
    containers,
    files,
    messages,
    models,
    openai_containers,
    rates,
    responses,
    shapes,
)
from ipy_codeinterp.gateway.answers import ANSWERS, Answers
from ipy_codeinterp.gateway.files import FILES, Files
from ipy_codeinterp.gateway.rates import RATE, Rate, limited
from ipy_codeinterp.gateway.rooms import CONTAINERS, Containers
from ipy_codeinterp.gateway.sandbox import SANDBOX, Sandbox

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = web.AppKey("token", str)
ID = web.RequestKey("id", str)
MOST_PATH = 200  # characters of one that is said back
OPEN_PATHS = ("/health",)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def make(sandbox: Sandbox, token: str, rpm: int | None = None) -> web.Application:
    """The application around `sandbox`, for whoever has `token`, who may ask `rpm` times a minute."""
    app = web.Application(client_max_size=messages.MOST_BODY, middlewares=[with_errors, guarded, limited])
    if rpm:
        app[RATE] = Rate(rpm)
    app[TOKEN], app[SANDBOX], app[FILES] = token, sandbox, Files()
    app[CONTAINERS], app[ANSWERS] = Containers(app[FILES]), Answers()
    app.router.add_get("/health", health)
    app.router.add_get("/health/ready", ready)
    for room in (messages, responses, completions, models, files, openai_containers, containers):
        room.add_routes(app)
    app.on_response_prepare.append(_name_response)
    app.on_startup.append(_open)
    app.on_cleanup.append(_close)
    return app


async def _open(app: web.Application) -> None:
    app[SANDBOX].open()


async def _close(app: web.Application) -> None:
    await app[SANDBOX].close()
    app[FILES].close()


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only this machine, no web page, and only with the token.

    A page in the user's browser can reach loopback too: it is known by its Origin, and by a Host that is not ours
    where a name was made to point here.
    """
    if request.headers.get("Host", "").rpartition(":")[0] not in LOOPBACK:
        raise web.HTTPForbidden(text="this gateway serves loopback only")
    if request.headers.get("Origin") is not None:
        raise web.HTTPForbidden(text="this gateway does not serve web pages")
    if request.path not in OPEN_PATHS and not _has_token(request):
        raise AuthenticationFailed("invalid token", status=401)
    return await handler(request)


def _has_token(request: web.Request) -> bool:
    said = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(said.encode("utf-8", "replace"), request.app[TOKEN].encode())


@web.middleware
async def with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong before the first byte becomes an error of the wire format."""
    request[ID] = request_id = f"req_{secrets.token_hex(12)}"
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refused_early(request, error, request_id)
    except NoIsolation as error:
        return shapes.error(request, 503, str(error), request_id, kind="no_isolation", hint=error.hint)
    except NotAllowed as error:
        return shapes.error(request, 403, str(error), request_id, kind="not_allowed", hint=error.hint)
    except SandboxError as error:
        return shapes.error(request, 503, str(error), request_id, hint=error.hint)
    except InterpError as error:
        return _refusal(request, error, request_id)
    except ConnectionError:
        raise
    except Exception as error:
        log.exception("a request failed")
        return shapes.error(request, 500, f"{type(error).__name__}: {error}", request_id)


def _refused_early(request: web.Request, error: web.HTTPException, request_id: str) -> web.Response:
    """What was refused before any of our code read it: an address that is not served, a body that is too long."""
    words = {
        404: f"Invalid URL ({request.method} {request.path[:MOST_PATH]})",
        405: f"Not allowed to {request.method} on {request.path[:MOST_PATH]}.",
    }
    refused = shapes.error(request, error.status, words.get(error.status) or error.text or error.reason, request_id)
    if "Allow" in error.headers:
        refused.headers["Allow"] = error.headers["Allow"]
    return refused


def _refusal(request: web.Request, error: InterpError, request_id: str) -> web.Response:
    status = (error.status if isinstance(error, ProviderError) else None) or 400
    param = error.param if isinstance(error, ProviderError) else None
    code = error.code if isinstance(error, Invalid) else None
    return shapes.error(request, status, str(error), request_id, hint=error.hint, param=param, code=code)


async def _name_response(request: web.Request, response: web.StreamResponse) -> None:
    """Every response says which request it answers, as the vendors' do."""
    if ID in request:
        response.headers.update(shapes.ids(request, request[ID]) | rates.headers(request))


async def health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "version": importlib.metadata.version("ipy-codeinterp")})


async def ready(request: web.Request) -> web.Response:
    """Whether code can be run; waits for the answer when the query says `wait=1`."""
    sandbox = request.app[SANDBOX]
    if not sandbox.is_open and request.query.get("wait") != "1":
        return web.json_response({"ready": False, "starting": True}, status=503)
    found = await sandbox.ready()
    pool = found.pool
    facts = {"isolation": pool.isolation, "zygote": pool.forks, "warm": pool.warm, "kept": len(pool.kept)}
    facts |= {"runs": pool.runs}
    facts |= {"python": found.environment.version}
    return web.json_response({"ready": True, **facts})
