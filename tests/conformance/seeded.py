"""A gateway for the SDK's own tests: their key is its token, and what they name is there before each request.

Those tests are written for a mock that knows every id. Here a container, a file and a response get the names that they
use; everything else is as it always is. Run as a program: `python seeded.py CACHE_DIR` prints where it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.dialects.responses import requested, serving
from ipy_codeinterp.dialects.responses.requested import Room
from ipy_codeinterp.gateway import app
from ipy_codeinterp.gateway.answers import ANSWERS
from ipy_codeinterp.gateway.files import FILES
from ipy_codeinterp.gateway.rooms import CONTAINERS
from ipy_codeinterp.gateway.sandbox import Sandbox

KEY = "My API Key"  # as their conftest has it
CONTAINER, FILE = "container_id", "file_id"
RESPONSES = ("response_id", "resp_677efb5139a88190b512bc3fef8e535d")
TOOL = {"type": "code_interpreter", "container": {"type": "auto"}}
ASKED = {"model": "gpt-5", "input": "```python\nprint(6 * 7)\n```", "tools": [TOOL]}


async def serve(cache_dir: Path) -> None:
    """Until the process is ended."""
    sandbox = Sandbox(wanted="auto", python=None, home=None, cache_dir=cache_dir, pool_size=1)
    gateway = app.make(sandbox, KEY)
    gateway.middlewares.append(_seeded)
    runner = web.AppRunner(gateway, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(json.dumps({"base_url": f"http://127.0.0.1:{runner.addresses[0][1]}"}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


@web.middleware
async def _seeded(request: web.Request, handler: Any) -> web.StreamResponse:
    files, containers, answers = request.app[FILES], request.app[CONTAINERS], request.app[ANSWERS]
    if FILE not in files._kept:
        made = files.add("sample.txt", b"sample", downloadable=True)
        files._kept[FILE] = replace(files._kept.pop(made.id), id=FILE)
    if CONTAINER not in containers._all:
        container = containers.make("seeded", Room())
        container.id = CONTAINER
        containers._all[CONTAINER] = container
    files_there = containers._all[CONTAINER].files
    if FILE not in files_there:
        files_there[FILE] = replace(containers._all[CONTAINER].add(files._kept[FILE], "user"), id=FILE)
    for id in RESPONSES:
        if answers.get(id) is None:
            answers.add(_response(id), [_message()])
    return await handler(request)


def _response(id: str) -> dict[str, Any]:
    asked = requested.decode_request(ASKED)
    about = serving.Envelope(
        id, "ci_1", "msg_1", 1, asked, "print(6 * 7)", CONTAINER, True, "none", True, False, serving.Tokens(1, 1)
    )
    return serving.encode_reply(about, Ran((), "ok", 0), ())


def _message() -> dict[str, Any]:
    (item,) = serving.encode_items(requested.decode_request(ASKED).items, lambda prefix: f"{prefix}_1")
    return item


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
