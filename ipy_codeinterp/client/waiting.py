"""Who waits, in this process, for leave from one row of limits: a queue of which only the first in it is awake.

The row is changed by the store's thread; what it answers comes back to the loop. While the store fails, the row as it
was last seen is kept here, with this queue alone in it, and what was done meanwhile is brought in when it is back.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ipy_codeinterp.catalog import Limits
from ipy_codeinterp.errors import DeadlineExceeded, StoreError
from ipy_codeinterp.store import limits, owners
from ipy_codeinterp.store.limits import Answer, Grant, Row, Spent, Stated

MOST_TOGETHER = 32  # requests that are asked for in one transaction
LOOKS = 60  # a window, for what other processes give back
AWAY = 30.0  # seconds until a store that failed is tried again

T = TypeVar("T")


class Store(Protocol):
    """`store.database.Database`, or whatever runs work in a transaction like it."""

    def run(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]: ...


@dataclass(eq=False, slots=True)
class Waiter:
    """One run in the queue. `until` is when it must be through, by the clock of the row."""

    bounds: Limits
    tokens: int
    until: float | None
    grant: asyncio.Future[Grant]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of a grant."""

    bounds: Limits
    grant: Grant
    spent: Spent
    stated: Stated

    def apply(self, row: Row, now: float) -> None:
        limits.settle(row, self.bounds, self.grant, self.spent, self.stated, now)


class Queue:
    """First come, first served. Made, used and closed on one event loop."""

    def __init__(self, store: Store, account: str, model: str, clock: Callable[[], float]) -> None:
        self.trouble: StoreError | None = None  # why this process is on its own
        self._store = store
        self._key = (account, model)
        self._clock = clock
        self._owner = f"{owners.this_process()}/{secrets.token_hex(4)}"
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiter] = deque()
        self._tokens = 0  # of all who wait
        self._held: dict[str, Grant] = {}
        self._row: Row | None = None  # as last seen
        self._bounds = Limits()
        self._standing = False  # in the line between processes
        self._asking = False
        self._again = False
        self._answers = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._away_until = 0.0
        self._apart: dict[str, Grant] = {}  # what was granted away from the store
        self._late: list[Settlement] = []  # what ended while the store was tried again
        self._due: list[Settlement] = []  # what ended since the store was last told
        self._settling = False

    async def acquire(self, bounds: Limits, tokens: int, left: float | None, *, first: bool = False) -> Grant:
        """Wait for leave to send; `first` comes before all others.

        Raises `DeadlineExceeded` when it would take more than `left` seconds, reckoned at everyone's worst case.
        """
        until = None if left is None else self._clock() + left
        waiter = Waiter(bounds, tokens, until, self._loop.create_future())
        if self._is_hopeless(waiter, 0 if first else len(self._waiting), 0 if first else self._tokens):
            raise too_late()
        self._bounds = bounds
        self._tokens += tokens
        (self._waiting.appendleft if first else self._waiting.append)(waiter)
        if self._waiting[0] is waiter:
            self._ask()
        try:
            return await waiter.grant
        except BaseException:
            self._give_up(waiter)
            raise

    def settle(self, bounds: Limits, grant: Grant, spent: Spent, stated: Stated = limits.NOTHING_STATED) -> None:
        """Say what came of a grant; it may be called again and again, only the first time counts."""
        if self._held.pop(grant.id, None) is None:
            return
        settlement = Settlement(bounds, grant, spent, stated)
        if not self.trouble:
            self._due.append(settlement)
        elif self._asking:
            self._late.append(settlement)
        else:
            self._settle_apart(settlement)
        if self._waiting:
            self._ask()
        elif self._due:
            self._settle_soon()

    async def close(self) -> None:
        """Leave the line; returns when nothing that was asked for can still be granted."""
        while self._asking or self._settling or self._due or (self._standing and not self._waiting):
            self._answers.clear()
            self._ask()
            self._settle_soon()
            await self._answers.wait()

    # --- asking ---

    def _ask(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._asking:
            self._again = True
            return
        if not self._waiting and not self._standing:
            return
        asked = list(itertools.islice(self._waiting, MOST_TOGETHER))
        bounds, wanted = asked[0].bounds if asked else self._bounds, [waiter.tokens for waiter in asked]
        self._asking = True
        due = self._take_due()

        def work(row: Row, now: float) -> Answer:
            for settlement in due:
                settlement.apply(row, now)
            return limits.ask(row, bounds, self._owner, wanted, now)

        if self.trouble and self._clock() < self._away_until:
            row, now = self._own_row(bounds), self._clock()
            row.prune(now)
            answer = work(row, now)
            self._apart |= {grant.id: grant for grant in answer.grants}
            self._answered(asked, bounds, answer, row)
        else:
            back = self.trouble is not None
            joined = self._rejoining(work) if back else work
            self._change(bounds, joined, lambda future: self._came(asked, due, bounds, back, future))

    def _came(
        self,
        asked: list[Waiter],
        due: list[Settlement],
        bounds: Limits,
        back: bool,
        future: Future[tuple[Answer, Row]],
    ) -> None:
        try:
            answer, row = future.result()
        except StoreError as error:
            self._asking = False
            self._part(error, bounds, due)
            self._ask()
            return
        if back:
            self._rejoined()
        elif self.trouble:  # it came through, although something before it failed
            row = self._own_row(bounds)
            for grant in answer.grants:
                row.add(grant.at, 1, grant.tokens)
                row.running[grant.id] = self._owner
        self._answered(asked, bounds, answer, row)

    def _answered(self, asked: list[Waiter], bounds: Limits, answer: Answer, row: Row) -> None:
        is_first, self._row = self._row is None, row
        self._asking, self._standing = False, answer.wait is not None
        for waiter, grant in zip(asked, answer.grants, strict=False):
            self._hand_over(waiter, bounds, grant)
        if is_first:
            self._send_the_hopeless_away()
        self._answers.set()
        if self._again or answer.wait is None:
            self._again = False
            self._loop.call_soon(self._ask)
        elif self._fails_first(answer.wait if answer.for_time else 0.0):
            self._loop.call_soon(self._ask)
        else:
            look = max(bounds.window / LOOKS, limits.LOOK_EVERY)
            self._timer = self._loop.call_later(min(answer.wait, look), self._ask)

    def _hand_over(self, waiter: Waiter, bounds: Limits, grant: Grant) -> None:
        self._held[grant.id] = grant
        if waiter.grant.done():  # it has given up meanwhile
            self.settle(bounds, grant, Spent())
        else:
            self._remove(waiter)
            waiter.grant.set_result(grant)

    def _change(
        self, bounds: Limits, work: Callable[[Row, float], T], then: Callable[[Future[tuple[T, Row]]], None]
    ) -> None:
        """Let the store's thread do `work`, and this loop `then`."""

        def arrived(future: Future[tuple[T, Row]]) -> None:
            try:
                self._loop.call_soon_threadsafe(then, future)
            except RuntimeError:  # the loop is closed: nobody is there to take a grant
                self._give_back(bounds, future)

        self._store.run(
            lambda connection: limits.change(connection, *self._key, bounds.window, work, self._clock)
        ).add_done_callback(arrived)

    def _give_back(self, bounds: Limits, future: Future[tuple[T, Row]]) -> None:
        answer = None if future.exception() else future.result()[0]
        grants = answer.grants if isinstance(answer, Answer) else ()

        def work(row: Row, now: float) -> None:
            for grant in grants:
                limits.settle(row, bounds, grant, Spent(), limits.NOTHING_STATED, now)

        if grants:
            self._store.run(lambda connection: limits.change(connection, *self._key, bounds.window, work, self._clock))

    # --- settling ---

    def _take_due(self) -> list[Settlement]:
        due, self._due = self._due, []
        return due

    def _settle_soon(self) -> None:
        """One transaction at a time: what ends while the store is told of others goes with the next one."""
        if not self._settling and self._due:
            self._settling = True
            self._loop.call_soon(self._settle_due)

    def _settle_due(self) -> None:
        due = self._take_due()
        if not due:  # somebody has asked meanwhile, and told it
            self._settling = False
            self._answers.set()
            return

        def work(row: Row, now: float) -> None:
            for settlement in due:
                settlement.apply(row, now)

        self._change(due[0].bounds, work, lambda future: self._settled(due, future))

    def _settled(self, due: list[Settlement], future: Future[tuple[None, Row]]) -> None:
        self._settling = False
        try:
            _, row = future.result()
            self._row = self._row if self.trouble else row
        except StoreError as error:
            self._part(error, due[0].bounds, due)
        self._settle_soon()
        self._answers.set()

    # --- giving up ---

    def _give_up(self, waiter: Waiter) -> None:
        future = waiter.grant
        if future.done() and not future.cancelled() and not future.exception():
            self.settle(waiter.bounds, future.result(), Spent())
        elif waiter in self._waiting:
            was_first = self._waiting[0] is waiter
            self._remove(waiter)
            if was_first:
                self._ask()

    def _remove(self, waiter: Waiter) -> None:
        self._waiting.remove(waiter)
        self._tokens -= waiter.tokens

    def _is_hopeless(self, waiter: Waiter, ahead: int, tokens_ahead: int) -> bool:
        if waiter.until is None or self._row is None:
            return False
        bounds, now = waiter.bounds, self._clock()
        total = tokens_ahead + waiter.tokens
        return limits.free_at(self._row, bounds, ahead + 1, total, now, largest=waiter.tokens) > waiter.until

    def _send_the_hopeless_away(self) -> None:
        ahead = tokens = 0
        for waiter in list(self._waiting):
            if self._is_hopeless(waiter, ahead, tokens):
                self._fail(waiter)
            else:
                ahead, tokens = ahead + 1, tokens + waiter.tokens

    def _fails_first(self, wait: float) -> bool:
        """Whether the first in the queue had to go, because `wait` seconds are too many."""
        first = self._waiting[0] if self._waiting else None
        if first is None or first.until is None or self._clock() + wait <= first.until:
            return False
        self._fail(first)
        return True

    def _fail(self, waiter: Waiter) -> None:
        self._remove(waiter)
        if not waiter.grant.done():
            waiter.grant.set_exception(too_late())

    # --- without the store ---

    def _part(self, error: StoreError, bounds: Limits, untold: list[Settlement]) -> None:
        """Go on alone, with the row as it was last seen, and what the store was not told."""
        if not self.trouble:
            row = limits.alone(self._own_row(bounds), self._owner)
            running = [*self._held, *(each.grant.id for each in untold)]
            self._row = replace(row, running=dict.fromkeys(running, self._owner))
        self.trouble, self._away_until = error, self._clock() + AWAY
        late, self._late = [*untold, *self._take_due(), *self._late], []
        for settlement in late:
            self._settle_apart(settlement)

    def _own_row(self, bounds: Limits) -> Row:
        if self._row is None or self._row.window != bounds.window:
            self._row = Row(bounds.window)
        return self._row

    def _settle_apart(self, settlement: Settlement) -> None:
        row, now, grant, spent = self._own_row(settlement.bounds), self._clock(), settlement.grant, settlement.spent
        settlement.apply(row, now)
        self._apart = {id: each for id, each in self._apart.items() if each.at > now - 2 * row.window}
        if self._apart.pop(grant.id, None) and spent.requests:
            self._apart[grant.id] = replace(grant, tokens=spent.tokens)

    def _rejoining(self, work: Callable[[Row, float], T]) -> Callable[[Row, float], T]:
        held, apart = list(self._held.values()), list(self._apart.values())

        def rejoin_and_work(row: Row, now: float) -> T:
            limits.rejoin(row, self._owner, held, apart, now)
            return work(row, now)

        return rejoin_and_work

    def _rejoined(self) -> None:
        """The store is back, with all that was done apart: what ended while it was asked is settled there."""
        self.trouble, self._apart = None, {}
        late, self._late = self._late, []
        for settlement in late:
            self._held[settlement.grant.id] = settlement.grant
            self.settle(settlement.bounds, settlement.grant, settlement.spent, settlement.stated)


def too_late() -> DeadlineExceeded:
    """The error of who need not wait any longer."""
    return DeadlineExceeded(
        "the deadline would pass before the limits of the provider let this through; nothing was sent",
        hint="raise the deadline, or send fewer at once",
    )
