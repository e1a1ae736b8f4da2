"""The pipes between us and a runner: two that carry frames, and its stdout and stderr."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass

READ_SIZE = 1 << 16
MOST_IN_PIPE = 1 << 20
NOTHING = bytes(4)  # zero, as ioctl writes it


@dataclass(frozen=True, slots=True)
class Ends:
    """Our ends: frames come from `reader` and go to `writer`; what the code wrote past them comes from the others."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    stdout: Pipe
    stderr: Pipe
    _frames: asyncio.ReadTransport
    _frames_fd: int

    def nothing_to_read(self) -> bool:
        """Whether every frame that was sent has been taken from the pipe."""
        try:
            return fcntl.ioctl(self._frames_fd, termios.FIONREAD, NOTHING) == NOTHING
        except (OSError, ValueError):  # closed
            return True

    def close(self) -> None:
        self.writer.close()
        self._frames.close()
        self.stdout.close()
        self.stderr.close()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[tuple[Ends, list[int]]]:
    """Our ends, and theirs in the order [in, out, stdout, stderr]. Theirs are closed at the end; ours on an error."""
    pairs = [os.pipe() for _ in range(4)]
    (their_in, our_out), *others = pairs
    theirs = [their_in, *(write for _, write in others)]
    for fd in theirs:
        os.fchmod(fd, 0o666)  # who may reach it may also open it again as /dev/fd/N: the guest may be another user
    ends = await _ends(our_out, *(read for read, _ in others))
    try:
        yield ends, theirs
    except BaseException:
        ends.close()
        raise
    finally:
        for fd in theirs:
            os.close(fd)


async def _ends(writing: int, reading: int, stdout: int, stderr: int) -> Ends:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_SIZE)
    frames_in, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
    )
    flow, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(writing, "wb", 0)
    )
    writer = asyncio.StreamWriter(flow, protocol, None, loop)
    return Ends(reader, writer, Pipe(stdout), Pipe(stderr), frames_in, reading)


class Pipe:
    """The reading end of a pipe: `read()` waits for bytes, `read_now()` takes what is there."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""
        while True:
            try:
                return os.read(self._fd, READ_SIZE)
            except BlockingIOError:
                await self.readable()

    def read_now(self) -> bytes:
        """All that has arrived, at most what a pipe holds."""
        return read_now(self._fd)

    async def readable(self) -> None:
        """Wait until there is something to read, or the end."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._fd, _set, ready)
        try:
            await ready
        finally:
            if self._fd >= 0:
                loop.remove_reader(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)  # before another descriptor gets its number
            os.close(self._fd)
            self._fd = -1


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def read_now(fd: int) -> bytes:
    """What can be read from `fd` without waiting, at most what a pipe holds."""
    pieces = bytearray()
    with contextlib.suppress(BlockingIOError, OSError):
        os.set_blocking(fd, False)
        while len(pieces) < MOST_IN_PIPE and (piece := os.read(fd, READ_SIZE)):
            pieces += piece
    return bytes(pieces)
