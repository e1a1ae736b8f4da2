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
        if usd is None:
            return UNKNOWN
        amount = self.amount(Decimal(usd))
        places = 2 if abs(amount) >= 1 or amount == 0 else max(4, 1 - amount.adjusted())
        return f"{'>= ' if is_least else ''}{self.sign}{amount:,.{places}f}"


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
