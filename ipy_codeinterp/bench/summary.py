"""The executive summary of the article this grew out of, with what was measured beside what it claims.

What was not measured is blank: no claim is ever copied into a measured cell. And what ran in the sandbox of this
machine is not the vendor, whatever its profile is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ipy_codeinterp import amounts
from ipy_codeinterp.bench.report import Report, Share
from ipy_codeinterp.bench.rows import Row

VENDOR = "vendor, not this sandbox"
MATHS = ("numerics", "algorithms")
FIGURES = "visualization"
BLANK = ""
CLAIMS = {  # the article's table: GPT-4.1 Code Interpreter, Claude Sonnet 4 Code Interpreter
    "output tokens, USD per million": ("8.00", "15.00"),
    "latency p50": ("2.3 s", "1.8 s"),
    "latency p99": ("8.7 s", "6.2 s"),
    "right answers in numerics and algorithms (ours, not MEPS)": ("94.2% (MEPS)", "97.8% (MEPS)"),
    "figures that pass": ("Good", "Excellent"),
    "walls that held (models --probe)": ("Strong", "Very Strong"),
    "longest run completed": ("120 s at most", "180 s at most"),
    "languages that ran": ("Python, Node.js", "Python, R, Node.js"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One metric: what was measured of each offer of the report, blank where it was not, and the article's claims."""

    metric: str
    measured: tuple[str, ...]
    gpt: str
    claude: str


def summary(report: Report) -> list[Line]:
    """Every row of the article's table."""
    columns = [_measured(report, offer) for offer in report.plan.offers]
    return [Line(name, tuple(column[nth] for column in columns), *CLAIMS[name]) for nth, name in enumerate(CLAIMS)]


def is_of_a_vendor(report: Report) -> bool:
    """Whether any of the offers is one: what the article claims is of vendors."""
    return not all(about.get("local") for about in report.provenance["offers"].values())


def _measured(report: Report, offer: str) -> tuple[str, ...]:
    """In the order of `CLAIMS`."""
    about: dict[str, Any] = report.provenance["offers"].get(offer, {})
    figures, rows = report.of(offer), [row for row in report.measured if row.offer == offer]
    latency = figures.latency if figures else {}
    p50, p99 = (amounts.seconds(each.value) if (each := latency.get(percent)) else BLANK for percent in (50, 99))
    walls, price = about.get("walls"), about.get("price")
    return (
        f"{price['output']}{'' if price['is_billed'] else ' (list price)'}" if price else BLANK,
        p50,
        p99,
        _share([row for row in rows if row.category in MATHS]),
        _share([row for row in rows if row.category == FIGURES]),
        f"{walls['held']} of {walls['of']}" if walls else BLANK,
        _longest(rows),
        ", ".join(dict.fromkeys(row.language for row in rows if row.ok and row.kind == "code")) or BLANK,
    )


def _share(rows: Sequence[Row]) -> str:
    judged = [row for row in rows if row.right is not None]
    right = sum(bool(row.right) for row in judged)
    return f"{right / len(judged):.1%} ({right} of {len(judged)})" if judged else BLANK


def _longest(rows: Sequence[Row]) -> str:
    done = [row.latency for row in rows if row.success]
    return amounts.seconds(max(done)) if done else BLANK


def share_in_words(share: Share | None) -> str:
    """`97.8% (96.1-98.8)`; blank where nothing was judged."""
    if share is None or share.value is None:
        return BLANK
    return f"{share.value:.1%} ({share.interval.low * 100:.1f}-{share.interval.high * 100:.1f})"
