"""What `project` does: from a line to offers and demands, to projections with their intervals, to what is shown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ipy_codeinterp import catalog, looking_back
from ipy_codeinterp.bench.projection import currency, given, monte_carlo, own_month, project_json, project_report
from ipy_codeinterp.bench.projection.bill import Projection, Terms, project
from ipy_codeinterp.bench.projection.break_even import BreakEven, Mix, break_even, hybrid, mix
from ipy_codeinterp.bench.projection.demand import ONE, Calls, Demand, Mean, Tokens, Use
from ipy_codeinterp.bench.projection.monte_carlo import Drawn
from ipy_codeinterp.bench.projection.own_month import Month
from ipy_codeinterp.bench.projection.project_report import Report
from ipy_codeinterp.bench.projection.sensitivity import levers
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import database, place, stats

EXAMPLE = "project gpt@openai claude@anthropic --calls 200000 --input 500 --output 2000"
Case = tuple[Terms, Demand]


def said(settings: Settings, options: argparse.Namespace) -> str:
    """The answer of the verb. Raises `InvalidInput` and `UnknownName` for what makes no sense."""
    report = reported(settings, options)
    if report is None:
        report = Report((), ())
        return project_json.as_json(report) if options.json else f"no calls to go on from in the ledger: {EXAMPLE}"
    if options.json:
        return project_json.as_json(report)
    return project_report.text(report, sensitivity=options.sensitivity)


def reported(settings: Settings, options: argparse.Namespace) -> Report | None:
    """None where it is asked of the ledger, and there is nothing in it."""
    money = currency.of(options.currency, (options.rate and given.positive("--rate", options.rate)) or None)
    found, months = cases(settings, options)
    if not found:
        return None
    plain = [project(terms, demand) for terms, demand in found]
    drawn = monte_carlo.draw(plain, seed=options.seed)
    projections = [monte_carlo.with_intervals(*each) for each in zip(plain, drawn, strict=True)]
    return Report(
        tuple(projections),
        tuple(tuple(levers(each)) for each in projections),
        tuple(_break_evens(projections, drawn)),
        tuple(_mixes(options, projections, drawn)),
        tuple(months),
        money,
        options.seed,
    )


def _break_evens(projections: Sequence[Projection], drawn: Sequence[Drawn]) -> list[BreakEven]:
    """Each offer against the cheapest."""
    priced = [i for i, each in enumerate(projections) if each.call is not None]
    if not priced:
        return []
    cheapest = min(priced, key=lambda i: (projections[i].call, i))
    return [
        break_even(projections[cheapest], projections[i], (drawn[cheapest], drawn[i])) for i in priced if i != cheapest
    ]


def _mixes(options: argparse.Namespace, projections: Sequence[Projection], drawn: Sequence[Drawn]) -> list[Mix]:
    wanted = []
    if options.mix:
        wanted.append([given.share("--mix", part).value for part in options.mix.split(",")])
    if options.critical:
        wanted.append(list(hybrid(projections, given.share("--critical", options.critical))))
    return [mix(projections, shares, drawn) for shares in wanted]


# --- offers and demands ---------------------------------------------------------------------------


def cases(settings: Settings, options: argparse.Namespace) -> tuple[list[Case], list[Month]]:
    """Each offer with what is asked of it, and what of that was counted in the ledger."""
    named = given.distinct([given.terms(each, settings) for each in options.offers])
    is_own = options.last_month or options.since or not (options.calls or options.input or options.output)
    if not is_own:
        named = named or [given.terms(each, settings) for each in makers()]
        empty = Demand(Calls(Decimal(0)), Tokens())
        return _with_given(options, [(terms, empty) for terms in named], is_own=False), []
    months = _own(settings, options, pooled=bool(named))
    if named:
        pairs = [(terms, months[0].demand) for terms in named] if months else []
    else:
        pairs = [(_terms_of(month.offer, settings), month.demand) for month in months]
    return _with_given(options, pairs, is_own=True), months


def makers() -> list[str]:
    """The model that each maker's own alias names."""
    named = [(provider, model) for provider in catalog.providers().values() for model in provider.models]
    return [f"{model.name}@{provider.name}" for provider, model in named if provider.maker and model.aliases]


def _own(settings: Settings, options: argparse.Namespace, *, pooled: bool) -> list[Month]:
    window = looking_back.window(options.since) if options.since else stats.MONTH
    with database.reading(place.of(settings.data_dir).path) as connection:
        calls = list(stats.calls(connection, _before(window))) if connection else []
    if pooled:
        return [own_month.month(calls, window)] if calls else []
    return own_month.months(calls, window)


def _before(window: timedelta) -> datetime:
    return datetime.now(UTC) - window


def _terms_of(offer: str, settings: Settings) -> Terms:
    """Of an offer that the ledger has: it may be gone from the catalog, and its price with it."""
    try:
        return given.terms(offer, settings)
    except UnknownName:
        return Terms(offer)


def _with_given(options: argparse.Namespace, pairs: Sequence[Case], *, is_own: bool) -> list[Case]:
    """What was said on the line takes the place of what was counted."""
    if not is_own and not (options.calls and (options.input or options.output)):
        raise InvalidInput("a month has calls, and calls have tokens", hint=f"say how many: {EXAMPLE}")
    number = len(pairs)
    said = {
        flag: given.each(f"--{flag.replace('_', '-')}", getattr(options, flag), number)
        for flag in ("input", "output", "success", "right", "attempts", "cache", "batch", *CONTAINERS)
    }
    return [
        (terms, _given(options, demand, {flag: words[i] for flag, words in said.items()}))
        for i, (terms, demand) in enumerate(pairs)
    ]


CONTAINERS = ("container_minutes", "calls_per_container", "memory")


def _given(options: argparse.Namespace, demand: Demand, said: dict[str, str | None]) -> Demand:
    changes: dict[str, Any] = {}
    if options.calls:
        changes["calls"] = Calls(given.number("--calls", options.calls))
    if said["input"] or said["output"]:
        tokens = given.tokens(said["input"], said["output"])
        counted = demand.tokens
        mixed = Tokens(tokens.input or counted.input, tokens.output or counted.output)
        changes["tokens"] = tokens if tokens.pairs else mixed
    for name in ("success", "right", "cache", "batch"):
        if (word := said[name]) is not None:
            changes[name] = given.share(f"--{name}", word)
    if (word := said["attempts"]) is not None:
        changes["attempts"] = Mean(given.number("--attempts", word, least=1))
    changes["containers"] = _use(said)
    return replace(demand, **changes)


def _use(said: dict[str, str | None]) -> Use | None:
    minutes, calls, memory = (said[name] for name in CONTAINERS)
    if minutes is None:
        if calls or memory:
            raise InvalidInput("nobody said how long a container is used", hint="say it: --container-minutes 5")
        return None
    return Use(
        given.number("--container-minutes", minutes),
        given.memory("--memory", memory) if memory else None,
        given.number("--calls-per-container", calls, least=1) if calls else ONE,
    )
