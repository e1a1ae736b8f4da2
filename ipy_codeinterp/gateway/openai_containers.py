"""/v1/containers: OpenAI's containers and their files, made, listed, read and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects.openai_errors import missing, wrong_type, wrong_value
from ipy_codeinterp.dialects.responses import requested
from ipy_codeinterp.gateway import files, running, shapes
from ipy_codeinterp.gateway.files import FILES, content_of
from ipy_codeinterp.gateway.forms import read_form
from ipy_codeinterp.gateway.rooms import CONTAINERS, MINUTES, Container
from ipy_codeinterp.gateway.sandbox import SANDBOX
from ipy_codeinterp.sandbox.pool import Pool

PATH = "/v1/containers"
MOST_NAME = 256  # characters


def add_routes(app: web.Application) -> None:
    app.router.add_post(PATH, create)
    app.router.add_get(PATH, list_all)
    app.router.add_get(PATH + "/{id}", retrieve)
    app.router.add_delete(PATH + "/{id}", delete)
    app.router.add_post(PATH + "/{id}/files", add_file)
    app.router.add_get(PATH + "/{id}/files", list_files)
    app.router.add_get(PATH + "/{id}/files/{file}", retrieve_file)
    app.router.add_get(PATH + "/{id}/files/{file}/content", download_file)
    app.router.add_delete(PATH + "/{id}/files/{file}", delete_file)


async def create(request: web.Request) -> web.Response:
    body = await running.read_json(request)
    if not isinstance(body, Mapping):
        raise wrong_type("body", "an object")
    name = body.get("name")
    if name is None:
        raise missing("name")
    if not isinstance(name, str) or len(name) > MOST_NAME:
        raise wrong_type("name", f"a string of at most {MOST_NAME} characters")
    made = request.app[CONTAINERS].make(name, requested.room(body), _minutes(body.get("expires_after")))
    return web.json_response(made.as_json(expired=False))


def _minutes(said: object) -> int:
    if said is None:
        return MINUTES
    if not isinstance(said, Mapping):
        raise wrong_type("expires_after", "an object")
    minutes, anchor = said.get("minutes"), said.get("anchor")
    if anchor != "last_active_at":
        raise wrong_value("expires_after.anchor", anchor, ("last_active_at",))
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 1 <= minutes <= MINUTES:
        raise wrong_type("expires_after.minutes", f"a number from 1 to {MINUTES}")
    return minutes


async def list_all(request: web.Request) -> web.Response:
    pool, containers = await _pool(request), request.app[CONTAINERS]
    name = request.query.get("name")
    rows = [_shown(request, each, pool) for each in reversed(containers.all()) if name in (None, each.name)]
    return web.json_response(shapes.page(rows, request.query))


async def retrieve(request: web.Request) -> web.Response:
    container = request.app[CONTAINERS].find(request.match_info["id"])
    return web.json_response(_shown(request, container, await _pool(request)))


async def delete(request: web.Request) -> web.Response:
    id = request.app[CONTAINERS].find(request.match_info["id"]).id
    pool = await _pool(request)
    if pool.find(id):
        pool.forget(id, "it was deleted")
    request.app[CONTAINERS].remove(id)
    return web.json_response({"id": id, "object": "container.deleted", "deleted": True})


async def add_file(request: web.Request) -> web.Response:
    container = await _live(request)
    if request.content_type == "application/json":
        kept = request.app[FILES].find(_file_id(await running.read_json(request)))
    else:
        form = await read_form(request, files.MOST_UPLOAD)
        add = request.app[FILES].add
        kept = await asyncio.to_thread(add, form.name, form.data, downloadable=True, prefix="file-")
    return web.json_response(container.add(kept, "user").as_json(container.id))


def _file_id(body: object) -> str:
    said = body.get("file_id") if isinstance(body, Mapping) else None
    if said is None:
        raise missing("file_id")
    if not isinstance(said, str):
        raise wrong_type("file_id", "a string")
    return said


async def list_files(request: web.Request) -> web.Response:
    container = await _live(request)
    rows = [file.as_json(container.id) for file in reversed(container.files.values())]
    return web.json_response(shapes.page(rows, request.query))


async def retrieve_file(request: web.Request) -> web.Response:
    container = await _live(request)
    return web.json_response(container.find(request.match_info["file"]).as_json(container.id))


async def download_file(request: web.Request) -> web.Response:
    file = (await _live(request)).find(request.match_info["file"])
    return await content_of(request.app[FILES].find(file.kept.id))


async def delete_file(request: web.Request) -> web.Response:
    """It is no longer listed, and not laid into the container; code that has it keeps it."""
    container, id = await _live(request), request.match_info["file"]
    container.find(id)
    del container.files[id]
    return web.json_response({"id": id, "object": "container.file.deleted", "deleted": True})


async def _live(request: web.Request) -> Container:
    return request.app[CONTAINERS].live(request.match_info["id"], await _pool(request))


async def _pool(request: web.Request) -> Pool:
    return (await request.app[SANDBOX].ready()).pool


def _shown(request: web.Request, container: Container, pool: Pool) -> dict[str, Any]:
    return container.as_json(expired=request.app[CONTAINERS].has_expired(container, pool))
