"""Projections as JSON, whose form has a version: `null` is unknown, `lower_bound` says that amounts are at least that.

Amounts and figures are texts of decimals, so that none is rounded on its way.
"""

from __future__ import annotations

import json
import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from ipy_codeinterp.bench.intervals import Interval
from ipy_codeinterp.bench.projection.currency import Currency
from ipy_codeinterp.bench.projection.demand import Demand, Mean, Share
from ipy_codeinterp.bench.projection.own_month import Month
from ipy_codeinterp.bench.projection.project_report import Report, day_of
from ipy_codeinterp.bench.projection.sensitivity import Lever
from ipy_codeinterp.catalog import Price

FORM = "ipy-codeinterp/projection/1"  # the number goes up when a field changes its meaning, or goes
NANO = Decimal("1e-9")


def as_json(report: Report) -> str:
    return json.dumps(facts(report), indent=2)


def facts(report: Report) -> dict[str, Any]:
    """All of it, of what JSON knows."""
    money = Money(report.currency)
    return {
        "schema": FORM,
        "currency": {"name": report.currency.name, "per_usd": plain(report.currency.per_usd)},
        "seed": report.seed,
        "ledger": [_month(money, month) for month in report.months],
        "projections": [
            {
                "offer": each.terms.name,
                "price": _price_facts(each.terms.price),
                "demand": _demand_facts(each.demand),
                "call": money(each.call),
                "month": money(each.month),
                "month_interval": money.interval(each.month_interval),
                "success": money(each.a_success),
                "success_interval": money.interval(each.success_interval),
                "lower_bound": each.is_least,
                "notes": list(each.notes),
                "levers": [_lever(money, lever) for lever in levers],
            }
            for each, levers in zip(report.projections, report.levers, strict=True)
        ],
        "break_even": [
            {
                "dear": each.dear,
                "cheap": each.cheap,
                "pays": each.pays,
                "error_cost": money(each.error_cost),
                "interval": money.interval(each.interval),
            }
            for each in report.break_evens
        ],
        "mixes": [
            {
                "shares": {name: plain(share) for name, share in each.shares},
                "month": money(each.month),
                "month_interval": money.interval(each.month_interval),
                "success": money(each.a_success),
                "right": plain(each.right),
                "lower_bound": each.is_least,
            }
            for each in report.mixes
        ],
    }


class Money:
    """Amounts of USD as texts in the currency of the report."""

    def __init__(self, currency: Currency) -> None:
        self._currency = currency

    def __call__(self, usd: Decimal | None) -> str | None:
        return None if usd is None else plain(self._currency.amount(usd))

    def interval(self, interval: Interval | None) -> dict[str, str | None] | None:
        """An end that is null has no bound."""
        if interval is None:
            return None
        ends = {"low": interval.low, "high": interval.high}
        return {name: self(Decimal(end)) if math.isfinite(end) else None for name, end in ends.items()}


def plain(number: Decimal | None) -> str | None:
    """To nine places, without what says nothing."""
    if number is None:
        return None
    exact = number.quantize(NANO, ROUND_HALF_EVEN).normalize() + 0
    return f"{exact:f}"


def _price_facts(price: Price | None) -> dict[str, str | None] | None:
    if price is None:
        return None
    return {
        "input": plain(price.input),
        "output": plain(price.output),
        "source": price.source,
        "checked": day_of(price),
    }


def _demand_facts(demand: Demand) -> dict[str, Any]:
    use = demand.containers
    return {
        "calls": plain(demand.calls.value),
        "calls_counted": demand.calls.seen,
        "input_tokens": _mean_facts(demand.tokens.input),
        "output_tokens": _mean_facts(demand.tokens.output),
        "attempts": _mean_facts(demand.attempts),
        **{name: _share_facts(getattr(demand, name)) for name in ("cache", "batch", "success", "right")},
        "containers": None
        if use is None
        else {"minutes": plain(use.minutes), "memory": use.memory, "calls": plain(use.calls)},
    }


def _mean_facts(mean: Mean | None) -> dict[str, Any] | None:
    return None if mean is None else {"mean": plain(mean.value), "deviation": plain(mean.deviation), "n": mean.n}


def _share_facts(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    within = share.interval
    ends = {"low": round(within.low, 9), "high": round(within.high, 9)} if within else None
    return {"share": plain(share.value), "n": share.n, "interval": ends}


def _lever(money: Money, lever: Lever) -> dict[str, Any]:
    return {
        "name": lever.name,
        "factors": [plain(factor) for factor in lever.factors],
        "month": [money(usd) for usd in lever.month],
        "success": [money(usd) for usd in lever.a_success],
        "measured": lever.is_measured,
    }


def _month(money: Money, month: Month) -> dict[str, Any]:
    return {
        "offer": month.offer or None,
        "calls": month.calls,
        "days": round(month.window.total_seconds() / 86400, 6),
        "billed": money(month.billed),
        "unknown": month.unknown,
        "untold": month.untold,
    }
