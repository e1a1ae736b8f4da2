"""The footer: one quiet line under a cell's outputs that says who ran it, where the time went and what it cost.

All of it varies from run to run, so deterministic mode shows placeholders instead, and the package's `nbval.cfg` turns
a live one into exactly those. The figures themselves are in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from html import escape
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.amounts import money, seconds, tokens
from ipy_codeinterp.execution import Cost, Execution, Partial, Result, Timings
from ipy_codeinterp.mime import safe_text

BETWEEN = " \N{MIDDLE DOT} "
PLACEHOLDERS = ("OFFER", "TIME", "TOKENS", "COST")  # of all that varies
MARK = "interp: "  # begins the line of text, so that the sanitizer finds it
STYLE = "margin: 2px 0 0; padding: 0; font-size: 85%; line-height: 1.4; opacity: 0.75"  # plain: saved pages keep it
CLASSES = "interp-footer tex2jax_ignore mathjax_ignore"  # two dollars are no formula
LEAST_SHOWN = 0.001  # seconds; a part of the time that is shorter says nothing
MOST_WORDS = 80  # characters of what others chose: a model's name, an isolation
USUAL = (None, "bubblewrap")  # isolations that go without saying

# The parts of the time that are measured where they are there.
PARTS = {"queue": "queued", "model": "model", "execution": "code", "transfer": "transfer"}
SOURCES = {"cache": "from the cache", "shared": "shared with an equal cell", "replay": "replayed"}
VERBATIM = {True: "verbatim", False: "code was changed", None: "code unknown"}


def show(shell: InteractiveShell, asked: Execution, ended: Result | Partial, *, deterministic: bool) -> None:
    """Put it under what is there. Under `%%capture` there is none: what is captured is the code's own."""
    if isinstance(shell.display_pub, CapturingDisplayPublisher):
        return
    words = PLACEHOLDERS if deterministic else tuple(said(asked, ended))
    shell.display_pub.publish(bundle(words), {"ipy_codeinterp": {"footer": facts(ended)}})


def bundle(words: tuple[str, ...]) -> dict[str, str]:
    """The line as HTML that survives in saved notebooks, and as text."""
    line = BETWEEN.join(words)
    return {"text/html": f'<p class="{CLASSES}" style="{STYLE}">{escape(line)}</p>', "text/plain": MARK + line}


def said(asked: Execution, ended: Result | Partial) -> Iterator[str]:
    """The words of the line, in their order; what nobody knows is left out, but for a cost."""
    result = ended.result if isinstance(ended, Partial) else ended
    yield _short(result.offer)
    if result.isolation not in USUAL:
        yield _short(result.isolation or "")
    if result.source in SOURCES:
        yield SOURCES[result.source]
    if time := spent(result.timings):
        yield time
    if count := tokens(result.usage) if result.source in ("live", "replay") else "":
        yield count
    yield at_most(ended.most) if isinstance(ended, Partial) else price(result.cost)
    if asked.kind == "code" and not isinstance(ended, Partial):
        yield VERBATIM[result.verbatim] if result.steps else "no code ran"


def spent(timings: Timings) -> str:
    """The whole time, and its parts as far as somebody measured them."""
    parts = [(words, getattr(timings, name)) for name, words in PARTS.items()]
    split = ", ".join(f"{words} {seconds(part)}" for words, part in parts if part is not None and part >= LEAST_SHOWN)
    whole = "" if timings.total is None else seconds(timings.total)
    return f"{whole} ({split})" if whole and split else whole or split


def price(cost: Cost) -> str:
    """What was billed: `>=` where that is not known, `~` where it is reckoned; what that avoided, or at list price."""
    about = "~" if cost.estimated and cost.billed else ""
    billed = ">= $0.00" if cost.billed is None else about + money(cost.billed)
    if cost.avoided is not None:
        return f"{billed}, avoided {money(cost.avoided)}"
    if cost.listed and cost.listed != cost.billed:
        return f"{billed} (list price ~{money(cost.listed)})"
    return billed


def at_most(most: Decimal | None) -> str:
    """The cost of what was cut short: what was reserved for it, at most."""
    if most is None:
        return ">= $0.00"
    return f"<= {money(most)}" if most else money(most)


def facts(ended: Result | Partial) -> dict[str, Any]:
    """The same for programs that read the notebook: USD as text, seconds, tokens; None where nobody knows."""
    result, most = (ended.result, ended.most) if isinstance(ended, Partial) else (ended, None)
    cost = result.cost
    amounts = {"billed": cost.billed, "listed": cost.listed, "avoided": cost.avoided, "at_most": most}
    return {
        "id": result.id,
        "offer": result.offer,
        "outcome": result.outcome,
        "source": result.source,
        "seconds": result.timings.total,
        "tokens": [result.usage.input_tokens, result.usage.output_tokens],
        **{name: None if amount is None else str(amount) for name, amount in amounts.items()},
    }


def _short(words: str) -> str:
    return " ".join(safe_text(words).split())[:MOST_WORDS]
