"""What a benchmark looks like: latencies, cost against accuracy, and the run in time. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ipy_codeinterp.bench.report import Figures, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (7.0, 3.6)  # inches
DPI = 110
MARKS = "os^Dv*PX"  # as well as colours: not everybody sees those


def plots(report: Report) -> list[tuple[str, bytes]]:
    """Each as what it shows, in words, and its PNG; those for which there is nothing are left out."""
    drawn = (_drawn(report, draw) for draw in (latencies, cost_and_accuracy, timeline))
    return [picture for picture in drawn if picture]


def _drawn(report: Report, draw: Callable[[Report, Any], str]) -> tuple[str, bytes] | None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    words = draw(report, figure.add_subplot())
    if not words:
        return None
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None, "Description": words})
    return words, png.getvalue()


def latencies(report: Report, axes: Axes) -> str:
    """The share of successes that took no longer."""
    said = []
    for nth, offer in enumerate(report.plan.offers):
        values = sorted(row.latency for row in report.measured if row.offer == offer and row.success)
        if values:
            shares = [(rank + 1) / len(values) for rank in range(len(values))]
            axes.step(values, shares, where="post", label=offer, linestyle=("-", "--", "-.", ":")[nth % 4])
            said.append(f"{offer}: {len(values)} successes from {values[0]:.3g} to {values[-1]:.3g} s")
    if said:
        axes.set(xlabel="seconds", ylabel="share of successes that took no longer", xscale="log", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend()
    return "Latency: " + "; ".join(said) if said else ""


def cost_and_accuracy(report: Report, axes: Axes) -> str:
    """Each offer as a point with its two intervals."""
    said = []
    for nth, offer in enumerate(report.plan.offers):
        figures = report.of(offer)
        if figures and (point := _point(figures)):
            (cost, low, high), share = point, figures.answers or figures.success
            right = share.value or 0.0
            across = [[max(cost - low, 0.0)], [max(high - cost, 0.0)]]
            up = [[max(right - share.interval.low, 0.0)], [max(share.interval.high - right, 0.0)]]
            axes.errorbar([cost], [right], xerr=across, yerr=up, fmt=MARKS[nth % len(MARKS)], capsize=4, label=offer)
            said.append(f"{offer}: ${cost:.3g} a success, {right:.1%} right")
    if said:
        listed = all(figures.billed.per_call and not figures.billed.per_call.value for figures in report.figures)
        axes.set(xlabel=f"USD a success{' at list price' if listed else ''}", ylabel="share of right answers")
        axes.grid(alpha=0.3)
        axes.legend()
    return "Cost and accuracy: " + "; ".join(said) if said else ""


def _point(figures: Figures) -> tuple[float, float, float] | None:
    """What a success costs, with its interval."""
    money = figures.billed if figures.billed.per_call and figures.billed.per_call.value else figures.listed
    cost = money.per_success
    if cost is None:
        return None
    return (cost.value, cost.interval.low, cost.interval.high) if cost.interval else (cost.value,) * 3


def timeline(report: Report, axes: Axes) -> str:
    """When each call began, and how long it took; those that failed are crosses."""
    rows = report.measured
    if not any(row.began for row in rows):
        return ""
    for offer in report.plan.offers:
        own = [row for row in rows if row.offer == offer]
        good, bad = ([row for row in own if bool(row.success) is kind] for kind in (True, False))
        drawn = axes.plot([r.began for r in good], [r.latency for r in good], ".", label=offer)
        axes.plot([r.began for r in bad], [r.latency for r in bad], "x", color=drawn[0].get_color())
    axes.set(xlabel="seconds since the beginning", ylabel="seconds a call took", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    failed = sum(row.success is False for row in rows)
    return f"Timeline: {len(rows)} calls in {max(row.began + row.latency for row in rows):.3g} s, {failed} failed"
