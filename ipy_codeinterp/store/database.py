"""One SQLite file and the one thread that writes it: what waits is committed together."""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ipy_codeinterp.errors import InterpError, StoreError
from ipy_codeinterp.store import ledger, retention, schema

MOST_TOGETHER = 200
BUSY = 10.0  # seconds that another process may hold the file
IMPATIENT = (
    0.1  # the same after one has held it for longer, until it is free again: a cell does not wait for each write
)
Work = Callable[[sqlite3.Connection], None]
T = TypeVar("T")
# Who hands in work is told its answer, or why there is none: on the writing thread, so it must be quick.
Then = Callable[[Any, InterpError | None], None]
Item = tuple[Callable[[sqlite3.Connection], Any], Then]
# What SQLite says, and what helps.
WAYS_OUT = {
    "not a database": "move the file aside: it is left as it is",
    "malformed": "move the file aside: it is left as it is",
    "locked": "end the program that holds it",
    "readonly": "make the file writable for you",
    "unable to open": "make the folder writable for you",
    "Permission denied": "make the folder writable for you",
    "Read-only file system": "nothing can be written there",
}


class Database:
    """`write(work)` runs `work(connection)` on the writing thread and gives a future that is done when it is kept.

    The file is opened by the first write. Whatever goes wrong is the future's `StoreError`; the next write tries again.
    `put` is the same without a future.
    """

    def __init__(self, path: Path, *, limit: int, kept: timedelta = timedelta(days=90), notice: str = "") -> None:
        self.path = path
        self.notice = notice  # what the user should know of where it lies
        self._limit = limit  # bytes
        self._kept = kept
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._patience = BUSY

    def write(self, work: Work) -> Future[None]:
        return self.run(work)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """The same for work that has an answer; the future has it when it is kept. Work may be run twice."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # a caller that is interrupted must not take its write back

        def then(answer: Any, error: InterpError | None) -> None:
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

        self.put(work, then)
        return future

    def put(self, work: Callable[[sqlite3.Connection], Any], then: Then = lambda answer, error: None) -> None:
        """Hand `work` in; `then` is called on the writing thread when it is kept, or cannot be."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_for_ever, name="ipy-codeinterp-store", daemon=True)
                self._thread.start()
            self._queue.put((work, then))

    def flush(self) -> None:
        """Wait until what was handed in is written."""
        if self._thread:
            self.write(lambda _: None).result()

    def close(self) -> None:
        """Write what waits, then let go of the file."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread:
                self._queue.put(None)
        if thread:
            thread.join()

    def _write_for_ever(self) -> None:
        try:
            while batch := self._next_batch():
                self._write_together(batch)
        finally:
            if self._connection:
                self._connection.close()
                self._connection = None

    def _next_batch(self) -> list[Item]:
        """What waits, in order; empty when it is time to stop."""
        first = self._queue.get()
        batch = [] if first is None else [first]
        with contextlib.suppress(queue.Empty):
            while batch and len(batch) < MOST_TOGETHER:
                item = self._queue.get_nowait()
                if item is None:
                    self._queue.put(None)  # after this batch
                    break
                batch.append(item)
        return batch

    def _write_together(self, batch: list[Item]) -> None:
        """One transaction for all; if it fails, one for each, so that only the guilty one fails."""
        try:
            answers = self._commit([work for work, _ in batch])
        except Exception as error:  # whatever a write raises is its own: the thread must live on
            self._note_lock(error)
            if "full" in str(error) and self._makes_room():
                self._write_together(batch)
            elif len(batch) > 1:
                for item in batch:
                    self._write_together([item])
            else:
                batch[0][1](None, self._explained(error))
            return
        self._wait_for_others(BUSY)
        for (_, then), answer in zip(batch, answers, strict=True):
            then(answer, None)

    def _note_lock(self, error: Exception) -> None:
        if "locked" in str(error):
            self._wait_for_others(IMPATIENT)

    def _wait_for_others(self, seconds: float) -> None:
        if seconds != self._patience:
            self._patience = seconds
            if self._connection:
                self._connection.execute(f"PRAGMA busy_timeout = {round(1000 * seconds)}")

    def _commit(self, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        with transaction(self._opened()) as connection:
            return [work(connection) for work in works]

    def _makes_room(self) -> bool:
        """Whether there is room now that was not there before."""
        if self._connection is None:
            return False
        with contextlib.suppress(sqlite3.Error):
            before = retention.used(self._connection)
            with transaction(self._connection):
                retention.make_room(self._connection, self._limit)
            return retention.used(self._connection) < before
        return False

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.path, limit=self._limit, patience=self._patience)
            self._tidy(self._connection)
        return self._connection

    def _tidy(self, connection: sqlite3.Connection) -> None:
        now = datetime.now(UTC)
        try:
            with transaction(connection):
                ledger.review(connection, now)
                retention.tidy(connection, now, self._kept, self._limit)
        except sqlite3.Error as error:
            self._note_lock(error)

    def _explained(self, error: Exception) -> InterpError:
        if isinstance(error, InterpError):  # the work itself refused
            return error
        way_out = f"make room, raise IPY_CODEINTERP_DATA_LIMIT (now {self._limit >> 20} MB)"
        for words, hint in WAYS_OUT.items():
            if words in str(error):
                way_out = hint
        return StoreError(
            f"results are not being kept: {error} ({self.path})",
            hint=f"{way_out}, or set IPY_CODEINTERP_DATA_DIR to another folder",
        )


def connect(path: Path, *, limit: int, patience: float = BUSY) -> sqlite3.Connection:
    """Open or make the file, readable by its owner only. Raises `StoreError` for one of a newer version.

    `patience` is the seconds that another process may hold it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        _check_version(connection, path)  # before anything is changed
        _log_ahead(connection, patience)
        connection.execute("PRAGMA synchronous = NORMAL")
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(limit // page_size, 1)}")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _log_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Where several open a new file at once, one changes its mode; SQLite sends the others away and does not wait."""
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    found = schema.version_of(connection)
    if found == schema.VERSION:
        return
    if found:
        _back_up(connection, path.with_name(f"{path.stem}-format-{found}{path.suffix}"))
    with transaction(connection):
        _check_version(connection, path)
        schema.migrate(connection)  # another process may have been first: then there is nothing left to do


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    """Keep the file as it was, once."""
    if path.exists():
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(aside)) as copy:
        connection.backup(copy)
    aside.rename(path)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    found = schema.version_of(connection)
    if found > schema.VERSION:
        raise StoreError(
            f"{path} was written by a newer version (format {found}, not {schema.VERSION}): it is left untouched",
            hint="upgrade ipy-codeinterp, or set IPY_CODEINTERP_DATA_DIR to another folder",
        )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that only reads; None where there is no file yet. Raises `StoreError` for one it cannot read."""
    if not path.exists():
        yield None
        return
    try:
        connect(path, limit=1 << 62).close()  # in today's format
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} cannot be read: {error}", hint="set IPY_CODEINTERP_DATA_DIR to another folder"
        ) from None


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
