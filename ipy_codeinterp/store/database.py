"""One SQLite file and the one thread that writes it: what waits is committed together."""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from ipy_codeinterp.errors import StoreError

VERSION = 1
MOST_TOGETHER = 200
SCHEMA = """
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    result_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled')),
    outcome TEXT,
    started_at TEXT NOT NULL,
    seconds REAL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    estimated INTEGER,
    billed TEXT,
    listed TEXT,
    price TEXT,
    request_id TEXT,
    owner_pid INTEGER NOT NULL
);
CREATE TABLE results (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    created_at TEXT NOT NULL,
    offer TEXT NOT NULL,
    outcome TEXT NOT NULL,
    execution TEXT NOT NULL,
    result TEXT NOT NULL
);
CREATE INDEX results_by_key ON results (key, created_at);
"""

Work = Callable[[sqlite3.Connection], None]


class Database:
    """`write(work)` runs `work(connection)` on the writing thread and gives a future that is done when it is kept.

    The file is opened by the first write. Whatever goes wrong is the future's `StoreError`; the next write tries again.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        self.path = path
        self._limit = limit  # bytes
        self._queue: queue.SimpleQueue[tuple[Work, Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def write(self, work: Work) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # a caller that is interrupted must not take its write back
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_for_ever, name="ipy-codeinterp-store", daemon=True)
                self._thread.start()
            self._queue.put((work, future))
        return future

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

    def _next_batch(self) -> list[tuple[Work, Future[None]]]:
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

    def _write_together(self, batch: list[tuple[Work, Future[None]]]) -> None:
        """One transaction for all; if it fails, one for each, so that only the guilty one fails."""
        try:
            self._commit([work for work, _ in batch])
        except Exception as error:  # whatever a write raises is its own: the thread must live on
            if len(batch) > 1:
                for item in batch:
                    self._write_together([item])
            else:
                batch[0][1].set_exception(self._explained(error))
            return
        for _, future in batch:
            future.set_result(None)

    def _commit(self, works: list[Work]) -> None:
        with transaction(self._opened()) as connection:
            for work in works:
                work(connection)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.path, limit=self._limit)
        return self._connection

    def _explained(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        return StoreError(
            f"results are not being kept: {error} ({self.path})",
            hint=(
                f"make room, raise IPY_CODEINTERP_DATA_LIMIT (now {self._limit >> 20} MB),"
                " or set IPY_CODEINTERP_DATA_DIR to another folder"
            ),
        )


def connect(path: Path, *, limit: int) -> sqlite3.Connection:
    """Open or make the file, readable by its owner only. Raises `StoreError` for one of a newer version."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        _version(connection, path)  # before anything is changed
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(limit // page_size, 1)}")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection):
        if _version(connection, path) == 0:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise StoreError(
            f"{path} was written by a newer version (format {found}, not {VERSION}): it is left untouched",
            hint="upgrade ipy-codeinterp, or set IPY_CODEINTERP_DATA_DIR to another folder",
        )
    return found


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
