"""Amounts in words: money, time and tokens, in as many digits as matter, the same wherever they are shown."""

from __future__ import annotations

from decimal import Decimal

from ipy_codeinterp.execution import Usage

UNKNOWN = "\N{EN DASH}"


def money(amount: Decimal) -> str:
    """US dollars with as many digits as the first two that matter."""
    if amount == 0:
        return "$0.00"
    places = max(2, 1 - amount.adjusted())
    return f"${amount:.{places}f}"


def seconds(duration: float | None) -> str:
    """Milliseconds below a second; a dash where nobody measured."""
    if duration is None:
        return UNKNOWN
    return f"{duration * 1000:.0f} ms" if duration < 0.9995 else f"{duration:.2f} s"


def tokens(usage: Usage) -> str:
    """In and out, `~` where they were counted from characters; empty where nobody said either."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return ""
    given, made = (UNKNOWN if each is None else f"{each:,}" for each in (usage.input_tokens, usage.output_tokens))
    return f"{'~' if usage.estimated else ''}{given} + {made} tokens"
