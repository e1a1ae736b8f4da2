"""Percentiles of any number of latencies, in constant time and memory."""

from __future__ import annotations

from typing import Any

ACCURACY = 0.01  # of a percentile, relative


class Latencies:
    """Seconds, as many as there are. A percentile is the smallest that so many percent of all do not exceed."""

    def __init__(self) -> None:
        self._sketch: Any = None
        self.count = 0

    def add(self, seconds: float) -> None:
        if self._sketch is None:
            from ddsketch import DDSketch  # it costs more to import than all that a first cell needs of us

            self._sketch = DDSketch(ACCURACY)
        self._sketch.add(seconds)
        self.count += 1

    def percentile(self, percent: int) -> float | None:
        """To `ACCURACY`; None when there is none."""
        if self._sketch is None:
            return None
        rank = -(-self.count * percent // 100) - 1
        return float(self._sketch.get_quantile_value(rank / max(self.count - 1, 1)))
