"""One runner process: started, listened to, interrupted, killed, reaped.

The host believes nothing that comes out of it. Its end is known from the kernel (a pidfd), not from its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import frames
from ipy_codeinterp.sandbox.isolation import Isolation

READ_SIZE = 1 << 16
MOST_IN_PIPE = 1 << 20


class Child:
    """A started runner. `start()` makes one; `kill()` and `closed()` end it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path | None) -> None:
        self.folder = folder
        self.exited = asyncio.Event()
        self.stdout = Pipe(_detached(process.stdout))
        self.stderr = Pipe(_detached(process.stderr))
        self._process = process
        self._init: int | None = None  # pidfd of what dies with everything inside
        self._runner: int | None = None  # pidfd of what an interrupt goes to
        self._watch(os.pidfd_open(process.pid))

    @classmethod
    async def start(cls, isolation: Isolation) -> Child:
        """Start a runner and return at once: it is `ready()` later."""
        ours, theirs = socket.socketpair()
        info_read, info_write = os.pipe()
        options = _as_descriptor("\0".join([*isolation.options, ""]).encode())
        handed_down = [theirs.fileno(), info_write, options]
        try:
            launch = isolation.launch(theirs.fileno(), options, info_write)
            # From this thread: bwrap's --die-with-parent follows the thread that started it.
            process = subprocess.Popen(  # noqa: ASYNC220
                launch.command,
                env=launch.variables,
                cwd=launch.folder / "input" if launch.folder else "/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=handed_down,
                start_new_session=True,
            )
        except OSError as error:
            os.close(info_read)
            ours.close()
            raise SandboxError(f"the sandbox did not start: {error}") from None
        finally:
            theirs.close()
            os.close(info_write)
            os.close(options)
        child = cls(process, launch.folder)
        await child._connect(ours, info_read)
        return child

    async def _connect(self, sock: socket.socket, info: int) -> None:
        self._frames, self._writer = await asyncio.open_connection(sock=sock, limit=READ_SIZE)
        with contextlib.closing(Pipe(info)) as told:
            self._init = await _pidfd_of_init(told)

    async def ready(self) -> None:
        """Wait until the runner is warm. Raises `SandboxError` with its last words if it dies first."""
        try:
            received = await self.receive()
        except (asyncio.IncompleteReadError, frames.Malformed, OSError):
            words = self.stderr.read_now().decode("utf-8", "replace").strip()
            raise SandboxError(f"the interpreter did not start: {words[-500:] or 'it ended without a word'}") from None
        if not isinstance(received.frame, frames.Ready):
            raise SandboxError("the interpreter did not start: it spoke out of turn")
        self._runner = self._pidfd_of_runner()

    def _pidfd_of_runner(self) -> int | None:
        """Behind bwrap's init is the runner; without isolation the process is the runner itself."""
        if self.folder:
            return os.pidfd_open(self._process.pid)
        with contextlib.suppress(OSError, IndexError, TypeError):
            pid = _pid_behind(self._init)
            return os.pidfd_open(int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]))
        return None

    async def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        self._writer.write(frames.encode(head, body))
        await self._writer.drain()

    async def receive(self) -> frames.Received:
        return await frames.receive(self._frames)

    def interrupt(self) -> None:
        _signal(self._runner, signal.SIGINT)

    def kill(self) -> None:
        """End everything inside at once. What `bare` code has put into other process groups stays."""
        if self.folder:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        _signal(self._init, signal.SIGKILL)

    async def closed(self) -> int:
        """Wait for the end, let go of everything, and return the exit status (negative: the signal)."""
        await self.exited.wait()
        self._writer.close()
        self.stdout.close()
        self.stderr.close()
        for fd in (self._init, self._runner):
            if fd is not None:
                os.close(fd)
        self._init = self._runner = None
        status = self._process.wait()
        return 128 - status if status > 128 and not self.folder else status

    @property
    def pid(self) -> int:
        return self._process.pid

    def _watch(self, pidfd: int) -> None:
        loop = asyncio.get_running_loop()

        def on_exit() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self.exited.set()

        loop.add_reader(pidfd, on_exit)


def _as_descriptor(content: bytes) -> int:
    fd = os.memfd_create("options")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def _pidfd_of_init(info: Pipe) -> int | None:
    """bwrap tells the pid of its init, in several writes; a pidfd of it cannot come to mean another process.

    Nobody may kill bwrap before that: its inner process would wait for ever.
    """
    told = b""
    while piece := await info.read():
        told += piece
        with contextlib.suppress(ValueError, KeyError, OSError):
            return os.pidfd_open(int(json.loads(told)["child-pid"]))
    return None


def _pid_behind(pidfd: int | None) -> int:
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise IndexError("no pid")


def _signal(pidfd: int | None, number: int) -> None:
    if pidfd is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)


def _detached(pipe: Any) -> int:
    fd = os.dup(pipe.fileno())
    pipe.close()
    return fd


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
                await self._readable()

    def read_now(self) -> bytes:
        """All that has arrived, at most what a pipe holds."""
        pieces = bytearray()
        with contextlib.suppress(BlockingIOError, OSError):
            while len(pieces) < MOST_IN_PIPE and (piece := os.read(self._fd, READ_SIZE)):
                pieces += piece
        return bytes(pieces)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._fd, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
