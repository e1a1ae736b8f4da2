"""One runner, started: spoken to, listened to, interrupted, killed.

The host believes nothing that comes out of it. Its end is known from the kernel (a pidfd), not from its words.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import frames, memory
from ipy_codeinterp.sandbox.cgroup import Cgroup, Cgroups
from ipy_codeinterp.sandbox.network import Way
from ipy_codeinterp.sandbox.pipes import Ends, Pipe

MOST_TURNS = 1000  # of the event loop that a pipe's bytes wait for frames


class Process(Protocol):
    """A runner as the kernel knows it. `pid` is the root of its tree; `exited` is set when that is no more."""

    @property
    def pid(self) -> int: ...

    @property
    def exited(self) -> asyncio.Event: ...

    def interrupt(self) -> None: ...

    def ask_where(self) -> None:
        """Have Python tell on stderr which line it is in."""

    def kill(self) -> None:
        """End everything inside at once."""

    async def status(self) -> int:
        """Wait for the end; the exit status, or minus the signal."""

    def close(self) -> None:
        """Let go of descriptors, after the end."""


class Child:
    """A started runner of `language`. See `warmed()`; in the end `kill()` it and wait until it is `closed()`."""

    def __init__(self, process: Process, ends: Ends, language: str, cgroups: Cgroups | None = None) -> None:
        self.language = language
        self._cgroups = cgroups
        self._cgroup: Cgroup | None = None
        self._process = process
        self._ends = ends
        self._in_frame = False
        self.way: Way | None = None  # to the network, where it was given one
        self._base = 0  # bytes that it holds before it runs anything

    async def ready(self) -> None:
        """Wait until the runner is warm. Raises `SandboxError` with its last words if it dies first."""
        making = asyncio.create_task(self._make_cgroup())  # moving a process takes the kernel some milliseconds
        try:
            await self._greeted()
        finally:
            await making
        if self._cgroup and (others := memory.tree(self.pid)[1:]):
            await asyncio.to_thread(self._cgroup.add, others)
        self._base = memory.of_tree(self.pid)

    async def _make_cgroup(self) -> None:
        if self._cgroups:
            self._cgroup = await asyncio.to_thread(self._cgroups.make, self.pid)

    async def _greeted(self) -> None:
        try:
            received = await self.receive()
        except (asyncio.IncompleteReadError, frames.Malformed, OSError):
            words = self.stderr.read_now().decode("utf-8", "replace").strip()
            raise SandboxError(f"the interpreter did not start: {words[-500:] or 'it ended without a word'}") from None
        if not isinstance(received.frame, frames.Ready):
            raise SandboxError("the interpreter did not start: it spoke out of turn")

    async def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        self._ends.writer.write(frames.encode(head, body))
        await self._ends.writer.drain()

    async def receive(self) -> frames.Received:
        self._in_frame = False
        sizes = await frames.receive_sizes(self._ends.reader)
        self._in_frame = True
        return await frames.receive(self._ends.reader, sizes)

    async def take(self, pipe: Pipe) -> bytes:
        """Bytes of `pipe`, when every frame that was sent before them has been received; empty at the end."""
        await pipe.readable()
        for _ in range(MOST_TURNS):
            all_here = self._ends.nothing_to_read()
            await asyncio.sleep(0)
            if all_here and not self._in_frame:
                break
        return await pipe.read()

    def watch_memory(self, limit: int) -> memory.Watch:
        """A watch on the whole tree, which may take `limit` bytes more than it held when it was ready."""
        return memory.Watch(self.pid, self._base, limit, self._cgroup)

    def interrupt(self) -> None:
        self._process.interrupt()

    def ask_where(self) -> None:
        if self.language == "python":
            self._process.ask_where()

    def kill(self) -> None:
        if self.lives:
            self._process.kill()

    async def status(self) -> int:
        """Wait for the end and return the exit status (negative: the signal)."""
        return await self._process.status()

    async def closed(self) -> int:
        """Wait for the end, let go of everything, and return the exit status."""
        status = await self.status()
        self._ends.close()
        self._process.close()
        if self.way:
            await self.way.closed()
        if self._cgroup:
            self._cgroup.close()
        return status

    @property
    def lives(self) -> bool:
        return not self._process.exited.is_set()

    @property
    def exited(self) -> asyncio.Event:
        return self._process.exited

    @property
    def stdout(self) -> Pipe:
        return self._ends.stdout

    @property
    def stderr(self) -> Pipe:
        return self._ends.stderr

    @property
    def pid(self) -> int:
        """The root of the tree: everything inside is below it."""
        return self._process.pid


async def warmed(child: Child) -> Child:
    """`child`, once it is ready. One that is not wanted any more, or never will be, is ended."""
    try:
        await child.ready()
    except BaseException:
        child.kill()
        await child.closed()
        raise
    return child
