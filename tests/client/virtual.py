"""Time for tests: an event loop whose clock is turned by hand, and a store that answers at once."""

from __future__ import annotations

import asyncio
import selectors
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.store import limits
from ipy_codeinterp.store.database import transaction

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    """Where a loop would sleep, its clock jumps."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self.elapsed += timeout
        elif timeout is None and not (found := super().select(1.0)):
            raise AssertionError("everyone waits, and nothing will come")
        elif timeout is None:
            return found
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeping takes no time; `time()` is seconds since the loop was made."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.elapsed


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Store:
    """The store of a limiter without a file and without a thread; `failing` makes it fail, `failing_next` once."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(limits.SCHEMA)
        self.failing = False
        self.failing_next = False
        self.works = 0

    def run(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        self.works += 1
        future: Future[T] = Future()
        if self.failing or self.failing_next:
            self.failing_next = False
            future.set_exception(StoreError("the disk is full", hint="make room"))
            return future
        with transaction(self.connection) as connection:
            future.set_result(work(connection))
        return future

    def row(self, window: float = 60.0) -> limits.Row:
        """The one row, as it is kept."""
        ((state,),) = self.connection.execute("SELECT state FROM limits").fetchall()
        return limits.decode(state, window, 1e12)
