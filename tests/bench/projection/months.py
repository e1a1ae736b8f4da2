"""Months and prices by hand, for tests of what they come to."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from ipy_codeinterp.bench.projection.bill import Terms
from ipy_codeinterp.bench.projection.demand import Calls, Demand, Mean, Share, Tokens
from ipy_codeinterp.catalog import ContainerPrice, Price, Rates

DAY = date(2026, 1, 1)


def terms(name: str = "a", input: str = "2", output: str = "8", **more: Any) -> Terms:
    return Terms(name, Price(Decimal(input), Decimal(output), "a test", DAY), **more)


def cheap_batch(input: str, output: str) -> Price:
    return Price(Decimal(input), Decimal(output), "a test", DAY)


def containers(unit: float = 1200, price: str = "0.03", **more: Any) -> ContainerPrice:
    return ContainerPrice(unit, ((1 << 30, Decimal(price)),), "a test", DAY, **more)


def demand(calls: int = 1000, input: int | None = 500, output: int | None = 2000, **more: Any) -> Demand:
    tokens = Tokens(*(None if each is None else Mean(Decimal(each)) for each in (input, output)))
    return Demand(Calls(Decimal(calls)), tokens, **more)


def share(value: str) -> Share:
    return Share(Decimal(value))


def rates(input: str = "2", output: str = "8", **more: Any) -> Rates:
    return Rates(Decimal(input), Decimal(output), **more)
