"""One runner process: started, listened to, interrupted, killed, reaped.

The host believes nothing that comes out of it. Its end is known from the kernel (a pidfd), not from its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import termios
from pathlib import Path
from typing import Any

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import frames
from ipy_codeinterp.sandbox.isolation import Isolation

READ_SIZE = 1 << 16
MOST_IN_PIPE = 1 << 20
MOST_TURNS = 1000  # of the event loop that a pipe's bytes wait for frames
NOTHING = bytes(4)  # zero, as ioctl writes it


class Child:
    """A started runner. `start()` makes one; `kill()` and `closed()` end it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        frames: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        folder: Path | None,
    ) -> None:
        self.folder = folder
        self.exited = asyncio.Event()
        self._frames = frames
        self._writer = writer
        self._in_frame = False
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
        reader, writer = await asyncio.open_connection(sock=ours, limit=READ_SIZE)
        options = _as_descriptor("\0".join([*isolation.options, ""]).encode())
        try:
            launch = isolation.launch(theirs.fileno(), options)
            # From this thread: bwrap's --die-with-parent follows the thread that started it.
            process = subprocess.Popen(  # noqa: ASYNC220
                launch.command,
                env=launch.variables,
                cwd=launch.folder / "input" if launch.folder else "/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno(), options],
                start_new_session=True,
            )
        except OSError as error:
            writer.close()
            raise SandboxError(f"the sandbox did not start: {error}") from None
        finally:
            theirs.close()
            os.close(options)
        return cls(process, reader, writer, launch.folder)

    async def ready(self) -> None:
        """Wait until the runner is warm. Raises `SandboxError` with its last words if it dies first."""
        try:
            received = await self.receive()
        except (asyncio.IncompleteReadError, frames.Malformed, OSError):
            words = self.stderr.read_now().decode("utf-8", "replace").strip()
            raise SandboxError(f"the interpreter did not start: {words[-500:] or 'it ended without a word'}") from None
        if not isinstance(received.frame, frames.Ready):
            raise SandboxError("the interpreter did not start: it spoke out of turn")
        init = None if self.folder else _only_child(self._process.pid)
        runner = _only_child(init) if init else self._process.pid
        self._init = init and os.pidfd_open(init)
        self._runner = runner and os.pidfd_open(runner)

    async def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        self._writer.write(frames.encode(head, body))
        await self._writer.drain()

    async def receive(self) -> frames.Received:
        self._in_frame = False
        sizes = await frames.receive_sizes(self._frames)
        self._in_frame = True
        return await frames.receive(self._frames, sizes)

    async def take(self, pipe: Pipe) -> bytes:
        """Bytes of `pipe`, when every frame that was sent before them has been received; empty at the end."""
        await pipe.readable()
        for _ in range(MOST_TURNS):
            all_here = self._nothing_to_read()
            await asyncio.sleep(0)
            if all_here and not self._in_frame:
                break
        return await pipe.read()

    def _nothing_to_read(self) -> bool:
        try:
            return fcntl.ioctl(self._writer.get_extra_info("socket"), termios.FIONREAD, NOTHING) == NOTHING
        except (OSError, ValueError):  # closed
            return True

    def interrupt(self) -> None:
        _signal(self._runner, signal.SIGINT)

    def kill(self) -> None:
        """End everything inside at once. What `bare` code has put into other process groups stays.

        bwrap ends by itself when its init does. It must not be killed while it has one: an init that is not set up
        yet would wait for it for ever.
        """
        if self.exited.is_set():
            return
        init = None if self.folder else _only_child(self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if init is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            elif self._init is not None:
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            else:
                os.kill(init, signal.SIGKILL)

    async def status(self) -> int:
        """Wait for the end and return the exit status (negative: the signal)."""
        await self.exited.wait()
        status = self._process.wait()
        return 128 - status if status > 128 and not self.folder else status

    async def closed(self) -> int:
        """Wait for the end, let go of everything, and return the exit status."""
        status = await self.status()
        self._writer.close()
        self.stdout.close()
        self.stderr.close()
        for fd in (self._init, self._runner):
            if fd is not None:
                os.close(fd)
        self._init = self._runner = None
        return status

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


def _only_child(pid: int) -> int | None:
    """The child of bwrap is its init, the child of the init is the runner."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    except (OSError, IndexError):
        return None


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
                await self.readable()

    def read_now(self) -> bytes:
        """All that has arrived, at most what a pipe holds."""
        pieces = bytearray()
        with contextlib.suppress(BlockingIOError, OSError):
            while len(pieces) < MOST_IN_PIPE and (piece := os.read(self._fd, READ_SIZE)):
                pieces += piece
        return bytes(pieces)

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
