"""A server that sends whatever bytes it is told, for what stands between us and a provider; and what it costs to hear.

As a program it hears one of `FLOODS` and prints the error that came of it, with how much memory that took (MB).
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Event, Execution, Result

KEY = "planted-key"
FORMATS = ("messages", "responses", "completions", "gemini")
STREAM, JSON, PAGE = "text/event-stream", "application/json", "text/html; charset=utf-8"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Relay:
    """Listens while it is entered, at `base_url`. `heads` are of the requests it got; `left`: a reader has left."""

    def __init__(self, answer: Answer) -> None:
        self.heads: list[str] = []
        self.left = asyncio.Event()
        self.base_url = ""
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length"))
            await reader.readexactly(int(length))
            self.heads.append(head)
            watch = asyncio.ensure_future(reader.read())
            watch.add_done_callback(lambda _: self.left.set())
            try:
                await self._answer(writer)
            finally:
                watch.cancel()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a reader that has had enough
        finally:
            self._tasks.discard(task)
            writer.close()


def says(
    body: bytes | Iterable[bytes] = b"",
    status: int = 200,
    kind: str = STREAM,
    length: int | None = None,
    **headers: str,
) -> Answer:
    """These bytes as the body of a reply, piece by piece as they are read; it ends with the connection."""
    more = {"Content-Type": kind, "x-request-id": "req_1", "Connection": "close", **headers}
    if length is not None:
        more["Content-Length"] = str(length)
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name.replace('_', '-')}: {more[name]}\r\n" for name in more)
    begun = f"{head}\r\n".encode()
    return sends([begun, body] if isinstance(body, bytes) else itertools.chain([begun], body))


def sends(pieces: Iterable[bytes]) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return answer


def and_then(first: Answer, then: Callable[[], Awaitable[Any]]) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await first(writer)
        await then()

    return answer


async def ignore(event: Event) -> None:
    pass


async def hear(
    base_url: str, format: str, emit: Callable[[Event], Awaitable[None]] = ignore, silence: float | None = 20.0
) -> Result:
    """One round with what stands at `base_url`."""

    async def connect(_: str) -> Endpoint:
        return Endpoint(base_url, KEY, ours=False, format=format, provider="relay", silence=silence)

    transport = Transport(connect)
    try:
        return await transport.send(Run(Execution("print(42)"), Offer("m", "relay", 60.0, 1 << 30), emit))
    finally:
        await transport.close()


# --- more than anybody wants ----------------------------------------------------------------------

PIECE = 1 << 18


def endless(piece: bytes, beginning: bytes = b"", size: int = 1 << 30) -> Iterator[bytes]:
    yield beginning
    yield from itertools.repeat(piece * (PIECE // len(piece)), size // PIECE)


def bomb(content: bytes) -> Iterator[bytes]:
    """A few kB that become gigabytes."""
    member = gzip.compress(content * ((32 << 20) // len(content)), 1)
    return itertools.repeat(member, 64)


EVENT = b'data: {"type": "ping", "choices": [{"index": 7}], "candidates": [{"index": 7}]}\n\n'
FLOODS: dict[str, Callable[[], Answer]] = {
    "a line": lambda: says(endless(b"x", b"data: ")),
    "a comment": lambda: says(endless(b": ")),
    "lines": lambda: says(endless(b"data: [],\n")),
    "events": lambda: says(endless(EVENT, size=64 << 20)),
    "a string": lambda: says(endless(b"x", b'data: {"type": "')),
    "lists": lambda: says(endless(b"[],", b"data: [")),
    "JSON": lambda: says(endless(b"x", b'{"id": "'), kind=JSON),
    "JSON lists": lambda: says(endless(b"[],", b"["), kind=JSON),
    "blanks": lambda: says(endless(b" "), kind=JSON),
    "a page": lambda: says(endless(b"<p>"), kind=PAGE),
    "an error": lambda: says(endless(b"x", b'{"error": "'), 500, JSON),
    "an error page": lambda: says(endless(b"<p>"), 502, PAGE),
    "gzip": lambda: says(bomb(b"data: x\n"), Content_Encoding="gzip"),
    "gzip JSON": lambda: says(bomb(b'["x"],'), kind=JSON, Content_Encoding="gzip"),
    "gzip error": lambda: says(bomb(b" "), 500, JSON, Content_Encoding="gzip"),
    "deflate": lambda: says(bomb(b"x"), Content_Encoding="deflate"),  # which it is not
}


def peak() -> int:
    """The most memory that this process has had since `forget`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def forget() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def flooded(flood: str, format: str) -> dict[str, Any]:
    async with Relay(says(b"{}")) as relay:  # whatever is made once has been made
        with contextlib.suppress(InterpError):
            await hear(relay.base_url, format)
    answer = FLOODS[flood]()
    forget()
    before = peak()
    async with Relay(answer) as relay:
        try:
            await hear(relay.base_url, format)
        except Exception as error:
            names = ("provider", "status", "request_id", "hint")
            said = {name: getattr(error, name, None) for name in names}
            return {"error": type(error).__name__, "words": str(error)[:200], **said, "grown": peak() - before >> 20}
    return {"error": None}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(flooded(*sys.argv[1:]))) + "\n")
