"""Algorithms: the article's sieve, sorting, searching, and shortest paths in a graph. All answers are whole numbers.

The oracles never do what is asked: primes are counted without being found, nothing is sorted to know the order, nothing
is halved to be found, and distances come out of buckets instead of a heap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate, count
from math import isqrt

from ipy_codeinterp.bench.workload import Answer, Workload
from ipy_codeinterp.bench.workloads import given
from ipy_codeinterp.bench.workloads.sequences import MODULUS, column, in_words, times, total

CATEGORY = "algorithms"

# --- the sieve ------------------------------------------------------------------------------------


def _sieve_limit(n: int, seed: int) -> int:
    return n + 100 * (seed % 100)


def _sieve_words(n: int, seed: int) -> str:
    return (
        f"Find all prime numbers up to {_sieve_limit(n, seed)} (inclusive) with the sieve of Eratosthenes: how many "
        "they are, their sum, and the largest."
    )


@cache
def _sieve(n: int, seed: int) -> Answer:
    """Lucy's way: of all numbers up to each n // k those are taken away that a prime divides first."""
    limit = _sieve_limit(n, seed)
    root = isqrt(limit)
    bounds = [limit // k for k in range(1, root + 1)]
    bounds += range(bounds[-1] - 1, 0, -1)
    counts = {bound: bound - 1 for bound in bounds}
    sums = {bound: bound * (bound + 1) // 2 - 1 for bound in bounds}
    for p in range(2, root + 1):
        if counts[p] == counts[p - 1]:
            continue
        for bound in bounds:
            if bound < p * p:
                break
            counts[bound] -= counts[bound // p] - counts[p - 1]
            sums[bound] -= p * (sums[bound // p] - sums[p - 1])
    largest = next(q for q in range(limit, 1, -1) if all(q % d for d in range(2, isqrt(q) + 1)))
    return {"count": counts[limit], "sum": sums[limit], "largest": largest}


# --- sorting --------------------------------------------------------------------------------------


def _sorting_words(n: int, seed: int) -> str:
    return f"""\
There are {n} rows, i = 0 to {n - 1}. {in_words(seed, 1)}
Sort the values u1 in ascending order with a merge sort of your own that also counts the inversions: the pairs of rows \
i < j with u1 of row i greater than u1 of row j.
The checksum is the sum of k times the k-th smallest value, k = 1 to {n}, equal values counted each.
Then order the row numbers by (u1 mod 100) ascending, among equals by (u1 divided by 100, rounded down) descending, \
among equals by row number ascending: `rows` are the first of them, the one at index {n // 2} counting from 0, and the \
last."""


@cache
def _sorting(n: int, seed: int) -> Answer:
    """Inversions by a tree of counts (Fenwick's), the order by how many there are of each value."""
    values = column(1, seed).values(n)
    rows_of: dict[int, list[int]] = {}
    for row, value in enumerate(values):
        rows_of.setdefault(value, []).append(row)
    place, checksum = 0, 0
    for value in range(MODULUS):
        same = len(rows_of.get(value, ()))
        checksum += value * (place * same + same * (same + 1) // 2)
        place += same
    keys = (hundreds * 100 + rest for rest in range(100) for hundreds in range(MODULUS // 100, -1, -1))
    rows = [row for key in keys for row in rows_of.get(key, ())]
    return {"inversions": _inversions(values), "checksum": checksum, "rows": [rows[0], rows[n // 2], rows[-1]]}


def _inversions(values: Iterable[int]) -> int:
    tree, found = [0] * (MODULUS + 1), 0
    for seen, value in enumerate(values):
        not_greater, at = 0, value + 1
        while at:
            not_greater += tree[at]
            at &= at - 1
        found += seen - not_greater
        at = value + 1
        while at <= MODULUS:
            tree[at] += 1
            at += at & -at
    return found


# --- searching ------------------------------------------------------------------------------------


def _searching_words(n: int, seed: int) -> str:
    return f"""\
There are {n} rows, i = 0 to {n - 1}. {in_words(seed, 3)}
The haystack is the set of the distinct values of u1, in ascending order; the needles are the values of u2 of all \
rows.
`hits` is how many needles are in the haystack. The place of a needle is how many values of the haystack are smaller \
than it: `places` is the sum over all needles. `nearest` is the sum over all needles of the distance to the nearest \
value of the haystack.
The text has {n} letters: in row i the letter of "acgt" at index (u3 divided by 7, rounded down) mod 4, counting from \
0. The pattern is the 5 letters of the text that begin at index {n // 2}. `matches` is at how many indices of the text \
the pattern begins, occurrences that overlap counted each, and `first` the lowest of them, counting from 0."""


@cache
def _searching(n: int, seed: int) -> Answer:
    """By marks in a table of all values there can be; the text as a number of base 4."""
    rows = min(n, MODULUS)
    is_there = [False] * MODULUS
    for value in column(1, seed).values(rows):
        is_there[value] = True
    below = list(accumulate(is_there, initial=0))
    gaps = list(map(min, _gaps(is_there), reversed(list(_gaps(is_there[::-1])))))
    needles = column(2, seed).values(rows)
    codes = list(_codes(column(3, seed).values(rows), n))
    pattern = codes[n // 2 % MODULUS]
    begins = [code == pattern for code in codes]
    return {
        "hits": total([is_there[needle] for needle in needles], n),
        "places": total([below[needle] for needle in needles], n),
        "nearest": total([gaps[needle] for needle in needles], n),
        "matches": sum(many for match, many in zip(begins, times(n - 4), strict=False) if match),
        "first": begins.index(True),
    }


def _gaps(is_there: Iterable[bool]) -> Iterator[int]:
    """For each value how far the last one is that is there."""
    gap = MODULUS
    for there in is_there:
        gap = 0 if there else gap + 1
        yield gap


def _codes(values: list[int], n: int) -> Iterator[int]:
    """The five letters that begin in each row; a text of whole periods goes on where it began."""
    letters = [value // 7 % 4 for value in values]
    letters += letters[:4] if n > MODULUS else []
    for at in range(len(letters) - 4):
        code = 0
        for letter in letters[at : at + 5]:
            code = code * 4 + letter
        yield code


# --- graphs ---------------------------------------------------------------------------------------


def _graph_words(n: int, seed: int) -> str:
    return f"""\
A directed graph has {n} nodes, i = 0 to {n - 1}. {in_words(seed, 5)}
From node i there are three edges: to node (i + 1) mod {n} with weight 1 + (u1 mod 100), to node u2 mod {n} with \
weight 1 + (u3 mod 100), and to node u4 mod {n} with weight 1 + (u5 mod 100).
With Dijkstra's algorithm find the distance of each node from node 0: `sum` is the sum of all distances, `longest` the \
greatest, and `farthest` the lowest node number that has it.
With a breadth-first search from node 0 find how many edges each node is away at least: `levels` lists how many nodes \
are 0, 1, 2, ... edges away, up to the last that is not 0."""


@cache
def _graph(n: int, seed: int) -> Answer:
    """Dial's way: a bucket for each distance, looked into in turn; a search by edges is one where all weigh 1."""
    u1, u2, u3, u4, u5 = (column(k, seed).values(n) for k in range(1, 6))
    ends = list(zip([(i + 1) % n for i in range(n)], [u % n for u in u2], [u % n for u in u4], strict=True))
    weights = [tuple(1 + u % 100 for u in row) for row in zip(u1, u3, u5, strict=True)]
    far = _distances(ends, weights)
    near = _distances(ends, [(1, 1, 1)] * n)
    longest = max(far)
    return {
        "sum": sum(far),
        "longest": longest,
        "farthest": far.index(longest),
        "levels": [near.count(hops) for hops in range(max(near) + 1)],
    }


def _distances(ends: list[tuple[int, int, int]], weights: list[tuple[int, ...]]) -> list[int]:
    far, left = [-1] * len(ends), len(ends)
    buckets: dict[int, list[int]] = {0: [0]}
    for distance in count():
        for node in buckets.pop(distance, ()):
            if far[node] >= 0:
                continue
            far[node] = distance
            left -= 1
            for end, weight in zip(ends[node], weights[node], strict=True):
                buckets.setdefault(distance + weight, []).append(end)
        if not left:
            break
    return far


WORKLOADS = (
    Workload(
        name="sieve",
        category=CATEGORY,
        title="the article's sieve of Eratosthenes",
        sizes=(10_000, 1_000_000, 10_000_000),
        code=given.code("sieve", "python", "r", "node"),
        words=_sieve_words,
        expect='a JSON object with the names "count", "sum" and "largest", all whole numbers',
        answer=_sieve,
    ),
    Workload(
        name="sorting",
        category=CATEGORY,
        title="a merge sort that counts inversions, and an order by several keys",
        sizes=(2_000, 20_000, 200_000),
        code=given.code("sorting", "python", "r", "node"),
        words=_sorting_words,
        expect='a JSON object with the names "inversions", "checksum" (whole numbers) and "rows" (a list of three)',
        answer=_sorting,
    ),
    Workload(
        name="searching",
        category=CATEGORY,
        title="binary search, nearest values, a pattern in a text",
        sizes=(10_000, 100_000, 1_000_000),
        code=given.code("searching", "python", "r", "node"),
        words=_searching_words,
        expect='a JSON object with the names "hits", "places", "nearest", "matches" and "first", all whole numbers',
        answer=_searching,
    ),
    Workload(
        name="graph",
        category=CATEGORY,
        title="Dijkstra's distances and a breadth-first search",
        sizes=(1_000, 10_000, 100_000),
        code=given.code("graph", "python", "node"),
        words=_graph_words,
        expect='a JSON object with the names "sum", "longest", "farthest" (whole numbers) and "levels" (a list)',
        answer=_graph,
    ),
)
