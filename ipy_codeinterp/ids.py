"""Ids that nobody else gives: what this process drew by chance, and a number that counts on.

They sort as they were given, so that a database keeps neighbours together. They are no secrets, and open nothing.
"""

from __future__ import annotations

import itertools
import os
import secrets

_numbers = itertools.count()
_process = ""


def new(kind: str) -> str:
    """`run_5f1c...00002a`, say. Any thread may ask."""
    return f"{kind}_{_process}{next(_numbers):06x}"


def is_own(id: str) -> bool:
    """Whether this process gave it."""
    return id.partition("_")[2].startswith(_process)


def _draw() -> None:
    global _process
    _process = secrets.token_hex(6)


_draw()
os.register_at_fork(after_in_child=_draw)
