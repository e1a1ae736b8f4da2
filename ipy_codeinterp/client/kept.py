"""The store as one event loop sees it: work is awaited, and what was kept together is told together."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.store.database import Database

T = TypeVar("T")


class Kept:
    """`await kept(work)` is what `work(connection)` returns, once it is on disk. Raises `StoreError`.

    Work that was handed in is done, also when nobody waits for it any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended: deque[tuple[asyncio.Future[Any], Any, InterpError | None]] = deque()
        self._is_told = True

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def then(answer: T, error: InterpError | None) -> None:
            """On the store's thread: the loop is woken once for all that it has not yet looked at."""
            self._ended.append((future, answer, error))
            if self._is_told:
                self._is_told = False
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(self._tell)

        self._database.put(work, then)
        return await future

    def _tell(self) -> None:
        self._is_told = True  # first: what comes from now on is told by another call
        while self._ended:
            future, answer, error = self._ended.popleft()
            if future.done():  # who waited has left
                continue
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)
