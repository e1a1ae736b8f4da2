"""What a provider's reply says of its limits, read from the headers: numbers that make sense, or nothing.

OpenAI writes durations (`6m0s`), Anthropic instants: those are read against the `date` of the same reply, because our
own clock may differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from ipy_codeinterp.store.limits import NOTHING_STATED, Meter, Stated

UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # milliseconds
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)")
MOST_DIGITS = 15
PARTS = ("limit", "remaining", "reset")


def headers_of_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Of all headers of a reply those that `stated` reads, by lower-case name."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if "ratelimit" in name or name == "date"}


def stated(headers: Mapping[str, str], closed_for: float = 0.0) -> Stated:
    """What the reply says. `closed_for` is for how many seconds it wants no more requests."""
    if not any("ratelimit" in name for name in headers):
        return Stated(closed_for=closed_for) if closed_for else NOTHING_STATED
    requests, tokens = (_openai(headers, name) or _anthropic(headers, name) for name in ("requests", "tokens"))
    return Stated(requests or Meter(), tokens or Meter(), closed_for)


def _openai(headers: Mapping[str, str], name: str) -> Meter | None:
    limit, remaining, reset = (headers.get(f"x-ratelimit-{part}-{name}", "") for part in PARTS)
    return _meter(limit, remaining, _duration(reset))


def _anthropic(headers: Mapping[str, str], name: str) -> Meter | None:
    limit, remaining, reset = (headers.get(f"anthropic-ratelimit-{name}-{part}", "") for part in PARTS)
    return _meter(limit, remaining, _until(reset, headers.get("date", "")))


def _meter(limit: str, remaining: str, reset: float | None) -> Meter | None:
    if _number(limit) is None and _number(remaining) is None:
        return None
    return Meter(_number(limit), _number(remaining), reset)


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def _duration(text: str) -> float | None:
    """Seconds in `1h2m3.5s`, `350ms`."""
    parts = DURATION.findall(text)
    if not parts or "".join(map("".join, parts)) != text.strip():
        return None
    return sum(float(amount) * UNITS[unit] for amount, unit in parts) / 1000


def _until(instant: str, date: str) -> float | None:
    """Seconds from `date` (HTTP's form) to `instant` (RFC 3339)."""
    try:
        return max((datetime.fromisoformat(instant) - parsedate_to_datetime(date)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
