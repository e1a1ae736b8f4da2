"""Statistics, against references that nobody here wrote, and against what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import scipy.stats
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from ipy_codeinterp.bench import intervals
from ipy_codeinterp.bench.intervals import Interval

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
VALUES = st.lists(st.floats(0.001, 1000) | st.integers(1, 5).map(float), min_size=1, max_size=60)


@given(COUNTS)
def test_wilson(counts: tuple[int, int]) -> None:
    """Wilson's interval is that of statsmodels."""
    found = intervals.wilson(*counts)
    low, high = proportion_confint(*counts, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert 0 <= found.low <= counts[0] / counts[1] <= found.high <= 1


@given(st.integers(1, 2000), st.floats(0.5, 0.999))
@settings(max_examples=60)
def test_student(degrees: int, level: float) -> None:
    """Student's t is that of scipy."""
    assert intervals.student(degrees, level) == pytest.approx(scipy.stats.t.ppf((1 + level) / 2, degrees), rel=1e-4)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=8, max_size=80))
@settings(max_examples=60)
def test_clustered(rows: list[tuple[bool, int]]) -> None:
    """The clustered error is that of a regression on a constant in statsmodels."""
    values, clusters = [float(right) for right, _ in rows], [cluster for _, cluster in rows]
    found = intervals.clustered(values, clusters)
    if len(set(clusters)) < 2:
        assert found is None
        return
    fit = statsmodels.api.OLS(np.array(values), np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(clusters)}
    )
    assert found == pytest.approx(float(fit.bse[0]), abs=1e-9)


@given(*(st.integers(0, 40) for _ in range(4)))
def test_mcnemar(both: int, one: int, other: int, neither: int) -> None:
    """The paired test is McNemar's exact one, as statsmodels has it; the difference is within its interval."""
    found = intervals.paired(both, one, other, neither)
    if not both + one + other + neither:
        assert found is None
        return
    assert found is not None
    assert found.p == pytest.approx(mcnemar([[both, one], [other, neither]], exact=True).pvalue)
    assert found.interval.low - 1e-9 <= found.difference <= found.interval.high + 1e-9


def test_newcombe() -> None:
    """The interval of a paired difference is that of Newcombe's own examples (1998, table II, method 10)."""
    examples = {(36, 12, 2, 0): (0.0569, 0.3404), (2, 98, 0, 0): (0.9178, 0.9945), (54, 0, 0, 0): (-0.0664, 0.0664)}
    for (both, one, other, neither), expected in examples.items():
        found = intervals.paired(both, one, other, neither)
        assert found is not None
        assert (found.interval.low, found.interval.high) == pytest.approx(expected, abs=5e-4)


@given(VALUES, VALUES)
@settings(max_examples=60)
def test_ranks(one: list[float], other: list[float]) -> None:
    """The test of ranks is Mann's and Whitney's, as scipy has it."""
    share, p = intervals.ranks_differ(one, other)
    reference = scipy.stats.mannwhitneyu(other, one, method="asymptotic")
    assert share == pytest.approx(reference.statistic / len(one) / len(other))
    assert p == pytest.approx(1.0 if math.isnan(reference.pvalue) else reference.pvalue, abs=1e-9)


@given(COUNTS, COUNTS)
def test_two_shares(one: tuple[int, int], other: tuple[int, int]) -> None:
    """The test of two shares is the z test of statsmodels."""
    found = intervals.shares_differ(one, other)
    if 0 < one[0] + other[0] < one[1] + other[1]:
        _, p = proportions_ztest([one[0], other[0]], [one[1], other[1]])
        assert found == pytest.approx(p, abs=1e-9)
    else:
        assert found == 1.0


@pytest.mark.parametrize(("percent", "least"), [(50, 5), (95, 59), (99, 299)])
def test_too_few(percent: int, least: int) -> None:
    """A percentile is blank until its count bounds it: an article's p99 of 20 calls is none."""
    values = [float(each) for each in range(least)]
    assert intervals.percentile(values[:-1], percent) is None
    found = intervals.percentile(values, percent)
    assert found is not None
    assert (found.value, found.n) == (values[-(-least * percent // 100) - 1], least)
    assert 1 - (percent / 100) ** least >= 0.95 > 1 - (percent / 100) ** (least - 1)


@given(st.lists(st.floats(0.001, 1000), min_size=75, max_size=200), st.sampled_from((50, 95)))
@settings(max_examples=40)
def test_order_statistics(values: list[float], percent: int) -> None:
    """The interval of a percentile holds it, and lies within the exact one of scipy, which goes by whole ranks."""
    found = intervals.percentile(sorted(values), percent)
    assert found is not None
    assert found.interval is not None
    assert found.interval.low <= found.value <= found.interval.high
    exact = scipy.stats.quantile_test(values, p=percent / 100).confidence_interval(0.95)
    assert exact.low <= found.interval.low + 1e-9
    assert found.interval.high <= exact.high + 1e-9


def test_nothing_came_of_it() -> None:
    """Without a success there is no cost of one; where all cost the same its interval is a point."""
    assert intervals.ratio([1.0, 2.0], [0.0, 0.0], 1) is None
    assert intervals.ratio([], [], 1) is None
    found = intervals.ratio([2.0] * 40, [1.0] * 40, 1)
    assert found is not None
    assert (found.value, found.interval) == (2.0, Interval(2.0, 2.0))


def test_ratio_is_repeatable() -> None:
    """The same numbers and seed give the same interval, another seed nearly so."""
    rng = np.random.default_rng(7)
    costs, won = rng.lognormal(size=300), rng.random(300) < 0.9
    first, again, other = (intervals.ratio(costs, won, seed) for seed in (1, 1, 2))
    assert first == again
    assert first is not None and other is not None and first.interval is not None and other.interval is not None
    assert first.interval.low == pytest.approx(other.interval.low, rel=0.02)


# --- what 95 % promises ---------------------------------------------------------------------------

Trial = Callable[[np.random.Generator], tuple[Interval | None, float]]


def share(n: int, p: float) -> Trial:
    return lambda rng: (intervals.wilson(int(rng.binomial(n, p)), n), p)


def answers(tasks: int, repeats: int, hang: float, p: float) -> Trial:
    """Tasks that are of different difficulty."""

    def trial(rng: np.random.Generator) -> tuple[Interval, float]:
        chances = rng.beta(p * (1 / hang - 1), (1 - p) * (1 / hang - 1), tasks)
        rights = [bool(each) for each in (rng.random((tasks, repeats)) < chances[:, None]).ravel()]
        return intervals.clustered_share(rights, [task for task in range(tasks) for _ in range(repeats)]), p

    return trial


def quantile(n: int, percent: int) -> Trial:
    def trial(rng: np.random.Generator) -> tuple[Interval | None, float]:
        found = intervals.percentile(sorted(rng.lognormal(size=n)), percent)
        return (found.interval if found else None), math.exp(scipy.stats.norm.ppf(percent / 100))

    return trial


def cost(n: int, p: float) -> Trial:
    """Of a success: skewed costs, with failures that cost as much."""

    def trial(rng: np.random.Generator) -> tuple[Interval | None, float]:
        found = intervals.ratio(rng.lognormal(sigma=0.7, size=n), rng.random(n) < p, 3)
        return (found.interval if found else None), math.exp(0.7**2 / 2) / p

    return trial


def pair(n: int, one: float, other: float) -> Trial:
    def trial(rng: np.random.Generator) -> tuple[Interval, float]:
        counts = rng.multinomial(n, [0.6, one, other, 1 - 0.6 - one - other])
        found = intervals.paired(*(int(each) for each in counts))
        assert found is not None
        return found.interval, one - other

    return trial


TRIALS = {
    "success, n 40": share(40, 0.75),
    "success, n 500": share(500, 0.942),
    "answers, 30 tasks": answers(30, 5, 0.2, 0.8),
    "p50, n 30": quantile(30, 50),
    "p95, n 100": quantile(100, 95),
    "p99, n 400": quantile(400, 99),
    "cost of a success, n 30": cost(30, 0.8),
    "cost of a success, n 200": cost(200, 0.942),
    "difference, n 60": pair(60, 0.2, 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_coverage(trial: Trial) -> None:
    """Of 1,000 runs with fixed seeds 93 to 97 % of the 95 % intervals hold the truth."""
    held = sum(
        found is not None and found.low <= truth <= found.high
        for found, truth in (trial(np.random.default_rng(seed)) for seed in range(1000))
    )
    assert 930 <= held <= 970, held


def test_small_numbers(record_property: Callable[[str, object], None]) -> None:
    """How often the intervals of few numbers hold the truth is reported, not promised."""
    for name, held in _few():
        record_property(name, held)
        assert 0 < held <= 1


def _few() -> Iterator[tuple[str, float]]:
    for n in (5, 10, 20):
        found = [share(n, 0.9)(np.random.default_rng(seed))[0] for seed in range(300)]
        yield f"success of {n}", sum(each is not None and each.low <= 0.9 <= each.high for each in found) / 300
