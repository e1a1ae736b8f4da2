"""How much memory a tree of processes uses, and a watch that tells when it is too much.

A look at RssAnon and RssShmem is cheap and never too low, because pages that are shared are counted in each process.
Only where that sum is over the limit are the shared pages divided among those who share them, which costs more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ipy_codeinterp.sandbox.cgroup import Cgroup

LOOK_EVERY = 0.05  # seconds
LOOK_OFTEN = 0.01  # near the limit, or when it is approached fast
SHARE, SHARE_OFTEN = 0.1, 0.5  # of one core that looking may take, and then
LONGEST_PAUSE = 0.1  # seconds, whatever it costs
NEAR = 0.5  # of the limit
FAST = 0.05  # of the limit, between two looks
SLACK = 48 << 20  # bytes above the limit: a process that asks for too much shall be told so by the kernel first
BACKSTOP = 52 << 20  # bytes above the limit where the kernel acts by itself, should we be late
KB = 1024
SHARED_ANONYMOUS = "/dev/zero (deleted)"


def of_tree(root: int) -> int:
    """Bytes that the tree of `root` holds now; pages that several share are counted in each."""
    return sum(_resident(_fields(f"/proc/{pid}/status")) for pid in tree(root))


def tree(root: int) -> list[int]:
    """`root` and all below it. The first process of a namespace inherits orphans, so none is missing."""
    found, at = [root], 0
    while at < len(found):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{found[at]}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        at += 1
    return found


class Watch:
    """Looks at the tree of `root` until it uses more than `limit` bytes beyond `base`; remembers the `peak`."""

    def __init__(self, root: int, base: int, limit: int, cgroup: Cgroup | None = None) -> None:
        self.peak = 0
        self._cgroup = cgroup
        self._kills = cgroup.kills() if cgroup else 0
        self._root = root
        self._base = base
        self._limit = limit
        self._last = 0  # what the cheap look said
        self._is_urgent = False

    async def over(self) -> None:
        """Returns when it is too much."""
        if self._cgroup:
            self._cgroup.limit(self._limit + BACKSTOP)
        cost = 0.0
        while True:
            often, share = (LOOK_OFTEN, SHARE_OFTEN) if self._is_urgent else (LOOK_EVERY, SHARE)
            await asyncio.sleep(min(max(often, cost / share), LONGEST_PAUSE))
            started = time.perf_counter()
            used = await asyncio.to_thread(self.look) if cost > LOOK_OFTEN else self.look()
            if used > self._limit + SLACK or self.was_killed():
                return
            cost = time.perf_counter() - started

    def was_killed(self) -> bool:
        """Whether the kernel has ended a process of the tree for its memory."""
        return bool(self._cgroup and self._cgroup.kills() > self._kills)

    def look(self) -> int:
        """Bytes in use now, or promised in a way that can be used without being seen."""
        if self._cgroup and (used := self._cgroup.used()) is not None:
            self.peak = max(self.peak, used)
            self._is_urgent = used > NEAR * self._limit
            return used
        pids = tree(self._root)
        rows = {pid: _fields(f"/proc/{pid}/status") for pid in pids}
        used = sum(map(_resident, rows.values())) - self._base
        is_fast, self._last = used - self._last > FAST * self._limit, used
        if used > self._limit and len(pids) > 1:
            # a tree that is about to be too large does not grow while it is measured
            with _stopped(pids) if self._is_urgent or is_fast else contextlib.nullcontext():
                shares = [_share(pid) for pid in pids]
            tables = sum(row.get("VmPTE", 0) for row in rows.values())
            used = used if None in shares else sum(share or 0 for share in shares) + tables
        self.peak = max(self.peak, used)
        self._is_urgent = is_fast or used > NEAR * self._limit
        if max((row.get("VmSize", 0) for row in rows.values()), default=0) > self._limit:
            return max(used, _mapped_together(pids))
        return used


@contextlib.contextmanager
def _stopped(pids: Iterable[int]) -> Iterator[None]:
    """None of them runs meanwhile."""
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _mapped_together(pids: Iterable[int]) -> int:
    """Bytes of anonymous memory that is mapped as shared: it may be filled, and let go of, without being resident."""
    sizes: dict[str, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
                if line.endswith(SHARED_ANONYMOUS):
                    span, _, _, _, inode, *_ = line.split()
                    start, end = (int(place, 16) for place in span.split("-"))
                    sizes[inode] = max(sizes.get(inode, 0), end - start)
    return sum(sizes.values())


def _resident(status: Mapping[str, int]) -> int:
    return status.get("RssAnon", 0) + status.get("RssShmem", 0) + status.get("VmPTE", 0)


def _share(pid: int) -> int | None:
    """The same with shared pages divided among those who share them; None where this machine does not let us see."""
    try:
        rollup = _fields(f"/proc/{pid}/smaps_rollup", strict=True)
    except PermissionError:
        return None
    except OSError:  # gone
        return 0
    return rollup.get("Pss_Anon", 0) + rollup.get("Pss_Shmem", 0)


def _fields(path: str, *, strict: bool = False) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file in /proc, in bytes."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        if strict:
            raise
        return {}
    rows = (line.split() for line in lines)
    return {row[0].rstrip(":"): int(row[1]) * KB for row in rows if len(row) == 3 and row[2] == "kB"}
