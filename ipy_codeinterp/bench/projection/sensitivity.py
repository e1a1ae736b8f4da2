"""Which figure moves the bill most: each in turn is set to both ends of what it may be, and the bill reckoned anew.

The ends of a figure that was measured are those of its interval; one that was given is taken 10 % down and up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from ipy_codeinterp.bench.intervals import Interval
from ipy_codeinterp.bench.projection.bill import Projection, project
from ipy_codeinterp.bench.projection.demand import ONE, Calls, Demand, Mean, Share

TENTH = Decimal("0.1")
CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Lever:
    """One figure, its two ends as factors of what it is, and USD a month and a success at each end.

    `is_measured` says that the ends are those of its interval.
    """

    name: str
    factors: tuple[Decimal, Decimal]
    month: tuple[Decimal, Decimal]
    a_success: tuple[Decimal | None, Decimal | None]
    is_measured: bool

    @property
    def swing(self) -> Decimal:
        """USD that the month moves."""
        return abs(self.month[1] - self.month[0])

    @property
    def success_swing(self) -> Decimal:
        low, high = self.a_success
        return Decimal(0) if low is None or high is None else abs(high - low)


Change = Callable[[Demand, Decimal], Demand]


@dataclass(frozen=True, slots=True)
class _Figure:
    """One that is known and not zero, the values between which it makes sense, and how a Demand is changed by it."""

    name: str
    value: Decimal
    interval: Interval | None
    change: Change
    least: Decimal = Decimal(0)
    most: Decimal = Decimal("Infinity")

    @property
    def factors(self) -> tuple[Decimal, Decimal]:
        low, high = ONE - TENTH, ONE + TENTH
        if self.interval is not None:
            low, high = (Decimal(end) / self.value for end in (self.interval.low, self.interval.high))
        return max(low, self.least / self.value), min(high, self.most / self.value)


def levers(projection: Projection) -> list[Lever]:
    """What moves the month most comes first, then what moves the cost of a success; what moves neither is left out."""
    if projection.figures is None:
        return []
    found = [_lever(projection, each) for each in _figures(projection.demand)]
    moving = [each for each in found if each.swing or each.success_swing]
    return sorted(moving, key=lambda each: (-each.swing, -each.success_swing))


def _lever(projection: Projection, figure: _Figure) -> Lever:
    at_low, at_high = (project(projection.terms, figure.change(projection.demand, factor)) for factor in figure.factors)
    return Lever(
        figure.name,
        figure.factors,
        (at_low.month or Decimal(0), at_high.month or Decimal(0)),
        (at_low.a_success, at_high.a_success),
        figure.interval is not None,
    )


def _figures(demand: Demand) -> Iterator[_Figure]:
    calls, attempts, tokens, use = demand.calls, demand.attempts, demand.tokens, demand.containers
    if calls.value:
        yield _Figure(CALLS, calls.value, calls.interval, lambda d, f: replace(d, calls=Calls(calls.value * f)))
    for side, mean in (("input", tokens.input), ("output", tokens.output)):
        if mean and mean.value:
            yield _Figure(f"{side} tokens", mean.value, mean.interval, _tokens_changed(side))
    yield _Figure(
        "attempts a call",
        attempts.value,
        attempts.interval,
        lambda d, f: replace(d, attempts=Mean(attempts.value * f)),
        least=ONE,
    )
    if use and use.minutes:
        yield _Figure(
            "container minutes",
            use.minutes,
            None,
            lambda d, f: replace(d, containers=replace(use, minutes=use.minutes * f)),
        )
    for field, name in (("cache", "share from the cache"), ("batch", "share in batches"), ("success", "success")):
        share: Share | None = getattr(demand, field)
        if share and share.value:
            yield _Figure(name, share.value, share.interval, _share_changed(field, share), most=ONE)


def _tokens_changed(side: str) -> Change:
    return lambda demand, factor: replace(demand, tokens=demand.tokens.times(**{side: factor}))


def _share_changed(field: str, share: Share) -> Change:
    return lambda demand, factor: replace(demand, **{field: Share(share.value * factor)})  # type: ignore[arg-type]
