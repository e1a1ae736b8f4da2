"""How many tokens a text is: by OpenAI's o200k_base where a tokenizer is installed, else its characters / 4.

There is no model here, so either is an estimate; COUNTED_BY, in a header of each reply, says which it was.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from functools import cache

ENCODING = "o200k_base"
BY_CHARACTERS = "characters/4"
COUNTED_BY = "x-ipy-codeinterp-tokens"
LONG = 1 << 18  # characters: only so many are tokenized, the rest counts in proportion


async def count(text: str) -> int:
    """The number of tokens; the tokenizer is loaded, and long texts are read, beside the event loop."""
    return await asyncio.to_thread(_count, text)


def headers() -> dict[str, str]:
    """The header that names what counted."""
    return {COUNTED_BY: counted_by()}


def counted_by() -> str:
    """What counts here."""
    return ENCODING if _is_installed() else BY_CHARACTERS


def _count(text: str) -> int:
    counter = _counter()
    if len(text) <= LONG:
        return counter(text)
    return counter(text[:LONG]) * len(text) // LONG


@cache
def _is_installed() -> bool:
    return importlib.util.find_spec("quicktok") is not None


@cache
def _counter() -> Callable[[str], int]:
    if not _is_installed():
        return by_characters
    import quicktok  # an extra: it brings seven megabytes

    encoding = quicktok.get_encoding(ENCODING)
    return lambda text: int(encoding.count(text.encode("utf-8", "replace").decode()))


def by_characters(text: str) -> int:
    return -(-len(text) // 4)
