"""What the article claims of the gateway it was measured through: a rate of yuan, savings, a switch that pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from ipy_codeinterp import catalog
from ipy_codeinterp.bench.projection import article
from ipy_codeinterp.bench.projection.article import LIGHT, MEDIUM
from ipy_codeinterp.bench.projection.bill import Terms, project
from ipy_codeinterp.bench.projection.currency import USD
from ipy_codeinterp.bench.projection.demand import ONE, Demand
from ipy_codeinterp.bench.projection.verdict import Verdict, Word, whole
from ipy_codeinterp.errors import UnknownName

MAKER, GATEWAY = "gpt-4.1@openai", "gpt-4.1@holysheep"
YEN = "\N{YEN SIGN}"


@dataclass(frozen=True, slots=True)
class Mine:
    """What the reader's own month asks, of the offer of today and of the one to switch to."""

    now: Terms
    then: Terms
    demand: Demand
    is_given: bool = True


def own_row() -> Mine:
    """The row of its table that has as many calls as it says are enough."""
    now, then = (listed(name) or Terms(name) for name in (MAKER, GATEWAY))
    return Mine(now, then, article.demand(LIGHT, article.GPT_RIGHT), is_given=False)


def listed(name: str) -> Terms | None:
    """An offer of the catalog; None where it has it no longer."""
    model, _, where = name.partition("@")
    try:
        return Terms.of(catalog.offer(model, catalog.provider(where)))
    except UnknownName:
        return None


def yuan() -> Verdict:
    """A claim about a currency; it would be one about prices if the dollar prices were lower, too."""
    off, dollars = _currency_off(), _dollars_off()
    word: Word = "wrong" if off < article.YUAN_OFF else "right" if dollars and dollars >= article.YUAN_OFF else "partly"
    below = "nobody knows how far" if dollars is None else f"{100 * dollars:.1f} %"
    return Verdict(
        "yuan",
        f"{YEN}1 = $1 saves {100 * article.YUAN_OFF:.0f} %+",
        word,
        (
            f"against {YEN}{article.YUAN_LISTED} it is {100 * off:.1f} % off, as a claim about a currency",
            f"of dollar prices it says nothing: that of GPT-4.1 is {below} below its maker's",
        ),
        {"off": off} if dollars is None else {"off": off, "dollars_off": dollars},
    )


def saving() -> Verdict:
    """Of the gateway it is only if the same model costs so much less there than at its maker."""
    gpt, claude = article.months(MEDIUM)
    models, saved = (claude - gpt) * article.MONTHS, _saved()
    own = None if saved is None else saved * article.MONTHS
    currency = gpt * article.MONTHS * _currency_off()
    word: Word = "unproven" if own is None else "right" if own >= article.GATEWAY_SAVES else "wrong"
    figures = {"models": models, "currency": currency}
    return Verdict(
        "gateway",
        f"over ${article.GATEWAY_SAVES:,} a year saved by the gateway",
        word,
        (
            f"{whole(models)} is what lies between one model and the other, both through the gateway ({MEDIUM.name})",
            f"between the maker and the gateway, for the same model in dollars, it is {USD.say(own)}",
            f"({USD.say(currency)} would be the {YEN}{article.YUAN_LISTED} claim on GPT-4.1's bill: a currency again)",
        ),
        figures if own is None else {**figures, "gateway": own},
    )


def switch(mine: Mine) -> Verdict:
    """With the reader's own figures: a margin is a difference of prices, and there is one or there is none.

    Where nobody says how long containers are used, tokens alone are compared: one side may bill them, the other not.
    """
    sides = mine.now, mine.then
    biller = next((side for side in sides if side.container and mine.demand.containers is None), None)
    now, then = (project(replace(side, container=None) if biller else side, mine.demand) for side in sides)
    saved = None if now.month is None or then.month is None else now.month - then.month
    word: Word = "unproven" if saved is None else "right" if saved > 0 else "wrong"
    whose = "your" if mine.is_given else f"the {LIGHT.name} row's"
    here, there = (USD.say(each.month, is_least=each.is_least) for each in (now, then))
    lines = [
        f"{whose} {mine.demand.calls.value:,.0f} calls: {here} a month at {mine.now.name}, {there} at"
        f" {mine.then.name}: {USD.say(saved)} saved",
        f"nothing changes at {article.SWITCH_ABOVE:,} calls: what a call saves, the first one saves, too",
    ]
    if biller:
        lines.append(f"tokens alone: {biller.name} bills containers, too, and --container-minutes counts them")
    lines += [f"{each.terms.name}: {note}" for each in (now, then) for note in each.notes]
    claim = f"over {article.SWITCH_ABOVE:,} calls a month, switching is pure margin"
    return Verdict("switch", claim, word, tuple(lines), {} if saved is None else {"saved": saved})


def _currency_off() -> Decimal:
    return ONE - article.YUAN_ASKED / article.YUAN_LISTED


def _dollars_off() -> Decimal | None:
    """How far the gateway's bill is below the maker's; None where nobody knows."""
    saved, bill = _saved(), _at_maker()
    return saved / bill if saved is not None and bill else None


def _saved() -> Decimal | None:
    """USD a month of the row, same model: the maker's tokens less the gateway's."""
    bill = _at_maker()
    return None if bill is None else bill - article.months(MEDIUM)[0]


def _at_maker() -> Decimal | None:
    maker = listed(MAKER)
    return project(maker, article.demand(MEDIUM, article.GPT_RIGHT)).month if maker else None
