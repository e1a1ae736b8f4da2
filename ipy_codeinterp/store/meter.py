"""The meter: the sums of a session, in all and by offer, in constant time and memory."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp.store.latencies import Latencies
from ipy_codeinterp.store.ledger import Attempt

RECENT = 12  # latencies that a line of them shows
MOST_OFFERS = 32  # that have sums of their own; what comes later is counted together
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Sums:
    """Of some calls. A sum that lacks an unknown part is a lower bound: `billed_is_all` is False then.

    `listed` is what the counted tokens would cost at list price; latencies are seconds, None before the first call,
    and `recent` the last ones.
    """

    calls: int = 0
    failures: int = 0
    billed: Decimal = Decimal(0)
    billed_is_all: bool = True
    listed: Decimal = Decimal(0)
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    recent: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a session: `all` calls, those of each of the `offers`, the latest last, and what was `served` again for 0.

    `avoided` is what that would have cost; it lacks what nobody knows.
    """

    all: Sums = Sums()
    offers: tuple[tuple[str, Sums], ...] = ()
    served: int = 0
    avoided: Decimal = Decimal(0)


class Meter:
    """Adds attempts up as they are settled; it may be read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all = _Tally()
        self._offers: dict[str, _Tally] = {}
        self._served = 0
        self._avoided = Decimal(0)

    def add(self, attempt: Attempt) -> None:
        offer = f"{attempt.model}@{attempt.provider}"
        with self._lock:
            if offer not in self._offers and len(self._offers) >= MOST_OFFERS:
                offer = OTHERS
            tally = self._offers[offer] = self._offers.pop(offer) if offer in self._offers else _Tally()
            for each in (self._all, tally):
                each.add(attempt)

    def note_served(self, attempt: Attempt) -> None:
        """A Result that was served again: nothing was sent."""
        with self._lock:
            self._served += 1
            self._avoided += attempt.cost.avoided or 0

    @property
    def totals(self) -> Totals:
        """Percentiles cost more than all the rest: they are for who looks."""
        with self._lock:
            offers = tuple((offer, tally.sums()) for offer, tally in self._offers.items())
            return Totals(self._all.sums(), offers, self._served, self._avoided)


class _Tally:
    """The sums of some calls, as they grow."""

    def __init__(self) -> None:
        self._calls = self._failures = 0
        self._billed = self._listed = Decimal(0)
        self._billed_is_all = True
        self._latencies = Latencies()
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, attempt: Attempt) -> None:
        if attempt.seconds is not None:
            self._latencies.add(attempt.seconds)
            self._recent.append(attempt.seconds)
        self._calls += 1
        self._failures += attempt.outcome not in ("ok", "unknown")
        self._billed += attempt.cost.billed or 0
        self._billed_is_all = self._billed_is_all and attempt.cost.billed is not None
        self._listed += attempt.cost.listed or 0

    def sums(self) -> Sums:
        percentile = self._latencies.percentile
        return Sums(
            self._calls,
            self._failures,
            self._billed,
            self._billed_is_all,
            self._listed,
            percentile(50),
            percentile(95),
            percentile(99),
            tuple(self._recent),
        )
