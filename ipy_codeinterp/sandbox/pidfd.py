"""Descriptors that stand for processes: no signal sent through one can hit another process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path


def send(pidfd: int | None, number: int) -> None:
    """Send a signal; a process that is gone, or was never known, gets none."""
    if pidfd is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)


def watch(pidfd: int, ended: asyncio.Event) -> None:
    """Set `ended` when the process is no more, and close a duplicate of `pidfd` then."""
    loop, own = asyncio.get_running_loop(), os.dup(pidfd)

    def on_exit() -> None:
        loop.remove_reader(own)
        os.close(own)
        ended.set()

    loop.add_reader(own, on_exit)


def pid_of(pidfd: int) -> int:
    """The number of the process on this machine; raises ProcessLookupError when it has been reaped."""
    text = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    pid = int(text.partition("Pid:")[2].split()[0])
    if pid < 0:
        raise ProcessLookupError
    return pid
