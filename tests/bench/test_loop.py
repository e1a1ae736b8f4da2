"""The loop: what it makes of known offers, in which order, and what it never does."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp.bench import plan as plans
from ipy_codeinterp.bench.intervals import Estimate, Interval
from ipy_codeinterp.bench.plan import Plan
from ipy_codeinterp.bench.report import Report
from ipy_codeinterp.bench.rows import Run, values_of
from ipy_codeinterp.errors import AuthenticationFailed, InvalidInput, OverBudget, Overloaded
from tests.bench.fakes import Asked, Does, cases, lognormal, measure, planned
from tests.client import virtual

GPT, CLAUDE = "gpt@a", "claude@b"


def both(gpt: object, claude: object) -> Asked:
    scripts = {GPT: gpt, CLAUDE: claude}
    return Asked(lambda offer, number: scripts[offer](offer, number))  # type: ignore[operator]


def article() -> Asked:
    """The two as the article has them: p50 and p99 in seconds, and the share of right answers."""
    return both(lognormal(2.3, 8.7, 0.942, 11), lognormal(1.8, 6.2, 0.978, 12))


def within(truth: float, found: Estimate | None) -> bool:
    return found is not None and found.interval is not None and found.interval.low <= truth <= found.interval.high


def holds(share: Interval, truth: float) -> bool:
    return share.low <= truth <= share.high


@pytest.mark.parametrize("how", [{"concurrency": 8}, {"rate": 2.0}], ids=["closed", "open"])
def test_the_article_is_recovered(tmp_path: Path, how: dict[str, float]) -> None:
    """Offers as the article describes them are found to be so, within the intervals, closed loop and open."""
    run = planned(tmp_path / "run", GPT, CLAUDE, count=20, repeat=30, **how)
    _, report = virtual.run(measure(article(), run))
    for offer, p50, p99, right in ((GPT, 2.3, 8.7, 0.942), (CLAUDE, 1.8, 6.2, 0.978)):
        figures = report.of(offer)
        assert figures is not None and figures.answers is not None
        assert figures.n == 600
        assert within(p50, figures.latency[50])
        assert within(p99, figures.latency[99])
        assert holds(figures.answers.interval, right)
        assert within(0.01 / right, figures.billed.per_success)
    (pair,) = report.pairs
    assert pair.answers.p < 0.05
    assert holds(pair.answers.interval, 0.942 - 0.978)


def test_a_stall_shows_its_tail_in_the_open_loop(tmp_path: Path) -> None:
    """One call that takes a minute, of an offer that does one at a time, delays all that were to begin meanwhile: the
    open loop counts from when they were to begin, and the closed one never knows."""
    tails = {"open": _tail(tmp_path / "open", rate=1.0), "closed": _tail(tmp_path / "closed")}
    assert tails["closed"] == pytest.approx(0.1)
    assert tails["open"] > 20


def _tail(folder: Path, **how: float) -> float:
    """The p95 of an offer that does one at a time, one of them for a minute."""
    free = 0.0

    def one_at_a_time(offer: str, number: int) -> Does:
        nonlocal free
        now = asyncio.get_running_loop().time()
        free = max(free, now) + (60.0 if number == 20 else 0.1)
        return Does(free - now)

    _, report = virtual.run(measure(Asked(one_at_a_time), planned(folder, GPT, count=20, repeat=10, **how)))
    figures = report.of(GPT)
    assert figures is not None and figures.latency[95] is not None
    return figures.latency[95].value


def test_closed_loop(tmp_path: Path) -> None:
    """As many as are asked for are under way at a time, no more and no fewer."""
    session = Asked(lambda offer, number: Does())
    virtual.run(measure(session, planned(tmp_path / "run", GPT, count=10, repeat=4, concurrency=7)))
    assert session.most_at_once == 7


def test_open_loop(tmp_path: Path) -> None:
    """Calls begin when they were to, as a Poisson stream of that rate, however long the others take."""
    session = Asked(lambda offer, number: Does(500.0))
    run = planned(tmp_path / "run", GPT, count=10, repeat=40, rate=5.0, warm_up=0)
    virtual.run(measure(session, run))
    rows = [row for row in run.rows.values() if row.intended is not None]
    assert len(rows) == 400
    assert all(row.began == pytest.approx(row.intended, abs=1e-3) for row in rows)
    assert max(row.began for row in rows) == pytest.approx(80, rel=0.2)
    assert session.most_at_once > 300


def test_failures_stay_in_the_denominator(tmp_path: Path) -> None:
    """A call that fails is a row, counts against its offer, and takes of the time to a success."""

    def flaky(offer: str, number: int) -> Does:
        return Does(3.0, error=Overloaded("busy")) if number % 4 == 3 else Does(1.0)

    run = planned(tmp_path / "run", GPT, count=10, repeat=10, warm_up=0)
    _, report = virtual.run(measure(Asked(flaky), run))
    figures = report.of(GPT)
    assert figures is not None
    assert (figures.n, figures.success.count, figures.success.n) == (100, 75, 100)
    assert figures.failures == {"Overloaded": 25}
    assert figures.latency[50] is not None and figures.latency[50].value == pytest.approx(1.0)
    assert figures.time_to_success is not None
    assert figures.time_to_success.value == pytest.approx((75 * 1 + 25 * 3) / 75)
    assert figures.billed.per_success is not None
    assert figures.billed.per_success.value == pytest.approx((75 * 0.01 + 25 * 0.005) / 75)


def test_wrong_slow_verbose_and_flaky(tmp_path: Path) -> None:
    """Each kind of being worse is found in its own column, and in no other."""
    good = Does(1.0, tokens=(10, 5))
    kinds = {
        "good@x": lambda n: good,
        "wrong@x": lambda n: replace(good, right=n % 5 != 0),
        "slow@x": lambda n: replace(good, seconds=2.0),
        "verbose@x": lambda n: replace(good, tokens=(10, 50), billed=Decimal("0.07")),
        "flaky@x": lambda n: replace(good, error=Overloaded("busy")) if n % 10 == 0 else good,
    }
    run = planned(tmp_path / "run", *kinds, count=10, repeat=20, warm_up=0)
    _, report = virtual.run(measure(Asked(lambda offer, number: kinds[offer](number)), run))
    seen = {}
    for offer in kinds:
        each = report.of(offer)
        assert each is not None and each.latency[50] is not None and each.billed.per_call is not None
        seen[offer] = (
            each.success.count,
            round(each.latency[50].value, 3),
            each.output_tokens,
            round(each.billed.per_call.value, 4),
            dict(each.failures),
        )
    assert seen == {
        "good@x": (200, 1.0, 5, 0.01, {}),
        "wrong@x": (160, 1.0, 5, 0.01, {"wrong answer": 40}),
        "slow@x": (200, 2.0, 5, 0.01, {}),
        "verbose@x": (200, 1.0, 50, 0.07, {}),
        "flaky@x": (180, 1.0, 5, 0.0095, {"Overloaded": 20}),
    }
    worse = {pair.other for pair in report.pairs if pair.one == "good@x" and pair.answers.p < 0.05}
    assert worse == {"wrong@x", "flaky@x"}


def test_warm_up_does_not_count(tmp_path: Path) -> None:
    """What a first call costs is told apart, and is in no figure."""
    script = lambda offer, number: Does(30.0 if number < 2 else 1.0)  # noqa: E731
    _, report = virtual.run(measure(Asked(script), planned(tmp_path / "run", GPT, count=5, repeat=2, warm_up=2)))
    figures = report.of(GPT)
    assert figures is not None
    assert (figures.n, figures.latency[50] and figures.latency[50].value) == (10, 1.0)
    assert [(each.when, each.latencies) for each in report.cold] == [("warm-up", (30.0, 30.0))]


def test_cold_curve(tmp_path: Path) -> None:
    """After so much quiet one call each, and a burst at the end, told apart from what was measured."""
    run = planned(tmp_path / "run", GPT, count=2, repeat=1, warm_up=0, idle=(10.0, 60.0), burst=6)
    session = Asked(lambda offer, number: Does())
    _, report = virtual.run(measure(session, run))
    assert [(each.when, len(each.latencies)) for each in report.cold] == [
        ("6 at once", 6),
        ("after 10 s of quiet", 1),
        ("after 60 s of quiet", 1),
    ]
    assert session.most_at_once == 6
    assert len(report.measured) == 2


def test_order_is_interleaved_and_seeded(tmp_path: Path) -> None:
    """No offer is always first; the same seed gives the same order, another seed another one."""
    plan = Plan("bench_1", (GPT, CLAUDE), cases(10), repeat=20)
    order = [call.offer for calls in plans.rounds(plan) for call in calls]
    again = [call.offer for calls in plans.rounds(replace(plan, id="bench_2")) for call in calls]
    other = [call.offer for calls in plans.rounds(replace(plan, seed=1)) for call in calls]
    assert order == again != other
    firsts = order[::20]
    assert 4 <= firsts.count(GPT) <= 16
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes > 150  # of 399; blocks of each would be 39


def test_the_same_questions(tmp_path: Path) -> None:
    """Every offer is asked the same seed of the same question; every repeat another."""
    plan = Plan("bench_1", (GPT, CLAUDE), cases(3), repeat=4)
    calls = [call for calls in plans.rounds(plan) for call in calls]
    seeds = {(call.question.name, call.repeat): set[int]() for call in calls}
    for call in calls:
        seeds[call.question.name, call.repeat].add(call.seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len({seed for found in seeds.values() for seed in found}) == 12
    assert len({call.id for call in calls}) == len(calls)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_budget(tmp_path: Path, concurrency: int) -> None:
    """It ends before more than the budget could be spent, at the worst that calls under way may cost."""
    run = planned(
        tmp_path / "run", GPT, count=10, repeat=100, concurrency=concurrency, warm_up=0, budget=Decimal("0.50")
    )
    _, report = virtual.run(measure(Asked(lambda offer, number: Does()), run))
    spent = sum(row.billed or 0 for row in report.rows)
    assert Decimal("0.48") <= spent <= Decimal("0.50")
    assert "0.50" in report.stopped


def test_a_budget_counts_what_nobody_knows(tmp_path: Path) -> None:
    """A call whose cost is not known counts as the most that it can have cost, and so do warm-ups."""
    how = {"count": 10, "repeat": 100, "warm_up": 3, "budget": Decimal("0.10")}
    session = Asked(lambda offer, number: Does(billed=None))
    _, report = virtual.run(measure(session, planned(tmp_path / "run", GPT, **how)))  # type: ignore[arg-type]
    assert len(report.rows) == 5
    assert "0.10" in report.stopped


def test_a_budget_holds_no_unknown_price(tmp_path: Path) -> None:
    """An offer without a price is refused under a budget: nobody knows what it could cost."""
    run = planned(tmp_path / "run", GPT, count=2, warm_up=0, budget=Decimal(1))
    with pytest.raises(OverBudget, match="has no price"):
        virtual.run(measure(Asked(lambda offer, number: Does(), worst=None), run))


def test_until(tmp_path: Path) -> None:
    """It ends when every interval is narrow enough, and says that it did; its intervals say no more than that."""
    run = planned(tmp_path / "run", GPT, CLAUDE, count=10, repeat=500, concurrency=10, until=0.1)
    _, report = virtual.run(measure(article(), run))
    assert "10%" in report.stopped
    assert 100 < len(report.measured) < 5000
    for offer in (GPT, CLAUDE):
        figures = report.of(offer)
        assert figures is not None and figures.latency[50] is not None and figures.latency[50].interval is not None
        interval = figures.latency[50].interval
        assert (interval.high - interval.low) / 2 <= 0.1 * figures.latency[50].value


def test_hopeless(tmp_path: Path) -> None:
    """A key that is refused ends it at the first warm-up: a thousand calls would fare no better."""
    session = Asked(lambda offer, number: Does(error=AuthenticationFailed("no such key")))
    with pytest.raises(AuthenticationFailed):
        virtual.run(measure(session, planned(tmp_path / "run", GPT, count=10, repeat=100)))
    assert len(session.ids) == 1


def test_resumed(tmp_path: Path) -> None:
    """What has its row is not asked again, a line that a kill tore is, and the rows are those of a whole run."""
    whole = planned(tmp_path / "whole", GPT, CLAUDE, count=4, repeat=5)
    virtual.run(measure(Asked(lambda offer, number: Does()), whole))
    cut = planned(tmp_path / "cut", GPT, CLAUDE, count=4, repeat=5)
    virtual.run(measure(Asked(lambda offer, number: Does()), cut))
    lines = (cut.folder / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (cut.folder / "rows.jsonl").write_bytes(b"".join(lines[:17]) + lines[17][:40])
    session = Asked(lambda offer, number: Does())
    again = Run.found(cut.folder)
    _, report = virtual.run(measure(session, again))
    assert len(session.ids) == 42 - 17
    assert set(session.ids).isdisjoint(again.rows.keys() - set(session.ids))
    assert _without_times(report) == _without_times(virtual.run(measure(Asked(lambda o, n: Does()), whole))[1])


def _without_times(report: Report) -> list[list[object]]:
    return [values_of(replace(row, began=0.0, latency=0.0)) for row in report.rows]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A run that is under way is refused to whoever else would go on with it."""
    run = planned(tmp_path / "run", GPT)
    with run, pytest.raises(InvalidInput, match="under way"), Run.found(run.folder):
        pass


@pytest.mark.parametrize(
    "wrong",
    [{"repeat": 0}, {"concurrency": 0}, {"rate": 0.0}, {"until": 1.5}, {"warm_up": -1}, {"idle": (-1.0,)}],
    ids=str,
)
def test_nonsense(wrong: dict[str, object]) -> None:
    """A plan that cannot be done is refused with the word that is wrong."""
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Plan("bench_1", (GPT,), cases(1), **wrong).check()  # type: ignore[arg-type]


def test_plan_there_and_back() -> None:
    """A plan is read as it was written."""
    plan = Plan("bench_1", (GPT, CLAUDE), cases(3), 4, 5, rate=2.5, budget=Decimal("0.1"), idle=(1.0,), until=0.05)
    assert plans.from_json(plans.to_json(plan)) == plan
