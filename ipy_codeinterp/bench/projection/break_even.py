"""When the dearer offer pays, and what a mix of two costs.

It pays when one wrong answer costs more than (difference of cost a call) / (difference of the share of right answers).
Money is `Decimal` USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ipy_codeinterp.bench.intervals import Interval
from ipy_codeinterp.bench.projection.bill import Projection
from ipy_codeinterp.bench.projection.demand import Share
from ipy_codeinterp.bench.projection.monte_carlo import Drawn, interval, spread
from ipy_codeinterp.catalog.prices import NOTHING
from ipy_codeinterp.errors import InvalidInput

Pays = Literal["above", "never", "unknown"]
ENDLESS = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Whether `dear` pays instead of `cheap`: `above` a price of one wrong answer, `never`, or nobody knows.

    `error_cost` is that price (USD). Its `interval` is there where shares were counted; an end without bound says that
    `dear` may not be more often right at all.
    """

    cheap: str
    dear: str
    pays: Pays
    error_cost: Decimal | None = None
    interval: Interval | None = None


def threshold(difference: Decimal, better: Decimal) -> Decimal:
    """USD that a wrong answer must cost for `difference` a call to pay, where `better` more of them are right.

    Without bound where none are.
    """
    if better <= 0:
        return ENDLESS
    return max(difference, NOTHING) / better


def break_even(one: Projection, other: Projection, drawn: tuple[Drawn, Drawn] | None = None) -> BreakEven:
    """Of two offers, whichever is dearer."""
    first, second = one.call, other.call
    swapped = first is not None and second is not None and _rank(other) < _rank(one)
    cheap, dear = (other, one) if swapped else (one, other)
    names = cheap.terms.name, dear.terms.name
    shares = cheap.demand.right, dear.demand.right
    if cheap.call is None or dear.call is None or shares[0] is None or shares[1] is None:
        return BreakEven(*names, "unknown")
    found = threshold(dear.call - cheap.call, shares[1].value - shares[0].value)
    is_counted = any(share is not None and share.n for share in shares)
    within = _interval(drawn[::-1] if swapped else drawn) if drawn and is_counted else None
    if found == ENDLESS:
        return BreakEven(*names, "never", interval=within)
    return BreakEven(*names, "above", found, within)


def _rank(projection: Projection) -> tuple[Decimal, Decimal]:
    """By cost; of two that cost the same the one that is less often right counts as the cheaper."""
    right = projection.demand.right
    return projection.call or NOTHING, right.value if right else NOTHING


def _interval(drawn: Sequence[Drawn]) -> Interval | None:
    cheap, dear = drawn
    costs = [
        threshold(b.call - a.call, right_b - right_a)
        for a, right_a, b, right_b in zip(cheap.figures, cheap.right, dear.figures, dear.right, strict=True)
    ]
    return interval(costs)


# --- several offers for one work ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mix:
    """One month's calls over several offers, by their `shares`. Amounts are USD; None is unknown."""

    shares: tuple[tuple[str, Decimal], ...]
    month: Decimal | None
    a_success: Decimal | None
    right: Decimal | None
    is_least: bool = False
    month_interval: Interval | None = None


def mix(projections: Sequence[Projection], shares: Sequence[Decimal], drawn: Sequence[Drawn] = ()) -> Mix:
    """Each offer gets its share of the calls. Raises `InvalidInput` where shares are not those of one whole."""
    if len(shares) != len(projections) or sum(shares, NOTHING) != 1:
        raise InvalidInput(
            f"{len(shares)} shares of {sum(shares, NOTHING) * 100} % for {len(projections)} offers",
            hint="a share for each, together 100 %: --mix 80%,20%",
        )
    if len({each.demand.calls.value for each in projections}) > 1:
        raise InvalidInput("offers that share one work have one number of calls", hint="say how many: --calls N")
    used = [(each, share) for each, share in zip(projections, shares, strict=True) if share]
    months = _weighted([(each.month, share) for each, share in used])
    return Mix(
        tuple((each.terms.name, share) for each, share in zip(projections, shares, strict=True)),
        months,
        _a_success(used),
        _weighted([(each.demand.right.value if each.demand.right else None, share) for each, share in used]),
        any(each.is_least for each, _ in used),
        _month_interval(shares, drawn),
    )


def hybrid(projections: Sequence[Projection], critical: Share) -> tuple[Decimal, ...]:
    """Shares by which the most accurate offer gets what is critical, and the cheapest the rest.

    Raises `InvalidInput` where nobody knows which they are.
    """
    known = [each for each in projections if each.call is not None and each.demand.right is not None]
    if len(known) < 2:
        raise InvalidInput(
            f"of {len(known)} offers both cost and accuracy are known",
            hint="name two with prices, and say --right 94%,98%",
        )
    cheapest = min(known, key=lambda each: (each.call, -_right(each)))
    best = max(known, key=lambda each: (_right(each), -(each.call or NOTHING)))
    return tuple(
        (1 - critical.value if each is cheapest else NOTHING) + (critical.value if each is best else NOTHING)
        for each in projections
    )


def _right(projection: Projection) -> Decimal:
    right = projection.demand.right
    return right.value if right else NOTHING


def _a_success(used: Sequence[tuple[Projection, Decimal]]) -> Decimal | None:
    """The whole bill by all that goes well: not the mean of what a success costs at each."""
    spent, successes = NOTHING, NOTHING
    for each, share in used:
        figures = each.figures
        if figures is None or figures.success is None:
            return None
        spent += share * (1 - figures.cache) * figures.call
        successes += share * (figures.cache + (1 - figures.cache) * figures.success)
    return spent / successes if successes else None


def _weighted(parts: Sequence[tuple[Decimal | None, Decimal]]) -> Decimal | None:
    known = [value * share for value, share in parts if value is not None]
    return sum(known, NOTHING) if len(known) == len(parts) else None


def _month_interval(shares: Sequence[Decimal], drawn: Sequence[Drawn]) -> Interval | None:
    if not drawn:
        return None
    used = [[month.month * share for month in each.figures] for each, share in zip(drawn, shares, strict=True) if share]
    return spread([sum(parts, NOTHING) for parts in zip(*used, strict=True)]) if used and all(used) else None
