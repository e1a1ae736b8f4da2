"""The one door between synchronous code and async work: an event loop of our own on a thread of its own.

The caller's thread drains a queue of events and does all the showing; it can be interrupted at any time, and an
interrupt cancels the work, waits (bounded) until it has ended, and is raised again. Another one ends that wait at once:
the work's clean-up goes on behind. The queue is bounded in bytes: when it is full the socket is not read, so a program
that floods is stopped, not stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ipy_codeinterp.execution import Event

T = TypeVar("T")
Emit = Callable[[Event], Awaitable[None]]
Work = Callable[[Emit], Coroutine[Any, Any, T]]

MOST_QUEUED = 8 << 20  # characters
LEAST, LEAST_INSIDE = 250, 10  # what an event counts for, and a value in one, however small
WAKE_EVERY = 0.05  # seconds: how long an interrupt may have to wait for a blocked queue
CANCEL_TIMEOUT = 5.0


class Bridge:
    """`run(work, show)` runs a coroutine to its end and shows its events on the calling thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(
        self,
        work: Work[T],
        show: Callable[[Event], None],
        pause: Callable[[], None] | None = None,
        idle: Callable[[], None] | None = None,
    ) -> T:
        """The result of `work(emit)`, or what it raises. Events are shown in order, all of them before the return.

        While nothing is to be shown `pause` is called again and again, without it the thread just waits; `idle` is
        called about every `WAKE_EVERY` seconds then. A second interrupt is raised in the context of the first.
        """
        passage: _Passage[T] = _Passage(self._opened(), work)
        try:
            passage.drain(show, pause, idle or _nothing)
        except BaseException:  # KeyboardInterrupt, or what `show` raises
            try:
                passage.wait_cancelled()
            finally:
                passage.cancel()  # also where another interrupt came before it was
            with contextlib.suppress(Exception):
                passage.drain_rest(show)
            raise
        return passage.result()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that shows nothing."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._opened()).result()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """The same without waiting for its end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._opened())

    def close(self) -> None:
        """Stop the loop and its thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop and thread:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        return self._loop

    def _opened(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="ipy-codeinterp", daemon=True)
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        if tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks, timeout=CANCEL_TIMEOUT))  # their callers wait for the end
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _nothing() -> None:
    pass


_END = object()


class _Passage(Generic[T]):
    """One coroutine on the loop's thread, and the queue between it and the caller."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work[T]) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._queued = 0  # characters, changed on the loop's thread only
        self._room = asyncio.Event()
        self._begun = False
        self._ended = threading.Event()
        self._future: Future[T] = asyncio.run_coroutine_threadsafe(self._work(work), loop)

    async def _work(self, work: Work[T]) -> T:
        self._begun = True
        try:
            return await work(self._emit)
        finally:
            self._ended.set()
            self._queue.put(_END)

    async def _emit(self, event: Event) -> None:
        self._queue.put(event)
        self._queued += _size(event)
        while self._queued > MOST_QUEUED:
            self._room.clear()
            await self._room.wait()

    def drain(self, show: Callable[[Event], None], pause: Callable[[], None] | None, idle: Callable[[], None]) -> None:
        """Show events until the work has ended. Waiting in steps lets a signal in."""
        while True:
            try:
                event = self._queue.get_nowait() if pause else self._queue.get(timeout=WAKE_EVERY)
            except queue.Empty:
                idle()
                if pause:
                    pause()
                continue
            if event is _END:
                return
            self._loop.call_soon_threadsafe(self._taken, _size(event))
            show(event)

    def drain_rest(self, show: Callable[[Event], None]) -> None:
        """Show what had arrived before the interrupt."""
        with contextlib.suppress(queue.Empty):
            while (event := self._queue.get_nowait()) is not _END:
                show(event)

    def cancel(self) -> None:
        """Cancel the work; its own clean-up goes on."""
        self._future.cancel()
        self._loop.call_soon_threadsafe(self._cancelled)

    def wait_cancelled(self) -> None:
        """Cancel the work and wait until its own clean-up is done: the future alone says so too early."""
        self.cancel()
        until = time.monotonic() + CANCEL_TIMEOUT
        while not self._ended.wait(WAKE_EVERY) and time.monotonic() < until:
            pass  # in steps: a signal that another thread was given is seen between two

    def _cancelled(self) -> None:
        self._taken(self._queued)  # nobody reads on: let the work pass
        if not self._begun:
            self._ended.set()  # and now it never will

    def result(self) -> T:
        return self._future.result()

    def _taken(self, size: int) -> None:
        self._queued -= size
        self._room.set()


def _size(event: Event) -> int:
    """Roughly the characters in an event; one that says nothing takes room as well."""
    size, rest = LEAST, [getattr(event, name) for name in event.__slots__]
    while rest:
        value = rest.pop()
        size += len(value) if isinstance(value, str) else LEAST_INSIDE
        if isinstance(value, Mapping):
            rest += value.values()
        elif isinstance(value, (list, tuple)):
            rest += value
    return size
