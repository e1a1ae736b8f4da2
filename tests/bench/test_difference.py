"""Whether something has become worse: the verdict, and how often it is wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp.bench import plan as plans
from ipy_codeinterp.bench.difference import difference
from ipy_codeinterp.bench.plan import Plan
from ipy_codeinterp.bench.report import Report
from ipy_codeinterp.bench.rows import Row
from ipy_codeinterp.errors import InvalidInput
from tests.bench.fakes import ABOUT, cases

PLAN = Plan("bench_1", ("gpt@a",), cases(10), repeat=6)
CALLS = [call for calls in plans.rounds(PLAN) for call in calls]


def run_of(seed: int, *, right: float = 0.9, slower: float = 1.0, same_questions: bool = True) -> Report:
    """A report of one offer: 60 calls, log-normal latencies; figures are not asked for here."""
    chance = random.Random(seed)
    rows = []
    for call in CALLS:
        is_right = chance.random() < right
        rows.append(
            Row(
                id=call.id,
                phase="measured",
                workload=call.question.workload,
                category="numerics",
                size=0,
                language="python",
                kind="code",
                seed=call.seed if same_questions else seed,
                offer=call.offer,
                repeat=call.repeat,
                outcome="ok",
                ok=True,
                right=is_right,
                why="",
                verbatim=True,
                intended=None,
                began=0.0,
                latency=slower * chance.lognormvariate(0.0, 0.5),
                attempts=1,
                input_tokens=1,
                output_tokens=1,
                billed=Decimal(chance.randint(90, 110)),
                listed=None,
            )
        )
    return Report(PLAN, tuple(rows), ABOUT, (), (), ())


@pytest.mark.parametrize("same_questions", [True, False], ids=["paired", "apart"])
def test_false_alarms(same_questions: bool) -> None:
    """Of 1,000 comparisons of equals, with fixed seeds, no more are called worse than is stated."""
    alarms = 0
    for seed in range(1000):
        before, after = (run_of(2 * seed + nth, same_questions=same_questions) for nth in (0, 1))
        alarms += difference(before, after, alpha=0.05, least=0.0).is_regression
    assert 30 <= alarms <= 60, alarms  # 5 % of 1,000, give or take 1.5 times its own standard error


@pytest.mark.parametrize("worse", [{"right": 0.5}, {"slower": 1.8}], ids=str)
def test_worse_is_found(worse: dict[str, float]) -> None:
    """What has become clearly worse is called so, nearly every time; what has become better never is."""
    found = [difference(run_of(2 * seed), run_of(2 * seed + 1, **worse)) for seed in range(50)]
    turned = [difference(run_of(2 * seed + 1, **worse), run_of(2 * seed)) for seed in range(50)]
    assert sum(each.is_regression for each in found) >= 45
    assert sum(each.is_regression for each in turned) <= 2
    assert "worse than before" in repr(found[0])


def test_a_small_change_is_none() -> None:
    """What is sure but small is no regression: thousands of calls find any difference."""
    slower = difference(run_of(1), run_of(1, slower=1.01), least=0.05)
    assert not slower.is_regression


def test_nothing_in_common() -> None:
    """Reports of different offers cannot be compared."""
    other = replace(run_of(1), plan=replace(PLAN, offers=("claude@b",)))
    with pytest.raises(InvalidInput, match="no offer in common"):
        difference(run_of(1), other)


def test_alpha(tmp_path: Path) -> None:
    """A share of false alarms that is none is refused."""
    with pytest.raises(InvalidInput, match="alpha"):
        difference(run_of(1), run_of(2), alpha=0.0)
