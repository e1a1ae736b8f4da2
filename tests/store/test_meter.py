"""The sums of a session: exact, by offer, and of constant cost, however many calls there were."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ipy_codeinterp.execution import Cost
from ipy_codeinterp.store.ledger import Attempt
from ipy_codeinterp.store.meter import MOST_OFFERS, OTHERS, RECENT, Meter, Sums


def an_attempt(model: str = "claude", **facts: Any) -> Attempt:
    return Attempt.begun("att_1", "run_1", "local", model).settled(**facts)


def metered(*attempts: Attempt) -> Sums:
    meter = Meter()
    for attempt in attempts:
        meter.add(attempt)
    return meter.totals.all


def test_nothing_yet() -> None:
    """A session that has asked nothing has cost nothing and knows no latency."""
    assert metered() == Sums()


def test_sums() -> None:
    """Sums are the sums of their parts, exactly."""
    cost = Cost(Decimal("0.1"), Decimal("0.2"))

    totals = metered(*[an_attempt(outcome="ok", cost=cost)] * 3)

    assert totals == Sums(3, 0, Decimal("0.3"), True, Decimal("0.6"))


def test_lower_bound() -> None:
    """A sum that lacks an unknown part says so, and goes on saying so."""
    known, unknown = an_attempt(outcome="ok", cost=Cost(Decimal(1), Decimal(1))), an_attempt(outcome="ok")

    totals = metered(known, unknown, known)

    assert (totals.billed, totals.billed_is_all) == (Decimal(2), False)


@pytest.mark.parametrize(
    ("outcome", "failures"),
    [("ok", 0), ("unknown", 0), ("error", 1), ("limit", 1), ("cancelled", 1), ("crashed", 1), (None, 1)],
)
def test_failures(outcome: Any, failures: int) -> None:
    """What did not end well is a failure, also what got no reply; what is not known is none."""
    assert metered(an_attempt(outcome=outcome)).failures == failures


@pytest.mark.parametrize(
    ("latencies", "p50", "p95"),
    [
        ([3.0], 3.0, 3.0),
        ([2.0, 1.0], 1.0, 2.0),
        ([3.0, 1.0, 2.0], 2.0, 3.0),
        (range(100, 0, -1), 50, 95),
        ([*range(1, 20), 100], 10, 19),
    ],
    ids=["one", "two", "three", "hundred", "one slow in twenty"],
)
def test_percentiles(latencies: Any, p50: float, p95: float) -> None:
    """A percentile is the latency that so many percent of all do not exceed, to one percent, in any order they come."""
    totals = metered(*[an_attempt(seconds=seconds) for seconds in latencies])

    assert (totals.p50, totals.p95) == pytest.approx((p50, p95), rel=0.011)


def test_unmeasured_latency() -> None:
    """An attempt that nobody timed counts as a call, not as a latency."""
    totals = metered(an_attempt(seconds=2.0), an_attempt(seconds=None))

    assert (totals.calls, totals.p50) == (2, pytest.approx(2.0, rel=0.011))


def test_by_offer() -> None:
    """Each offer has sums of its own, the one that was asked last at the end."""
    meter = Meter()
    for model in ("a", "b", "b", "a"):
        meter.add(an_attempt(model, outcome="ok", seconds=1.0))

    assert [(offer, sums.calls) for offer, sums in meter.totals.offers] == [("b@local", 2), ("a@local", 2)]
    assert meter.totals.all.calls == 4


def test_recent() -> None:
    """The last latencies are there as they came, and no more than a line of them."""
    sums = metered(*[an_attempt(seconds=float(second)) for second in range(100)])

    assert sums.recent == tuple(float(second) for second in range(100 - RECENT, 100))


def test_served() -> None:
    """What was served again is no call: it is counted apart, with what it avoided."""
    meter = Meter()
    for avoided in (Decimal("0.5"), None):
        meter.note_served(an_attempt(cost=Cost(Decimal(0), avoided=avoided)))

    totals = meter.totals
    assert (totals.all.calls, totals.served, totals.avoided) == (0, 2, Decimal("0.5"))


def test_any_number_of_offers() -> None:
    """Offers beyond a number are counted together, so that names without end take no memory without end."""
    meter = Meter()
    for number in range(1000):
        meter.add(an_attempt(f"m{number}", outcome="ok"))

    offers = dict(meter.totals.offers)
    assert len(offers) == MOST_OFFERS + 1
    assert offers[OTHERS].calls == 1000 - MOST_OFFERS
    assert meter.totals.all.calls == 1000
