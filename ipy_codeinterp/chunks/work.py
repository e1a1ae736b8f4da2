"""The ranges still to do: taken in order, halved when they fail, until all are done or one cannot be halved.

Rules of this file:
- Every row is in exactly one range that waits, runs, or is done: a failed range is replaced by its two halves.
- No range is halved into pieces of fewer than `least` rows.
- What was too much once is too much again: after a limit, ranges that wait are cut to the size that was not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from ipy_codeinterp.execution import Result


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Rows `start` to `stop`, without `stop`, counted from 0 below the header, as `.iloc` counts."""

    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def halves(self) -> tuple[Range, Range]:
        """The first is never the smaller one."""
        middle = self.start + (self.rows + 1) // 2
        return Range(self.start, middle), Range(middle, self.stop)

    def __str__(self) -> str:
        return f"row {self.start:,}" if self.rows == 1 else f"rows {self.start:,} to {self.stop - 1:,}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a range is not done. `too_much` where fewer rows may well do: a limit, a crash."""

    why: str
    too_much: bool = False
    result: Result | None = None


Attempt = Callable[[Range], Awaitable[Failure | None]]


def cut(start: int, stop: int, rows: int) -> list[Range]:
    """Ranges of `rows` rows each, the last of what is left."""
    return [Range(first, min(first + rows, stop)) for first in range(start, stop, rows)]


def gaps(done: Iterable[Range], total: int) -> list[Range]:
    """What of rows 0 to `total` is in none of the ranges of `done`, which do not overlap."""
    found, at = [], 0
    for each in sorted(done):
        if at < each.start:
            found.append(Range(at, each.start))
        at = each.stop
    return [*found, Range(at, total)] if at < total else found


class Queue:
    """Ranges that wait, the first row first."""

    def __init__(self, ranges: Iterable[Range], *, least: int = 1) -> None:
        self._waiting = sorted(ranges, reverse=True)
        self._least = least
        self._most: int | None = None  # rows that a range may have, once one was too much

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> Range:
        """The next range, cut when it is known to be too much."""
        taken = self._waiting.pop()
        while self._most is not None and taken.rows > self._most and self._can_halve(taken):
            taken, rest = taken.halves()
            self._waiting.append(rest)
        return taken

    def halve(self, failed: Range, *, too_much: bool) -> bool:
        """Put back the halves of a range that failed; False, and nothing is put back, where it is at the minimum."""
        if not self._can_halve(failed):
            return False
        left, right = failed.halves()
        self._waiting += [right, left]
        if too_much:
            self._most = min(left.rows, self._most or left.rows)
        return True

    def _can_halve(self, each: Range) -> bool:
        return each.rows >= 2 * self._least


async def work_through(
    queue: Queue, attempt: Attempt, *, concurrency: int, on_halved: Callable[[Range, Failure], None]
) -> tuple[Range, Failure] | None:
    """Attempt every range, at most `concurrency` at a time; None when all are done.

    The first one that fails and cannot be halved is given back with its failure, and what runs is cancelled. What
    `attempt` raises is raised.
    """
    running: dict[asyncio.Future[Failure | None], Range] = {}
    try:
        while queue or running:
            while queue and len(running) < concurrency:
                taken = queue.take()
                running[asyncio.ensure_future(attempt(taken))] = taken
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(ended, key=running.__getitem__):
                failure = task.result()
                tried = running.pop(task)
                if failure is None:
                    continue
                if not queue.halve(tried, too_much=failure.too_much):
                    return tried, failure
                on_halved(tried, failure)
        return None
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
