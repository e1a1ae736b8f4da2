"""A provider to test against: a real server on loopback that speaks the Messages format from a script."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from ipy_codeinterp import catalog
from ipy_codeinterp.client import Client, Policies
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.client.retry import ONCE
from ipy_codeinterp.dialects import messages, prompt, sse
from ipy_codeinterp.execution import Event, Execution, Output, Result, Stream
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.store import journal
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt

TOKEN = "secret"
Answer = Callable[[web.Request, messages.Asked], Awaitable[web.StreamResponse]]


class Provider:
    """Answers each request with the next of `script`; where the script has ended, the code prints itself."""

    def __init__(self, *script: Answer) -> None:
        self.script = deque(script)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.uploads: list[tuple[str, bytes]] = []
        self.changed = asyncio.Event()  # whenever a request has come
        self.alive = True

    @property
    def codes(self) -> list[str]:
        """The code of each request, in the order they came."""
        return [prompt.blocks(messages.decode_request(body).text)[0].content for body in self.requests]

    @property
    def asked(self) -> list[messages.Asked]:
        return [messages.decode_request(body) for body in self.requests]

    async def has(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.requests) < count:
            self.changed.clear()
            await self.changed.wait()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._download)
        return app

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.headers.append(request.headers)
        self.changed.set()
        answer = self.script.popleft() if self.script else runs()
        return await answer(request, self.asked[-1])

    async def _upload(self, request: web.Request) -> web.Response:
        part = (await request.post())["file"]
        assert isinstance(part, web.FileField)
        self.uploads.append((part.filename, part.file.read()))
        part.file.close()
        return web.json_response({"id": f"file_{len(self.uploads)}"})

    async def _download(self, request: web.Request) -> web.Response:
        return web.Response(body=f"content of {request.match_info['id']}".encode())


# --- answers --------------------------------------------------------------------------------------


def runs(*shown: Any, until: asyncio.Event | None = None, **facts: Any) -> Answer:
    """Run the code: show these events (else the code itself), wait, and end with the Ran that `facts` say."""

    async def answer(request: web.Request, asked: messages.Asked) -> web.StreamResponse:
        envelope = envelope_of(asked)
        response = await begun(request, envelope)
        events = shown or (Stream("stdout", envelope.code),)
        for event in events:
            await response.write(sse.encode(messages.encode_output(event)))
        if until:
            await until.wait()
        outputs: tuple[Output, ...] = Collector(events).outputs
        ran = replace(messages.Ran(outputs, "ok", 0, seconds=0.5), **facts)
        await response.write(b"".join(map(sse.encode, messages.encode_end(envelope, ran))))
        return response

    return answer


def refuses(status: int, body: Any = None, *, text: str | None = None, **headers: str) -> Answer:
    """An error before the stream, as JSON or as whatever text."""

    async def answer(request: web.Request, asked: messages.Asked) -> web.StreamResponse:
        if text is not None:
            return web.Response(status=status, text=text, content_type="text/html", headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return answer


def says(*wire: bytes, then: Callable[[web.Request], Awaitable[None]] | None = None) -> Answer:
    """A stream of these bytes."""

    async def answer(request: web.Request, asked: messages.Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"request-id": "req_1"})
        await response.prepare(request)
        for chunk in wire:
            await response.write(chunk)
        if then:
            await then(request)
        return response

    return answer


async def hang_up(request: web.Request) -> None:
    """Break the connection in the middle of a reply."""
    assert request.transport is not None
    request.transport.abort()


def not_found(what: str) -> Answer:
    body = messages.encode_error("not_found_error", f"{what} not found: x", "req_1")
    body["error"]["param"] = what
    return refuses(404, body)


def envelope_of(asked: messages.Asked) -> messages.Envelope:
    return messages.Envelope(
        message_id="msg_1",
        tool_use_id="srvtoolu_1",
        asked=asked,
        code=prompt.blocks(asked.text)[0].content,
        container=asked.container or f"container_{id(asked):x}",
        container_new=asked.container is None,
        expires_at="2026-01-01T00:00:00Z",
        isolation="bubblewrap",
        warm=True,
        language="python",
        extended=True,
    )


async def begun(request: web.Request, envelope: messages.Envelope) -> web.StreamResponse:
    response = web.StreamResponse(headers={"request-id": "req_1"})
    await response.prepare(request)
    await response.write(b"".join(map(sse.encode, messages.encode_start(envelope))))
    return response


# --- a client at it -------------------------------------------------------------------------------


@dataclass
class Lab:
    """A client, the provider it talks to, and what came of it."""

    provider: Provider
    client: Client
    database: Database
    endpoint: Endpoint
    attempts: list[Attempt]
    events: list[Event] = field(default_factory=list)

    async def run(self, code: str = "x", **how: Any) -> Result:
        """Run code as `claude@local`; its events are added to `events`."""
        return await self.client.execute(Execution(code, **how), catalog.find("claude"), self.emit)

    def start(self, code: str = "x", **how: Any) -> asyncio.Task[Result]:
        return asyncio.create_task(self.run(code, **how))

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    def said(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def kept(self) -> list[Result]:
        """The results in the journal, as another process sees them."""
        return [journal.decode(row["result"]) for row in self.rows("results")]

    def rows(self, table: str) -> list[sqlite3.Row]:
        if not self.database.path.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.database.path)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()

    async def settle(self) -> None:
        """Wait until what was handed to the store is kept."""
        await asyncio.wrap_future(self.database.write(lambda connection: None))


@contextlib.asynccontextmanager
async def lab(provider: Provider, path: Path, *, limit: int = 64 << 20) -> AsyncIterator[Lab]:
    """Everything opened, and closed again."""
    async with contextlib.AsyncExitStack() as stack:
        server = TestServer(provider.app())
        await server.start_server(shutdown_timeout=0.1)
        stack.push_async_callback(server.close)
        database = Database(path, limit=limit)
        stack.push_async_callback(asyncio.to_thread, database.close)
        opened = Lab(provider, None, database, endpoint_of(server, provider), [])  # type: ignore[arg-type]

        async def connect(_: str) -> Endpoint:
            return opened.endpoint

        opened.client = Client(connect, database, opened.attempts.append, policies=Policies(retry=ONCE))
        stack.push_async_callback(opened.client.close)
        yield opened


def endpoint_of(server: TestServer, provider: Provider) -> Endpoint:
    return Endpoint(str(server.make_url("")).rstrip("/"), TOKEN, lambda: provider.alive)
