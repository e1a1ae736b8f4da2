"""Who holds something in the file: a process, by its number and the moment it started, and whether it still lives."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def this_process() -> str:
    """The name of this process; no other one of this boot ever has the same."""
    return _name(os.getpid())


def is_alive(owner: str) -> bool:
    """Whether the process of that name still runs; what follows a `/` in the name is its own affair."""
    process = owner.partition("/")[0]
    number = process.partition(":")[0]
    return number.isdigit() and _runs(int(number)) and _name(int(number)) == process


def started(number: int) -> int | None:
    """When the process began, in ticks since boot: with its number that is a name nobody else gets. None if gone."""
    try:
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def this_started() -> int | None:
    """The same of this process, as often as one likes."""
    return _once(os.getpid())


_once = cache(started)
os.register_at_fork(after_in_child=_once.cache_clear)  # a child's number may have been somebody else's


@cache
def boot() -> str:
    """What the kernel calls this boot; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _name(number: int) -> str:
    return f"{number}:{started(number)}"  # where there is no /proc the number alone must do


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):
        return True
    return True
