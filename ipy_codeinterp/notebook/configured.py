"""What `%interp config` lists: every setting, what it is now, and who said so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from ipy_codeinterp import registry
from ipy_codeinterp.keys import MASK
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.shield import masked_words
from ipy_codeinterp.tables import columns

NAMES = tuple(each.name for each in fields(Settings))
HERE = "this session"  # by a verb, as `%interp enable`


@dataclass(slots=True)
class Configured:
    """The settings as they were said, and by whom: `default`, a file, a variable, c.InterpMagics, %config."""

    settings: Settings
    sources: dict[str, str]

    def change(self, name: str, value: Any, source: str) -> None:
        """Note that `source` has said it."""
        self.settings = self.settings.changed(**{name: value})
        self.sources[name] = source

    def source(self, name: str, now: Settings) -> str:
        """Who said what counts now."""
        return self.sources.get(name, HERE) if getattr(self.settings, name) == getattr(now, name) else HERE


def table(configured: Configured, now: Settings, name: str | None = None, at_once: Iterable[str] = ()) -> str:
    """A row a setting, or that of `name`; `at_once` are those that %config changes. Raises `UnknownName`."""
    names = [registry.find("setting", name, {each: each for each in NAMES})] if name else NAMES
    changes = set(at_once)
    rows = [
        (each, shown(getattr(now, each)), configured.source(each, now), "yes" if each in changes else "")
        for each in names
    ]
    return columns(("SETTING", "VALUE", "SAID BY", "%config"), rows)


def shown(value: Any) -> str:
    """A value in a line, without keys or what opens an address."""
    if value is None or value == ():
        return "unset" if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return re.sub(r"(?<=//)[^/@\s]*@", f"{MASK}@", masked_words(text))
