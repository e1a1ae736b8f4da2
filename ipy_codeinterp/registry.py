"""Finding a thing by name: an unknown name is answered with the nearest one that exists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from ipy_codeinterp.errors import UnknownName

T = TypeVar("T")


def find(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Return `known[name]`, or raise `UnknownName` with the nearest spelling."""
    try:
        return known[name]
    except KeyError:
        raise UnknownName(f"unknown {kind} {name!r}", hint=suggestion(name, known)) from None


def suggestion(name: str, known: Iterable[str]) -> str:
    """'did you mean ...?' when something is near, else what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names) or 'none yet'}"
