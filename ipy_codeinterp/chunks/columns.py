"""The type of each column over all ranges: what pandas would have made of the whole file at once.

A range alone shows only a part: a column of whole numbers may have its first gap, or its first word, in the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ipy_codeinterp.errors import InvalidInput

EMPTY, BOOL, FLOAT, TEXT = "empty", "bool", "float64", "str"
NUMBERS = ("int64", "uint64", FLOAT)
KINDS = (EMPTY, BOOL, *NUMBERS, TEXT)

Seen = Mapping[str, tuple[str, bool]]  # by column: one of KINDS, and whether a value was missing


def dtypes(parts: Iterable[Seen], given: Mapping[str, str]) -> dict[str, str]:
    """What `read_csv` is told of each column; `given` counts where it says something.

    Raises `InvalidInput` for a name in `given` that no column has.
    """
    whole: dict[str, tuple[str, bool]] = {}
    for part in parts:
        for column, (kind, missing) in part.items():
            before, was_missing = whole.get(column, (EMPTY, False))
            whole[column] = _joined(before, kind), was_missing or missing
    if unknown := next((column for column in given if column not in whole), None):
        raise InvalidInput(f"there is no column {unknown!r}", hint=f"there are {', '.join(whole)[:500]}")
    return {column: given.get(column) or _dtype(kind, missing) for column, (kind, missing) in whole.items()}


def _joined(one: str, other: str) -> str:
    if one == other or other == EMPTY:
        return one
    if one == EMPTY:
        return other
    if {one, other} == {"int64", "uint64"}:
        return TEXT  # no number of 64 bits holds both: nothing is lost in words
    return FLOAT if one in NUMBERS and other in NUMBERS else TEXT


def _dtype(kind: str, missing: bool) -> str:
    """pandas' own choice, but for truth with gaps, for which it has none."""
    if kind == BOOL:
        return "boolean" if missing else BOOL
    if kind == EMPTY or (missing and kind in NUMBERS):
        return FLOAT
    return kind
