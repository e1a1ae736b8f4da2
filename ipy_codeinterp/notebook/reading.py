"""What the panel reads off, at one moment: sums, limits, budgets and jobs, each in constant time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.notebook.jobs import Jobs, JobState
from ipy_codeinterp.session import Session
from ipy_codeinterp.store.ledger import Balance
from ipy_codeinterp.store.meter import Totals

if TYPE_CHECKING:  # aiohttp is not imported before the first call
    from ipy_codeinterp.client.limit import Standing

BALANCES_EVERY = 1.0  # seconds: they are read from the store's file


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget: what it is called, what is spent and held of it, what may be (None: no limit). USD."""

    name: str
    balance: Balance
    allowed: Decimal | None


@dataclass(frozen=True, slots=True)
class Reading:
    """`standings` are by offer, and lack those of whom nobody waits or runs."""

    totals: Totals = Totals()  # noqa: RUF009 - frozen
    standings: Mapping[str, Standing] = field(default_factory=dict)
    purses: tuple[Purse, ...] = ()
    jobs: tuple[JobState, ...] = ()


class Reader:
    """Reads a session, and its notebook's jobs; from any thread."""

    def __init__(self, session: Session, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._jobs = jobs
        self._clock = clock
        self._balances = (Balance(), Balance())
        self._read_at: float | None = None

    def read(self, *, now: bool = False) -> Reading:
        """Balances are at most `BALANCES_EVERY` seconds old, or of `now`."""
        settings = self._session.settings
        session, day = self._known_balances(now)
        purses = (Purse("session", session, settings.budget), Purse("day", day, settings.budget_day))
        return Reading(self._session.meter.totals, self._session.standings, purses, self._jobs.states())

    def _known_balances(self, now: bool) -> tuple[Balance, Balance]:
        moment = self._clock()
        if now or self._read_at is None or moment - self._read_at >= BALANCES_EVERY:
            self._read_at = moment
            try:
                self._balances = self._session.balances()
            except StoreError:
                """The last ones stay: whoever writes to the store says what is wrong with it."""
        return self._balances
