"""What a provider's headers say of trying again, whichever of their spellings it uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Advice:
    """`retry_after` is the seconds to wait at least, `should_retry` its word against the status; None: not said."""

    retry_after: float | None = None
    should_retry: bool | None = None


NO_ADVICE = Advice()


def read(headers: Mapping[str, str], now: datetime) -> Advice:
    """The advice in `headers`, whose names count in any case; `now` is aware, and dates are told from it.

    `retry-after-ms` is more exact than `retry-after` and comes first. What is neither a number nor a date was not said.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = _seconds(named.get("retry-after-ms", ""))
    wait = _wait(named.get("retry-after", ""), now) if milliseconds is None else milliseconds / 1000
    should = {"true": True, "false": False}.get(named.get("x-should-retry", "").lower())
    return Advice(wait, should)


def _wait(said: str, now: datetime) -> float | None:
    number = _seconds(said)
    if number is not None:
        return number
    try:
        then = parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return None
    aware = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max((aware - now).total_seconds(), 0.0)


def _seconds(said: str) -> float | None:
    try:
        number = float(said)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
