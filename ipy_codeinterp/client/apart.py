"""The ledger of this process alone, while the store cannot be written.

Budgets go on from what they were when the store was last seen. What was noted apart, and what the store did not take,
is done there as soon as it takes it: the next time that anything is sent or settled.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ipy_codeinterp.changed import changed
from ipy_codeinterp.store import ledger, schema
from ipy_codeinterp.store.database import Database, Work
from ipy_codeinterp.store.ledger import Attempt, Balance, Budgets


class Apart:
    """One for all who share a store and its budgets; any thread may call."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: dict[str, Balance] = {}  # by scope, as the store had it, with what was settled since
        self._spare: sqlite3.Connection | None = None  # while the store is away
        self._late: list[Work] = []  # what the store has not taken yet, in order
        self._returning = False

    def saw(self, balances: Mapping[str, Balance]) -> None:
        """The store took something: this is what is spent and held there."""
        with self._lock:
            self._seen |= balances

    def reserve(self, attempt: Attempt, budgets: Budgets) -> None:
        """Note here what the store did not take. Raises `OverBudget`."""
        with self._lock:
            self._spare = self._spare or _in_memory(self._seen)
            ledger.reserve(self._spare, attempt, budgets)
            self._late.append(lambda connection: _reserve_once(connection, attempt))

    def settle(self, attempt: Attempt) -> None:
        """Note what came of an attempt, in the store or for later."""
        work: Work = lambda connection: ledger.settle(connection, attempt)  # noqa: E731
        with self._lock:
            if self._spare:
                ledger.settle(self._spare, attempt)
            else:
                self._settle_seen(attempt)
            is_late = bool(self._late)
            if is_late:
                self._late.append(work)
        if is_late:
            self.bring_back()
        else:
            self._database.put(work, lambda _, error: self._keep_for_later(work) if error else None)

    def bring_back(self) -> None:
        """Let the store do what it did not, if it can now."""
        with self._lock:
            if self._returning or not self._late:
                return
            self._returning = True
            works = tuple(self._late)

        def work(connection: sqlite3.Connection) -> None:
            for each in works:
                each(connection)

        self._database.put(work, lambda _, error: self._returned(0 if error else len(works)))

    def _returned(self, done: int) -> None:
        """On the store's thread."""
        with self._lock:
            self._returning = False
            del self._late[:done]
            if not self._late and self._spare:
                self._spare.close()
                self._spare = None
        if done:
            self.bring_back()

    def _keep_for_later(self, work: Work) -> None:
        with self._lock:
            self._late.append(work)

    def _settle_seen(self, attempt: Attempt) -> None:
        """What was held at its worst is what it cost, where that is known."""
        billed = attempt.cost.billed
        if billed is None:
            return
        for scope in self._seen.keys() & set(attempt.scopes):
            before = self._seen[scope]
            held = max(before.held - (attempt.reserved or 0), Decimal(0))
            self._seen[scope] = changed(before, spent=before.spent + billed, held=held)


def _reserve_once(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Without asking budgets: it was sent."""
    if connection.execute("SELECT 1 FROM attempts WHERE id = ?", (attempt.id,)).fetchone() is None:
        ledger.reserve(connection, attempt)


def _in_memory(balances: Mapping[str, Balance]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with contextlib.suppress(sqlite3.Error):
        schema.migrate(connection)
    for scope, found in balances.items():
        row: tuple[Any, ...] = (scope, schema.to_nano(found.spent), schema.to_nano(found.held))
        connection.execute("INSERT INTO budgets VALUES (?, ?, ?)", row)
    return connection
