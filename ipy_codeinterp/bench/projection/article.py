"""The article's own inputs: prices, rows, accuracies, what it claims; and its table, reckoned as everybody's bill is.

Money is `Decimal` USD. Nothing here is a result: those follow from these figures by the functions of `projection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ipy_codeinterp.bench.projection.bill import Projection, Terms, project
from ipy_codeinterp.bench.projection.break_even import break_even
from ipy_codeinterp.bench.projection.demand import Calls, Demand, Mean, Share, Tokens
from ipy_codeinterp.catalog import Price

READ = date(2026, 11, 23)
MONTHS = 12  # of its year
GPT = Terms("GPT-4.1", Price(Decimal(2), Decimal(8), "the article", READ))
CLAUDE = Terms("Claude Sonnet 4", Price(Decimal(3), Decimal(15), "the article", READ))
GPT_RIGHT, CLAUDE_RIGHT = Share(Decimal("0.942")), Share(Decimal("0.978"))

PREMIUM = Decimal("1.875")
BETTER = Decimal(23)  # percent
YUAN_LISTED, YUAN_ASKED = Decimal("7.3"), Decimal(1)  # for a dollar
YUAN_OFF = Decimal("0.85")
GATEWAY_SAVES = Decimal(33_000)  # a year
SWITCH_ABOVE = 50_000  # calls a month
P99 = {GPT.name: 8.7, CLAUDE.name: 6.2}  # seconds
EXAMPLE_CALLS = 20  # of its benchmark, half of them at each model
CYCLES = 47_000
WARM_EVERY = timedelta(minutes=5)
CONTROLLER_RATE = Decimal("0.08")  # USD per million tokens of GPT-4.1, in its controller
CONTROLLER_FACTOR = 1000  # from what its controller has counted to "a month"
CONTROLLER_CALLS, CONTROLLER_TOKENS = 100, 2000  # of its example
SHOWN_CRITICAL = (Decimal("0.1"), Decimal("0.2"), Decimal("0.5"))  # ours: it says none


@dataclass(frozen=True, slots=True)
class Row:
    """A row of its table as it is printed: calls and output tokens, then USD a month, a month, and saved a year."""

    name: str
    calls: int
    output: int
    gpt: int
    claude: int
    saved: int


LIGHT = Row("Light Analytics", 50_000, 500, 200, 375, 2_100)
MEDIUM = Row("Medium Analytics", 200_000, 2_000, 3_200, 6_000, 33_600)
ROWS = (
    LIGHT,
    MEDIUM,
    Row("Heavy Processing", 500_000, 5_000, 20_000, 37_500, 210_000),
    Row("Enterprise Scale", 2_000_000, 8_000, 128_000, 240_000, 1_344_000),
)


@dataclass(frozen=True, slots=True)
class Reckoned:
    """The same row by our arithmetic. `error_cost` is what a wrong answer must cost for Claude to pay."""

    row: Row
    gpt: Decimal
    claude: Decimal
    error_cost: Decimal

    @property
    def saved(self) -> Decimal:
        """USD a year."""
        return (self.claude - self.gpt) * MONTHS

    @property
    def agrees(self) -> bool:
        """To the cent."""
        printed = (self.row.gpt, self.row.claude, self.row.saved)
        return tuple(map(Decimal, printed)) == (self.gpt, self.claude, self.saved)


def demand(row: Row, right: Share, input_tokens: Decimal | None = None) -> Demand:
    """Of a row, which has no input tokens."""
    given = None if input_tokens is None else Mean(input_tokens)
    return Demand(Calls(Decimal(row.calls)), Tokens(given, Mean(Decimal(row.output))), right=right)


def both(row: Row, input_tokens: Decimal | None = None) -> tuple[Projection, Projection]:
    """GPT-4.1 and Claude Sonnet 4 for the work of a row."""
    return (
        project(GPT, demand(row, GPT_RIGHT, input_tokens)),
        project(CLAUDE, demand(row, CLAUDE_RIGHT, input_tokens)),
    )


def months(row: Row, input_tokens: Decimal | None = None) -> tuple[Decimal, Decimal]:
    """USD a month of both."""
    gpt, claude = both(row, input_tokens)
    assert gpt.month is not None and claude.month is not None
    return gpt.month, claude.month


def reckoned(row: Row) -> Reckoned:
    even = break_even(*both(row))
    assert even.error_cost is not None
    return Reckoned(row, *months(row), even.error_cost)
