"""The ledger: every attempt and its cost, and the sums a session's panel shows."""

from __future__ import annotations

import bisect
import os
import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from ipy_codeinterp.execution import Cost, Outcome, Usage


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one offer. `seconds` is how long it took; unknown cost is None, never 0."""

    id: str
    result_id: str
    provider: str
    model: str
    started_at: datetime
    outcome: Outcome | None = None
    seconds: float | None = None
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    cost: Cost = Cost()  # noqa: RUF009 - frozen
    request_id: str | None = None

    @classmethod
    def begun(cls, id: str, result_id: str, provider: str, model: str) -> Attempt:
        return cls(id, result_id, provider, model, datetime.now(UTC))

    def settled(self, **facts: object) -> Attempt:
        return replace(self, **facts)  # type: ignore[arg-type]


def reserve(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Note that `attempt` is about to be made: one that is never settled may have been billed."""
    connection.execute(
        "INSERT INTO attempts (id, result_id, provider, model, state, started_at, owner_pid)"
        " VALUES (?, ?, ?, ?, 'reserved', ?, ?)",
        (attempt.id, attempt.result_id, attempt.provider, attempt.model, attempt.started_at.isoformat(), os.getpid()),
    )


def settle(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Note what came of it."""
    usage, cost = attempt.usage, attempt.cost
    connection.execute(
        "UPDATE attempts SET state = 'settled', outcome = ?, seconds = ?, input_tokens = ?, output_tokens = ?,"
        " estimated = ?, billed = ?, listed = ?, price = ?, request_id = ? WHERE id = ?",
        (
            attempt.outcome,
            attempt.seconds,
            usage.input_tokens,
            usage.output_tokens,
            usage.estimated,
            _text(cost.billed),
            _text(cost.listed),
            cost.price,
            attempt.request_id,
            attempt.id,
        ),
    )


def _text(money: Decimal | None) -> str | None:
    return None if money is None else str(money)


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of a session. A sum that lacks an unknown part is a lower bound: `billed_is_all` is False then.

    `listed` is what the counted tokens would cost at list price; latencies are seconds, None before the first call.
    """

    calls: int = 0
    failures: int = 0
    billed: Decimal = Decimal(0)
    billed_is_all: bool = True
    listed: Decimal = Decimal(0)
    p50: float | None = None
    p95: float | None = None


class Meter:
    """Adds attempts up as they are settled."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._latencies: list[float] = []

    def add(self, attempt: Attempt) -> None:
        before = self._totals
        if attempt.seconds is not None:
            bisect.insort(self._latencies, attempt.seconds)
        self._totals = Totals(
            calls=before.calls + 1,
            failures=before.failures + (attempt.outcome not in ("ok", "unknown")),
            billed=before.billed + (attempt.cost.billed or 0),
            billed_is_all=before.billed_is_all and attempt.cost.billed is not None,
            listed=before.listed + (attempt.cost.listed or 0),
            p50=self._percentile(50),
            p95=self._percentile(95),
        )

    @property
    def totals(self) -> Totals:
        return self._totals

    def _percentile(self, percent: int) -> float | None:
        """The smallest latency that at least `percent` of all do not exceed."""
        if not self._latencies:
            return None
        return self._latencies[-(-len(self._latencies) * percent // 100) - 1]
