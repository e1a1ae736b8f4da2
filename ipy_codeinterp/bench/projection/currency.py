"""Amounts in the currency that was asked for: USD, or another at a rate that was said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.tables import UNKNOWN

SIGNS = {"USD": "$", "CNY": "\N{YEN SIGN}"}


@dataclass(frozen=True, slots=True)
class Currency:
    """`per_usd` is what one US dollar costs in it."""

    name: str = "USD"
    per_usd: Decimal = Decimal(1)

    @property
    def sign(self) -> str:
        return SIGNS.get(self.name, f"{self.name} ")

    def amount(self, usd: Decimal) -> Decimal:
        return usd * self.per_usd

    def say(self, usd: Decimal | float | None, *, is_least: bool = False) -> str:
        """Cents from one upwards; below, four places or the first two digits that matter. A dash is unknown."""
        large = usd is not None and (usd == 0 or abs(self.amount(Decimal(usd))) >= 1)
        return ">= " * (is_least and usd is not None) + self._said(usd, 2 if large else 4)

    def fine(self, usd: Decimal | float | None) -> str:
        """Of an amount for one of many: four places at least."""
        return self._said(usd, 4)

    def _said(self, usd: Decimal | float | None, places: int) -> str:
        if usd is None:
            return UNKNOWN
        amount = self.amount(Decimal(usd))
        needed = 1 - amount.adjusted() if amount and places > 2 else 0
        return f"{'-' * (amount < 0)}{self.sign}{abs(amount):,.{max(places, needed)}f}"


USD = Currency()


def of(name: str | None, rate: Decimal | None) -> Currency:
    """Raises `InvalidInput` for a currency without a rate: nobody here knows what a dollar costs today."""
    said = (name or "USD").upper()
    if not re.fullmatch("[A-Z]{3}", said):
        raise InvalidInput(f"--currency {name} is no currency", hint="write CNY, EUR, ...")
    if said == "USD":
        if rate is not None:
            raise InvalidInput("--rate without a currency", hint="say which: --currency CNY --rate 7.3")
        return USD
    if rate is None:
        raise InvalidInput(
            f"nobody said what a dollar costs in {said}", hint=f"say it: --currency {said} --rate N ({said} for 1 USD)"
        )
    return Currency(said, rate)
