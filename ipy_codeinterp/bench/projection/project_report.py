"""Projections as a text of tables: a dash is unknown, `>=` marks a lower bound.

Amounts are in the currency that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp.bench.intervals import Interval
from ipy_codeinterp.bench.projection import given
from ipy_codeinterp.bench.projection.bill import Projection
from ipy_codeinterp.bench.projection.break_even import BreakEven, Mix
from ipy_codeinterp.bench.projection.currency import USD, Currency
from ipy_codeinterp.bench.projection.demand import Demand, Share
from ipy_codeinterp.bench.projection.own_month import Month
from ipy_codeinterp.bench.projection.sensitivity import CALLS, Lever
from ipy_codeinterp.catalog import Price
from ipy_codeinterp.tables import UNKNOWN, cell, columns


@dataclass(frozen=True, slots=True)
class Report:
    """All that one projection says. `levers` are by offer, in the order of `projections`."""

    projections: tuple[Projection, ...]
    levers: tuple[tuple[Lever, ...], ...]
    break_evens: tuple[BreakEven, ...] = ()
    mixes: tuple[Mix, ...] = ()
    months: tuple[Month, ...] = ()
    currency: Currency = USD
    seed: int = 1


# --- as text --------------------------------------------------------------------------------------


def text(report: Report, *, sensitivity: bool = False) -> str:
    """What was counted, what a month asks, what it costs, what moves that, when the dearer one pays."""
    parts = [
        "\n".join(_counted(report)),
        _asked(report.projections),
        _bills(report),
        "\n".join(_most(report)) if not sensitivity else "\n\n".join(_tornados(report)),
        _break_evens(report),
        "\n".join(_mixes(report)),
        "\n".join(f"{each.terms.name}: {note}" for each in report.projections for note in each.notes),
    ]
    if report.currency != USD:
        parts.append(f"1 USD is {report.currency.per_usd} {report.currency.name}, as you said")
    return "\n\n".join(filter(None, parts))


def _counted(report: Report) -> Iterator[str]:
    for month in report.months:
        billed = report.currency.say(month.billed, is_least=bool(month.unknown))
        days = f"{month.window.total_seconds() / 86400:.4g} d"
        yield f"in the ledger: {month.calls} calls in {days}, billed {billed}" + (month.offer and f" ({month.offer})")
        if month.untold:
            yield f"of {month.untold} of these nobody said how many tokens they took: they count as the others"


def _asked(projections: Sequence[Projection]) -> str:
    head = ("A MONTH ASKS", "CALLS", "IN", "OUT", "ATTEMPTS", "CACHE", "BATCH", "SUCCESS", "RIGHT")
    demands = [each.demand for each in projections]
    if all(demand == demands[0] for demand in demands):
        return columns(head, [("all", *_demand(demands[0]))])
    return columns(head, [(cell(each.terms.name), *_demand(each.demand)) for each in projections])


def _demand(demand: Demand) -> tuple[str, ...]:
    tokens = (UNKNOWN if each is None else f"{each.value:,.0f}" for each in (demand.tokens.input, demand.tokens.output))
    shares = (demand.cache, demand.batch, demand.success, demand.right)
    return f"{demand.calls.value:,.0f}", *tokens, f"{demand.attempts.value:.4g}", *map(_share, shares)


def _share(share: Share | None) -> str:
    """With its interval, where it was counted."""
    if share is None:
        return UNKNOWN
    within = share.interval
    return _percent(share.value) + (f" ({100 * within.low:.1f}-{100 * within.high:.1f})" if within else "")


def _percent(value: Decimal) -> str:
    return f"{100 * float(value):.4g} %"


def _bills(report: Report) -> str:
    say, bills = report.currency.say, report.projections
    table = [
        ("OFFER", [cell(each.terms.name) for each in bills]),
        ("A CALL", [say(each.call, is_least=each.is_least) for each in bills]),
        ("A MONTH", [say(each.month, is_least=each.is_least) for each in bills]),
        *_intervals(report.currency, [each.month_interval for each in bills]),
        ("A SUCCESS", [say(each.a_success, is_least=each.is_least) for each in bills]),
        *_intervals(report.currency, [each.success_interval for each in bills]),
    ]
    rows = zip(*(column for _, column in table), strict=True)
    priced = [(*row, *_price(each)) for row, each in zip(rows, bills, strict=True)]
    return columns((*(head for head, _ in table), "IN", "OUT", "AS OF", "SOURCE"), priced)


def _intervals(currency: Currency, intervals: Sequence[Interval | None]) -> list[tuple[str, list[str]]]:
    """A column, where there are any."""
    return [("95 %", [_within(currency, each) for each in intervals])] if any(intervals) else []


def _price(projection: Projection) -> tuple[str, str, str, str]:
    price = projection.terms.price
    if price is None:
        return (UNKNOWN,) * 4
    return f"{price.input.normalize():f}", f"{price.output.normalize():f}", day_of(price) or UNKNOWN, price.source


def day_of(price: Price) -> str | None:
    """Of what somebody said just now there is none."""
    return None if price.source == given.GIVEN else str(price.checked)


def _within(currency: Currency, interval: Interval | None) -> str:
    if interval is None or math.isinf(interval.low):
        return UNKNOWN
    ends = [currency.say(end) if math.isfinite(end) else "no bound" for end in (interval.low, interval.high)]
    return " to ".join(ends)


def _most(report: Report) -> Iterator[str]:
    for projection, levers in zip(report.projections, report.levers, strict=True):
        most = next((each for each in levers if each.name != CALLS), None)  # of course it goes with those
        if most:
            ends = " to ".join(report.currency.say(usd) for usd in most.month)
            yield f"{projection.terms.name}: the month depends most on {most.name} ({_ends(most)}): {ends}"


def _tornados(report: Report) -> Iterator[str]:
    for projection, levers in zip(report.projections, report.levers, strict=True):
        rows = [
            (each.name, _ends(each), *map(report.currency.say, each.month), *map(report.currency.say, each.a_success))
            for each in levers
        ]
        if rows:
            head = (cell(projection.terms.name), "CHANGE", "A MONTH", "TO", "A SUCCESS", "TO")
            yield columns(head, rows)


def _ends(lever: Lever) -> str:
    low, high = (100 * (factor - 1) for factor in lever.factors)
    return f"{low:+.1f} to {high:+.1f} %" if lever.is_measured else f"{low:+.0f} to {high:+.0f} %"


def _break_evens(report: Report) -> str:
    rows = []
    for each in report.break_evens:
        said = {"never": "never: it is not more often right", "unknown": UNKNOWN}.get(each.pays)
        known = report.currency.fine(each.error_cost) if said is None else said
        rows.append((cell(each.dear), cell(each.cheap), known, _within(report.currency, each.interval)))
    if not any(each.pays != "unknown" for each in report.break_evens):
        return ""
    return columns(("THIS PAYS", "INSTEAD OF", "WHEN A WRONG ANSWER COSTS MORE THAN", "95 %"), rows)


def _mixes(report: Report) -> Iterator[str]:
    say = report.currency.say
    for each in report.mixes:
        parts = " + ".join(f"{_percent(share)} {name}" for name, share in each.shares if share)
        within = f" ({_within(report.currency, each.month_interval)})" if each.month_interval else ""
        right = "" if each.right is None else f", {_percent(each.right)} right"
        success = "" if each.a_success is None else f", {say(each.a_success, is_least=each.is_least)} a success"
        yield f"{parts}: {say(each.month, is_least=each.is_least)} a month{within}{success}{right}"
