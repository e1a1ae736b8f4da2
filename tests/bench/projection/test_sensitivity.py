"""Which figure moves the bill most: ends that make sense, the largest first, and what moves nothing is left out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ipy_codeinterp.bench.projection.bill import Terms, project
from ipy_codeinterp.bench.projection.demand import Mean, Share, Use
from ipy_codeinterp.bench.projection.sensitivity import Lever, levers
from tests.bench.projection.months import containers, demand, share, terms


def found(**more: object) -> dict[str, Lever]:
    return {each.name: each for each in levers(project(terms(), demand(**more)))}  # type: ignore[arg-type]


def test_order_and_ends() -> None:
    """Ten percent more output moves $16 of $17, input $1: the largest comes first."""
    assert list(found()) == ["calls", "output tokens", "attempts a call", "input tokens"]
    assert found()["output tokens"].month == (Decimal("15.4"), Decimal("18.6"))
    assert found()["input tokens"].swing == Decimal("0.2")


def test_a_call_takes_an_attempt() -> None:
    """No end is one that cannot be: less than an attempt a call, a share above all."""
    assert found()["attempts a call"].factors == (1, Decimal("1.1"))
    assert found(cache=share("0.95"))["share from the cache"].factors[1] == Decimal(1) / Decimal("0.95")


def test_measured_ends() -> None:
    """What was counted goes to the ends of its own interval."""
    lever = found(success=Share.counted(480, 500))["success"]

    assert lever.is_measured and lever.swing == 0
    ends = [float(each) for each in lever.a_success if each]
    assert ends == pytest.approx([0.017 / 0.9392, 0.017 / 0.9739], rel=1e-3)


def test_measured_attempts() -> None:
    """A mean that was measured has the ends of its own interval."""
    lever = found(attempts=Mean(Decimal(2), Decimal(1), 100))["attempts a call"]

    assert [float(each) for each in lever.factors] == pytest.approx([1 - 0.098, 1 + 0.098], rel=1e-3)


def test_containers_and_batches() -> None:
    """Containers and batches move a bill where it has them."""
    price = terms(container=containers(60, "0.0015"), batch=terms(input="1", output="4").price)
    asked = demand(containers=Use(Decimal(10), 1 << 30), batch=share("0.5"))

    names = [each.name for each in levers(project(price, asked))]

    assert {"container minutes", "share in batches"} <= set(names)


def test_nothing_to_move() -> None:
    """An unknown bill has no levers, and that of this machine has none that moves it."""
    assert levers(project(Terms("x"), demand())) == []
    assert levers(project(Terms("here", is_free=True), demand())) == []
