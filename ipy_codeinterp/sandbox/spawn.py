"""A runner as a program of its own: one bubblewrap each, or none at all where that was asked for by name.

It pays for its imports each time. It is for machines that refuse the zygote its namespaces, and for runs that see more
than others do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import pidfd, pipes
from ipy_codeinterp.sandbox.cgroup import Cgroups
from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.isolation import Isolation


async def spawn(
    isolation: Isolation, language: str = "python", memory: int | None = None, cgroups: Cgroups | None = None
) -> Child:
    """Start a runner and return at once: it is `ready()` later."""
    with contextlib.ExitStack() as stack:
        options = as_descriptor("\0".join([*isolation.options, ""]).encode())
        stack.callback(os.close, options)
        program = filter_descriptor(isolation)
        if program is not None:
            stack.callback(os.close, program)
        async with pipes.opened() as (ends, (their_in, their_out, stdout, stderr)):
            launch = isolation.launch((their_in, their_out), language, memory, options, program)
            try:
                # From this thread: bwrap's --die-with-parent follows the thread that started it.
                process = subprocess.Popen(  # noqa: ASYNC220
                    launch.command,
                    env=launch.variables,
                    cwd=launch.folder / "input" if launch.folder else "/",
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[their_in, their_out, options, *([] if program is None else [program])],
                    start_new_session=True,
                )
            except OSError as error:
                raise SandboxError(f"the sandbox did not start: {error}") from None
            return Child(Spawned(process, bare=launch.folder is not None), ends, language, cgroups)


def as_descriptor(content: bytes) -> int:
    """A file without a name, to be read from its beginning."""
    fd = os.memfd_create("options")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def filter_descriptor(isolation: Isolation) -> int | None:
    return as_descriptor(isolation.program.read_bytes()) if isolation.program else None


class Spawned:
    """A process that we started. Below bubblewrap there is its init, and below that the runner."""

    def __init__(self, process: subprocess.Popen[bytes], *, bare: bool) -> None:
        self.exited = asyncio.Event()
        self._process = process
        self._bare = bare
        self._init: int | None = None  # pidfd of what dies with everything inside
        self._runner: int | None = None  # pidfd of what an interrupt goes to
        own = os.pidfd_open(process.pid)
        pidfd.watch(own, self.exited)
        os.close(own)

    @property
    def pid(self) -> int:
        return self._process.pid

    def interrupt(self) -> None:
        self._signal_runner(signal.SIGINT)

    def ask_where(self) -> None:
        self._signal_runner(signal.SIGUSR1)

    def kill(self) -> None:
        """End everything inside at once. What `bare` code has put into other process groups stays.

        bwrap ends by itself when its init does. It must not be killed while it has one: an init that is not set up
        yet would wait for it for ever.
        """
        self._find()
        if self._init is not None:
            pidfd.send(self._init, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def status(self) -> int:
        await self.exited.wait()
        status = self._process.wait()
        return 128 - status if status > 128 and not self._bare else status

    def close(self) -> None:
        for fd in (self._init, self._runner):
            if fd is not None:
                os.close(fd)
        self._init = self._runner = None

    def _signal_runner(self, number: int) -> None:
        self._find()
        pidfd.send(self._runner, number)

    def _find(self) -> None:
        """bwrap makes its init in its own time, and that one the runner."""
        if self._bare:
            self._runner = self._runner or os.pidfd_open(self._process.pid)
            return
        init = only_child(self._process.pid)
        if init and self._init is None:
            self._init = open_pidfd(init)
        runner = only_child(init) if init else None
        if runner and self._runner is None:
            self._runner = open_pidfd(runner)


def only_child(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    except (OSError, IndexError):
        return None


def open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
