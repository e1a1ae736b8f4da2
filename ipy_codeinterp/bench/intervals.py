"""How sure a figure is: intervals of shares, percentiles, means of clusters and ratios, and tests of two of them.

Everything here takes plain numbers and gives plain numbers, at a level of confidence of 0.95 unless told. Nothing is
assumed of how latencies or costs are distributed. What too few numbers cannot tell is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from ipy_codeinterp.store.stats import LEAST_FOR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

LEVEL = 0.95
LEAST_FOR_RATIO = 10  # numbers, of which a bootstrap knows how they spread
RESAMPLES = 2000
MANY = 2000
NO_SPREAD = 1e-6  # of a logarithm: below it is what rounding leaves of none
MOST_SPREAD = 50.0  # beyond it an end of an interval says nothing
MOST_DRAWN = 1_000_000  # numbers drawn at a time: what a resample takes of memory


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval, where there are enough numbers for one, and how many there were."""

    value: float
    interval: Interval | None
    n: int


# --- shares ---------------------------------------------------------------------------------------


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Of a share: Wilson's score interval, which stays within 0 and 1 and is honest at both ends."""
    return _score(successes, n, _z(level))


def _score(successes: float, n: float, z: float) -> Interval:
    if n <= 0:
        return Interval(0.0, 1.0)
    share, weight = successes / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    # at both ends it is exact: rounding must not say otherwise
    return Interval(0.0 if successes <= 0 else middle - half, 1.0 if successes >= n else middle + half)


def clustered(values: Sequence[float], clusters: Sequence[object]) -> float | None:
    """The standard error of a mean whose numbers come in clusters, such as repeats of one task; None of fewer than two.

    That of a regression on a constant with cluster-robust covariance and its usual correction, G/(G-1).
    """
    n, mean = len(values), math.fsum(values) / len(values) if values else 0.0
    off: dict[object, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        off[cluster] = off.get(cluster, 0.0) + value - mean
    groups = len(off)
    if groups < 2:
        return None
    return math.sqrt(groups / (groups - 1) * math.fsum(each * each for each in off.values())) / n


def clustered_share(rights: Sequence[bool], clusters: Sequence[object], level: float = LEVEL) -> Interval:
    """Of a share whose trials come in clusters: Wilson's, of as many independent trials as they are worth.

    Their worth is from the clustered standard error, and with few clusters from Student's t with G-1 degrees (after
    Dean and Pagano, 2015). Where all came out alike nothing says how they hang together: they count as independent.
    """
    n, right = len(rights), sum(rights)
    error = clustered([float(each) for each in rights], clusters)
    if not error or right in (0, n):
        return wilson(right, n, level)
    share, degrees = right / n, len(set(clusters)) - 1
    worth = share * (1 - share) / error**2
    return _score(share * worth, worth, student(degrees, level))


# --- percentiles ----------------------------------------------------------------------------------


def percentile(values: Sequence[float], percent: int, level: float = LEVEL) -> Estimate | None:
    """Of the sorted `values`: the smallest that so many percent of all do not exceed; None of fewer than it takes.

    The interval is of order statistics, with the way between two neighbours shared out by their probabilities (Beran
    and Hall, 1993); without one where the values do not reach far enough to both sides.
    """
    n = len(values)
    if n < LEAST_FOR[percent]:
        return None
    value = values[max(-(-n * percent // 100), 1) - 1]
    return Estimate(value, _of_order(values, percent / 100, level), n)


def _of_order(values: Sequence[float], q: float, level: float) -> Interval | None:
    """Rank r bounds the q-quantile below with probability P(Bin(n, q) >= r), which falls as r grows."""
    n, tail = len(values), (1 - level) / 2
    if (1 - q) ** n > tail or q**n > tail:
        return None
    below = _ranks(n, q, tail)  # 1-based, and between two of them
    above = n + 1 - _ranks(n, 1 - q, tail)
    return Interval(_between(values, below), _between(values, above))


def _ranks(n: int, q: float, tail: float) -> float:
    """The rank r where P(Bin(n, q) < r) is `tail`, with a fraction between two whole ones."""
    rank, missed = 0, 0.0  # P(Bin < rank)
    while True:
        more = missed + _binomial(rank, n, q)
        if more > tail:
            return rank + (tail - missed) / (more - missed)
        rank, missed = rank + 1, more


def _between(values: Sequence[float], rank: float) -> float:
    whole = int(rank)
    first, second = values[whole - 1], values[min(whole, len(values) - 1)]
    return first + (second - first) * (rank - whole)


def _binomial(k: int, n: int, p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


# --- ratios ---------------------------------------------------------------------------------------


def ratio(tops: ArrayLike, bottoms: ArrayLike, seed: int, level: float = LEVEL) -> Estimate | None:
    """The sum of `tops` (what it cost, or took) by that of `bottoms` (what came of it); None where nothing came.

    The interval is a studentized bootstrap of its logarithm, of `RESAMPLES` resamples from `seed`: with skewed costs
    and rare successes any symmetric one would lie.
    """
    import numpy as np

    top, bottom = np.asarray(tops, float), np.asarray(bottoms, float)
    n = len(top)
    if n == 0 or bottom.sum() <= 0:
        return None
    value = float(top.sum() / bottom.sum())
    if int(np.count_nonzero(bottom)) < LEAST_FOR_RATIO or value <= 0:
        return Estimate(value, None, n)
    generator, studentized = np.random.default_rng(seed), []
    spread = float(_spread(top[None], bottom[None])[0])
    if spread <= NO_SPREAD:
        return Estimate(value, Interval(value, value), n)
    for drawn in _portions(n):
        chosen = generator.integers(0, n, (drawn, n), dtype=np.int32)
        tops_, bottoms_ = top[chosen], bottom[chosen]
        kept = (bottoms_.sum(1) > 0) & (tops_.sum(1) > 0)
        off = np.log(tops_.sum(1)[kept] / bottoms_.sum(1)[kept]) - math.log(value)
        spreads = _spread(tops_[kept], bottoms_[kept])
        studentized.append(off[spreads > NO_SPREAD] / spreads[spreads > NO_SPREAD])
    low, high = spread * np.quantile(np.concatenate(studentized), [(1 - level) / 2, (1 + level) / 2])
    if max(-low, high) > MOST_SPREAD:
        return Estimate(value, None, n)
    return Estimate(value, Interval(value * math.exp(-high), value * math.exp(-low)), n)


def _portions(n: int) -> list[int]:
    """How many resamples at a time, so that they fit into memory; of many numbers half of them tell as much."""
    resamples = RESAMPLES if n < MANY else RESAMPLES // 2
    most = max(MOST_DRAWN // n, 1)
    full, rest = divmod(resamples, most)
    return [most] * full + ([rest] if rest else [])


def _spread(top: Array, bottom: Array) -> Array:
    """The standard error of the logarithm of each row's ratio, by the delta method: from sums alone, which is quick."""
    import numpy as np

    n = top.shape[1]
    t, b = top.sum(1), bottom.sum(1)
    tt, tb, bb = (np.einsum("ij,ij->i", one, other) for one, other in ((top, top), (top, bottom), (bottom, bottom)))
    off = np.maximum(tt / t**2 - 2 * tb / (t * b) + bb / b**2, 0.0)
    spread: Array = np.sqrt(off * n / (n - 1))
    return spread


# --- two of them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paired:
    """Two offers on the same questions: how often only the one, and only the other, was right, and what follows.

    `difference` is the one's share less the other's; `p` that of McNemar's exact test, two-sided.
    """

    n: int
    only_one: int
    only_other: int
    difference: float
    interval: Interval
    p: float


def paired(both: int, only_one: int, only_other: int, neither: int, level: float = LEVEL) -> Paired | None:
    """From the counts of pairs; None without any. The interval is Newcombe's (1998, method 10), of two Wilsons'."""
    n = both + only_one + only_other + neither
    if n == 0:
        return None
    one, other = (both + only_one) / n, (both + only_other) / n
    in_one, in_other = wilson(both + only_one, n, level), wilson(both + only_other, n, level)
    hang = _correlation(both, only_one, only_other, neither)
    difference = one - other

    def half(first: float, second: float) -> float:
        return math.sqrt(max(first**2 - 2 * hang * first * second + second**2, 0.0))

    low = difference - half(one - in_one.low, in_other.high - other)
    high = difference + half(in_one.high - one, other - in_other.low)
    return Paired(n, only_one, only_other, difference, Interval(low, high), sign_test(only_one, only_other))


def _correlation(both: int, only_one: int, only_other: int, neither: int) -> float:
    """Of the two verdicts, corrected for chance as Newcombe has it."""
    n = both + only_one + only_other + neither
    margins = (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    if margins == 0:
        return 0.0
    agree = float(both * neither - only_one * only_other)
    return (max(agree - n / 2, 0.0) if agree > 0 else agree) / math.sqrt(margins)


def sign_test(one: int, other: int) -> float:
    """Two-sided p of so many for the one and the other where both were as likely: McNemar's exact test."""
    n = one + other
    return min(2 * math.fsum(_binomial(k, n, 0.5) for k in range(min(one, other) + 1)), 1.0)


def shares_differ(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Two-sided p of two independent shares, each as successes of trials: the z test with a common share."""
    (right, n), (right_, n_) = one, other
    if not n or not n_:
        return 1.0
    common = (right + right_) / (n + n_)
    spread = math.sqrt(common * (1 - common) * (1 / n + 1 / n_))
    return 1.0 if spread == 0 else _two_sided((right / n - right_ / n_) / spread)


def ranks_differ(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """How likely a number of `other` is larger than one of `one` (ties count half), and two-sided p that it is 1/2.

    Mann's and Whitney's test, by its normal approximation, corrected for ties and continuity.
    """
    n, m = len(one), len(other)
    if not n or not m:
        return 0.5, 1.0
    merged = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks, ties, at = 0.0, 0, 0
    while at < len(merged):
        end = at
        while end < len(merged) and merged[end][0] == merged[at][0]:
            end += 1
        alike = end - at
        ranks += sum(side for _, side in merged[at:end]) * (at + end + 1) / 2
        ties += alike**3 - alike
        at = end
    above = ranks - m * (m + 1) / 2
    total = n + m
    spread = math.sqrt(n * m / 12 * ((total + 1) - ties / (total * (total - 1)))) if total > 1 else 0.0
    off = abs(above - n * m / 2) - 0.5
    return above / (n * m), 1.0 if spread == 0 or off <= 0 else _two_sided(off / spread)


# --- distributions --------------------------------------------------------------------------------


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def student(degrees: int, level: float = LEVEL) -> float:
    """The t within which Student's distribution has `level` of its mass, to both sides of zero."""
    low, high = 0.0, 1.0
    while _student_mass(high, degrees) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_mass(middle, degrees) < level else (low, middle)
    return high


def _student_mass(t: float, degrees: int) -> float:
    """P(|T| <= t), as a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    if degrees > 400:  # the sum is long, and this is as good
        return 1 - _two_sided(t * (1 - 1 / (4 * degrees)) / math.sqrt(1 + t * t / (2 * degrees)))
    term = total = cosine if degrees % 2 else 1.0
    for k in range(degrees % 2 + 2, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if degrees % 2:
        return 2 / math.pi * (angle + (sine * total if degrees > 1 else 0.0))
    return sine * total
