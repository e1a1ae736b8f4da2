"""Our end of the zygote: it is asked for children, and tells of their ends.

inside/zygote.py has the other end and the packets. It is trusted, unlike the children it forks: no code of the user's
runs in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
from typing import Any

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import pidfd, pipes
from ipy_codeinterp.sandbox.cgroup import Cgroups
from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.isolation import Bubblewrap
from ipy_codeinterp.sandbox.spawn import as_descriptor

MOST_PACKET = 1 << 16
KILLED = -signal.SIGKILL  # how a child ends whose zygote does


class ZygoteGone(SandboxError):
    """The zygote died, or was told to."""


class Zygote:
    """A running zygote. `start()` makes one, `fork()` gives children, `close()` ends it and them."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._ids = itertools.count(1)
        self._forks: dict[int, asyncio.Future[int]] = {}  # to the pidfd
        self._ends: dict[int, asyncio.Future[int]] = {}  # to the status
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exited = asyncio.Event()
        self._cgroups = Cgroups.find()
        own = os.pidfd_open(process.pid)
        pidfd.watch(own, self._exited)
        os.close(own)
        asyncio.get_running_loop().add_reader(control, self._receive)

    @classmethod
    async def start(cls, isolation: Bubblewrap) -> Zygote:
        """Start one and wait until it is warm. Raises `SandboxError` with its last words if it dies first."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        options = as_descriptor("\0".join([*isolation.zygote_options, ""]).encode())
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - see spawn.py
                isolation.zygote_command(theirs.fileno(), options),
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno(), options],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise SandboxError(f"the sandbox did not start: {error}") from None
        finally:
            theirs.close()
            os.close(options)
        zygote = cls(process, ours)
        try:
            await zygote._ready
        except BaseException:
            await zygote.close()
            raise
        return zygote

    @property
    def lives(self) -> bool:
        return not self._exited.is_set() and self._control.fileno() >= 0

    @property
    def children(self) -> int:
        """How many have not ended."""
        return len(self._ends)

    async def fork(self, language: str = "python", memory: int | None = None) -> Child:
        """A child of its own namespaces and a fork of the warm interpreter; it is `ready()` later."""
        id = next(self._ids)
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with pipes.opened() as (ends, theirs):
            self._forks[id], self._ends[id] = forked, ended
            try:
                self._ask({"id": id, "language": language, "memory": memory}, theirs)
                fd = await forked
            except BaseException:
                self._ends.pop(id, None)
                raise
            finally:
                self._forks.pop(id, None)
            try:
                return Child(Forked(fd, ended), ends, language, self._cgroups)
            except ProcessLookupError:
                os.close(fd)
                raise SandboxError("the interpreter did not start") from None

    async def close(self) -> None:
        """It is the first process of its namespace: when it goes, all that it forked goes too."""
        self._hang_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._exited.wait()
        if not self._exited.is_set():
            self._process.kill()
            await self._exited.wait()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def _ask(self, request: dict[str, Any], fds: list[int]) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)
        except BlockingIOError:
            raise SandboxError("the sandbox is asked for more than it can start") from None
        except OSError:
            raise ZygoteGone("the sandbox's zygote died") from None

    def _receive(self) -> None:
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(self._control, MOST_PACKET, 1)
            except BlockingIOError:
                return
            except OSError:
                packet, fds = b"", []
            if not packet:
                self._hang_up()
                return
            self._dispatch(json.loads(packet), fds)

    def _dispatch(self, said: dict[str, Any], fds: list[int]) -> None:
        if "ready" in said:
            _resolve(self._ready, None)
        elif "status" in said:
            if ended := self._ends.pop(said["id"], None):
                _resolve(ended, said["status"])
        elif "error" in said:
            _fail(self._forks.get(said["id"]), SandboxError(f"the sandbox did not start: {said['error']}"))
        elif forked := self._forks.get(said["id"]):
            _resolve(forked, fds[0])
        else:  # nobody waits any more
            for fd in fds:
                pidfd.send(fd, signal.SIGKILL)
                os.close(fd)

    def _hang_up(self) -> None:
        if self._control.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        gone = ZygoteGone(f"the sandbox's zygote died{self._last_words()}")
        _fail(self._ready, gone)
        for forked in self._forks.values():
            _fail(forked, gone)
        for ended in self._ends.values():
            _resolve(ended, KILLED)
        self._ends.clear()

    def _last_words(self) -> str:
        if self._process.stderr is None:
            return ""
        words = pipes.read_now(self._process.stderr.fileno()).decode("utf-8", "replace").strip()
        return f": {words[-500:]}" if words else ""


class Forked:
    """A child of the zygote; its status comes from there."""

    def __init__(self, fd: int, ended: asyncio.Future[int]) -> None:
        self.pid = pidfd.pid_of(fd)
        self.exited = asyncio.Event()
        self._fd: int | None = fd
        self._ended = ended
        pidfd.watch(fd, self.exited)

    def interrupt(self) -> None:
        pidfd.send(self._fd, signal.SIGINT)

    def ask_where(self) -> None:
        pidfd.send(self._fd, signal.SIGUSR1)

    def kill(self) -> None:
        """The first process of a namespace takes all others with it."""
        pidfd.send(self._fd, signal.SIGKILL)

    async def status(self) -> int:
        await self.exited.wait()
        return await asyncio.shield(self._ended)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any] | None, error: Exception) -> None:
    if future and not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be waiting
