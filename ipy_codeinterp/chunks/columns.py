"""The type of each column over all ranges: what pandas would have made of the whole file at once.

A range alone shows only a part: a column of whole numbers may have its first gap, or its first word, in the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ipy_codeinterp.errors import InvalidInput

EMPTY, BOOL, NATURAL, INTEGER, LARGE, FLOAT, TEXT = KINDS = (
    "empty",
    "bool",
    "natural",  # whole numbers from 0 on
    "int64",
    "uint64",  # beyond int64
    "float64",
    "str",
)
NUMBERS = {NATURAL, INTEGER, LARGE, FLOAT}

Seen = Mapping[str, tuple[str, bool]]  # by column: one of KINDS, and whether a value was missing


def dtypes(parts: Iterable[Seen], given: Mapping[str, str]) -> dict[str, str]:
    """What `read_csv` is told of each column; `given` counts where it says something.

    Raises `InvalidInput` for a name in `given` that no column has.
    """
    kinds: dict[str, set[str]] = {}
    missing: dict[str, bool] = {}
    for part in parts:
        for column, (kind, has_gaps) in part.items():
            kinds.setdefault(column, set()).add(kind)
            missing[column] = missing.get(column, False) or has_gaps
    if unknown := next((column for column in given if column not in kinds), None):
        raise InvalidInput(f"there is no column {unknown!r}", hint=f"there are {', '.join(kinds)[:500]}")
    return {column: given.get(column) or _dtype(seen - {EMPTY}, missing[column]) for column, seen in kinds.items()}


def _dtype(kinds: set[str], missing: bool) -> str:
    """pandas' own choice, but for truth with gaps, for which it has none."""
    if kinds == {BOOL}:
        return "boolean" if missing else BOOL
    if not kinds <= NUMBERS:
        return TEXT
    if LARGE in kinds and FLOAT not in kinds:
        return TEXT if missing or INTEGER in kinds else LARGE  # no number holds both: nothing is lost in words
    return FLOAT if missing or not kinds or FLOAT in kinds else INTEGER
