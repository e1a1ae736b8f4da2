"""Visualization: figures of several panels with custom styling, graded by what is drawn, not by pixels.

A fixed probe at the end of the program walks the panels and prints what they hold: data, labels, colours, line styles,
fonts. A task in words gives the probe to be put there as it is. The oracles count what should be drawn, in whole
numbers. seaborn is not asked for: its look is, by the style sheet that matplotlib brings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from ipy_codeinterp.bench.workload import Answer, Workload, Write
from ipy_codeinterp.bench.workloads import given
from ipy_codeinterp.bench.workloads.sequences import columns, in_words, times, total

CATEGORY = "visualization"
SIZES = (1_000, 10_000, 100_000)
ROUNDING = 1e-9  # what is drawn is counted, or added up once
PROBE = (resources.files(__package__) / "programs" / "probe.py").read_text("utf-8").strip()
EXPECT = "one line of JSON, by the lines that the task gives"
LAST = f"""\
Draw nothing else, and add no labels, legends or texts that are not named here; do not show or close the figure. Save \
it as figure.png. End the program with exactly these lines:

{PROBE}
"""


def _with_probe(name: str) -> dict[str, Write]:
    program = given.code(name, "python")["python"]
    return {"python": lambda size, seed: f"{program(size, seed)}\n{PROBE}\n"}


# --- what the probe says --------------------------------------------------------------------------


def _line(
    x: Sequence[int], y: Sequence[float], color: str, *, width: float, style: str = "-", marker: str = "None"
) -> dict[str, Any]:
    look = {"color": color, "style": style, "marker": marker}
    return {"x": [float(value) for value in x], "y": [float(value) for value in y], "width": width, **look}


def _panel(x: str, y: str, font: tuple[float, str], **drawn: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"legend": [], "lines": {}, "bars": [], "points": [], "images": [], "texts": []}
    usual = {"scale": "linear", "sides": ["bottom", "left", "right", "top"]}
    return {"labels": [x, y], "font": list(font), **usual, **empty, **drawn}


# --- panels ---------------------------------------------------------------------------------------


def _panels_words(n: int, seed: int) -> str:
    return f"""\
Draw a figure with matplotlib in Python: two rows of two panels, with the figure title (suptitle) "Sales of the year". \
The data are {n} sales, i = 0 to {n - 1}. {in_words(seed, 4)}
With // for division rounded down: month = 1 + (u1 // 7) mod 12; amount = u2 mod 1000; the channel is web where (u3 // \
7) mod 2 is 1, else shop; items = u4 mod 100.
Panel "Amount by month" (labels "Month" and "Amount" of x and y): two lines with 12 points, the sum of amount in \
months 1 to 12 of each channel, labelled shop (color #4c72b0, solid, marker o) and web (#dd8452, dashed, marker s), \
both 2 wide, with a legend in this order.
Panel "Items by quarter" ("Quarter", "Items"): a bar of color #55a868 for each of Q1 to Q4, the sum of items in months \
1-3, 4-6, 7-9, 10-12.
Panel "Amount and items" ("Items", "Amount"): one scatter of the first 200 sales, x the items, y the amount, color \
#c44e52, size s=12.
Panel "Amounts" ("Amount", "Sales"): a histogram of amount with 20 bins from 0 to 1000, color #8172b3.
All panel titles are bold, of size 13.
{LAST}"""


@cache
def _panels(n: int, seed: int) -> Answer:
    by_month, items, bins = Counter[tuple[str, int]](), Counter[int](), Counter[int]()
    data = list(zip(*columns(seed, n, 4), strict=True))
    for (u1, u2, u3, u4), many in zip(data, times(n), strict=True):
        month, amount = u1 // 7 % 12, u2 % 1000
        by_month["web" if u3 // 7 % 2 else "shop", month] += many * amount
        items[month // 3] += many * (u4 % 100)
        bins[amount // 50] += many
    shop, web = ([by_month[channel, month] for month in range(12)] for channel in ("shop", "web"))
    months, font = range(1, 13), (13.0, "bold")
    lines = {
        "shop": _line(months, shop, "#4c72b0", width=2.0, marker="o"),
        "web": _line(months, web, "#dd8452", width=2.0, style="--", marker="s"),
    }
    pairs = [(u4 % 100, u2 % 1000) for _, u2, _, u4 in data[:200]]
    sums = [float(sum(values)) for values in ([1] * 200, *zip(*pairs, strict=True), [x * y for x, y in pairs])]
    quarters = [[float(items[quarter]), "#55a868"] for quarter in range(4)]
    spread = [[float(bins[bin]), "#8172b3"] for bin in range(20)]
    panels = {
        "Amount by month": _panel("Month", "Amount", font, lines=lines, legend=["shop", "web"]),
        "Items by quarter": _panel("Quarter", "Items", font, bars=quarters),
        "Amount and items": _panel("Items", "Amount", font, points=[{"sums": sums, "color": "#c44e52", "area": 12.0}]),
        "Amounts": _panel("Amount", "Sales", font, bars=spread),
    }
    return {"title": "Sales of the year", "panels": panels}


# --- a style --------------------------------------------------------------------------------------

SIZES_OF_ORDERS: Mapping[str, str] = {"small": "#264653", "medium": "#2a9d8f", "large": "#e9c46a"}


def _styled_words(n: int, seed: int) -> str:
    return f"""\
Draw a figure with matplotlib in Python, in its style sheet seaborn-v0_8-whitegrid: one row of two panels, with the \
figure title (suptitle) "Orders in style". The data are {n} orders, i = 0 to {n - 1}. {in_words(seed, 3)}
With // for division rounded down: the weekday is Mon, Tue, Wed, Thu, Fri, Sat or Sun where (u1 // 7) mod 7 is 0 to 6; \
the size is small, medium or large where (u2 // 7) mod 3 is 0, 1 or 2; revenue = 1 + u3 mod 500.
Panel "Orders by weekday" (labels "Day" and "Orders" of x and y): stacked bars, one for each weekday from Mon to Sun, \
of how many orders are small (#264653, at the bottom), medium (#2a9d8f, in the middle) and large (#e9c46a, on top), \
with a legend small, medium, large.
Panel "Growth" ("Order", "Total revenue"), with a logarithmic y axis: two lines with 25 points at x = {n} * k // 25, k \
= 1 to 25. The first, labelled revenue (color #e76f51, solid, 2.5 wide), is the sum of revenue over the first x \
orders; the second, labelled target (#6c757d, dotted, 1.5 wide), is 200 * x. Both are without markers; with a legend \
in this order.
All panel titles are of normal weight and size 15; the top and right spines of both panels are hidden.
{LAST}"""


@cache
def _styled(n: int, seed: int) -> Answer:
    counts = Counter[tuple[int, int]]()
    u1, u2, u3 = columns(seed, n, 3)
    for day, size, many in zip(u1, u2, times(n), strict=True):
        counts[day // 7 % 7, size // 7 % 3] += many
    bars = [
        [float(counts[day, size]), color] for day in range(7) for size, color in enumerate(SIZES_OF_ORDERS.values())
    ]
    revenue = [1 + value % 500 for value in u3]
    ends = [n * k // 25 for k in range(1, 26)]
    so_far = [total(revenue[:end], end) for end in ends]
    lines = {
        "revenue": _line(ends, so_far, "#e76f51", width=2.5),
        "target": _line(ends, [200 * end for end in ends], "#6c757d", width=1.5, style=":"),
    }
    font, sides = (15.0, "normal"), ["bottom", "left"]
    growth = _panel("Order", "Total revenue", font, lines=lines, legend=["revenue", "target"], scale="log", sides=sides)
    week = _panel("Day", "Orders", font, bars=bars, legend=list(SIZES_OF_ORDERS), sides=sides)
    return {"title": "Orders in style", "panels": {"Orders by weekday": week, "Growth": growth}}


# --- a heatmap ------------------------------------------------------------------------------------


def _heatmap_words(n: int, seed: int) -> str:
    return f"""\
Draw a figure with matplotlib in Python: one row of two panels, with the figure title (suptitle) "When it is busy". \
The data are {n} visits, i = 0 to {n - 1}. {in_words(seed, 2)}
With // for division rounded down: season = (u1 // 7) mod 4; block = (u2 // 7) mod 6.
Panel "Visits" (labels "Block of four hours" and "Season" of x and y): an image (imshow) of the table with 4 rows and \
6 columns of how many visits each season (row) has in each block (column), with the colormap magma and no colorbar. In \
each cell its count is written as a text, row by row.
Panel "Of all seasons" ("Block of four hours", "Visits"): two lines with 6 points, x the block 0 to 5. The first, \
labelled mean (color #3b0f70, solid, 3 wide, marker D), is the mean of the counts of the four seasons; the second, \
labelled most (#de4968, dash-dotted, 1 wide, no marker), is the greatest of them; with a legend in this order.
All panel titles are bold, of size 12.
{LAST}"""


@cache
def _heatmap(n: int, seed: int) -> Answer:
    counts = Counter[tuple[int, int]]()
    for u1, u2, many in zip(*columns(seed, n, 2), times(n), strict=True):
        counts[u1 // 7 % 4, u2 // 7 % 6] += many
    rows = [[counts[season, block] for block in range(6)] for season in range(4)]
    of_blocks = list(zip(*rows, strict=True))
    image = {"rows": [float(sum(row)) for row in rows], "columns": [float(sum(each)) for each in of_blocks]}
    lines = {
        "mean": _line(range(6), [sum(each) / 4 for each in of_blocks], "#3b0f70", width=3.0, marker="D"),
        "most": _line(range(6), [max(each) for each in of_blocks], "#de4968", width=1.0, style="-."),
    }
    x, font = "Block of four hours", (12.0, "bold")
    texts = [str(count) for row in rows for count in row]
    panels = {
        "Visits": _panel(x, "Season", font, images=[{**image, "colors": "magma"}], texts=texts),
        "Of all seasons": _panel(x, "Visits", font, lines=lines, legend=["mean", "most"]),
    }
    return {"title": "When it is busy", "panels": panels}


WORKLOADS = (
    Workload(
        name="panels",
        category=CATEGORY,
        title="four panels: lines, bars, points and a histogram",
        sizes=SIZES,
        code=_with_probe("panels"),
        words=_panels_words,
        expect=EXPECT,
        answer=_panels,
        tolerance=ROUNDING,
        figures=1,
        needs=PROBE,
    ),
    Workload(
        name="styled",
        category=CATEGORY,
        title="stacked bars and a logarithmic axis in seaborn's look",
        sizes=SIZES,
        code=_with_probe("styled"),
        words=_styled_words,
        expect=EXPECT,
        answer=_styled,
        tolerance=ROUNDING,
        figures=1,
        needs=PROBE,
    ),
    Workload(
        name="heatmap",
        category=CATEGORY,
        title="an annotated heatmap and lines",
        sizes=SIZES,
        code=_with_probe("heatmap"),
        words=_heatmap_words,
        expect=EXPECT,
        answer=_heatmap,
        tolerance=ROUNDING,
        figures=1,
        needs=PROBE,
    ),
)
