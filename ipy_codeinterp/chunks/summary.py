"""Aggregates that can be merged: count, mean, squared deviations, least and greatest of numbers, part by part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the numbers that are there: missing ones do not count. `m2` is the sum of squared deviations from `mean`.

    Of no numbers `mean` is NaN, and `min` and `max` are None.
    """

    count: int = 0
    mean: float = math.nan
    m2: float = 0.0
    min: float | None = None
    max: float | None = None

    @property
    def variance(self) -> float:
        """Of a sample (n - 1), as pandas has it."""
        return self.m2 / (self.count - 1) if self.count > 1 else math.nan

    @property
    def std(self) -> float:
        return math.sqrt(self.variance)

    @property
    def sum(self) -> float:
        return self.mean * self.count if self.count else 0.0

    def merged(self, other: Summary) -> Summary:
        """The summary of both together (Chan, Golub and LeVeque, 1979)."""
        if not self.count or not other.count:
            return self if self.count else other
        count, delta = self.count + other.count, other.mean - self.mean
        assert self.min is not None and other.min is not None and self.max is not None and other.max is not None
        if math.isfinite(delta):
            mean = self.mean + delta * other.count / count
        else:  # an infinity on one side stays one, of both signs there is no mean
            mean = self.mean * self.count + other.mean * other.count
        return Summary(
            count,
            mean,
            self.m2 + other.m2 + delta * delta * self.count * other.count / count,
            min(self.min, other.min),
            max(self.max, other.max),
        )


def merged(parts: Iterable[Mapping[str, Summary]]) -> dict[str, Summary]:
    """Column by column, in the order given; a column that a part lacks has no numbers there."""
    whole: dict[str, list[Summary]] = {}
    for part in parts:
        for column, summary in part.items():
            whole.setdefault(column, []).append(summary)
    return {column: reduce(Summary.merged, summaries, Summary()) for column, summaries in whole.items()}
