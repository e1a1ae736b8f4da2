"""The verb `project`: the monthly bill of what was said on the line, or of what the ledger has counted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ipy_codeinterp.verbs import Verb

if TYPE_CHECKING:
    from ipy_codeinterp.settings import Settings

SHARE = "0.97, 97%% or, counted, 471/500"


def add(parser: argparse.ArgumentParser) -> None:
    """In groups: there are many."""
    what = "an offer (gpt@openai), or a price of your own (relay=1.6/6.4, USD per million tokens in and out)"
    parser.add_argument("offers", nargs="*", metavar="OFFER", help=f"{what}; default: the makers' own")
    parser.add_argument("--article", action="store_true", help="the article's four rows, and each of its claims")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    asked = parser.add_argument_group("what a month asks", "one value for all offers, or one for each: 2000,2500")
    asked.add_argument("--calls", metavar="N", help="calls a month, of all offers")
    sizes = "a mean, 5th:50th:95th percentile, or @FILE with a number a line"
    asked.add_argument("--input", metavar="TOKENS", help=f"into one attempt: {sizes}")
    asked.add_argument("--output", metavar="TOKENS", help="out of one attempt, likewise")
    asked.add_argument("--success", metavar="SHARE", help=f"of the calls that are sent, those that end well: {SHARE}")
    asked.add_argument("--right", metavar="SHARE", help="of the answers, those that are right, likewise")
    asked.add_argument("--attempts", metavar="N", help="that a call takes on average (default: 1)")
    asked.add_argument("--cache", metavar="SHARE", help="of the calls, those that the cache answers for nothing")
    asked.add_argument("--batch", metavar="SHARE", help="of the attempts, those that may wait for a cheaper batch")
    asked.add_argument("--container-minutes", metavar="M", help="that a container is used, once for each call")
    asked.add_argument("--calls-per-container", metavar="N", help="that share one (default: 1)")
    asked.add_argument("--memory", metavar="4g", help="of a container (default: the offer's)")
    own = parser.add_argument_group("from the ledger", "what was counted there stands in for what is not given")
    own.add_argument("--last-month", action="store_true", help="my own last month (default without --calls and tokens)")
    own.add_argument("--since", metavar="30d", help="calls of this long, as a month's: minutes, hours, days, weeks")
    told = parser.add_argument_group("what is told")
    told.add_argument("--critical", metavar="SHARE", help="this share to the most accurate, the rest to the cheapest")
    told.add_argument("--mix", metavar="SHARES", help="give each offer its share of the calls: 80%%,20%%")
    told.add_argument("--sensitivity", action="store_true", help="what each figure does to the bill, most first")
    told.add_argument("--currency", metavar="CNY", help="tell amounts in it, at --rate (default: USD)")
    told.add_argument("--rate", metavar="N", help="what one US dollar costs in it")
    told.add_argument("--seed", type=int, default=1, metavar="N", help="of the draws behind intervals (default: 1)")


def run(settings: Settings, options: argparse.Namespace) -> str:
    from ipy_codeinterp.bench.projection import article_report, projecting

    return article_report.said(settings, options) if options.article else projecting.said(settings, options)


VERB = Verb("project", "say what a month costs, from given figures or from the ledger's", add, run)
