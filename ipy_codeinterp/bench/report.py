"""What the rows of a benchmark come to: figures of each offer, over all and in each category, each with its interval.

Failures stay in every denominator. Latencies are of the calls that succeeded; what the others took is in the time to a
success. A cost that nobody knows makes the sum a lower bound, and is said to be one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ipy_codeinterp.bench import intervals
from ipy_codeinterp.bench.intervals import Estimate, Interval, Paired
from ipy_codeinterp.bench.plan import Plan
from ipy_codeinterp.bench.rows import Row

PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of `n`. `error` is the clustered standard error, where that was asked for and can be known."""

    count: int
    n: int
    interval: Interval
    error: float | None = None

    @property
    def value(self) -> float | None:
        return self.count / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Money:
    """USD a call, and a success; `is_least` where the cost of some calls is unknown, and counts as nothing."""

    per_call: Estimate | None
    per_success: Estimate | None
    is_least: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the measured calls of one offer, in one category (None: in all). Seconds, USD; None where nobody knows.

    `answers` counts those that an oracle could judge, `ran` those of which somebody says how the code ended, and
    `verbatim` those of which somebody says what code it was. Latencies are by percent.
    """

    offer: str
    category: str | None
    n: int
    success: Share
    ran: Share
    answers: Share | None
    verbatim: Share | None
    latency: Mapping[int, Estimate | None]
    time_to_success: Estimate | None
    attempts: float
    input_tokens: float | None
    output_tokens: float | None
    billed: Money
    listed: Money
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two offers on the questions that both were asked: of their answers, in one category (None: in all)."""

    one: str
    other: str
    category: str | None
    answers: Paired


@dataclass(frozen=True, slots=True)
class Cold:
    """Latencies (seconds, sorted) of one offer: after so much quiet, in the burst, or of its warm-up."""

    offer: str
    when: str
    latencies: tuple[float, ...]
    failed: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a run has shown. `stopped` says why it ended before its plan did; empty where it did not."""

    plan: Plan
    rows: tuple[Row, ...]
    provenance: Mapping[str, Any]
    figures: tuple[Figures, ...]
    pairs: tuple[Pair, ...]
    cold: tuple[Cold, ...]
    stopped: str = ""

    def of(self, offer: str, category: str | None = None) -> Figures | None:
        """The figures of that offer in that category; None where it was not asked there."""
        return next((each for each in self.figures if (each.offer, each.category) == (offer, category)), None)

    @property
    def categories(self) -> tuple[str, ...]:
        """Those that were asked, in the order of the plan."""
        return tuple(dict.fromkeys(question.category for question in self.plan.questions))

    @property
    def measured(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.phase == "measured")

    def __repr__(self) -> str:
        from ipy_codeinterp.bench.shown import as_text

        return as_text(self)


def report(plan: Plan, rows: Iterable[Row], provenance: Mapping[str, Any], stopped: str = "") -> Report:
    """Work it all out. Needs numpy."""
    kept = tuple(sorted(rows, key=_order(plan)))
    measured = [row for row in kept if row.phase == "measured"]
    categories = dict.fromkeys(row.category for row in measured)
    wholes = [None, *(categories if len(categories) > 1 else ())]
    groups = [(offer, category, _chosen(measured, offer, category)) for category in wholes for offer in plan.offers]
    return Report(
        plan,
        kept,
        provenance,
        tuple(figures(offer, category, chosen, plan.seed) for offer, category, chosen in groups if chosen),
        tuple(_pairs(plan, measured, wholes)),
        tuple(_cold(plan, kept)),
        stopped,
    )


def _order(plan: Plan) -> Any:
    """Of the plan, whatever the order in which they ended."""
    questions = {question.name: nth for nth, question in enumerate(plan.questions)}
    offers = {offer: nth for nth, offer in enumerate(plan.offers)}

    def key(row: Row) -> tuple[Any, ...]:
        name = "/".join([row.workload, *([str(row.size)] if row.size else []), row.language])
        name += "/task" if row.kind == "task" else ""
        return (row.phase, row.repeat, questions.get(name, 0), offers.get(row.offer, 0), row.id)

    return key


def _chosen(rows: Sequence[Row], offer: str, category: str | None) -> list[Row]:
    return [row for row in rows if row.offer == offer and category in (None, row.category)]


def figures(offer: str, category: str | None, rows: Sequence[Row], seed: int) -> Figures:
    """Of at least one row."""
    successes = [row for row in rows if row.success]
    good = sorted(row.latency for row in successes)
    took = [row.latency for row in rows]
    won = [float(bool(row.success)) for row in rows]
    time = intervals.ratio(took, won, seed)
    return Figures(
        offer=offer,
        category=category,
        n=len(rows),
        success=_share([bool(row.success) for row in rows if row.success is not None]),
        ran=_share([row.ok for row in rows if row.ok is not None]),
        answers=_answers(rows),
        verbatim=_known_share([row.verbatim for row in rows]),
        latency={percent: intervals.percentile(good, percent) for percent in PERCENTS},
        time_to_success=time,
        attempts=sum(row.attempts for row in rows) / len(rows),
        input_tokens=_mean([row.input_tokens for row in rows]),
        output_tokens=_mean([row.output_tokens for row in rows]),
        billed=_money([row.billed for row in rows], won, seed),
        listed=_money([row.listed for row in rows], won, seed),
        failures=Counter(failure(row) for row in rows if row.success is False),
    )


def failure(row: Row) -> str:
    """The class of what went wrong: the error, how the code ended, or that its answer is wrong."""
    return "wrong answer" if row.right is False and row.ok is not False else row.outcome


def _share(verdicts: Sequence[bool]) -> Share:
    return Share(sum(verdicts), len(verdicts), intervals.wilson(sum(verdicts), len(verdicts)))


def _known_share(verdicts: Sequence[bool | None]) -> Share | None:
    known = [verdict for verdict in verdicts if verdict is not None]
    return _share(known) if known else None


def _answers(rows: Sequence[Row]) -> Share | None:
    """Repeats of one task hang together, so they are worth fewer than as many tasks."""
    judged = [row for row in rows if row.right is not None]
    if not judged:
        return None
    rights, tasks = [bool(row.right) for row in judged], [row.task for row in judged]
    error = intervals.clustered([float(right) for right in rights], tasks)
    return Share(sum(rights), len(rights), intervals.clustered_share(rights, tasks), error)


def _mean(counts: Sequence[int | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known else None


def _money(amounts: Sequence[Decimal | None], won: Sequence[float], seed: int) -> Money:
    if all(amount is None for amount in amounts):
        return Money(None, None, is_least=True)
    known = [float(amount or 0) for amount in amounts]
    a_call = intervals.ratio(known, [1.0] * len(known), seed)
    return Money(a_call, intervals.ratio(known, won, seed), is_least=None in amounts)


def _pairs(plan: Plan, rows: Sequence[Row], categories: Iterable[str | None]) -> Iterable[Pair]:
    judged = [row for row in rows if row.right is not None]
    for category, (one, other) in itertools.product(categories, itertools.combinations(plan.offers, 2)):
        first, second = ({row.question: bool(row.right) for row in _chosen(judged, o, category)} for o in (one, other))
        counts = Counter((first[question], second[question]) for question in first.keys() & second.keys())
        found = intervals.paired(counts[True, True], counts[True, False], counts[False, True], counts[False, False])
        if found:
            yield Pair(one, other, category, found)


def _cold(plan: Plan, rows: Sequence[Row]) -> Iterable[Cold]:
    for offer in plan.offers:
        found: dict[str, list[Row]] = {}
        for row in rows:
            if row.offer == offer and row.phase != "measured":
                found.setdefault(_when(row, plan), []).append(row)
        for when, chosen in found.items():
            good = sorted(row.latency for row in chosen if row.success is not False)
            yield Cold(offer, when, tuple(good), len(chosen) - len(good))


def _when(row: Row, plan: Plan) -> str:
    if row.phase == "idle":
        return f"after {plan.idle[row.repeat]:g} s of quiet"
    return {"burst": f"{plan.burst} at once", "warm-up": "warm-up"}[row.phase]
