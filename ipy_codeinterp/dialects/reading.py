"""A JSON value that may be anything, read as what it should be: the value where it is that, nothing where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOTHING: Mapping[str, Any] = {}


def mapping(value: object) -> Mapping[str, Any]:
    """An object; empty where it is none."""
    return value if isinstance(value, Mapping) else _NOTHING


def items(value: object) -> list[Any]:
    """A list; empty where it is none."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """A string; empty where it is none."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """A whole number that can count something; None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None
