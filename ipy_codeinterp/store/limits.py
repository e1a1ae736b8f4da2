"""How much of a provider's limits is used: one row for each account and model, shared by this machine's processes.

The rules of a row:

- Time is cut into slots, `SLOTS` to a window, and the row counts requests and tokens by slot. What the last `SPAN`
  slots hold never exceeds the limit, so no window does wherever it begins, also where a request leaves up to a slot
  after it was granted. A correction is made in the slot of its request, so that it counts exactly as long as it should.
- Requests are paced as well: `BURST` of the limit at once, then at the limit's own rate.
- A request is granted when its time has come *and* one of the places for concurrent requests is free, both in one
  transaction: nobody holds the one while waiting for the other.
- Each owner (one queue of one process) has one place in the line, and only the first in line is granted anything: a
  large request is not overtaken. Who has died, or does not come when it is due, loses that place and nothing else.

Times are seconds of a clock that all processes of a boot share (`clock`); a row of another boot counts nothing.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

from ipy_codeinterp import ids
from ipy_codeinterp.store import owners

SCHEMA = """
CREATE TABLE limits (
    account TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (account, model)
) WITHOUT ROWID;
"""
SLOTS = 100  # of one window
SPAN = SLOTS + 2  # the slot that has only begun, and one for requests that leave late
BURST = 0.1  # of the limit
GRACE = 1.0  # seconds after its time that a place in the line is kept
LOOK_EVERY = 0.1  # seconds between looks for a place that another process holds
NEXT_TURN = 0.01  # seconds until the one before us should have come

T = TypeVar("T")


class Bounds(Protocol):
    """What a provider lets an account do: at once, and in any `window` of seconds. None is no limit."""

    @property
    def concurrency(self) -> int | None: ...
    @property
    def requests(self) -> int | None: ...
    @property
    def tokens(self) -> int | None: ...
    @property
    def window(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send one request now (`at`), and the tokens that are counted for it until it is settled."""

    id: str
    at: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request took in the end: nothing at all where it was never sent."""

    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Meter:
    """What a provider says of one limit: how much of it there is, how much is left, in how many seconds all of it."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """What a reply says of the limits, and for how many seconds the provider wants no more requests."""

    requests: Meter = Meter()
    tokens: Meter = Meter()
    closed_for: float = 0.0


NOTHING_STATED = Stated()


@dataclass(frozen=True, slots=True)
class Place:
    """One owner's place in the line: what its first request needs, and when that should be there."""

    owner: str
    tokens: int
    due: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The grants, for the first of what was wanted, and when to ask for the rest.

    `wait` is in seconds, None where nothing is left to wait for; `for_time` is False where it is a guess, because it
    is another request that must end.
    """

    grants: tuple[Grant, ...] = ()
    wait: float | None = None
    for_time: bool = True


@dataclass(slots=True)
class Row:
    """The state of one account and model: a value that lives for one transaction."""

    window: float
    slots: dict[int, list[int]] = field(default_factory=dict)  # requests and tokens, by slot
    paced: float = 0.0  # the time at which requests at the limit's own rate would be used up
    closed: float = 0.0  # nothing is granted before
    ceilings: list[int | None] = field(default_factory=lambda: [None, None])  # requests and tokens, as last stated
    ceilings_until: float = 0.0
    running: dict[str, str] = field(default_factory=dict)  # grant to owner
    line: list[Place] = field(default_factory=list)
    # of the slots, while they are what they were
    _sums: tuple[int, int] | None = field(default=None, compare=False, repr=False)

    @property
    def slot(self) -> float:
        """Seconds."""
        return self.window / SLOTS

    def index(self, at: float) -> int:
        return math.floor(at / self.slot)

    def used(self, which: int) -> int:
        """Requests (0) or tokens (1) that count now; `prune` first."""
        if self._sums is None:
            requests, tokens = zip(*self.slots.values(), strict=True) if self.slots else ((), ())
            self._sums = sum(requests), sum(tokens)
        return self._sums[which]

    def add(self, at: float, requests: int, tokens: int) -> None:
        """Count more, or less, in the slot of `at`; what has left the window stays forgotten."""
        self._sums = None
        counts = self.slots.setdefault(self.index(at), [0, 0])
        counts[0] = max(counts[0] + requests, 0)
        counts[1] = max(counts[1] + tokens, 0)

    def prune(self, now: float) -> None:
        oldest, self._sums = self.index(now) - SPAN + 1, None
        self.slots = {index: counts for index, counts in self.slots.items() if index >= oldest}

    def limits(self, bounds: Bounds, now: float) -> tuple[int | None, int | None]:
        """Requests and tokens a window: those of `bounds`, or what the provider said of late where that is less."""
        if now >= self.ceilings_until:
            return bounds.requests, bounds.tokens
        requests, tokens = self.ceilings
        return _least(bounds.requests, requests), _least(bounds.tokens, tokens)


# --- asking ---------------------------------------------------------------------------------------


def ask(
    row: Row,
    bounds: Bounds,
    owner: str,
    wanted: Sequence[int],
    now: float,
    is_alive: Callable[[str], bool] = owners.is_alive,
) -> Answer:
    """Grant what can go now of `wanted` (the tokens of each waiting request, in order).

    While others stand in the line it is one at a time. An owner that wants nothing leaves the line.
    """
    row.line = [place for place in row.line if place.owner == owner or _is_expected(place, now, is_alive)]
    grants: list[Grant] = []
    for tokens in wanted:
        wait, for_time = _wait(row, bounds, owner, tokens, now, is_alive)
        if wait > 0:
            _stand(row, Place(owner, tokens, now + wait))
            return Answer(tuple(grants), wait, for_time)
        grants.append(_granted(row, bounds, owner, tokens, now))
    _leave(row, owner)
    return Answer(tuple(grants))


def free_at(row: Row, bounds: Bounds, requests: int, tokens: int, now: float, *, largest: int = 0) -> float:
    """When there is room for so much more if nobody else comes: now, or later.

    `largest` is what one of the requests takes: a provider that has stated a limit below it may judge it itself.
    """
    most_requests, most_tokens = row.limits(bounds, now)
    times = [now, row.closed]
    if most_requests is not None:
        interval = row.window / most_requests
        behind = max(most_requests * BURST, 1) - 1  # requests that may go before their time
        times += [max(row.paced, now) + (requests - 1 - behind) * interval]
        times += [_room_at(row, 0, most_requests, requests, now)]
    if most_tokens is not None:
        times += [_room_at(row, 1, max(most_tokens, largest), tokens, now)]
    return max(times)


def _wait(
    row: Row, bounds: Bounds, owner: str, tokens: int, now: float, is_alive: Callable[[str], bool]
) -> tuple[float, bool]:
    """Seconds until the next request of `owner` may go, and whether it is time that it waits for."""
    before = _before(row, owner)
    total = tokens + sum(place.tokens for place in before)
    largest = max([tokens, *(place.tokens for place in before)])
    free = free_at(row, bounds, len(before) + 1, total, now, largest=largest)
    if free > now:
        return free - now, True
    if bounds.concurrency is not None and len(row.running) >= bounds.concurrency:
        row.running = {id: who for id, who in row.running.items() if who == owner or is_alive(who)}
        if len(row.running) >= bounds.concurrency:
            return LOOK_EVERY, False
    return (NEXT_TURN, False) if before else (0.0, True)


def _granted(row: Row, bounds: Bounds, owner: str, tokens: int, now: float) -> Grant:
    grant = Grant(ids.new("grant"), now, tokens)
    row.add(now, 1, tokens)
    row.paced = max(row.paced, now) + _interval(row, bounds, now)
    if bounds.concurrency is not None:
        row.running[grant.id] = owner
    _leave(row, owner)
    return grant


def _room_at(row: Row, which: int, limit: int, amount: int, now: float) -> float:
    """When `amount` more is within `limit`; more than the limit itself takes whole windows first."""
    rounds = (amount - 1) // limit
    lacking = row.used(which) + amount - rounds * limit - limit
    free = now
    for index in sorted(row.slots):
        if lacking <= 0:
            break
        lacking -= row.slots[index][which]
        free = max((index + SPAN) * row.slot, now)
    return free + rounds * row.slot * SPAN


def _before(row: Row, owner: str) -> list[Place]:
    standing = [place.owner for place in row.line]
    return row.line[: standing.index(owner)] if owner in standing else row.line


def _stand(row: Row, place: Place) -> None:
    """Take a place at the end of the line; who has one keeps it."""
    standing = [each.owner for each in row.line]
    if place.owner in standing:
        row.line[standing.index(place.owner)] = place
    else:
        row.line.append(place)


def _leave(row: Row, owner: str) -> None:
    row.line = [place for place in row.line if place.owner != owner]


def _is_expected(place: Place, now: float, is_alive: Callable[[str], bool]) -> bool:
    return now <= place.due + GRACE and is_alive(place.owner)


def _interval(row: Row, bounds: Bounds, now: float) -> float:
    """Seconds from one request to the next at the limit's own rate."""
    most = row.limits(bounds, now)[0]
    return row.window / most if most else 0.0


# --- settling -------------------------------------------------------------------------------------


def settle(row: Row, bounds: Bounds, grant: Grant, spent: Spent, stated: Stated, now: float) -> None:
    """Count what the request took in place of its worst case, and free its place."""
    row.running.pop(grant.id, None)
    if row.index(grant.at) in row.slots:
        row.add(grant.at, spent.requests - 1, spent.tokens - grant.tokens)
    if not spent.requests:
        row.paced -= _interval(row, bounds, now)
    if stated != NOTHING_STATED:
        _take(row, corrected(row, bounds, stated, now))


def corrected(row: Row, bounds: Bounds, stated: Stated, now: float) -> Row:
    """The row with what the provider says of its limits, where that is less than we know: never more.

    What is missing was used by somebody else; it is counted where it leaves the window when the provider's own count
    is at rest again.
    """
    better = replace(row, slots={index: list(counts) for index, counts in row.slots.items()})
    if stated.requests.limit or stated.tokens.limit:
        better.ceilings = [stated.requests.limit or None, stated.tokens.limit or None]
        better.ceilings_until = now + row.window
    better.closed = max(row.closed, now + min(stated.closed_for, row.window))
    limits = better.limits(bounds, now)
    for which, meter in enumerate((stated.requests, stated.tokens)):
        limit = limits[which]
        if limit is None or meter.remaining is None:
            continue
        missing = limit - better.used(which) - meter.remaining
        if missing > 0:
            rest = row.window if meter.reset is None else min(meter.reset, row.window)
            better.add(now + rest - row.window, *((missing, 0) if which == 0 else (0, missing)))
    return better


def rejoin(row: Row, owner: str, held: Iterable[Grant], apart: Iterable[Grant], now: float) -> None:
    """Bring in what `owner` did while it could not reach the row: `apart` was granted, `held` still runs."""
    row.running = {id: who for id, who in row.running.items() if who != owner}
    row.running |= {grant.id: owner for grant in held}
    for grant in apart:
        row.add(grant.at, 1, grant.tokens)
    row.prune(now)


def alone(row: Row, owner: str) -> Row:
    """A copy with nobody else at work or in the line: for an owner that cannot reach the others."""
    running = {id: who for id, who in row.running.items() if who == owner}
    slots = {index: list(counts) for index, counts in row.slots.items()}
    return replace(row, slots=slots, running=running, line=[])


def _take(row: Row, other: Row) -> None:
    row.slots, row.closed, row._sums = other.slots, other.closed, None
    row.ceilings, row.ceilings_until = other.ceilings, other.ceilings_until


def _least(one: int | None, other: int | None) -> int | None:
    known = [each for each in (one, other) if each is not None]
    return min(known) if known else None


# --- keeping --------------------------------------------------------------------------------------


NAMES = tuple(each.name for each in fields(Row) if not each.name.startswith("_"))
_as_json = json.JSONEncoder(separators=(",", ":")).encode


def clock() -> float:
    """Seconds since this boot, the same for every process; steps of the wall clock do not reach it, sleep counts."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def change(
    connection: sqlite3.Connection,
    account: str,
    model: str,
    window: float,
    work: Callable[[Row, float], T],
    clock: Callable[[], float] = clock,
) -> tuple[T, Row]:
    """What `work(row, now)` returns, and the row as it is kept after it. To be called inside a transaction.

    The clock is read here, under the lock of the file: no process writes a row that another has written later.
    """
    now = clock()
    found = connection.execute("SELECT state FROM limits WHERE account = ? AND model = ?", (account, model)).fetchone()
    row = decode(found[0], window, now) if found else Row(window)
    row.prune(now)
    answer = work(row, now)
    connection.execute("INSERT OR REPLACE INTO limits VALUES (?, ?, ?)", (account, model, encode(row)))
    return answer, row


def encode(row: Row) -> str:
    """A row as JSON text, with the boot whose clock it is of."""
    content: dict[str, Any] = {name: getattr(row, name) for name in NAMES}
    content |= {"boot": owners.boot(), "line": [(place.owner, place.tokens, place.due) for place in row.line]}
    return _as_json(content)


def decode(text: str, window: float, now: float) -> Row:
    """The way back; an empty row where it is of another boot, or nothing that we wrote."""
    try:
        content: dict[str, Any] = json.loads(text)
        if content.pop("boot") != owners.boot():
            return Row(window)
        content["slots"] = {int(index): counts for index, counts in content["slots"].items()}
        content["line"] = [Place(*place) for place in content["line"]]
        row = Row(**content)
        latest = max(row.paced, row.closed, row.ceilings_until) - 2 * row.window
        if max(row.slots, default=0) > row.index(now) or latest > now:
            return Row(window)  # of a clock that ran further: nobody names the boots here
        return row if row.window == window else _cut(row, window, now)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Row(window)


def _cut(row: Row, window: float, now: float) -> Row:
    """The row in slots of another length; what is counted counts rather too long than too short."""
    other = replace(row, window=window, slots={}, _sums=None)
    for index, counts in row.slots.items():
        other.add(min((index + 1) * row.slot, now), *counts)
    return other
