"""Two reports beside each other, and a verdict for CI: whether an offer has become worse since.

The verdict is a test of several figures at once: by Holm's rule all of them together raise a false alarm in at most
`alpha` of the comparisons of equals. A difference that is there but small is none: it has to be at least `least`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ipy_codeinterp import amounts
from ipy_codeinterp.bench import intervals
from ipy_codeinterp.bench.report import Report
from ipy_codeinterp.bench.rows import Row
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.tables import columns

ALPHA = 0.05
LEAST = 0.05  # relative, of latency and cost


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one offer, before and after; None where it is not known.

    `p` is how likely equals would look as much worse as this, or more. `is_large` is whether it is worse by enough to
    matter, and `is_sure` whether that is too unlikely to be chance.
    """

    offer: str
    name: str
    before: float | None
    after: float | None
    p: float
    is_large: bool
    is_sure: bool = False

    @property
    def is_regression(self) -> bool:
        return self.is_large and self.is_sure

    @property
    def verdict(self) -> str:
        if not self.is_sure:
            return "not worse, as far as this tells"
        return "worse" if self.is_large else "worse, by little"


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes. `alpha` is how often equals would be called worse."""

    changes: tuple[Change, ...]
    alpha: float

    @property
    def is_regression(self) -> bool:
        return any(change.is_regression for change in self.changes)

    def __repr__(self) -> str:
        return as_text(self)


def difference(before: Report, after: Report, *, alpha: float = ALPHA, least: float = LEAST) -> Difference:
    """Of every offer that is in both. Raises `InvalidInput` where none is."""
    offers = [offer for offer in after.plan.offers if offer in before.plan.offers]
    if not offers:
        raise InvalidInput("the two reports have no offer in common", hint="compare runs of the same --model")
    if not 0 < alpha < 1:
        raise InvalidInput(f"alpha = {alpha} is no share of false alarms", hint="use 0.05")
    found = [change for offer in offers for change in _changes(offer, before, after, least)]
    return Difference(tuple(_holm(found, alpha)), alpha)


def _changes(offer: str, before: Report, after: Report, least: float) -> Iterator[Change]:
    old, new = ([row for row in each.measured if row.offer == offer] for each in (before, after))
    if not old or not new:
        return
    yield _of_successes(offer, old, new)
    took, takes = ([row.latency for row in rows if row.success] for rows in (old, new))
    yield _of_amounts(offer, "latency", took, takes, least)
    cost, costs = ([float(row.billed) for row in rows if row.billed] for rows in (old, new))
    if cost and costs:
        yield _of_amounts(offer, "cost of a call", cost, costs, least)


def _of_successes(offer: str, old: Sequence[Row], new: Sequence[Row]) -> Change:
    """Paired where both were asked the very same questions, which tells more with fewer."""
    before, after = ({row.question: row for row in rows} for rows in (old, new))
    same = before.keys() & after.keys()
    (won, n), (wins, m) = ((sum(bool(row.success) for row in rows), len(rows)) for rows in (old, new))
    if len(same) == n == m and all(before[each].seed == after[each].seed for each in same):
        better = sum(bool(after[each].success) and not before[each].success for each in same)
        worse = sum(bool(before[each].success) and not after[each].success for each in same)
        p = intervals.sign_test(better, worse)
    else:
        p = intervals.shares_differ((won, n), (wins, m))
    is_worse = wins / m < won / n
    return Change(offer, "success", won / n, wins / m, _worse(p, is_worse), is_large=is_worse)


def _of_amounts(offer: str, name: str, old: Sequence[float], new: Sequence[float], least: float) -> Change:
    """By their ranks; the medians are shown."""
    before, after = (sorted(values)[(len(values) - 1) // 2] if values else None for values in (old, new))
    above, p = intervals.ranks_differ(old, new)
    is_large = before is not None and after is not None and after >= before * (1 + least)
    return Change(offer, name, before, after, _worse(p, above > 0.5), is_large)


def _worse(p: float, is_worse: bool) -> float:
    """Of a two-sided p the half to that side: nobody wants an alarm for what has become better."""
    return p / 2 if is_worse else 1 - p / 2


def _holm(changes: Sequence[Change], alpha: float) -> Iterator[Change]:
    """Which are sure: the smallest p has to be the smallest by far, the next by less, until one is not."""
    ranked = sorted(range(len(changes)), key=lambda nth: changes[nth].p)
    sure: set[int] = set()
    for done, nth in enumerate(ranked):
        if changes[nth].p > alpha / (len(ranked) - done):
            break
        sure.add(nth)
    for nth, each in enumerate(changes):
        yield replace(each, is_sure=nth in sure)


def as_text(found: Difference) -> str:
    """A row a figure, and the verdict last."""
    rows = [
        (each.offer, each.name, _shown(each, each.before), _shown(each, each.after), f"{each.p:.3g}", each.verdict)
        for each in found.changes
    ]
    table = columns(("OFFER", "FIGURE", "BEFORE", "AFTER", "P", "VERDICT"), rows)
    verdict = "worse than before" if found.is_regression else "no regression found"
    return f"{table}\n{verdict} (equals are called worse in at most {found.alpha:.0%} of comparisons)"


def _shown(change: Change, value: float | None) -> str:
    if value is None:
        return "-"
    if change.name == "success":
        return f"{value:.1%}"
    return amounts.seconds(value) if change.name == "latency" else f"${value:.4g}"
