"""A Comparison as a table: of text, of HTML, and as figures for programs.

Without `figures` nothing is in it that another run could change: no time, no tokens, no cost.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from ipy_codeinterp import amounts
from ipy_codeinterp.compare import Comparison, Side
from ipy_codeinterp.compare.agreement import Agreements
from ipy_codeinterp.tables import UNKNOWN, columns, usd

WORDS = {"same": "same", "alike": "alike", "differs": "differs", "none": UNKNOWN}
STYLE = "text-align: left; padding: 3px 14px"
TOGETHER = "one interpreter under different limits"


def text(comparison: Comparison, *, figures: bool = True) -> str:
    """Head lines, then a row for each offer."""
    rows = list(_rows(comparison, figures))
    return "\n".join([*heads(comparison), columns(tuple(rows[0]), [tuple(row.values()) for row in rows])])


def html_of(comparison: Comparison, *, figures: bool = True) -> str:
    """The same as HTML of inline styles only."""
    rows = list(_rows(comparison, figures))
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in heads(comparison))
    head = "".join(f'<th scope="col" style="{STYLE}">{html.escape(name)}</th>' for name in rows[0])
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in rows)
    return (
        f'{lines}<table style="border-collapse: collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def _cells(row: dict[str, str]) -> Iterator[str]:
    for i, said in enumerate(row.values()):
        weight = "; font-weight: 600" if i == 0 or said == "differs" else ""
        yield f'<td style="{STYLE}{weight}">{html.escape(said)}</td>'


def heads(comparison: Comparison) -> list[str]:
    """What has to be known before the table is read."""
    local = [side.offer for side in comparison.sides if side.is_local]
    lines = [f"{', '.join(local)}: {TOGETHER}"] if len(local) > 1 else []
    if (first := comparison.reference) and first is not comparison.sides[0]:
        lines.append(f"{comparison.sides[0].offer} gave no Result: compared with {first.offer}")
    return lines


def facts(comparison: Comparison) -> list[dict[str, Any]]:
    """Every figure, a mapping for each offer, of what JSON knows."""
    return [
        {
            "offer": side.offer,
            "runs": len(side.runs),
            "ok": side.ok,
            "agreeing": side.agreeing,
            "seconds": side.seconds,
            "p50": side.percentile(50),
            "p95": side.percentile(95),
            "tokens": side.tokens,
            "cost": None if side.cost is None else str(side.cost),
            "ids": [result.id for result in side.results],
        }
        for side in comparison.sides
    ]


def _rows(comparison: Comparison, figures: bool) -> Iterator[dict[str, str]]:
    for side in comparison.sides:
        yield _repeated(comparison, side, figures) if comparison.repeat > 1 else _once(comparison, side, figures)


def _once(comparison: Comparison, side: Side, figures: bool) -> dict[str, str]:
    measured = {"time": _seconds(side.seconds), **_spent(side)} if figures else {}
    found = side.agreement[0]
    is_reference = side is comparison.reference
    agreed = {name: _word(found, name, is_reference=is_reference) for name in ("stdout", "value", "figures")}
    return {"offer": side.offer, "outcome": side.outcome, **measured, **agreed}


def _repeated(comparison: Comparison, side: Side, figures: bool) -> dict[str, str]:
    runs = len(side.runs)
    latencies = {f"p{percent}": _seconds(side.percentile(percent)) for percent in (50, 95)}
    measured = {**latencies, **_spent(side)} if figures else {}
    counts = {"runs": str(runs), "ok": f"{side.ok} of {runs}", "agree": f"{side.agreeing} of {runs}"}
    return {"offer": side.offer, **counts, **measured}


def _spent(side: Side) -> dict[str, str]:
    return {"tokens": UNKNOWN if side.tokens is None else str(side.tokens), "cost": usd(side.cost)}


def _word(found: Agreements | None, name: str, *, is_reference: bool) -> str:
    """The reference is not compared with itself: it only says whether it has any."""
    said = getattr(found, name) if found else "none"
    return "yes" if is_reference and said != "none" else WORDS[said]


def _seconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else amounts.seconds(seconds)
