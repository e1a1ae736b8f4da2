"""A vendor on loopback for synchronous tests: it answers as the test says, and keeps what came."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

Answer = Callable[[web.Request], web.StreamResponse]


@dataclass
class Vendor:
    """Where it listens, and each request as (method, path, headers); `answer` may be changed at any time."""

    answer: Answer
    base_url: str = ""
    heard: list[tuple[str, str, dict[str, str]]] = field(default_factory=list, repr=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.heard.append((request.method, request.path, {k.lower(): v for k, v in request.headers.items()}))
        return self.answer(request)

    @property
    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.heard]


@contextlib.contextmanager
def vendor(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Vendor]:
    """Serving while it is open; with `context` it speaks TLS."""
    here, ready = Vendor(answer), threading.Event()
    ended: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda *_: None)  # handshakes that fail are the tests' own
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", here.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        here.base_url = f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}"
        ended.append((loop, end))
        ready.set()
        await end.wait()
        await runner.cleanup()
        await asyncio.sleep(0)  # a connection accepted just now is closed by who serves it, if that has begun

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield here
    finally:
        for loop, end in ended:
            loop.call_soon_threadsafe(end.set)
        thread.join()


def catalog_file(folder: Path, name: str, **said: object) -> None:
    """A provider of the user's own; `models` is the text of its tables."""
    models = str(said.pop("models", ""))
    lines = [f"{key} = {_toml(value)}" for key, value in said.items()]
    (folder / "catalog").mkdir(parents=True, exist_ok=True)
    (folder / "catalog" / f"{name}.toml").write_text("\n".join(lines) + "\n" + models)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else f'"{value}"'
