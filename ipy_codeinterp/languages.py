"""The languages code can be written in.

To add one, add a row: its name, the label of its fence, and the names people also use.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipy_codeinterp import registry


@dataclass(frozen=True, slots=True)
class Language:
    name: str
    fence: str
    aliases: tuple[str, ...] = ()
    comment: str = "#"


LANGUAGES = {language.name: language for language in (Language("python", fence="python", aliases=("py", "python3")),)}

_BY_ANY_NAME = LANGUAGES | {alias: language for language in LANGUAGES.values() for alias in language.aliases}


def find(name: str) -> Language:
    """The language called so, or `UnknownName`."""
    return registry.find("language", name, _BY_ANY_NAME)


def names() -> list[str]:
    """Every name a language may be called by."""
    return sorted(_BY_ANY_NAME)
