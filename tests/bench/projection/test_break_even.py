"""When the dearer offer pays: by hand, both ways round, and with intervals that say when nobody can tell."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from ipy_codeinterp.bench.projection import monte_carlo
from ipy_codeinterp.bench.projection.bill import Projection, Terms, project
from ipy_codeinterp.bench.projection.break_even import BreakEven, break_even, hybrid, mix
from ipy_codeinterp.bench.projection.demand import Share
from ipy_codeinterp.errors import InvalidInput
from tests.bench.projection.months import demand, share, terms


def two(right: str | None, better: str | None, output: str = "15") -> tuple[Projection, Projection]:
    """500 tokens out: $0.004 a call, and $0.0075 at $15."""
    shares = (None if each is None else share(each) for each in (right, better))
    prices = terms("cheap", "0", "8"), terms("dear", "0", output)
    found = [project(price, demand(100, 0, 500, right=each)) for price, each in zip(prices, shares, strict=True)]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("right", "better", "output", "pays", "cost"),
    [
        ("0.942", "0.978", "15", "above", Decimal("0.0035") / Decimal("0.036")),
        ("0.9", "0.95", "12", "above", Decimal("0.04")),
        ("0.9", "1", "8", "above", Decimal(0)),  # as cheap, and better
        ("0.978", "0.942", "15", "never", None),
        ("0.95", "0.95", "15", "never", None),
        (None, "0.95", "15", "unknown", None),
    ],
)
def test_by_hand(right: str | None, better: str | None, output: str, pays: str, cost: Decimal | None) -> None:
    """D55: (difference of cost a call) / (difference of accuracy), whichever is named first."""
    one, other = two(right, better, output)

    assert break_even(one, other) == break_even(other, one) == BreakEven("cheap", "dear", pays, cost)  # type: ignore[arg-type]


def test_unknown_price() -> None:
    """Where a price is unknown, so is what pays."""
    unknown = project(Terms("x"), demand(right=share("1")))

    assert break_even(unknown, two("0.9", "0.9")[0]).pays == "unknown"


def counted(hits: int, better: int, n: int) -> BreakEven:
    parts = [
        project(terms("cheap", "0", "8"), demand(100, 0, 500, right=Share.counted(hits, n))),
        project(terms("dear", "0", "15"), demand(100, 0, 500, right=Share.counted(better, n))),
    ]
    return break_even(parts[0], parts[1], tuple(monte_carlo.draw(parts)))  # type: ignore[arg-type]


def test_interval_of_counts() -> None:
    """Counted accuracies give an interval that holds the figure, and narrows with more of them."""
    few, many = counted(471, 489, 500), counted(47_100, 48_900, 50_000)

    assert few.interval and many.interval
    for each in (few, many):
        assert each.error_cost is not None and each.interval is not None
        assert each.interval.low < float(each.error_cost) < each.interval.high
    assert many.interval.high - many.interval.low < few.interval.high - few.interval.low < math.inf


def test_no_bound() -> None:
    """Where so few answers cannot tell the two apart, no price of an error is sure to be enough."""
    found = counted(9, 10, 10)

    assert found.pays == "above"
    assert found.interval is not None and found.interval.high == math.inf


def test_mix() -> None:
    """80 % at $0.004 and 20 % at $0.0075 a call; accuracy is mixed the same way."""
    found = mix(two("0.942", "0.978"), [Decimal("0.8"), Decimal("0.2")])

    assert found.month == Decimal("0.47")
    assert found.right == Decimal("0.9492")
    assert found.a_success is None


def test_a_success_of_a_mix() -> None:
    """It is the whole bill by all successes, not the mean of both prices."""
    parts = [
        project(terms("a", "0", "8"), demand(100, 0, 500, success=share("0.5"))),
        project(terms("b", "0", "15"), demand(100, 0, 500, success=share("1"))),
    ]

    assert mix(parts, [Decimal("0.5"), Decimal("0.5")]).a_success == Decimal("0.00575") / Decimal("0.75")


def test_hybrid() -> None:
    """What is critical goes to the most accurate, the rest to the cheapest, in the order of the offers."""
    one, other = two("0.942", "0.978")

    assert hybrid([one, other], share("0.2")) == (Decimal("0.8"), Decimal("0.2"))
    assert hybrid([other, one], share("0.2")) == (Decimal("0.2"), Decimal("0.8"))


@pytest.mark.parametrize("shares", [["0.5"], ["0.5", "0.6"], ["0.5", "0.25", "0.25"]])
def test_wrong_shares(shares: list[str]) -> None:
    """Shares that are not those of one whole are refused."""
    with pytest.raises(InvalidInput, match="shares"):
        mix(two("0.9", "0.9"), [Decimal(each) for each in shares])


def test_one_work() -> None:
    """Offers with other numbers of calls have no work that they could share."""
    parts = [project(terms("a"), demand(1)), project(terms("b"), demand(2))]

    with pytest.raises(InvalidInput, match="one number of calls"):
        mix(parts, [Decimal("0.5"), Decimal("0.5")])
