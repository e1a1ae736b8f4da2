"""A cell that was repeated at several offers: the figures of a benchmark, of what a comparison has."""

from __future__ import annotations

from decimal import Decimal

from ipy_codeinterp.bench.compared import report_of, sections_of
from ipy_codeinterp.compare import Comparison, Made, Side
from ipy_codeinterp.errors import Overloaded
from ipy_codeinterp.execution import Cost, Execution, Result, Timings, Usage


def made(nth: int, seconds: float, outcome: str = "ok") -> Result:
    cost = Cost(Decimal("0.01"), Decimal("0.01"))
    return Result(f"run_{nth}", (), outcome, usage=Usage(10, 5), cost=cost, timings=Timings(total=seconds))  # type: ignore[arg-type]


def comparison() -> Comparison:
    good: list[Made] = [made(nth, 1.0 + nth / 10) for nth in range(10)]
    bad: list[Made] = [*(made(20 + nth, 2.0, "error") for nth in range(4)), Overloaded("busy"), *good[:5]]
    return Comparison(Execution("print(1)"), (Side("a@x", tuple(good)), Side("b@y", tuple(bad))), repeat=10)


def test_figures() -> None:
    """Failures are in the denominator of success, and in what a success costs; what nobody knows makes it a bound."""
    report = report_of(comparison())
    one, other = report.of("a@x"), report.of("b@y")
    assert one is not None and other is not None
    assert (one.success.count, other.success.count, other.n) == (10, 5, 10)
    assert other.failures == {"error": 4, "Overloaded": 1}
    assert one.answers is None
    assert other.billed.is_least and other.billed.per_success is not None
    assert other.billed.per_success.value == 0.09 / 5


def test_sections() -> None:
    """They are shown as a benchmark shows them, each offer in a row."""
    found = sections_of(comparison())
    assert [section.title for section in found] == ["Success", "Latency", "Cost"]
    assert [[row[1] for row in section.rows] for section in found] == [["a@x", "b@y"]] * 3
