"""The kernel's own account of a container's memory, where this machine lets us keep one.

It counts what no look at processes can: page tables, buffers of sockets, pages that nobody has mapped. Root may make
control groups (both versions of them), a user below a slice that systemd has delegated. Where neither is allowed the
watch in memory.py is alone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "ipy-codeinterp"


@dataclass(frozen=True, slots=True)
class Files:
    """What a version of control groups calls its files, and the rows of `stat` that are memory in use."""

    limit: str
    events: str
    rows: tuple[str, ...]


V1 = Files("memory.limit_in_bytes", "memory.oom_control", ("rss", "shmem"))
V2 = Files("memory.max", "memory.events", ("anon", "shmem", "pagetables", "sock"))


class Cgroups:
    """A folder in which control groups can be made. `find()` gives it, or None."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._numbers = itertools.count(1)

    @classmethod
    def find(cls, mount: Path = MOUNT, membership: str | None = None) -> Cgroups | None:
        """Where this process may make groups whose memory is counted."""
        lines = (membership or Path("/proc/self/cgroup").read_text()).splitlines()
        for line in lines:
            _, controllers, path = line.split(":", 2)
            own = mount / "memory" / path.lstrip("/")
            if "memory" in controllers.split(",") and _is_ours(own):
                return cls(own, V1)._tidied()
            own = mount / path.lstrip("/")
            for folder in () if controllers else (own, own.parent):
                if _is_ours(folder) and "memory" in _read(folder / "cgroup.subtree_control").split():
                    return cls(folder, V2)._tidied()
        return None

    def make(self, pid: int) -> Cgroup | None:
        """A group with `pid` in it, whose memory is counted from now on; None when the kernel refuses."""
        folder = self._folder / f"{PREFIX}-{os.getpid()}-{next(self._numbers)}"
        try:
            folder.mkdir()
            (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            _remove(folder)
            return None
        return Cgroup(folder, self._files)

    def _tidied(self) -> Cgroups:
        """Without the groups of those who had no time to remove them."""
        for folder in self._folder.glob(f"{PREFIX}-*-*"):
            if not Path("/proc", folder.name.split("-")[-2]).exists():
                _remove(folder)
        return self


class Cgroup:
    """The group of one container."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files

    def add(self, pids: Iterable[int]) -> None:
        """Take in processes that were there before the group."""
        for pid in pids:
            with contextlib.suppress(OSError):  # it has ended
                (self._folder / "cgroup.procs").write_text(str(pid))

    def limit(self, size: int) -> None:
        """From here on the kernel ends what would take more than `size` bytes."""
        with contextlib.suppress(OSError):
            (self._folder / self._files.limit).write_text(str(size))

    def used(self) -> int | None:
        """Bytes in use; None when the group is gone."""
        rows = dict(line.split(" ", 1) for line in _read(self._folder / "memory.stat").splitlines())
        return sum(int(rows.get(name, 0)) for name in self._files.rows) if rows else None

    def kills(self) -> int:
        """How many processes the kernel has ended for their memory."""
        rows = dict(line.split(" ", 1) for line in _read(self._folder / self._files.events).splitlines())
        return int(rows.get("oom_kill", 0))

    def close(self) -> None:
        _remove(self._folder)


def _is_ours(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
