"""A tap between a client and a server: it passes everything on, and knows what was asked and answered.

`before` may answer a request itself, in the server's place: a fault for a test.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import aiohttp
from aiohttp import web

Fault = Callable[[web.Request], web.Response | None]
DROPPED = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")


@dataclass
class Exchange:
    """One request, and as much as was answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    status: int = 0
    answer: bytes = field(default=b"", repr=False)
    told: dict[str, str] = field(default_factory=dict)


class Tap:
    """Listens while it is entered, at `base_url`. It may wait in front of several servers: the path's first part says
    which (`/NAME/v1/...`), by `servers`. With `tls` it speaks TLS.
    """

    def __init__(
        self, servers: dict[str, str], before: Fault = lambda _: None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.servers = servers
        self.before = before
        self._tls = tls
        self.seen: list[Exchange] = []
        self.base_url, self.port = "", 0
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{server}/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        host, self.port = self._runner.addresses[0][:2]
        self.base_url = f"{'https' if self._tls else 'http'}://{host}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    def of(self, path: str, method: str = "POST") -> list[Exchange]:
        """What was asked of the paths that end so."""
        return [each for each in self.seen if each.method == method and each.path.endswith(path)]

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
        seen = Exchange(request.method, request.path, headers, await request.read())
        self.seen.append(seen)
        if (fault := self.before(request)) is not None:
            seen.status = fault.status
            return fault
        url = f"{self.servers[request.match_info['server']]}/{request.match_info['path']}"
        params = request.query
        asked = self._http.request(request.method, url, params=params, headers=headers, data=seen.body)
        async with asked as answer:
            seen.status, seen.told = answer.status, dict(answer.headers)
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in DROPPED}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                seen.answer += piece
                await response.write(piece)
            await response.write_eof()
            return response
