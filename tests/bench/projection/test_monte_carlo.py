"""Intervals by Monte Carlo: they agree with what can be reckoned, are the same each time, and are not made up."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from ipy_codeinterp.bench.intervals import Interval, wilson
from ipy_codeinterp.bench.projection import monte_carlo
from ipy_codeinterp.bench.projection.bill import Projection, Terms, project
from ipy_codeinterp.bench.projection.demand import Calls, Demand, Mean, Share, Tokens
from tests.bench.projection.months import demand, share, terms


def simulated(asked: Demand, price: Terms | None = None, **how: int) -> Projection:
    plain = project(price or terms(), asked)
    return monte_carlo.with_intervals(plain, monte_carlo.draw([plain], **how)[0])


def month(asked: Demand, **how: int) -> Interval:
    found = simulated(asked, **how).month_interval
    assert found is not None
    return found


def test_given_figures_have_no_interval() -> None:
    """What was given and does not vary is taken at its word; a price that nobody knows has no interval either."""
    assert simulated(demand(success=share("0.9"))).month_interval is None
    assert simulated(demand(calls=0)).month_interval is None
    assert simulated(replace(demand(), calls=Calls(Decimal(10), 10)), Terms("x")).month_interval is None


def test_seeded() -> None:
    """The same seed gives the same draws, another one others."""
    asked = replace(demand(), calls=Calls(Decimal(1000), 1000))

    assert month(asked, seed=1) == month(asked, seed=1) != month(asked, seed=2)


def test_success() -> None:
    """The cost of a success is c/p: its ends are near those of p's own interval."""
    found = simulated(demand(success=Share.counted(480, 500)))
    within = wilson(480, 500)

    assert found.success_interval is not None
    assert found.success_interval.low == pytest.approx(0.017 / within.high, rel=0.01)
    assert found.success_interval.high == pytest.approx(0.017 / within.low, rel=0.01)


def test_calls() -> None:
    """400 calls seen: the next month has 400 by chance once more, so the variances add up."""
    found = month(replace(demand(), calls=Calls(Decimal(400), 400)), number=4000)
    half = 1.96 * (400 + 400) ** 0.5

    assert found.low == pytest.approx((400 - half) * 0.017, rel=0.03)
    assert found.high == pytest.approx((400 + half) * 0.017, rel=0.03)


@pytest.mark.parametrize("n", [60, 400])
def test_measured_tokens(n: int) -> None:
    """The interval is that of the mean of n measured attempts, around what was measured."""
    source = random.Random(n)
    pairs = [(Decimal(0), Decimal(round(source.lognormvariate(7, 0.5)))) for _ in range(n)]
    asked = Demand(Calls(Decimal(10**6)), Tokens.measured(pairs))
    found, mean = month(asked, number=4000), Mean.measured([made for _, made in pairs])

    half = 1.96 * float(mean.deviation) / n**0.5
    assert found.low == pytest.approx((float(mean.value) - half) * 8, rel=0.03)
    assert found.high == pytest.approx((float(mean.value) + half) * 8, rel=0.03)


@pytest.mark.parametrize("calls", [50, 5000])
def test_tokens_that_vary(calls: int) -> None:
    """A spread that was given is the chance of a month: it narrows with the square root of its calls."""
    asked = Demand(Calls(Decimal(calls)), Tokens(Mean(Decimal(0)), Mean(Decimal(2000), Decimal(1000))))
    found = month(asked, number=4000)
    expected, half = calls * 0.016, 1.96 * calls**0.5 * 0.008

    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)
    assert found.low < expected < found.high


def test_cache() -> None:
    """A counted share of the cache moves the month as its own interval does."""
    found = month(demand(cache=Share.counted(200, 500)))
    within = wilson(200, 500)

    assert found.low == pytest.approx(17 * (1 - within.high), rel=0.01)
    assert found.high == pytest.approx(17 * (1 - within.low), rel=0.01)


def test_coverage() -> None:
    """Of 200 measurements of one truth about 95 % have intervals that hold its bill."""
    source, truth, held = random.Random(5), 0.016 * 1000, 0
    for seed in range(200):
        sample = [(Decimal(0), Decimal(max(1, round(source.gauss(2000, 600))))) for _ in range(120)]
        found = month(Demand(Calls(Decimal(10**6)), Tokens.measured(sample)), seed=seed, number=200)
        held += found.low <= truth * 1000 <= found.high

    assert 0.91 <= held / 200 <= 0.98


def test_offers_share_their_calls() -> None:
    """In each draw all offers have the same calls, so that a mix of them has, too."""
    asked = replace(demand(), calls=Calls(Decimal(1000), 50))
    one, other = monte_carlo.draw([project(terms("a"), asked), project(terms("b"), asked)], number=50)

    assert [each.calls for each in one.figures] == [each.calls for each in other.figures]
    assert len({each.calls for each in one.figures}) == 50


def test_interval_of_values() -> None:
    """As many values lie below as above."""
    assert monte_carlo.interval([Decimal(i) for i in range(1001)]) == Interval(25, 975)
