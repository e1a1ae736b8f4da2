"""`project --article`: the article's rows reckoned anew and its claims with their verdicts, as a text and as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ipy_codeinterp.bench.projection import article, claims, claims_gateway, given
from ipy_codeinterp.bench.projection.article import Reckoned
from ipy_codeinterp.bench.projection.claims_gateway import Mine
from ipy_codeinterp.bench.projection.currency import USD
from ipy_codeinterp.bench.projection.project_json import plain
from ipy_codeinterp.bench.projection.projecting import cases
from ipy_codeinterp.bench.projection.verdict import Verdict, whole
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.tables import columns

FORM = "ipy-codeinterp/article/1"  # the number goes up when a field changes its meaning, or goes
HEAD = ("WORKLOAD", "CALLS", "OUT", "GPT-4.1", "CLAUDE SONNET 4", "SAVED A YEAR", "AS PRINTED", "EVEN AT AN ERROR OF")
WIDTH = max(map(len, ("unproven", "left out")))


def said(settings: Settings, options: argparse.Namespace) -> str:
    """The answer of the verb. Raises `InvalidInput` and `UnknownName` for what makes no sense."""
    if options.currency or options.rate:
        raise InvalidInput("the article's amounts are US dollars", hint="leave --currency and --rate out")
    rows = [article.reckoned(row) for row in article.ROWS]
    found = claims.verdicts(mine(settings, options))
    return as_json(rows, found) if options.json else text(rows, found)


def mine(settings: Settings, options: argparse.Namespace) -> Mine | None:
    """The reader's own figures, of the line or of the ledger; None where there are none.

    OFFERs are the one of today, and the one to switch to.
    """
    usual = claims_gateway.own_row()
    terms = [given.terms(each, settings) for each in options.offers] or [usual.now, usual.then]
    if len(terms) != 2:
        raise InvalidInput(f"{len(terms)} offers to switch between", hint="name the one of today, and the other")
    if not (options.calls or options.input or options.output or options.last_month or options.since):
        return Mine(terms[0], terms[1], usual.demand, is_given=False)
    options.offers = options.offers or [each.name for each in terms]
    pairs, _ = cases(settings, options)
    if not pairs:
        raise InvalidInput("no calls in the ledger to go on from", hint="say --calls N --input N --output N")
    return Mine(terms[0], terms[1], pairs[0][1])


def text(rows: Sequence[Reckoned], found: Sequence[Verdict]) -> str:
    table = columns(HEAD, [_row(each) for each in rows])
    blocks = ["\n".join(_block(each)) for each in found]
    return "\n".join([table, "output tokens alone, as in the article; USD", "", *blocks])


def _row(each: Reckoned) -> tuple[str, ...]:
    amounts = map(whole, (each.gpt, each.claude, each.saved))
    agrees = "yes" if each.agrees else "no"
    return each.row.name, f"{each.row.calls:,}", f"{each.row.output:,}", *amounts, agrees, USD.fine(each.error_cost)


def _block(verdict: Verdict) -> list[str]:
    return [f"{verdict.word:<{WIDTH}}  {verdict.claim}", *(f"{' ' * WIDTH}    {line}" for line in verdict.found)]


def as_json(rows: Sequence[Reckoned], found: Sequence[Verdict]) -> str:
    """Amounts and figures are texts of decimals, USD."""
    return json.dumps(
        {"schema": FORM, "rows": [_row_facts(each) for each in rows], "claims": [_claim_facts(each) for each in found]},
        indent=2,
        ensure_ascii=False,
    )


def _row_facts(each: Reckoned) -> dict[str, Any]:
    amounts = {"gpt": each.gpt, "claude": each.claude, "saved": each.saved, "error_cost": each.error_cost}
    return {
        "workload": each.row.name,
        "calls": each.row.calls,
        "output_tokens": each.row.output,
        **{name: plain(Decimal(usd)) for name, usd in amounts.items()},
        "as_printed": each.agrees,
    }


def _claim_facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "claim": verdict.claim,
        "verdict": verdict.word,
        "found": list(verdict.found),
        "figures": {name: plain(value) for name, value in verdict.figures.items()},
    }
