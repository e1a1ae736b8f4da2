"""Statistics: a regression, hypothesis tests, and a Monte Carlo simulation.

The oracles are exact as far as the question is: sums are whole numbers, equations are solved in fractions, and only
roots, and the tails of distributions, are numbers with an error: the density is integrated, without a gamma function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import exp, isqrt, log1p, sqrt

from ipy_codeinterp.bench.workload import Answer, Workload
from ipy_codeinterp.bench.workloads import given
from ipy_codeinterp.bench.workloads.sequences import columns, in_words, times, total

CATEGORY = "statistics"

# --- regression -----------------------------------------------------------------------------------


def _regression_words(n: int, seed: int) -> str:
    return f"""\
A data set has {n} rows, i = 0 to {n - 1}. {in_words(seed, 5)}
With // for division rounded down: x1 = u1 mod 1000; x2 = u2 mod 500; x3 = (u3 // 7) mod 2; y = 250 + 3*x1 - 2*x2 + \
120*x3 + (u4 mod 401) + (u5 mod 401) - 400.
Fit y on x1, x2, x3 and a constant by ordinary least squares. `coefficients`, `errors` (standard errors) and `t` (t \
statistics) are lists in the order constant, x1, x2, x3; `r2` is the coefficient of determination; `sigma` is the \
standard error of the residuals, with n - 4 degrees of freedom."""


@cache
def _regression(n: int, seed: int) -> Answer:
    """The normal equations in fractions: nothing is lost before the square roots."""
    data = [_observed(*row) for row in zip(*columns(seed, n, 5), strict=True)]
    parts = list(zip(*data, strict=True))  # 1, x1, x2, x3, y
    moments = [[total([a * b for a, b in zip(one, other, strict=True)], n) for other in parts] for one in parts]
    inverse = _inverse([[Fraction(value) for value in row[:4]] for row in moments[:4]])
    coefficients = [sum(inverse[j][k] * moments[k][4] for k in range(4)) for j in range(4)]
    squares = moments[4][4] - sum(coefficients[k] * moments[k][4] for k in range(4))
    variance = squares / (n - 4)
    errors = [sqrt(variance * inverse[j][j]) for j in range(4)]
    around_mean = moments[4][4] - Fraction(moments[0][4] ** 2, n)
    return {
        "coefficients": [float(value) for value in coefficients],
        "errors": errors,
        "t": [float(value) / error for value, error in zip(coefficients, errors, strict=True)],
        "r2": float(1 - squares / around_mean),
        "sigma": sqrt(variance),
    }


def _observed(u1: int, u2: int, u3: int, u4: int, u5: int) -> tuple[int, int, int, int, int]:
    x1, x2, x3 = u1 % 1000, u2 % 500, u3 // 7 % 2
    return 1, x1, x2, x3, 250 + 3 * x1 - 2 * x2 + 120 * x3 + u4 % 401 + u5 % 401 - 400


def _inverse(matrix: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """Gauss and Jordan's, of one that is positive definite: no pivot is zero."""
    size = len(matrix)
    wide = [[*row, *(Fraction(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for pivot in range(size):
        wide[pivot] = [value / wide[pivot][pivot] for value in wide[pivot]]
        for i in range(size):
            if i != pivot:
                factor = wide[i][pivot]
                wide[i] = [a - factor * b for a, b in zip(wide[i], wide[pivot], strict=True)]
    return [row[size:] for row in wide]


# --- tests ----------------------------------------------------------------------------------------


def _effect(n: int) -> int:
    return 60_000 // isqrt(1_000 * n)  # so that p is neither near one nor out of sight, at each size


def _hypothesis_words(n: int, seed: int) -> str:
    return f"""\
A data set has {n} rows, i = 0 to {n - 1}. {in_words(seed, 4)}
With // for division rounded down: group = (u1 // 7) mod 2; value = (u2 mod 1000) + (u3 mod 1000) + \
{_effect(n)}*group; choice = (u4 // 7) mod 3.
Compare the values of group 0 with those of group 1 by Welch's t test (unequal variances, two-sided): `means` lists \
the mean of group 0 and of group 1; `t` is the statistic of group 0 minus group 1, `df` the degrees of freedom, `p` \
the p-value, `interval` lists the ends of the 95 % confidence interval of mean of group 0 minus mean of group 1.
Then test whether choice is independent of group by Pearson's chi-squared test without correction: `table` lists two \
lists of counts, of choices 0, 1, 2 in group 0 and in group 1; `chi2` is the statistic and `chi2_p` the p-value."""


@cache
def _hypothesis(n: int, seed: int) -> Answer:
    counts, sums, squares = Counter[tuple[int, int]](), [0, 0], [0, 0]
    for u1, u2, u3, u4, many in zip(*columns(seed, n, 4), times(n), strict=True):
        group = u1 // 7 % 2
        value = u2 % 1000 + u3 % 1000 + _effect(n) * group
        sums[group] += many * value
        squares[group] += many * value * value
        counts[group, u4 // 7 % 3] += many
    table = [[counts[group, choice] for choice in range(3)] for group in range(2)]
    sizes = [sum(row) for row in table]
    means = [Fraction(sums[g], sizes[g]) for g in range(2)]
    of_mean = [(squares[g] - sums[g] * means[g]) / ((sizes[g] - 1) * sizes[g]) for g in range(2)]
    difference, error = means[0] - means[1], sqrt(sum(of_mean))
    df = float(sum(of_mean) ** 2 / sum(of_mean[g] ** 2 / (sizes[g] - 1) for g in range(2)))
    t, half = float(difference) / error, _student_quantile(0.025, df) * error
    expected = [[Fraction(size * (table[0][c] + table[1][c]), n) for c in range(3)] for size in sizes]
    chi2 = sum((table[g][c] - expected[g][c]) ** 2 / expected[g][c] for g in range(2) for c in range(3))
    return {
        "means": [float(mean) for mean in means],
        "t": t,
        "df": df,
        "p": 2 * _student_tail(abs(t), df),
        "interval": [float(difference) - half, float(difference) + half],
        "table": table,
        "chi2": float(chi2),
        "chi2_p": exp(-float(chi2) / 2),  # with two degrees of freedom
    }


FAR = 40.0  # beyond it is nothing, with hundreds of degrees of freedom


def _student_tail(t: float, df: float) -> float:
    """How likely it is to be greater than `t` >= 0: the area under the density there, as a share of all."""
    beyond = _area(t, FAR, df)
    return beyond / (2 * (_area(0.0, t, df) + beyond))


def _area(low: float, high: float, df: float, pieces: int = 10_000) -> float:
    """By Simpson's rule, of a density that nobody has scaled."""
    width = (high - low) / pieces
    heights = [_height(low + k * width, df) for k in range(pieces + 1)]
    return width / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2]))


def _height(x: float, df: float) -> float:
    return exp(-(df + 1) / 2 * log1p(x * x / df))


def _student_quantile(tail: float, df: float) -> float:
    """What is exceeded with that likelihood: Newton's steps, from near the normal distribution's."""
    x, whole = 1.96, 2 * _area(0.0, FAR, df)
    for _ in range(4):
        x += (_student_tail(x, df) - tail) * whole / _height(x, df)
    return x


# --- Monte Carlo ----------------------------------------------------------------------------------

STEPS, PRIME, FACTOR = 24, 2_147_483_647, 16_807


def _montecarlo_words(n: int, seed: int) -> str:
    return f"""\
Simulate {n} paths of {STEPS} steps each with the random numbers of Park and Miller: the state is \
{1 + seed % (PRIME - 1)} before the first draw; each draw replaces it by state * {FACTOR} mod {PRIME} (exactly) and \
gives u = state / {PRIME}. The draws go to path 1, steps 1 to {STEPS}, then to path 2, and so on.
Each path begins with a capital of 20. In a step the capital changes by -12 if u < 0.05, else by -1 if u < 0.45, else \
by +1 if u < 0.85, else by +4; a path goes on below zero, too.
`ruin` is the share of paths whose capital is below zero after any step; `mean` and `deviation` (with n - 1) are of \
the capital after the last step over all paths, and `q05` is the one at index {-(-n // 20) - 1} of these in ascending \
order, counting from 0; `drawdown` is the mean over all paths of the greatest fall from an earlier capital (the \
beginning counts) to a later one."""


@cache
def _montecarlo(n: int, seed: int) -> Answer:
    """Each path from its own draw, far down the sequence, with limits that are whole numbers; falls by looking back."""
    start, jump = 1 + seed % (PRIME - 1), pow(FACTOR, STEPS, PRIME)
    finals, ruined, falls = Counter[int](), 0, 0
    for _ in range(n):
        state, capital, lowest, drawdown, fall = start, 20, 20, 0, 0
        for _ in range(STEPS):
            state = state * FACTOR % PRIME
            change = -12 if state < 107_374_183 else -1 if state < 966_367_642 else 1 if state < 1_825_361_100 else 4
            capital += change
            lowest = min(lowest, capital)
            fall = max(fall - change, 0)
            drawdown = max(drawdown, fall)
        start = start * jump % PRIME
        finals[capital] += 1
        ruined += lowest < 0
        falls += drawdown
    mean = Fraction(sum(value * many for value, many in finals.items()), n)
    variance = (sum(value * value * many for value, many in finals.items()) - n * mean * mean) / (n - 1)
    in_order = sorted(finals.elements())
    return {
        "ruin": ruined / n,
        "mean": float(mean),
        "deviation": sqrt(variance),
        "q05": in_order[-(-n // 20) - 1],
        "drawdown": falls / n,
    }


WORKLOADS = (
    Workload(
        name="regression",
        category=CATEGORY,
        title="least squares with standard errors",
        sizes=(1_000, 10_000, 100_000),
        code=given.code("regression", "python", "r", "node"),
        words=_regression_words,
        expect='a JSON object with the names "coefficients", "errors", "t" (lists of four), "r2" and "sigma", nothing '
        "rounded",
        answer=_regression,
        tolerance=1e-7,  # the normal equations square the condition of the data, about 1,000
    ),
    Workload(
        name="hypothesis",
        category=CATEGORY,
        title="Welch's t test and Pearson's chi-squared test",
        sizes=(1_000, 10_000, 100_000),
        code=given.code("hypothesis", "python", "r"),
        words=_hypothesis_words,
        expect='a JSON object with the names "means", "t", "df", "p", "interval", "table", "chi2" and "chi2_p", '
        "nothing rounded",
        answer=_hypothesis,
        tolerance=1e-7,  # libraries give tails to ten digits and more; ours are integrated to nine
    ),
    Workload(
        name="montecarlo",
        category=CATEGORY,
        title="a simulation of ruin, with the draws of a known generator",
        sizes=(1_000, 10_000, 100_000),
        code=given.code("montecarlo", "python", "r", "node"),
        words=_montecarlo_words,
        expect='a JSON object with the names "ruin", "mean", "deviation", "q05" (a whole number) and "drawdown", '
        "nothing rounded",
        answer=_montecarlo,
        tolerance=1e-9,  # sums of a hundred thousand small whole numbers
    ),
)
