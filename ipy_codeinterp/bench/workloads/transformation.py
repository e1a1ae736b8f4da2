"""Data transformation: a CSV file with all its quotes, column operations, and pivots, of up to a million rows.

The oracles count in whole numbers (cents), row by row, over one period of the data: a million rows are ten of them and
a part. No table is built, and what is divided is divided last. So the tolerance is that of adding a million doubles.
"""

from __future__ import annotations

from calendar import weekday
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from ipy_codeinterp.bench.workload import Answer, Workload
from ipy_codeinterp.bench.workloads import given
from ipy_codeinterp.bench.workloads.sequences import MODULUS, columns, in_words, times, total

CATEGORY = "transformation"
SIZES = (10_000, 100_000, 1_000_000)
ROUNDING = 1e-9  # a million doubles added in any order are off by less

# --- a CSV file -----------------------------------------------------------------------------------


def _orders_words(n: int, seed: int) -> str:
    return f"""\
Write a CSV file orders.csv with the header order,date,shop,amount,note and {n} rows, i = 0 to {n - 1}, then read it \
back and answer from what was read. {in_words(seed, 5)}
With // for division rounded down: the order is i. The date is 2025-MM-DD, the month 1 + (u1 // 7) mod 12 and the day \
1 + (u2 // 7) mod 28, two digits each. The shop is the text "Shop K, Main Street" with K = 1 + (u5 // 7) mod 8. The \
amount is u3 cents, written with a comma for thousands and two decimals (1,234.05); it is empty where (u4 // 7) mod 20 \
is 0. The note is the text: called "urgent", twice (with these double quotes) where (u5 // 3) mod 11 is 0, else empty. \
Fields with commas or double quotes are quoted as CSV wants it.
`missing` is how many amounts are empty; `total` and `mean` are of the amounts that are there, not in cents but as \
they are written; `largest` is the order with the greatest amount, the first of equal ones; `urgent` is how many notes \
contain the word urgent in double quotes; `weekend` is how many dates are a Saturday or Sunday; `by_month` lists the \
sum of amounts of each month, January first; `by_shop` lists how many amounts that are there each shop has, shop 1 \
first."""


@cache
def _orders(n: int, seed: int) -> Answer:
    u1, u2, u3, u4, u5 = columns(seed, n, 5)
    by_month, by_shop, counts = Counter[int](), Counter[int](), Counter[str]()
    largest = (-1, 0)
    for row, many in enumerate(times(n)):
        month, day = u1[row] // 7 % 12, u2[row] // 7 % 28
        counts["urgent"] += many * (u5[row] // 3 % 11 == 0)
        counts["weekend"] += many * _is_weekend(month, day)
        if u4[row] // 7 % 20 == 0:
            counts["missing"] += many
            continue
        by_month[month] += many * u3[row]
        by_shop[u5[row] // 7 % 8] += many
        largest = max(largest, (u3[row], -row))
    cents = by_month.total()
    return {
        "missing": counts["missing"],
        "total": cents / 100,
        "mean": cents / (100 * by_shop.total()),
        "largest": -largest[1],
        "urgent": counts["urgent"],
        "weekend": counts["weekend"],
        "by_month": [by_month[month] / 100 for month in range(12)],
        "by_shop": [by_shop[shop] for shop in range(8)],
    }


@cache
def _is_weekend(month: int, day: int) -> bool:
    return weekday(2025, month + 1, day + 1) >= 5


# --- columns --------------------------------------------------------------------------------------


def _columns_words(n: int, seed: int) -> str:
    return f"""\
A table has {n} rows, i = 0 to {n - 1}. {in_words(seed, 4)}
With // for division rounded down: quantity = 1 + (u1 // 7) mod 9; price = 100 + u2 mod 9900; gross = quantity * \
price; percent is 0 where gross < 20000, else 5 where gross < 50000, else 12; net = gross - (gross * percent) // 100; \
rate is 19, 20, 21, 22, 25 or 8 where (u3 // 7) mod 6 is 0, 1, 2, 3, 4 or 5; total = net + (net * rate + 50) // 100. \
The balance of a row is the sum over all rows up to and with it of total where u4 is odd, and of -total where u4 is \
even.
`net` and `total` are the sums of these columns; `discounted` is the share of rows whose percent is not 0, between 0 \
and 1; `peak` is the greatest balance, `peak_row` the first row that has it, `last` the balance of the last row; \
`rises` is how many rows (from the second on) have a greater total than the row before; `smoothest` is the greatest \
mean of the totals of 7 consecutive rows; `median` is the total at index {(n - 1) // 2}, `p90` the one at index \
{-(-9 * n // 10) - 1} of all totals in ascending order, counting from 0."""


@cache
def _columns(n: int, seed: int) -> Answer:
    nets, totals, signed, discounted = [], [], [], []
    for u1, u2, u3, u4 in zip(*columns(seed, n, 4), strict=True):
        gross = (1 + u1 // 7 % 9) * (100 + u2 % 9900)
        percent = 12 if gross >= 50_000 else 5 if gross >= 20_000 else 0
        net = gross - gross * percent // 100
        taxed = net + (net * (19, 20, 21, 22, 25, 8)[u3 // 7 % 6] + 50) // 100
        nets.append(net)
        totals.append(taxed)
        signed.append(taxed if u4 % 2 else -taxed)
        discounted.append(percent > 0)
    peak, peak_row = _peak(signed, n)
    around = totals + totals[:6] if n > MODULUS else totals  # a next period begins as this one did
    rises = [later > earlier for earlier, later in pairwise(around[: len(totals) + 1])]
    return {
        "net": total(nets, n),
        "total": total(totals, n),
        "discounted": total(discounted, n) / n,
        "peak": peak,
        "peak_row": peak_row,
        "last": total(signed, n),
        "rises": sum(many for rise, many in zip(rises, times(n - 1), strict=True) if rise),
        "smoothest": max(sum(around[row : row + 7]) for row in range(min(n - 6, MODULUS))) / 7,
        "median": _smallest(totals, n, (n - 1) // 2),
        "p90": _smallest(totals, n, -(-9 * n // 10) - 1),
    }


def _peak(steps: Sequence[int], n: int) -> tuple[int, int]:
    """The greatest of the running sums of n rows and the first row that has it.

    Each period is the same walk from where the last one ended: the greatest is in the first, in the last, or in what
    is left of one.
    """
    periods, part = divmod(n, MODULUS)
    walks = {0: len(steps), periods - 1: MODULUS, periods: part} if periods else {0: n}
    found = []
    for period, length in walks.items():
        balance = period * sum(steps)
        for row in range(length):
            balance += steps[row]
            found.append((balance, -(period * MODULUS + row)))
    peak, row = max(found)
    return peak, -row


def _smallest(values: Sequence[int], n: int, index: int) -> int:
    """The value at that index of all n in order, by how many there are of each."""
    counts = Counter[int]()
    for value, many in zip(values, times(n), strict=True):
        counts[value] += many
    for value in sorted(counts):
        index -= counts[value]
        if index < 0:
            return value
    raise IndexError(index)


# --- pivots ---------------------------------------------------------------------------------------

REGIONS, PRICES = ("north", "east", "south", "west"), (19, 45, 7, 120, 64)


def _pivot_words(n: int, seed: int) -> str:
    return f"""\
A table of sales has {n} rows, i = 0 to {n - 1}. {in_words(seed, 4)}
With // for division rounded down: the region is north, east, south or west where (u1 // 7) mod 4 is 0, 1, 2 or 3; the \
product is A, B, C, D or E where (u2 // 7) mod 5 is 0, 1, 2, 3 or 4; the month is 1 + (u3 // 7) mod 12; the units are \
1 + u4 mod 40. Products cost 19 (A), 45 (B), 7 (C), 120 (D), 64 (E); the revenue of a row is its units times the \
price.
`revenue` is an object with a name for each region: the list of its revenue by product, A first. `share` is an object \
with the share that each region has in all revenue, between 0 and 1. `best` is the region and product with the \
greatest revenue, as "region/product". `growth` is the revenue of month 12 divided by that of month 1, minus 1. \
`mean_units` lists the mean units of a row in month 6 for each region, in the order north, east, south, west."""


@cache
def _pivot(n: int, seed: int) -> Answer:
    cells, by_month = Counter[tuple[int, int]](), Counter[int]()
    units, rows = Counter[int](), Counter[int]()
    for u1, u2, u3, u4, many in zip(*columns(seed, n, 4), times(n), strict=True):
        region, product, month, sold = u1 // 7 % 4, u2 // 7 % 5, u3 // 7 % 12, 1 + u4 % 40
        cells[region, product] += many * sold
        by_month[month] += many * sold * PRICES[product]
        if month == 5:
            units[region] += many * sold
            rows[region] += many
    revenue = {name: [cells[r, p] * PRICES[p] for p in range(5)] for r, name in enumerate(REGIONS)}
    best = max(((value, f"{name}/{'ABCDE'[p]}") for name, row in revenue.items() for p, value in enumerate(row)))
    return {
        "revenue": revenue,
        "share": {name: sum(row) / by_month.total() for name, row in revenue.items()},
        "best": best[1],
        "growth": (by_month[11] - by_month[0]) / by_month[0],
        "mean_units": [units[region] / rows[region] for region in range(4)],
    }


WORKLOADS = (
    Workload(
        name="orders",
        category=CATEGORY,
        title="a CSV file written, parsed and summed up",
        sizes=SIZES,
        code=given.code("orders", "python", "r", "node"),
        words=_orders_words,
        expect='a JSON object with the names "missing", "total", "mean", "largest", "urgent", "weekend", "by_month" (a '
        'list of 12) and "by_shop" (a list of 8), nothing rounded',
        answer=_orders,
        tolerance=ROUNDING,
    ),
    Workload(
        name="columns",
        category=CATEGORY,
        title="column operations: conditions, running and rolling sums, order statistics",
        sizes=SIZES,
        code=given.code("columns", "python", "r", "node"),
        words=_columns_words,
        expect='a JSON object with the names "net", "total", "discounted", "peak", "peak_row", "last", "rises", '
        '"smoothest", "median" and "p90", nothing rounded',
        answer=_columns,
        tolerance=ROUNDING,
    ),
    Workload(
        name="pivot",
        category=CATEGORY,
        title="a join and pivot tables",
        sizes=SIZES,
        code=given.code("pivot", "python", "r", "node"),
        words=_pivot_words,
        expect='a JSON object with the names "revenue", "share", "best", "growth" and "mean_units", nothing rounded',
        answer=_pivot,
        tolerance=ROUNDING,
    ),
)
