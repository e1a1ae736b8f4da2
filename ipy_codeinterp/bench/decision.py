"""Which offer for which work, by what an error costs: the cheapest in expectation, error by error price.

A call at an offer costs in all what is paid for it plus the price of an error times its share of wrong answers. Of two
offers the more accurate one pays when an error costs more than the difference of their costs by the difference of their
shares of right answers; over all prices that gives a range for each offer that is ever the cheapest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ipy_codeinterp.bench.report import Figures, Money, Report


@dataclass(frozen=True, slots=True)
class Choice:
    """`offer` costs least where an error costs from `low` to `high` USD; `a or b` where two cost and err alike."""

    offer: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What to take in one category (None: over all); `basis` says which money counts: billed, or at list price.

    `is_shown` is whether the difference of the answers on which it stands could not well be chance.
    """

    category: str | None
    choices: tuple[Choice, ...]
    basis: str
    is_shown: bool


def decisions(report: Report) -> list[Decision]:
    """For each category in which at least two offers have a cost and a share of right answers."""
    found = []
    for category in dict.fromkeys(each.category for each in report.figures):
        group = [each for each in report.figures if each.category == category and each.success.n]
        basis = "billed" if any(_cost(each.billed) for each in group) else "list price"
        offers = [(each.offer, cost, _right(each)) for each in group if (cost := _cost(_of(each, basis))) is not None]
        if len(offers) > 1:
            found.append(Decision(category, tuple(cheapest(offers)), basis, _is_shown(report, category)))
    return found


def cheapest(offers: Sequence[tuple[str, float, float]]) -> list[Choice]:
    """Of (offer, cost of a call, share of right answers): who costs least, from an error that costs nothing upwards."""
    choices: list[Choice] = []
    alike = {each[1:]: " or ".join(other[0] for other in offers if other[1:] == each[1:]) for each in offers}
    at = 0.0
    best = min(offers, key=lambda each: (each[1], -each[2]))
    while True:
        better = [(break_even(best, other), -other[2], other) for other in offers if other[2] > best[2]]
        if not better:
            return [*choices, Choice(alike[best[1:]], at, math.inf)]
        following, _, better_one = min(better)
        following = max(following, at)
        if following > at or not choices:
            choices.append(Choice(alike[best[1:]], at, following))
        at, best = following, better_one


def break_even(cheap: tuple[str, float, float], right: tuple[str, float, float]) -> float:
    """The price of an error (USD) above which the one that is more often right costs less in all."""
    return (right[1] - cheap[1]) / (right[2] - cheap[2])


def _of(figures: Figures, basis: str) -> Money:
    return figures.billed if basis == "billed" else figures.listed


def _cost(money: Money) -> float | None:
    return None if money.per_call is None or money.is_least else money.per_call.value


def _right(figures: Figures) -> float:
    share = figures.answers or figures.success
    return share.value or 0.0


def _is_shown(report: Report, category: str | None) -> bool:
    return any(pair.category == category and pair.answers.p < 0.05 for pair in report.pairs)
