"""What `%interp help TOPIC` says: of the groups of flags, of each flag, verb and setting."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from ipy_codeinterp import registry
from ipy_codeinterp.notebook.arguments import FLAGS, BadUsage, Grammar, verb_parser
from ipy_codeinterp.notebook.groups import GROUPS, group_of
from ipy_codeinterp.settings import CHOICES, PREFIX, Settings

INTRODUCTION = """Run the cell in an isolated interpreter and show its output while it runs.

Cells start fresh unless they name a --container. %%interp? shows the flags. The verbs:
"""


def overview(known: Mapping[str, Grammar]) -> str:
    """The verbs with a line each, and where the rest is said."""
    width = max(map(len, known))
    verbs = [f"  %interp {name:<{width}}  {verb.help}" for name, verb in known.items()]
    more = f"%interp help TOPIC says more: a verb, a flag, a setting, or flags for {', '.join(GROUPS)}"
    return INTRODUCTION + "\n".join([*verbs, "", more])


def said(topic: str, known: Mapping[str, Grammar]) -> str:
    """All that is known of it: one word may be a verb, a setting and a flag. Raises `BadUsage` with the nearest."""
    found = [text for name, text in _entries(known) if name == topic.lower()]
    if not found:
        raise BadUsage(f"no help on {topic!r}: {registry.suggestion(topic.lower(), topics(known))}")
    return "\n\n".join(text() for text in found)


def topics(known: Mapping[str, Grammar]) -> tuple[str, ...]:
    """Everything there is help on."""
    return tuple(dict.fromkeys(name for name, _ in _entries(known)))


def _entries(known: Mapping[str, Grammar]) -> Iterator[tuple[str, Callable[[], str]]]:
    for title in GROUPS:
        yield title, lambda title=title: _group(title)  # type: ignore[misc]
    for verb in known.values():
        yield verb.name, lambda verb=verb: verb_parser(verb).format_help().rstrip()  # type: ignore[misc]
    for names, options in FLAGS:
        for name in (*names, names[-1].lstrip("-")):
            yield name, lambda names=names, options=options: _flag(names, options)  # type: ignore[misc]
    for name in meanings():
        yield name, lambda name=name: _setting(name)  # type: ignore[misc]


def _group(title: str) -> str:
    return "\n".join([f"{title}:", *(_flag(names, options) for names, options in FLAGS if group_of(names) == title)])


def _flag(names: tuple[str, ...], options: Mapping[str, Any]) -> str:
    value = f" {options['metavar']}" if "metavar" in options else ""
    return f"  {', '.join(names)}{value}\n      {options['help'].replace('%%', '%')}"


def _setting(name: str) -> str:
    lines = [f"setting {name}: {meanings()[name]}"]
    if name in CHOICES:
        lines.append(f"  one of: {', '.join(CHOICES[name])}")
    lines.append(
        f"  set it as {PREFIX}{name.upper()}, in config.toml, or with %config where that works (%interp config)"
    )
    return "\n".join(lines)


@cache
def meanings() -> dict[str, str]:
    """What each setting means: the comment above it, which is the only place that says so in code."""
    found, comment = {}, list[str]()
    for line in map(str.strip, inspect.getsource(Settings).splitlines()):
        if field := re.match(r"(\w+): [^=]+=", line):
            found[field[1]] = " ".join(comment)
        comment = [*comment, line[2:]] if line.startswith("# ") else []
    return found
