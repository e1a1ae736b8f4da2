"""The containers that are kept: listed and ended. An extension of ours, for the session that owns the gateway."""

from __future__ import annotations

import time

from aiohttp import web

from ipy_codeinterp.gateway.runs import not_found
from ipy_codeinterp.gateway.sandbox import SANDBOX

PATH = "/ipy_codeinterp/containers"


def add_routes(app: web.Application) -> None:
    app.router.add_get(PATH, listed)
    app.router.add_delete(PATH + "/{id}", ended)


async def listed(request: web.Request) -> web.Response:
    pool = (await request.app[SANDBOX].ready()).pool
    now = time.monotonic()
    rows = [
        {
            "id": id,
            "language": container.language,
            "busy": container.busy,
            "idle": now - container.last_used,
            "memory": container.memory_used(),
        }
        for id, container in pool.kept.items()
        if container.alive
    ]
    return web.json_response({"data": rows})


async def ended(request: web.Request) -> web.Response:
    pool, id = (await request.app[SANDBOX].ready()).pool, request.match_info["id"]
    if pool.find(id) is None:
        raise not_found(pool, id)
    pool.forget(id, "it was deleted")
    return web.json_response({"id": id, "deleted": True})
