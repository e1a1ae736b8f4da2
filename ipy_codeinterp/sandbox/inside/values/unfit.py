"""What cannot travel."""

from __future__ import annotations

WHAT_CAN = (
    "what can: pandas, polars and pyarrow tables, numpy arrays, and None, bool, int, float, complex, str, bytes, dates,"
    " Decimal, and list, tuple, dict and set of these"
)


class Unfit(ValueError):
    """A value that cannot be a file, or a file that holds no value; the message says why, or what to do."""


class Missing(Unfit):
    """The other end says why it sends no value."""


def no_way(value: object, *, of: str = "") -> Unfit:
    """Nobody here knows how `value` could travel."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Unfit(f"{of or 'a value'} of type {name} cannot travel; {WHAT_CAN}")
