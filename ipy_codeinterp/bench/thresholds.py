"""What a benchmark is expected to show, such as `p95 <= 2 s` or `success >= 95 %`, and whether it did."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from ipy_codeinterp import registry
from ipy_codeinterp.bench.report import Figures, Report
from ipy_codeinterp.errors import InvalidInput

COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
GRAMMAR = re.compile(
    r"\s*(?:(\S+?)\s*:\s*)?([a-z][a-z0-9 _]*?)\s*(<=|>=|<|>)\s*\$?\s*([0-9.]+(?:e-?[0-9]+)?)\s*(ms|s|%)?\s*"
)
UNITS = {"ms": 1e-3, "s": 1.0, "%": 1e-2, None: 1.0}
Figure = Callable[[Figures], float | None]
FIGURES: dict[str, Figure] = {
    "success": lambda each: each.success.value,
    "answers": lambda each: each.answers.value if each.answers else None,
    "verbatim": lambda each: each.verbatim.value if each.verbatim else None,
    **{f"p{percent}": lambda each, p=percent: _value(each.latency[p]) for percent in (50, 95, 99)},  # type: ignore[misc]
    "cost": lambda each: _value(each.billed.per_call),
    "cost per success": lambda each: _value(each.billed.per_success),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """`text` as it was written; it holds when it does for the `offer`, or for every one (None)."""

    text: str
    offer: str | None
    name: str
    sign: str
    most: float

    def holds(self, report: Report) -> bool:
        """A figure that is not known holds nothing."""
        asked = [each for each in report.figures if each.category is None and self.offer in (None, each.offer)]
        values = [FIGURES[self.name](each) for each in asked]
        compared = COMPARED[self.sign]
        return bool(values) and all(value is not None and compared(value, self.most) for value in values)


def threshold(said: str) -> Threshold:
    """`[OFFER:] FIGURE SIGN NUMBER [UNIT]`. Raises `InvalidInput` or `UnknownName`."""
    found = GRAMMAR.fullmatch(said)
    if found is None:
        raise InvalidInput(f"{said!r} is no threshold", hint="write --expect 'p95 <= 2 s' or 'success >= 95 %'")
    offer, name, sign, number, unit = found.groups()
    registry.find("figure", name, FIGURES)
    try:
        most = float(number) * UNITS[unit]
    except ValueError:
        raise InvalidInput(f"{number!r} is no number", hint="write --expect 'p95 <= 2 s'") from None
    return Threshold(" ".join(said.split()), offer, name, sign, most)


def _value(estimate: object) -> float | None:
    return getattr(estimate, "value", None)
