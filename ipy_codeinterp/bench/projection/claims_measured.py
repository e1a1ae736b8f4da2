"""What the article says it measured, and what its costs leave out: percentiles, warm-up, its controller's estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from ipy_codeinterp import catalog, warm
from ipy_codeinterp.bench.projection import article
from ipy_codeinterp.bench.projection.article import GPT
from ipy_codeinterp.bench.projection.currency import USD
from ipy_codeinterp.bench.projection.demand import LEVEL
from ipy_codeinterp.bench.projection.verdict import Verdict, Word
from ipy_codeinterp.catalog import container_cost
from ipy_codeinterp.catalog.prices import MILLION, NOTHING
from ipy_codeinterp.store.stats import MONTH

Ends = tuple[Decimal, Decimal]
ENDS = ("least", "most")


def least_for(percent: int) -> int:
    """The fewest calls whose slowest is above that percentile with 95 % confidence, whatever the distribution."""
    return math.ceil(math.log(1 - LEVEL) / math.log(percent / 100))


def p99() -> Verdict:
    """Proven would be one from as many calls as bound it."""
    needed, each = least_for(99), article.EXAMPLE_CALLS // len(article.P99)
    shown = " and ".join(f"{seconds} s" for seconds in article.P99.values())
    enough = "enough" if article.CYCLES // len(article.P99) >= needed else "too few"
    word: Word = "right" if each >= needed else "unproven"
    return Verdict(
        "p99",
        f"p99 of {shown}",
        word,
        (
            f"from how many is not said: a p99 is bounded by {needed} calls or more, a p95 by {least_for(95)}",
            f"its listing makes {each} at each model, which bound it with {100 * (1 - 0.99**each):.1f} % confidence;"
            f" half of its {article.CYCLES:,} cycles would be {enough}",
        ),
        {"needed": Decimal(needed), "needed_p95": Decimal(least_for(95)), "listing": Decimal(each)},
    )


def warm_up() -> Verdict:
    """Left out is what costs something, and is in no row of its table."""
    calls = MONTH // article.WARM_EVERY
    bills = _containers(calls)
    assert GPT.price is not None
    tokens = calls * (GPT.price.of(warm.TYPICAL) or NOTHING)
    ends = {f"{name}_{end}": usd for name, pair in bills.items() for end, usd in zip(ENDS, pair, strict=True)}
    return Verdict(
        "warm-up",
        f"warm-up requests every {article.WARM_EVERY // timedelta(minutes=1)} minutes",
        "left out" if tokens or any(ends.values()) else "right",
        (
            f"{calls:,} calls a month, if it is all day: {USD.say(tokens)} of GPT-4.1's tokens, and containers:",
            *(f"{catalog.provider(name).title}: {_range(name, pair)}" for name, pair in bills.items()),
        ),
        {"calls": Decimal(calls), "tokens": tokens, **ends},
    )


def _containers(calls: int) -> Mapping[str, Ends]:
    """USD a month at each provider that bills containers: one that is kept alive, and a new one for each call."""
    found = {}
    for name, provider in catalog.providers().items():
        kept = container_cost(provider.container, MONTH.total_seconds())
        anew = container_cost(provider.container, article.WARM_EVERY.total_seconds())
        if kept is not None and anew is not None:
            ends = kept.most, anew.most * calls
            found[name] = min(ends), max(ends)
    return found


def _range(name: str, ends: Ends) -> str:
    """With what is free of it."""
    low, high = map(USD.say, ends)
    said = low if low == high else f"{low} if one stays alive, {high} if each call begins one"
    price = catalog.provider(name).container
    return said + (f", less {price.free / 3600:,.0f} hours that are free" if price and price.free else "")


def estimate() -> Verdict:
    """What its controller calls a month, for the calls of its own example."""
    assert GPT.price is not None
    tokens = Decimal(article.CONTROLLER_CALLS * article.CONTROLLER_TOKENS)
    claimed, true = (tokens * rate / MILLION for rate in (article.CONTROLLER_RATE, GPT.price.output))
    return Verdict(
        "estimate",
        "its controller's estimated_monthly_cost",
        "right" if claimed == true else "wrong",
        (
            f"the {article.CONTROLLER_CALLS} calls of its example come to {USD.say(claimed)} by its rate, to"
            f" {USD.say(true)} by its prices: {true / claimed:.0f} times as much",
            f"times {article.CONTROLLER_FACTOR:,}, whether they took a minute or a week: a month needs a time",
        ),
        {"claimed": claimed, "true": true},
    )
