"""Data that is the same in every language: columns of whole numbers by a formula that is exact in doubles, too.

Column k of a seed has in row i the number (a*i*i + b*i + c) mod 99991, and nothing in it passes 2**53 below a million
rows. A program computes it as it stands. The oracles do it by adding alone, and they count what is periodic: a
polynomial repeats with its modulus, so any number of rows is so many whole periods of 99,991 rows, and a part of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MODULUS = 99_991  # a prime


@dataclass(frozen=True, slots=True)
class Column:
    """(a*i*i + b*i + c) mod 99991, for row i."""

    a: int
    b: int
    c: int

    def __str__(self) -> str:
        return f"({self.a}*i*i + {self.b}*i + {self.c}) mod {MODULUS}"

    def values(self, n: int) -> list[int]:
        """Of the first n rows: from one to the next by a step, which grows by 2a."""
        found, value, step = [], self.c, self.a + self.b
        for _ in range(n):
            found.append(value)
            value = (value + step) % MODULUS
            step += 2 * self.a
        return found


def column(k: int, seed: int) -> Column:
    """As every program computes it from its seed."""
    return Column((7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % MODULUS)


def columns(seed: int, n: int, count: int) -> list[list[int]]:
    """The first `count` columns, each of the first n rows or of the first period, whichever is shorter."""
    return [column(k, seed).values(min(n, MODULUS)) for k in range(1, count + 1)]


def times(n: int) -> list[int]:
    """For each row of the first period how often it stands in n rows."""
    periods, part = divmod(n, MODULUS)
    return [periods + 1] * part + [periods] * (MODULUS - part) if periods else [1] * n


def total(values: Sequence[int], n: int) -> int:
    """The sum of n rows, of which `values` are the first period."""
    return sum(value * count for value, count in zip(values, times(n), strict=True))


def in_words(seed: int, count: int) -> str:
    """The first columns, as a task in words tells them: a line each."""
    said = "\n".join(f"u{k} = {column(k, seed)}" for k in range(1, count + 1))
    return f"All numbers below are whole, and the arithmetic is exact. In row i:\n{said}"
