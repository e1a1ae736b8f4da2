"""What tokens and containers cost: prices as they are listed, and what use comes to at them.

Money is `Decimal` USD; a price of tokens is USD per million. What nobody knows is None, never 0. Nothing here does I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ipy_codeinterp.execution import Usage

MILLION = Decimal(1_000_000)
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens. Without a price of their own, cached and cache-write tokens cost what input does."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    above: tuple[tuple[int, Rates], ...] = ()  # all tokens of a request with more input than this cost that

    def for_input(self, tokens: int | None) -> Rates:
        """The rates of a request with so many input tokens."""
        found = self
        for start, rates in self.above:
            if tokens is not None and tokens > start:
                found = rates
        return found

    def items(self, usage: Usage) -> dict[str, Decimal]:
        """What the known tokens cost, by line."""
        rates = self.for_input(usage.input_tokens)
        lines: dict[str, tuple[int, Decimal]] = {}
        if usage.input_tokens is not None:
            cached = min(usage.cached_tokens or 0, usage.input_tokens)
            written = min(usage.cache_write_tokens or 0, usage.input_tokens - cached)
            lines["input"] = usage.input_tokens - cached - written, rates.input
            if cached:
                lines["cached input"] = cached, rates.input if rates.cached is None else rates.cached
            if written:
                lines["cache write"] = written, rates.input if rates.cache_write is None else rates.cache_write
        if usage.output_tokens is not None:
            lines["output"] = usage.output_tokens, rates.output
        return {name: tokens * rate / MILLION for name, (tokens, rate) in lines.items()}

    def of(self, usage: Usage) -> Decimal | None:
        """What the tokens cost; None when their number is unknown."""
        return sum(self.items(usage).values(), NOTHING) if usage.is_known else None

    def at_most(self, usage: Usage) -> Decimal | None:
        """The most that so many tokens can cost, however they are cached."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        rates = self.for_input(usage.input_tokens)
        dearest = max(rates.input, rates.cached or NOTHING, rates.cache_write or NOTHING)
        return (usage.input_tokens * dearest + usage.output_tokens * rates.output) / MILLION


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, where that comes from, and the day it is valid from (None: from the start).

    `batch` is what a request costs that may wait.
    """

    input: Decimal
    output: Decimal
    source: str
    checked: date
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    above: tuple[tuple[int, Rates], ...] = ()
    batch: Rates | None = None
    since: date | None = None

    @property
    def rates(self) -> Rates:
        return Rates(self.input, self.output, self.cached, self.cache_write, self.above)

    @property
    def batched(self) -> Price | None:
        """The price of a batch; None where there is none."""
        if self.batch is None:
            return None
        r = self.batch
        return Price(r.input, r.output, self.source, self.checked, r.cached, r.cache_write, r.above, since=self.since)

    def of(self, usage: Usage) -> Decimal | None:
        """What the tokens cost; None when their number is unknown."""
        return self.rates.of(usage)

    def items(self, usage: Usage) -> dict[str, Decimal]:
        """The same by line."""
        return self.rates.items(usage)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a container cost, USD: a range, since no provider says when it begins to count."""

    least: Decimal
    most: Decimal

    @property
    def is_exact(self) -> bool:
        return self.least == self.most


@dataclass(frozen=True, slots=True)
class ContainerPrice:
    """What a container costs: by memory (bytes, USD), for each `unit` of seconds; `whole` units only where it says so.

    Counted are at least `least` seconds. `free` is what an organisation has free in a month (seconds): nobody tells us
    how much of it is left.
    """

    unit: float
    prices: tuple[tuple[int, Decimal], ...]
    source: str
    checked: date
    whole: bool = False
    least: float = 0.0
    free: float = 0.0

    def price_of(self, memory: int | None) -> Decimal | None:
        """USD a unit of the smallest size with so much memory (None: the smallest there is); None: no such size."""
        return next((price for size, price in self.prices if memory is None or memory <= size), None)


def container_cost(
    price: ContainerPrice | None, seconds: float, *, memory: int | None = None, before: float = 0.0
) -> Charge | None:
    """What a container costs whose use grew from `before` to `seconds`; both from its first use, 0 being not used.

    None where the price is not known.
    """
    each = price.price_of(memory) if price else None
    if price is None or each is None or not 0 <= before <= seconds < math.inf:
        return None
    now, then = (_units(price, used) for used in (seconds, before))
    most = (now - then) * each
    if price.whole and not before:  # it may be one session that was never counted anew
        return Charge(min(most, each), most)
    return Charge(NOTHING if price.whole or price.free else most, most)


def _units(price: ContainerPrice, seconds: float) -> Decimal:
    if seconds <= 0:
        return NOTHING
    units = Decimal(str(max(seconds, price.least))) / Decimal(str(price.unit))
    return Decimal(math.ceil(units)) if price.whole else units
