"""The panel's figures: what they say, and in how many digits."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ipy_codeinterp.notebook.amounts import money, seconds
from ipy_codeinterp.notebook.panel import HEADS, figures, render
from ipy_codeinterp.store.ledger import Totals

BUSY = Totals(12, 3, Decimal("0.5"), True, Decimal("0.001234"), 0.25, 2.5)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.00", "$0.00"),
        ("1", "$1.00"),
        ("12.345", "$12.34"),
        ("1234.5", "$1234.50"),
        ("0.5", "$0.50"),
        ("0.012345", "$0.012"),
        ("0.00123", "$0.0012"),
        ("0.000000001", "$0.0000000010"),
        ("1E-7", "$0.00000010"),
        ("1E+2", "$100.00"),
    ],
)
def test_money(amount: str, shown: str) -> None:
    """Money is shown with cents, and what is less with its first two digits: never as nothing."""
    assert money(Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(None, "\N{EN DASH}"), (0.0, "0 ms"), (0.0123, "12 ms"), (0.5, "500 ms"), (1.0, "1.00 s"), (83.456, "83.46 s")],
)
def test_seconds(duration: float | None, shown: str) -> None:
    """A duration is shown in the unit that suits it, and an unknown one as a dash."""
    assert seconds(duration) == shown


def test_figures() -> None:
    """There is a figure under each head."""
    assert dict(zip(HEADS, figures(BUSY), strict=True)) == {
        "calls": "12",
        "failures": "3",
        "billed": "$0.50",
        "at list price ~": "$0.0012",
        "p50": "250 ms",
        "p95": "2.50 s",
    }


def test_nothing_yet() -> None:
    """Before the first call nothing was spent, and no latency is known."""
    assert figures(Totals()) == ("0", "0", "$0.00", "$0.00", "\N{EN DASH}", "\N{EN DASH}")


def test_lower_bound() -> None:
    """A sum that lacks an unknown part is shown as a lower bound."""
    assert figures(Totals(billed=Decimal(1), billed_is_all=False))[2] == "&ge; $1.00"


def test_render() -> None:
    """The panel is one table with a caption and heads, in inline styles only, so that it survives everywhere."""
    shown = render(BUSY)

    assert all(f">{text}<" in shown for text in (*HEADS, *figures(BUSY)))
    assert shown.startswith("<table") and shown.endswith("</table>")
    assert shown.count('scope="col"') == len(HEADS)
    assert "<caption" in shown
    assert not any(word in shown for word in ("<style", "<script", "class=", "id=", "http"))
