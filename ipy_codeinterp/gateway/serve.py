"""A gateway as a process: it listens on loopback, says where and with which token, and ends with its owner."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from aiohttp import web

from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.gateway import app
from ipy_codeinterp.gateway.sandbox import Sandbox
from ipy_codeinterp.sandbox import pool

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve. `owner_fd` is a pidfd: when its process ends, so do we."""

    cache_dir: Path
    isolation: str = "auto"
    python: Path | None = None
    home: Path | None = None
    port: int = 0
    as_json: bool = False
    owner_fd: int | None = None
    pool_size: int = pool.SIZE
    mountable: tuple[Path, ...] = ()
    network: bool = False
    rpm: int | None = None


def main(options: Options, out: TextIO = sys.stdout) -> int:
    """Serve until a signal comes or the owner is gone."""
    asyncio.run(serve(options, out))
    return 0


async def serve(options: Options, out: TextIO) -> None:
    token = secrets.token_urlsafe(24)
    sandbox = Sandbox(
        wanted=options.isolation,
        python=options.python,
        home=options.home,
        cache_dir=options.cache_dir,
        pool_size=options.pool_size,
        mountable=options.mountable,
        network=options.network,
    )
    stopped = _stop_event(options.owner_fd)
    # handler_cancellation: a client that hangs up ends its run
    runner = web.AppRunner(
        app.make(sandbox, token, options.rpm), handler_cancellation=True, access_log=None, shutdown_timeout=0.5
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, options.port, reuse_address=True)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            raise InvalidInput(f"port {options.port} cannot be used: {error}", hint="leave out --port") from None
        _announce(f"http://{HOST}:{runner.addresses[0][1]}", token, options.as_json, out)
        await stopped.wait()
    finally:
        await runner.cleanup()


def _stop_event(owner_fd: int | None) -> asyncio.Event:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if owner_fd is not None:
        # Not the end of a pipe: a worker that user code forked keeps pipes open after the notebook is gone.
        loop.add_reader(owner_fd, stopped.set)
    return stopped


def _announce(base_url: str, token: str, as_json: bool, out: TextIO) -> None:
    if as_json:
        out.write(json.dumps({"base_url": base_url, "token": token, "pid": os.getpid()}) + "\n")
    else:
        out.write(f"base URL  {base_url}\ntoken     {token}\n\nStop with Ctrl-C.\n")
    out.flush()
