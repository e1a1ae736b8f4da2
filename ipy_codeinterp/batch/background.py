"""One worker at a time on the session's loop: begun when there is something to do, woken while it lives, ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

from ipy_codeinterp.errors import StoreError

CANCEL_TIMEOUT = 5.0  # seconds that what is cut short may take to end


class Worker(Protocol):
    """`run` works until nothing is left that it can do; `wake` says that there may be more."""

    is_stopping: bool

    async def run(self) -> None: ...

    def wake(self) -> None: ...


class Background:
    """Any thread may call; nothing here is for the loop itself. `begin` starts a coroutine there, `make` the worker."""

    def __init__(self, begin: Callable[[Coroutine[Any, Any, None]], Future[None]], make: Callable[[], Worker]) -> None:
        self._begin = begin
        self._make = make
        self._lock = threading.Lock()
        self._asked = 0  # how often it was said that there is something to do
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: Future[None] | None = None
        self.failure: StoreError | None = None  # what ended the last

    @property
    def is_running(self) -> bool:
        return self._future is not None

    def start(self) -> None:
        """Work, until nothing is left."""
        with self._lock:
            self._asked += 1
            if self._future is None:
                self._worker = self._make()
                self._future = self._begin(self._run(self._worker))
        self._wake(self._worker)

    def stop(self) -> None:
        """Take nothing more."""
        if self._worker is not None:
            self._worker.is_stopping = True
            self._wake(self._worker)

    def finish(self, grace: float = math.inf) -> None:
        """Take nothing more; give what is under way `grace` seconds to end, then cut it short."""
        with self._lock:
            future = self._future
        if future is None or future.done():
            return
        self.stop()
        with contextlib.suppress(TimeoutError, CancelledError):
            future.result(None if grace == math.inf else grace)
            return
        future.cancel()
        time_out = time.monotonic() + CANCEL_TIMEOUT
        while self._future is not None and time.monotonic() < time_out:
            time.sleep(0.01)  # the future is done as soon as it is cancelled, its clean-up is not

    def _wake(self, worker: Worker | None) -> None:
        if worker and self._loop:
            with contextlib.suppress(RuntimeError):  # its loop was closed
                self._loop.call_soon_threadsafe(worker.wake)

    async def _run(self, worker: Worker) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                asked = self._asked
                await worker.run()
                with self._lock:  # what is put aside from here on begins another
                    if self._asked == asked or worker.is_stopping:
                        return
        except StoreError as error:
            self.failure = error
        finally:
            with self._lock:
                self._future = self._worker = None
