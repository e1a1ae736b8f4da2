"""The monthly bill: right by hand, monotone, and never a 0 where nobody knows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp import catalog
from ipy_codeinterp.bench.projection.bill import Terms, project
from ipy_codeinterp.bench.projection.break_even import hybrid, mix
from ipy_codeinterp.bench.projection.demand import Calls, Demand, Mean, Share, Tokens, Use
from tests.bench.projection.months import cheap_batch, containers, demand, rates, share, terms

COUNTS = st.integers(0, 10**7)
SHARES = st.decimals(0, 1, places=4)
LIVE = {"calls": COUNTS, "input": st.integers(0, 10**5), "output": st.integers(0, 10**5)}


def test_by_hand() -> None:
    """1,000 calls of 500 in and 2,000 out at $2 and $8: $0.001 and $0.016 each."""
    found = project(terms(), demand())

    assert (found.call, found.month) == (Decimal("0.017"), Decimal(17))
    assert not found.is_least and found.notes == ()


def test_a_success() -> None:
    """D56: (attempts x cost of an attempt + containers) / share of successes."""
    price = terms(container=containers(whole=True))
    asked = demand(success=share("0.8"), attempts=Mean(Decimal("1.5")), containers=Use(Decimal(5), 1 << 30))

    found = project(price, asked)

    assert found.a_success == (Decimal("1.5") * Decimal("0.017") + Decimal("0.03")) / Decimal("0.8")
    assert project(price, demand()).a_success is None


def test_cache() -> None:
    """What the cache answers costs nothing and is a success; all of it from there costs nothing at all."""
    half = project(terms(), demand(cache=share("0.5"), success=share("0.5")))
    everything = project(terms(), demand(cache=share("1"), success=share("0.5")))

    assert half.month == Decimal("8.5")
    assert half.a_success == Decimal("8.5") / 750  # 500 from the cache, 250 of those that were sent
    assert (everything.month, everything.a_success) == (0, 0)


def test_batch() -> None:
    """What may wait costs the price of batches; where there is none it costs the whole, and says so."""
    asked = demand(batch=share("0.5"))

    assert project(terms(batch=cheap_batch("1", "4")), asked).month == Decimal("12.75")
    without = project(terms(), asked)
    assert without.month == Decimal(17) and "no price for batches" in without.notes[0]


def test_catalogs_batch_is_half() -> None:
    """The catalog's own price of a batch is half of the price, for a model that has one."""
    offer = Terms.of(catalog.offer("gpt-4.1", catalog.provider("openai")))
    now, later = (project(offer, demand(batch=share(said))).month for said in "01")

    assert now and later == now / 2


def test_containers() -> None:
    """Containers are rounded up to their least and their units, and shared by the calls that use one."""
    by_minute = terms(container=containers(60, "0.0015", least=300))
    by_session = terms(container=containers(1200, "0.03", whole=True))

    def of(price: Terms, minutes: int, calls: int = 1) -> Decimal:
        asked = demand(1, 0, 0, containers=Use(Decimal(minutes), 1 << 30, Decimal(calls)))
        return project(price, asked).month or Decimal(0)

    assert of(by_minute, 1) == of(by_minute, 5) == Decimal("0.0075")
    assert of(by_minute, 10, calls=10) == Decimal("0.0015")
    assert of(by_session, 1) == Decimal("0.03")
    assert of(by_session, 21) == Decimal("0.06")
    assert of(by_session, 0) == 0


@pytest.mark.parametrize(
    ("price", "asked", "note"),
    [
        (terms(), demand(input=None), "without input tokens"),
        (terms(), demand(output=None), "without output tokens"),
        (terms(container=containers()), demand(), "without containers"),
        (terms(container=containers()), demand(containers=Use(Decimal(5), 1 << 40)), "no price for so much memory"),
    ],
)
def test_lower_bounds(price: Terms, asked: Demand, note: str) -> None:
    """D9: what is known in part is a lower bound, and says what is not in it."""
    found = project(price, asked)

    assert found.is_least and note in found.notes[0]
    assert found.month


def test_unknown_price() -> None:
    """A price that nobody knows makes a bill that nobody knows; this machine's is 0."""
    unknown, here = Terms("x"), Terms.of(catalog.find("claude"))

    assert project(unknown, demand()).month is None
    assert project(here, demand()).month == 0 and not project(here, demand(input=None)).is_least


def test_large_inputs_cost_more() -> None:
    """Each attempt is priced by its own input: one beyond a step of the price costs that of the step."""
    steps = rates(above=((1000, rates("4", "16")),))
    pairs = [(Decimal(1000), Decimal(0)), (Decimal(1001), Decimal(0))]

    assert Tokens.measured(pairs).cost(steps).value == (Decimal("0.002") + Decimal("0.004004")) / 2
    assert Tokens(Mean(Decimal(1001)), Mean(Decimal(0))).cost(steps).value == Decimal("0.004004")


def test_three_percentiles() -> None:
    """Three percentiles are a lognormal: symmetric ones have no spread, a long tail pulls the mean up."""
    flat = Mean.fitted(Decimal(2000), Decimal(2000), Decimal(2000))
    tailed = Mean.fitted(Decimal(500), Decimal(2000), Decimal(8000))

    assert (flat.value, flat.deviation) == (2000, 0)
    assert float(tailed.value) == pytest.approx(2000 * 2.7182818 ** (0.8428**2 / 2), rel=1e-3)
    assert tailed.deviation > 0


@given(st.builds(demand, **LIVE), st.integers(0, 10**6), SHARES)
def test_more_calls_are_never_cheaper(asked: Demand, more: int, cache: Decimal) -> None:
    """More calls, tokens or attempts cost as much or more, a larger share from the cache as much or less."""

    def month(changed: Demand) -> Decimal:
        found = project(terms(), changed).month
        assert found is not None
        return found

    base = month(asked)
    assert month(replace(asked, calls=Calls(asked.calls.value + more))) >= base
    assert month(replace(asked, attempts=Mean(1 + Decimal(more)))) >= base
    assert month(replace(asked, cache=Share(cache))) <= base
    assert month(replace(asked, cache=Share(Decimal(1)))) == 0


@given(st.builds(demand, **LIVE), SHARES, SHARES, SHARES)
def test_a_mix_lies_between_its_parts(asked: Demand, part: Decimal, one: Decimal, other: Decimal) -> None:
    """A mix costs, and is right, no more and no less than its parts, whichever way it is shared."""
    from dataclasses import replace

    from ipy_codeinterp.bench.projection.demand import Demand

    assert isinstance(asked, Demand)
    parts = [
        project(terms("a"), replace(asked, right=Share(one))),
        project(terms("b", "3", "15"), replace(asked, right=Share(other))),
    ]
    mixed = mix(parts, [part, 1 - part])
    critical = mix(parts, hybrid(parts, Share(part)))

    months = sorted(each.month or Decimal(0) for each in parts)
    for found in (mixed, critical):
        assert found.month is not None and found.right is not None
        assert months[0] - Decimal("1e-9") <= found.month <= months[1] + Decimal("1e-9")
        assert min(one, other) <= found.right <= max(one, other)
