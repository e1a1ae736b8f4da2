"""Rows in columns, as a terminal shows them: the one way that every list of ours looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from ipy_codeinterp.mime import safe_text

UNKNOWN = "-"


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """`head` and a line for each of `rows`, as wide as what is in them; all have as many cells as `head`."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cell(text: str, most: int = 48) -> str:
    """What somebody else wrote, as one line that no terminal obeys, cut to fit."""
    line = " ".join(safe_text(text).replace("\x1b", "").split())
    return line if len(line) <= most else line[: most - 3] + "..."


def usd(amount: Decimal | None, at_most: Decimal | None = None) -> str:
    """An amount, or the most that it can be, or a dash."""
    if amount is not None:
        return f"${amount:.4f}"
    return UNKNOWN if at_most is None else f"<= ${at_most:.4f}"
