"""What a month asks of an offer, as values: calls, tokens, attempts, shares, containers.

Each is a figure that was given, or one that was measured: then it says from how many, and has an interval. What nobody
knows is None, never 0. Nothing here does I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import NormalDist

from ipy_codeinterp.bench.intervals import Interval, wilson
from ipy_codeinterp.catalog import Rates
from ipy_codeinterp.catalog.prices import MILLION, NOTHING

ONE = Decimal(1)
LEVEL = 0.95  # of every interval of a projection
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Z_95 = NormalDist().inv_cdf(0.95)  # between the middle of a distribution and its 95th percentile


@dataclass(frozen=True, slots=True)
class Share:
    """A share from 0 to 1. Where it was counted, `hits` of `n`, it has an interval."""

    value: Decimal
    hits: int | None = None
    n: int | None = None

    @classmethod
    def counted(cls, hits: int, n: int) -> Share:
        return cls(Decimal(hits) / n, hits, n)

    @property
    def interval(self) -> Interval | None:
        return None if self.hits is None or self.n is None else wilson(self.hits, self.n, LEVEL)


@dataclass(frozen=True, slots=True)
class Mean:
    """Of a quantity that varies by `deviation`: known from `n` of them, or given (None)."""

    value: Decimal
    deviation: Decimal = NOTHING
    n: int | None = None

    @classmethod
    def measured(cls, values: Sequence[Decimal]) -> Mean:
        """Of at least one value."""
        mean, n = sum(values, NOTHING) / len(values), len(values)
        squares = math.fsum((float(value) - float(mean)) ** 2 for value in values)
        return cls(mean, Decimal(math.sqrt(squares / (n - 1))) if n > 1 else NOTHING, n)

    @classmethod
    def fitted(cls, low: Decimal, middle: Decimal, high: Decimal) -> Mean:
        """Of a lognormal distribution with this median, and as wide as its 5th and 95th percentiles say."""
        width = math.log(high / low) / (2 * Z_95)
        mean = float(middle) * math.exp(width**2 / 2)
        return cls(Decimal(mean), Decimal(mean * math.sqrt(math.expm1(width**2))))

    @property
    def interval(self) -> Interval | None:
        if self.n is None:
            return None
        half = Z * float(self.deviation) / math.sqrt(self.n)
        return Interval(max(float(self.value) - half, 0.0), float(self.value) + half)


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls a month. Where they were counted, `seen` of them, they have an interval: calls come by chance."""

    value: Decimal
    seen: int | None = None

    @property
    def interval(self) -> Interval | None:
        if not self.seen:
            return None
        half = Z / math.sqrt(self.seen)
        return Interval(float(self.value) * max(1 - half, 0.0), float(self.value) * (1 + half))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one attempt, in and out; None is unknown. Where they were measured, `pairs` are all of them, in and out."""

    input: Mean | None = None
    output: Mean | None = None
    pairs: tuple[tuple[Decimal, Decimal], ...] = ()

    @classmethod
    def measured(cls, pairs: Sequence[tuple[Decimal, Decimal]]) -> Tokens:
        given, made = (Mean.measured(column) for column in zip(*pairs, strict=True))
        return cls(given, made, tuple(pairs))

    @property
    def are_known(self) -> bool:
        return self.input is not None and self.output is not None

    def times(self, *, input: Decimal = ONE, output: Decimal = ONE) -> Tokens:
        """As many times over."""
        return Tokens(
            self.input and _times(self.input, input),
            self.output and _times(self.output, output),
            tuple((given * input, made * output) for given, made in self.pairs),
        )

    def cost(self, rates: Rates) -> Mean:
        """USD of one attempt; of the known tokens only, where some are unknown."""
        if self.pairs:
            return Mean.measured([_cost(rates, given, made) for given, made in self.pairs])
        given, made = (Mean(NOTHING) if each is None else each for each in (self.input, self.output))
        at = rates.for_input(math.ceil(given.value))
        spread = math.hypot(given.deviation * at.input, made.deviation * at.output)
        return Mean(_cost(rates, given.value, made.value), Decimal(spread) / MILLION)


@dataclass(frozen=True, slots=True)
class Use:
    """Of containers: the minutes that one is used, its memory in bytes (None: the offer's), the calls that share it."""

    minutes: Decimal
    memory: int | None = None
    calls: Decimal = ONE


@dataclass(frozen=True, slots=True)
class Demand:
    """What a month asks. `success` is the share of calls that end well, `right` that of answers that are right.

    `attempts` are those of a call that is sent, `cache` is the share of calls that are not, and `batch` the share that
    may wait for its vendor's batches. None is unknown.
    """

    calls: Calls
    tokens: Tokens
    success: Share | None = None
    right: Share | None = None
    attempts: Mean = Mean(ONE)
    cache: Share = Share(NOTHING)
    batch: Share = Share(NOTHING)
    containers: Use | None = None


def _times(mean: Mean, factor: Decimal) -> Mean:
    return replace(mean, value=mean.value * factor, deviation=mean.deviation * factor)


def _cost(rates: Rates, given: Decimal, made: Decimal) -> Decimal:
    at = rates.for_input(math.ceil(given))
    return (given * at.input + made * at.output) / MILLION
