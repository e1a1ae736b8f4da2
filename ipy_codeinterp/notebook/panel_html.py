"""What the panel looks like: one table, budgets and jobs; live with classes, left behind with inline styles, as text.

The live one is sent again with every update, so it is kept short: its style sheet is sent once, and of many offers
only the latest are shown. What is left behind is built from tables and plain inline styles: that is what survives in
saved notebooks, nbconvert, GitHub and untrusted pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from html import escape
from operator import eq

from ipy_codeinterp.amounts import UNKNOWN, money, seconds
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook.reading import Purse, Reading
from ipy_codeinterp.store.meter import Sums
from ipy_codeinterp.tables import columns

TITLE = "Interpreter calls of this session"
MOST_OFFERS = 2  # with a row of their own: the latest
MOST_NAME = 28  # characters of an offer
BARS = "▁▂▃▄▅▆▇█"
ALL = "all"
NO_FORMULA = "tex2jax_ignore mathjax_ignore"  # two dollars are none

HEADS = ("offer", "calls", "failures", "success", "billed", "list price ~", "p50", "p95", "p99", "latest", "now")

# With a theme's own colours where there are any: JupyterLab's, VS Code's, else those of the text around it.
SHEET = """<style>
.interp-panel { color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit)); font-size: 13px; line-height: 1.5 }
.interp-panel table { border-collapse: collapse; margin: 0; border: 1px solid
  var(--jp-border-color1, var(--vscode-panel-border, #8886)); color: inherit; background: none; font-size: inherit }
.interp-panel caption { text-align: left; caption-side: top; padding: 0 0 4px; color: inherit }
.interp-panel th, .interp-panel td { padding: 2px 10px; text-align: right; white-space: nowrap; border: none;
  background: none; color: inherit; font-weight: normal }
.interp-panel thead th { color: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, inherit)) }
.interp-panel tr > :first-child { text-align: left }
.interp-panel tr:last-child > * { font-weight: 600 }
.interp-panel p { margin: 4px 0 0 }
</style>"""

PLAIN = {
    "panel": "font-size: 13px; line-height: 1.5",
    "table": "border-collapse: collapse; border: 1px solid #8886",
    "caption": "text-align: left; caption-side: top; padding: 0 0 4px",
    "cell": "padding: 2px 10px; text-align: right; white-space: nowrap; border: none; font-weight: normal",
    "name": "padding: 2px 10px; text-align: left; white-space: nowrap; border: none; font-weight: normal",
    "line": "margin: 4px 0 0",
}
NEEDLESS = re.compile("</(td|th|tr|thead|tbody|p)>")
Look = Callable[[str], str]


def live(reading: Reading) -> str:
    """As short as it can be, without the ends that HTML needs none of; SHEET belongs beside it."""
    html = f'<div class="interp-panel {NO_FORMULA}">{"".join(_parts(reading, lambda _: ""))}</div>'
    return NEEDLESS.sub("", html)


def static(reading: Reading) -> str:
    """What is left behind."""
    inline: Look = lambda name: f' style="{PLAIN[name]}"'  # noqa: E731
    return f'<div class="{NO_FORMULA}"{inline("panel")}>{"".join(_parts(reading, inline))}</div>'


def text(reading: Reading) -> str:
    """For terminals, and for whoever takes the plain form."""
    lines = [f"{TITLE}:", columns(HEADS, list(rows(reading))), *said(reading)]
    return "\n".join(lines)


def _parts(reading: Reading, look: Look) -> Iterator[str]:
    heads = "".join(f"<th scope=col{look('name' if head == HEADS[0] else 'cell')}>{head}</th>" for head in HEADS)
    yield f"<table{look('table')}><caption{look('caption')}>{TITLE}</caption><thead><tr>{heads}</tr></thead><tbody>"
    for name, *cells in rows(reading):
        row = "".join(f"<td{look('cell')}>{escape(cell)}</td>" for cell in cells)
        yield f"<tr><th scope=row{look('name')}>{escape(name)}</th>{row}</tr>"
    yield "</tbody></table>"
    for purse in reading.purses:
        yield f"<p{look('line')}>{_bar(purse)}{escape(_words(purse))}</p>"
    for line in _rest(reading):
        yield f"<p{look('line')}>{escape(line)}</p>"


def rows(reading: Reading) -> Iterator[tuple[str, ...]]:
    """One for each of the latest offers, one for the others together, and one of all."""
    offers = reading.totals.offers
    if len(offers) > 1:
        for offer, sums in offers[-MOST_OFFERS:]:
            yield _row(_short(offer), sums, reading, partial(eq, offer))
    if len(offers) > MOST_OFFERS:
        rest = offers[:-MOST_OFFERS]
        names = {name for name, _ in rest}
        yield _row(
            f"{len(rest)} {'other' if len(rest) == 1 else 'others'}",
            _together([sums for _, sums in rest]),
            reading,
            names.__contains__,
        )
    name = _short(offers[0][0]) if len(offers) == 1 else ALL
    yield _row(name, reading.totals.all, reading, lambda _: True)


def _together(several: list[Sums]) -> Sums:
    """The sums of several, without their latencies."""
    return Sums(
        sum(each.calls for each in several),
        sum(each.failures for each in several),
        sum((each.billed for each in several), Decimal(0)),
        all(each.billed_is_all for each in several),
        sum((each.listed for each in several), Decimal(0)),
    )


def _row(name: str, sums: Sums, reading: Reading, is_its: Callable[[str], bool]) -> tuple[str, ...]:
    done = f"{(sums.calls - sums.failures) / sums.calls:.0%}" if sums.calls else UNKNOWN
    billed = ("" if sums.billed_is_all else ">= ") + money(sums.billed)
    latencies = (seconds(each) for each in (sums.p50, sums.p95, sums.p99))
    figures = (f"{sums.calls:,}", f"{sums.failures:,}", done, billed, money(sums.listed), *latencies)
    return (name, *figures, sparkline(sums.recent), _now(reading, is_its))


def _now(reading: Reading, is_its: Callable[[str], bool]) -> str:
    """Who runs and who waits: empty where nobody does."""
    found = [standing for offer, standing in reading.standings.items() if is_its(offer)]
    running, waiting = sum(each.running for each in found), sum(each.waiting for each in found)
    return ", ".join(f"{count} {word}" for count, word in ((running, "running"), (waiting, "waiting")) if count)


def sparkline(latencies: tuple[float, ...]) -> str:
    """The latest at the right, each as high as it was long, the longest as high as there is room."""
    most = max(latencies, default=0.0)
    return "".join(BARS[min(int(each / most * len(BARS)), len(BARS) - 1) if most else 0] for each in latencies)


def said(reading: Reading) -> Iterator[str]:
    """What is below the table, in words."""
    yield from map(_words, reading.purses)
    yield from _rest(reading)


def _words(purse: Purse) -> str:
    held = f" ({money(purse.balance.held)} held)" if purse.balance.held else ""
    of = "no limit" if purse.allowed is None else f"of {money(purse.allowed)}"
    return f"{purse.name}: {money(purse.balance.spent)} spent{held}, {of}"


def _bar(purse: Purse) -> str:
    """How much of a budget is gone; what it says is said in words, too."""
    if not purse.allowed:
        return ""
    part = min(float((purse.balance.spent + purse.balance.held) / purse.allowed), 1.0)
    return f'<meter value="{part:.3g}" aria-label="{purse.name} budget used">{part:.0%}</meter> '


def _rest(reading: Reading) -> Iterator[str]:
    if reading.totals.served:
        yield f"{reading.totals.served:,} served again for $0.00, {money(reading.totals.avoided)} avoided"
    if reading.jobs:
        yield f"jobs: {sum(job.is_running for job in reading.jobs)} of {len(reading.jobs)} running"


def _short(name: str) -> str:
    return " ".join(safe_text(name).split())[:MOST_NAME]
