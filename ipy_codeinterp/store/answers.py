"""The journal, read for answers by one thread: no write and no other thread is waited for."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime
from pathlib import Path

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.execution import Result
from ipy_codeinterp.store import database, journal


class Answers:
    """Of the file at `path`, which may come later. A journal that cannot be read has no answers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = contextlib.ExitStack()
        self._connection: sqlite3.Connection | None = None

    def find(self, key: str, offer: str, since: datetime, known: str | None = None) -> Result | None:
        """The newest Result of that key by that offer that may serve again; `known` is the id it had last time."""
        try:
            self._connection = self._connection or self._open.enter_context(database.reading(self._path))
            if self._connection is None:
                return None
            found = journal.find(self._connection, known, since) if known else None
            return found or journal.find_answer(self._connection, key, offer, since)
        except (sqlite3.Error, StoreError, ValueError):  # the last: its JSON, or a text that stood apart
            self.close()
            return None

    def close(self) -> None:
        """Let go of the file; the next look opens it again."""
        self._connection = None
        self._open.close()
