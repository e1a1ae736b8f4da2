"""Many runs at once, taken lazily and given as they end: the memory they need is that of those that run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ipy_codeinterp import pace
from ipy_codeinterp.errors import InterpError, InvalidInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `done` of `total` (None where the input does not say), `failed` of those done without a Result.

    `seconds` is how long that took. As text it has a bar and the time left, where both can be known.
    """

    done: int = 0
    failed: int = 0
    running: int = 0
    total: int | None = None
    seconds: float | None = field(default=None, compare=False)

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        failed = f", {self.failed} failed" if self.failed else ""
        words = f"{self.done}{of} done{failed}, {self.running} running"
        left = None if self.total is None else pace.remaining(self.done, self.total, self.seconds)
        return pace.line(words, self.done, self.total, left)


async def run_all(
    start: Callable[[Any], Coroutine[Any, Any, T]],
    items: Iterable[Any],
    *,
    concurrency: int,
    ordered: bool = False,
    raise_errors: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> AsyncGenerator[tuple[int, T | InterpError]]:
    """`(index, what came of it)` for each of `items`, as they end or in their order.

    At most `concurrency` run at a time, and no item is taken before there is room for it. An error of ours is given
    like a result; with `raise_errors` it is raised, after what had ended before, and what runs is cancelled. Any other
    exception is always raised.
    """
    if concurrency < 1:
        raise InvalidInput(f"concurrency = {concurrency} runs nothing", hint="use 1 or more")
    passage = _Passage(start, iter(items), concurrency, ordered=ordered, raise_errors=raise_errors)
    total = len(items) if isinstance(items, Sized) else None
    try:
        while passage.fill():
            await passage.wait()
            for index, outcome in passage.ready():
                if progress:
                    progress(passage.progress(total))
                yield index, outcome
            passage.raise_failure()
    finally:
        await passage.cancel()


class _Passage(Generic[T]):
    """What runs, and what has ended but is not given yet."""

    def __init__(
        self,
        start: Callable[[Any], Coroutine[Any, Any, T]],
        items: Iterator[Any],
        concurrency: int,
        *,
        ordered: bool,
        raise_errors: bool,
    ) -> None:
        self._start = start
        self._items = enumerate(items)
        self._concurrency = concurrency
        self._ordered = ordered
        self._raise_errors = raise_errors
        self._running: dict[asyncio.Task[T], int] = {}
        self._ended: dict[int, T | InterpError] = {}
        self._failure: BaseException | None = None
        self._following = 0  # the index that is given next, in order
        self._done = self._failed = 0
        self._began = time.monotonic()
        self._landed: list[asyncio.Task[T]] = []  # and not yet looked at
        self._one_ended = asyncio.Event()  # each look costs as much as has ended, however many run

    def fill(self) -> bool:
        """Start as many as there is room for. Whether any runs."""
        room = self._concurrency - (len(self._ended) if self._ordered else 0)
        while len(self._running) < max(room, 1) and (following := next(self._items, None)) is not None:
            index, item = following
            task = asyncio.create_task(self._start(item))
            task.add_done_callback(self._land)
            self._running[task] = index
        return bool(self._running)

    def _land(self, task: asyncio.Task[T]) -> None:
        self._landed.append(task)
        self._one_ended.set()

    async def wait(self) -> None:
        """Until one or more have ended."""
        await self._one_ended.wait()
        self._one_ended.clear()
        done, self._landed = self._landed, []
        for task in done:
            error = task.exception()
            if error is not None and (self._raise_errors or not isinstance(error, InterpError)):
                self._failure = self._failure or error
            else:
                assert error is None or isinstance(error, InterpError)
                self._ended[self._running.pop(task)] = task.result() if error is None else error

    def ready(self) -> Iterator[tuple[int, T | InterpError]]:
        """What may be given now."""
        while self._ended and (not self._ordered or self._following in self._ended):
            index = self._following if self._ordered else min(self._ended)
            outcome = self._ended.pop(index)
            self._following += 1
            self._done += 1
            self._failed += isinstance(outcome, InterpError)
            yield index, outcome

    def progress(self, total: int | None) -> Progress:
        taken = time.monotonic() - self._began
        return Progress(self._done, self._failed, len(self._running), total, taken)

    def raise_failure(self) -> None:
        if self._failure:
            raise self._failure

    async def cancel(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
