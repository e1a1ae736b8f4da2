"""The network of a container that was given one: which helper there is, and the process (way.py) that leads to it.

A container has a network namespace of its own and nothing in it. Its way out is opened from outside when its
interpreter is warm, before it gets any code; where the way breaks off there is no network again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ipy_codeinterp.errors import NoIsolation, SandboxError
from ipy_codeinterp.sandbox import pidfd, way

WAY = Path(way.__file__)
PATIENCE = 3 * way.PATIENCE  # seconds: it gives up by itself before
INSTALL = "apt-get install slirp4netns (or passt)"


@dataclass(frozen=True, slots=True)
class Helper:
    """A program that turns packets into connections of this machine."""

    name: str
    program: Path


def helper() -> Helper:
    """The one that is installed, slirp4netns before passt (which is pasta too). Raises `NoIsolation`."""
    for name in way.HELPERS:
        if found := shutil.which(name):
            return Helper(name, Path(found))
    raise NoIsolation("--network needs slirp4netns or passt, and neither is installed; nothing was run", hint=INSTALL)


class Way:
    """A way out, from its start to its end. See `opened()`; in the end wait until it is `closed()`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._exited = asyncio.Event()
        own = os.pidfd_open(process.pid)
        pidfd.watch(own, self._exited)
        os.close(own)
        self._reaping = asyncio.create_task(self._reap())  # it may end before its container does

    async def ready(self) -> None:
        """Wait until packets pass. Raises `SandboxError` with the reason when they never will."""
        assert self._process.stdout is not None
        said = b""
        with contextlib.suppress(TimeoutError):
            said = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), PATIENCE)
        words = said.decode("utf-8", "replace").strip()
        if words != way.READY:
            raise refused(words)

    async def closed(self) -> None:
        """End it, and wait for its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._exited.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
        await self._reaping
        self._process.stdout.close()

    async def _reap(self) -> None:
        await self._exited.wait()
        self._process.wait()


async def opened(helper: Helper, container: int, inside: int) -> Way:
    """A way out of the network namespace of the process `inside`, for as long as the process `container` lives."""
    try:
        with _descriptors(container, inside) as (end, namespace):
            found = Way(_start(_command(helper, str(namespace), str(end)), namespace, end))
    except OSError as error:
        raise refused(str(error)) from None
    try:
        await found.ready()
    except BaseException:
        await found.closed()
        raise
    return found


def complaint(helper: Helper) -> str | None:
    """What is wrong with `helper` on this machine, found by starting it once; None when it answers."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        run = subprocess.run(
            _command(helper),
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = run.stdout.strip() or "it ended without a word"
    return None if said == way.READY else said


def refused(words: str) -> SandboxError:
    return SandboxError(f"there is no network: {words or 'no answer'}; nothing was run", hint=remedy(words))


def remedy(words: str) -> str:
    """What to do about a refusal, by the words of the kernel and of the helpers."""
    if "/dev/net/tun" in words:
        return "the device that makes networks is missing here: modprobe tun; for a container --device /dev/net/tun"
    if "routable interface" in words or "template" in words:
        return "this machine has no way out itself: `ip route` shows no default"
    return "`python -m ipy_codeinterp doctor` tries it; leave out --network to run without"


@contextlib.contextmanager
def _descriptors(container: int, inside: int):  # type: ignore[no-untyped-def]
    with contextlib.ExitStack() as stack:
        end = os.pidfd_open(container)
        stack.callback(os.close, end)
        namespace = os.open(f"/proc/{inside}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, namespace)
        yield end, namespace


def _command(helper: Helper, *rest: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(WAY), helper.name, str(helper.program), *rest]


def _start(command: list[str], *fds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env={},
        cwd="/",
        stdin=subprocess.PIPE,  # whoever holds the other end keeps it alive
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=fds,
        start_new_session=True,
    )
