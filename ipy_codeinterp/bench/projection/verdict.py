"""A verdict on one claim, as a value, and how amounts are said in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from ipy_codeinterp.bench.projection.currency import USD

Word = Literal["right", "partly", "wrong", "unproven", "left out"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`found` says in lines what the arithmetic gave; `figures` are the same for programs."""

    name: str
    claim: str
    word: Word
    found: tuple[str, ...]
    figures: Mapping[str, Decimal] = field(default_factory=dict)


def whole(usd: Decimal | None) -> str:
    """Without cents where there are none, as the article writes it."""
    return f"${usd:,.0f}" if usd is not None and usd == int(usd) else USD.say(usd)
