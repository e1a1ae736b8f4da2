"""What the article claims of one model against the other: costs, accuracy, when the dearer one pays, a mix of both."""

from __future__ import annotations

from decimal import Decimal

from ipy_codeinterp.bench.intervals import wilson
from ipy_codeinterp.bench.projection import article
from ipy_codeinterp.bench.projection.article import CLAUDE, GPT, MEDIUM, ROWS
from ipy_codeinterp.bench.projection.break_even import Mix, hybrid, mix
from ipy_codeinterp.bench.projection.currency import USD
from ipy_codeinterp.bench.projection.demand import Share
from ipy_codeinterp.bench.projection.verdict import Verdict, Word, whole
from ipy_codeinterp.catalog.prices import NOTHING

SHOWN_N = 500  # where intervals of its accuracies are shown: it does not say from how many they are
HALF = Decimal("0.5")  # what a figure without decimals may be off


def table() -> Verdict:
    found = [article.reckoned(row) for row in ROWS]
    wrong = [each.row.name for each in found if not each.agrees]
    said = f"not so: {', '.join(wrong)}" if wrong else "all the same to the cent"
    return Verdict("table", "its table of costs", "wrong" if wrong else "right", (f"{3 * len(found)} amounts: {said}",))


def premium() -> Verdict:
    """It is one of a whole bill only where the ratio of input prices is the same."""
    ratios = [_ratio(Decimal(times) * MEDIUM.output) for times in (0, 1, 4)]
    assert GPT.price and CLAUDE.price
    of_input = CLAUDE.price.input / GPT.price.input
    word: Word = "wrong" if ratios[0] != article.PREMIUM else "right" if of_input == ratios[0] else "partly"
    without, with_input = (article.months(MEDIUM, each) for each in (None, Decimal(MEDIUM.output)))
    return Verdict(
        "premium",
        f"a {article.PREMIUM}x cost premium",
        word,
        (
            f"{ratios[0]:.4g}x is the ratio of output prices, {of_input:.4g}x that of input prices",
            f"of a bill it is {ratios[1]:.4g}x with as many tokens in as out, {ratios[2]:.4g}x with four times as many",
            f"its table has no input: as many in as out make {_both(without)} ({MEDIUM.name}) into {_both(with_input)}",
        ),
        {"output_ratio": ratios[0], "input_ratio": of_input, "equal_ratio": ratios[1]},
    )


def _ratio(input_tokens: Decimal) -> Decimal:
    gpt, claude = article.months(MEDIUM, input_tokens)
    return claude / gpt


def accuracy() -> Verdict:
    """Whatever "better" may mean: one of the readings has to be the claimed figure."""
    gpt, claude = article.GPT_RIGHT.value, article.CLAUDE_RIGHT.value
    points, more, fewer = 100 * (claude - gpt), 100 * (claude / gpt - 1), 100 * (1 - (1 - claude) / (1 - gpt))
    meant = any(abs(reading - article.BETTER) < HALF for reading in (points, more, fewer))
    low, high = (wilson(round(share * SHOWN_N), SHOWN_N) for share in (gpt, claude))
    shown = " and ".join(f"{100 * each.low:.1f}-{100 * each.high:.1f}" for each in (low, high))
    return Verdict(
        "accuracy",
        f"{article.BETTER} % better accuracy",
        "right" if meant else "wrong",
        (
            f"{100 * gpt:.1f} % against {100 * claude:.1f} % is {points:.1f} points, {more:.1f} % more right answers,"
            f" {fewer:.0f} % fewer errors",
            f"from how many is not said: from {SHOWN_N} they would be {shown} % (95 %),"
            f" which {'do not meet' if low.high < high.low else 'overlap'}",
        ),
        {"points": points, "more_right": more, "fewer_errors": fewer},
    )


def even() -> Verdict:
    """A ratio of prices could stand for it only if every row broke even at the same cost of an error."""
    costs = [article.reckoned(row).error_cost for row in ROWS]
    return Verdict(
        "break-even",
        f"it pays when the impact exceeds the {article.PREMIUM}x premium",
        "right" if len(set(costs)) == 1 else "wrong",
        (
            f"it pays when one wrong answer costs more than {', '.join(map(USD.fine, costs))}, row by row",
            "(difference of cost a call) / (difference of accuracy) is an amount, not a ratio:"
            f" {max(costs) / min(costs):.0f} times as much in one row as in another",
        ),
        {f"row_{i}": cost for i, cost in enumerate(costs, 1)},
    )


def recommended() -> Verdict:
    """A mix is sound where it costs, and is right, between its parts."""
    parts = article.both(MEDIUM)
    mixes = [mix(parts, hybrid(parts, Share(share))) for share in article.SHOWN_CRITICAL]
    ends = article.months(MEDIUM)
    shown = [
        f"{100 * share:.0f} % critical {whole(each.month)}, {100 * (each.right or NOTHING):.2f} % right"
        for share, each in zip(article.SHOWN_CRITICAL, mixes, strict=True)
    ]
    return Verdict(
        "hybrid",
        "default to GPT-4.1, what is critical to Claude",
        "right" if all(_is_between(each, ends) for each in mixes) else "wrong",
        (
            f"{MEDIUM.name}, between {_both(ends)}: {'; '.join(shown)}",
            "if accuracy is the same on all calls; critical is a call whose error costs more than the break-even",
        ),
        {f"critical_{100 * s:.0f}": m.month or NOTHING for s, m in zip(article.SHOWN_CRITICAL, mixes, strict=True)},
    )


def _is_between(mixed: Mix, ends: tuple[Decimal, Decimal]) -> bool:
    right = article.GPT_RIGHT.value < (mixed.right or NOTHING) < article.CLAUDE_RIGHT.value
    return right and ends[0] < (mixed.month or NOTHING) < ends[1]


def _both(months: tuple[Decimal, Decimal]) -> str:
    return " and ".join(map(whole, months))
