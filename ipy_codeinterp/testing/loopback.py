"""A web application on a free port of 127.0.0.1: on the running loop, or on a thread of its own."""

from __future__ import annotations

import asyncio
import threading

from aiohttp import web

PATIENCE = 10.0  # seconds for a server to begin or to end


class Loopback:
    """`await open()` and `await close()`, or `start()` and `stop()` from synchronous code.

    With `minds_leaving` a handler is cancelled when its client hangs up.
    """

    def __init__(self, app: web.Application, *, minds_leaving: bool = True) -> None:
        self.base_url = ""
        self._runner = web.AppRunner(app, handler_cancellation=minds_leaving, shutdown_timeout=0.1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"

    async def close(self) -> None:
        await self._runner.cleanup()

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.open(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        assert self._loop and self._thread, "stop comes after start"
        asyncio.run_coroutine_threadsafe(self.close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
