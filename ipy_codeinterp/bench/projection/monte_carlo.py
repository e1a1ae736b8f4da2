"""Intervals of bills by Monte Carlo: each draw is a month, at figures that fit what was measured.

A share is drawn from its posterior (Beta, Jeffreys' prior), a mean from a parametric bootstrap (a lognormal where few
were measured, which tokens resemble, else a normal), calls from the counts that come by chance; and in each month its
own calls vary once more. A figure that was given is taken at its word. Draws are seeded, and each goes through the same
arithmetic as the bill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from statistics import NormalDist

from ipy_codeinterp.bench.intervals import Interval
from ipy_codeinterp.bench.projection.bill import Figures, Projection, attempt_cost
from ipy_codeinterp.bench.projection.demand import LEVEL, Calls, Demand, Mean, Share

DRAWS = 2000
SEED = 1
FEW = 100  # so many are drawn one by one; of more the mean is normal


@dataclass(frozen=True, slots=True)
class Drawn:
    """Months at one offer, in the order of the draws; those of the same number have the same calls at every offer.

    `right` are shares of right answers, empty where they are unknown.
    """

    figures: tuple[Figures, ...] = ()
    right: tuple[Decimal, ...] = ()


def draw(projections: Sequence[Projection], *, seed: int = SEED, number: int = DRAWS) -> list[Drawn]:
    """`number` months for each of `projections`; none for one whose price is unknown."""
    shared = Random(f"{seed} calls")
    levels = [shared.random() for _ in range(number)]
    return [_drawn(each, Random(f"{seed} {each.terms.name}"), levels) for each in projections]


def with_intervals(projection: Projection, drawn: Drawn) -> Projection:
    """The same with what the draws say; as it is where nothing was measured, or nothing is billed."""
    if not projection.month or not is_uncertain(projection.demand):
        return projection
    successes = [figures.a_success for figures in drawn.figures]
    return replace(
        projection,
        month_interval=spread([figures.month for figures in drawn.figures]),
        success_interval=None if None in successes else spread([each for each in successes if each is not None]),
    )


def spread(values: Sequence[Decimal]) -> Interval | None:
    """Their interval; None where they are all the same, so that nothing moves them."""
    return interval(values) if len(set(values)) > 1 else None


def is_uncertain(demand: Demand) -> bool:
    """Whether anything in it was measured, or varies."""
    tokens = (demand.tokens.input, demand.tokens.output)
    varies = any(mean is not None and (mean.n or mean.deviation) for mean in (*tokens, demand.attempts))
    shares = (demand.success, demand.cache, demand.batch)
    return bool(demand.calls.seen) or bool(varies) or any(share is not None and share.n for share in shares)


def interval(values: Sequence[Decimal], level: float = LEVEL) -> Interval:
    """What holds that part of the values, with as many below as above."""
    ordered = sorted(values)
    outside = (1 - level) / 2
    first, last = (round(share * (len(ordered) - 1)) for share in (outside, 1 - outside))
    return Interval(float(ordered[first]), float(ordered[last]))


# --- one draw -------------------------------------------------------------------------------------


def _drawn(projection: Projection, random: Random, levels: Sequence[float]) -> Drawn:
    demand, figures = projection.demand, projection.figures
    attempt = attempt_cost(projection.terms, demand)
    made = []
    if figures is not None and attempt is not None:
        made = [_figures(demand, attempt, figures, random, level) for level in levels]
    right = demand.right
    return Drawn(tuple(made), tuple(_share(random, right) for _ in levels) if right else ())


def _figures(demand: Demand, attempt: Mean, expected: Figures, random: Random, level: float) -> Figures:
    calls, cache = _calls(demand.calls, level), _share(random, demand.cache)
    attempts = max(Decimal(1), _mean(random, demand.attempts))
    sent = calls * (1 - cache) * attempts
    return replace(
        expected,
        calls=calls,
        cache=cache,
        attempts=attempts,
        attempt=_of_a_month(random, replace(attempt, value=_mean(random, attempt)), int(sent)),
        success=None if demand.success is None else _share(random, demand.success),
    )


def _calls(calls: Calls, level: float) -> Decimal:
    """What is seen and what is to come are both counts: their variances add up. `level` says where in them it is."""
    if not calls.seen:
        return calls.value
    scale = float(calls.value) / calls.seen
    spread = math.sqrt(calls.seen * scale**2 + float(calls.value))
    return Decimal(max(0.0, NormalDist(float(calls.value), spread).inv_cdf(min(max(level, 1e-9), 1 - 1e-9))))


def _share(random: Random, share: Share) -> Decimal:
    if share.hits is None or share.n is None:
        return share.value
    return Decimal(random.betavariate(share.hits + 0.5, share.n - share.hits + 0.5))


def _mean(random: Random, mean: Mean) -> Decimal:
    """What the mean may be in truth, if it was measured."""
    return mean.value if mean.n is None else _of_a_month(random, mean, mean.n)


def _of_a_month(random: Random, mean: Mean, number: int) -> Decimal:
    """The mean of so many that vary: drawn one by one from a lognormal where they are few."""
    if not mean.deviation or not mean.value or number < 1:
        return mean.value
    if number > FEW:
        return max(Decimal(0), Decimal(random.gauss(float(mean.value), float(mean.deviation) / math.sqrt(number))))
    width = math.sqrt(math.log1p(float(mean.deviation / mean.value) ** 2))
    middle = math.log(float(mean.value)) - width**2 / 2
    return Decimal(math.fsum(random.lognormvariate(middle, width) for _ in range(number)) / number)
