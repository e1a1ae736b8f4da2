"""The oracles, against the programs that they share nothing with, and against what is known from elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ipy_codeinterp.bench.grading import differs
from ipy_codeinterp.bench.workloads import ALL, sequences, statistics
from ipy_codeinterp.bench.workloads import transformation as tables
from ipy_codeinterp.bench.workloads.sequences import MODULUS, column, times, total

SEEDS = (1, 12_345, 999_999_937)
PERIODIC = ("orders", "columns", "pivot", "searching")
DRAWN = [workload.name for workload in ALL.values() if workload.figures]


def run(name: str, size: int, seed: int) -> object:
    """What the Python program of a workload prints last, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(ALL[name].code["python"](size, seed), {"__name__": "__main__"})
    return json.loads(printed.getvalue().splitlines()[-1])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in ALL if name not in DRAWN])
def test_same_as_the_program(name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For seeds small and large, the oracle and the program agree within the tolerance."""
    monkeypatch.chdir(tmp_path)
    workload = ALL[name]
    size = workload.sizes[0]

    assert differs(workload.answer(size, seed), run(name, size, seed), workload.tolerance) == ""


@pytest.mark.parametrize("size", [MODULUS + 1, 230_001])
@pytest.mark.parametrize("name", PERIODIC)
def test_whole_periods(name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the data repeat, counting one period and multiplying is the same as going through all rows."""
    monkeypatch.chdir(tmp_path)
    workload = ALL[name]

    assert differs(workload.answer(size, 7), run(name, size, 7), workload.tolerance) == ""


# --- data -----------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 2**31), st.integers(1, 400))
def test_columns(k: int, seed: int, n: int) -> None:
    """Steps give what the formula gives, and nothing in it is too large for a double to hold exactly."""
    found = column(k, seed)

    assert found.values(n) == [(found.a * i * i + found.b * i + found.c) % MODULUS for i in range(n)]
    assert found.a * 10**12 + found.b * 10**6 + found.c < 2**53


@given(st.integers(1, 4 * MODULUS))
def test_times(n: int) -> None:
    """Every row is counted once, and those of the part once more than the others."""
    counts = times(n)

    assert sum(counts) == n == total([1] * len(counts), n)
    assert max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.integers(0, 40))
def test_peak(steps: list[int], more: int) -> None:
    """The greatest running sum of a walk that repeats is found in its first, its last or its broken round."""
    n = len(steps) + more
    with pytest.MonkeyPatch.context() as patch:
        for module in (tables, sequences):
            patch.setattr(module, "MODULUS", len(steps))
        found = tables._peak(steps, n)
    walk = np.cumsum([steps[i % len(steps)] for i in range(n)])

    assert found == (walk.max(), walk.argmax())


# --- known from elsewhere -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "count", "sum_"),
    [(10_000, 1_229, 5_736_396), (1_000_000, 78_498, 37_550_402_023), (10_000_000, 664_579, 3_203_324_994_356)],
)
def test_primes(size: int, count: int, sum_: int) -> None:
    """How many primes there are is known; the first is what the article's program prints."""
    answer = ALL["sieve"].answer(size, 0)

    assert (answer["count"], answer["sum"]) == (count, sum_)


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 12), st.floats(200, 1e6))
def test_tail(t: float, df: float) -> None:
    """The tail of Student's distribution by integration is that of scipy."""
    assert statistics._student_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-8, abs=1e-13)


@settings(deadline=None, max_examples=20)
@given(st.floats(200, 1e6))
def test_quantile(df: float) -> None:
    """The same of what an interval of 95 % ends at."""
    assert statistics._student_quantile(0.025, df) == pytest.approx(stats.t.isf(0.025, df), rel=1e-8)


def test_ruin() -> None:
    """The simulation agrees with the exact distribution of the capital, as far as chance allows."""
    n, shares = 10_000, {-12: 0.05, -1: 0.4, 1: 0.4, 4: 0.15}
    standing, ruined = Counter({20: 1.0}), 0.0
    for _ in range(statistics.STEPS):
        after: Counter[int] = Counter()
        for capital, share in standing.items():
            for change, chance in shares.items():
                after[capital + change] += share * chance
        ruined += sum(share for capital, share in after.items() if capital < 0)
        standing = Counter({capital: share for capital, share in after.items() if capital >= 0})
    answer = ALL["montecarlo"].answer(n, 1)

    assert abs(answer["ruin"] - ruined) < 4 * math.sqrt(ruined * (1 - ruined) / n)
    assert abs(answer["mean"] - 20) < 4 * answer["deviation"] / math.sqrt(n)


def test_energy() -> None:
    """The chain of springs loses nothing: its energy at the end is that at the beginning, where nothing moves."""
    n, (slow, fast) = 50, (2, 27)
    j = np.arange(n + 2)
    start = np.sin(slow * np.pi * j / (n + 1)) + 0.5 * np.sin(fast * np.pi * j / (n + 1))
    answer = ALL["springs"].answer(n, 1)

    assert answer["kinetic"] + answer["potential"] == pytest.approx((np.diff(start) ** 2).sum() / 2)


# --- mutations ------------------------------------------------------------------------------------


def mutated(value: object, chance: random.Random) -> object:
    """The same with one thing changed, somewhere within."""
    match value:
        case dict():
            name = chance.choice(sorted(value))
            return (
                {**value, name: mutated(value[name], chance)} if value[name] not in ([], {}) else {**value, name: [0]}
            )
        case list():
            i = chance.randrange(len(value))
            return [*value[:i], mutated(value[i], chance), *value[i + 1 :]]
        case int():
            return value + 1
        case float():
            return value + (abs(value) + 1) / 1000
        case _:
            return f"{value}x"


@pytest.mark.parametrize("name", ALL)
def test_any_change_is_wrong(name: str) -> None:
    """An answer with one number a thousandth off, a count off by one or a word changed is not let pass."""
    workload, chance = ALL[name], random.Random(1)
    answer = workload.answer(workload.sizes[0], 1)

    assert differs(answer, json.loads(json.dumps(answer)), workload.tolerance) == ""
    for _ in range(100):
        assert differs(answer, mutated(dict(answer), chance), workload.tolerance) != ""
