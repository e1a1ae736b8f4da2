"""Completion on the lines that are ours: the first one of a `%%interp` cell, and `%interp VERB`.

What may stand there is read from FLAGS and the verbs' grammars, so that a new row is completed by itself; VALUES and
ARGUMENTS say where values come from. All of it is at hand: nothing here asks a network, or reads more than a few rows.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ipy_codeinterp import catalog, consent, languages
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.notebook import job_verbs, own_verbs, topics
from ipy_codeinterp.notebook.arguments import FLAGS, verb_parser
from ipy_codeinterp.notebook.configured import NAMES
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.settings import CHOICES
from ipy_codeinterp.store import batches, database, journal, stats
from ipy_codeinterp.verbs import BATCH_ACTIONS

MOST_PATHS = 200  # of one folder
MOST_IDS = 50
COMMA = ("--model", "--in", "--get", "--by")  # flags that take several, with commas between

Source = Callable[[Desk, str], Iterable[str]]  # given what stands there already


class Here(NamedTuple):
    """Where the cursor is: in a cell's first line or behind `%interp`, the words before, and the one being written."""

    is_cell: bool
    words: list[str]
    fragment: str
    quote: str = ""  # that it is in


# --- where values come from -----------------------------------------------------------------------


def models(desk: Desk, fragment: str) -> list[str]:
    """Names, and after an @ the offers of every provider."""
    names = consent.bare_names()
    if "@" not in fragment:
        return sorted(names)
    model = fragment.partition("@")[0]
    return [f"{model}@{provider}" for provider in names.get(model, tuple(catalog.providers()))]


def containers(desk: Desk, fragment: str) -> list[str]:
    return sorted({*desk.session.container_names, *(past.container for past in desk.past if past.container)})


def variables(desk: Desk, fragment: str) -> list[str]:
    """The user's own data: no modules, functions or what IPython put there."""
    hidden = getattr(desk.shell, "user_ns_hidden", {})
    return sorted(
        name
        for name, value in desk.shell.user_ns.items()
        if not name.startswith("_") and name not in hidden and not isinstance(value, ModuleType | FunctionType | type)
    )


def paths(desk: Desk, fragment: str) -> list[str]:
    """Files and folders that the word begins; hidden ones where it begins with a dot."""
    head, tail = os.path.split(fragment)
    found: list[str] = []
    with contextlib.suppress(OSError, ValueError), os.scandir(os.path.expanduser(head or ".")) as entries:
        for entry in entries:
            if entry.name.startswith(tail) and (tail.startswith(".") or not entry.name.startswith(".")):
                found.append(os.path.join(head, entry.name) + ("/" if entry.is_dir() else ""))
            if len(found) == MOST_PATHS:
                break
    return sorted(found)


def runs(desk: Desk, fragment: str) -> list[str]:
    """Of the newest Results and batches."""
    with contextlib.suppress(InterpError), database.reading(desk.session.store) as connection:
        if connection:
            return [*batches.newest(connection, MOST_IDS), *journal.newest(connection, MOST_IDS)]
    return []


def jobs(desk: Desk, fragment: str) -> list[str]:
    """Those that are not over come first."""
    return [state.id for state in sorted(desk.jobs.states(), key=lambda state: state.is_over)]


def waiting(desk: Desk, fragment: str) -> list[str]:
    return [id for id in runs(desk, fragment) if id.startswith("batch_")]


VALUES: dict[str, Source] = {
    "--model": models,
    "--language": lambda desk, _: languages.names(),
    "--policy": lambda desk, _: CHOICES["policy"],
    "--container": containers,
    "--in": variables,
    "--get": variables,
    "--out": variables,
    "--by": lambda desk, _: stats.BY,
    **dict.fromkeys(("--attach", "--from", "--chunks", "--mount", "--checkpoint", "--save", "--export"), paths),
    "--against": paths,
}
# Of a verb's arguments, by its name and theirs, or by theirs alone.
ARGUMENTS: dict[tuple[str, str] | str, Source] = {
    ("container", "action"): lambda desk, _: own_verbs.CONTAINER_ACTIONS,
    ("container", "name"): containers,
    ("batch", "action"): lambda desk, _: BATCH_ACTIONS,
    ("batch", "id"): waiting,
    ("wait", "ids"): jobs,
    ("cancel", "id"): lambda desk, fragment: [*jobs(desk, fragment), job_verbs.ALL],
    ("models", "name"): lambda desk, fragment: [*models(desk, fragment), *catalog.providers()],
    ("config", "name"): lambda desk, _: NAMES,
    ("project", "offers"): models,
    ("help", "topic"): lambda desk, _: topics.topics(own_verbs.known),
    "provider": lambda desk, _: [name for name, each in catalog.providers().items() if not each.is_local],
    "providers": lambda desk, _: [name for name, each in catalog.providers().items() if not each.is_local],
    "id": runs,
    "ids": runs,
    "path": paths,
}


# --- what may stand where the cursor is -----------------------------------------------------------


def candidates(desk: Desk, here: Here) -> list[str]:
    """What the word that is being written may become."""
    if not here.is_cell and not here.words and not here.fragment.startswith("-"):
        found: Iterable[str] = own_verbs.names()
    elif not here.is_cell and here.words and not here.words[0].startswith("-"):
        found = _of_a_verb(desk, here)
    else:
        found = _of_a_cell(desk, here)
    return [each for each in dict.fromkeys(found) if each.startswith(here.fragment)]


def _of_a_cell(desk: Desk, here: Here) -> Iterable[str]:
    rows = {name: (names, options) for names, options in FLAGS for name in names}
    row = rows.get(here.words[-1]) if here.words else None
    if row and "action" in row[1] and row[1]["action"] != "append":
        row = None  # it takes no value
    if row is None:
        return _flags({name for name in rows if name.startswith("--")}, here)
    return _values(desk, row[0], row[1].get("choices"), here.fragment)


def _of_a_verb(desk: Desk, here: Here) -> Iterable[str]:
    verb = own_verbs.known.get(here.words[0])
    if verb is None:
        return ()
    actions = verb_parser(verb)._actions
    by_name = {name: action for action in actions for name in action.option_strings}
    last = by_name.get(here.words[-1])
    if last is not None and last.nargs != 0:
        return _values(desk, last.option_strings, last.choices, here.fragment)
    if here.fragment.startswith("-") and verb.name != own_verbs.HELP:
        return _flags(by_name, here)
    argument = _argument(actions, by_name, here.words[1:])
    if argument is None:
        return _flags(by_name, here)
    if argument.choices:
        return map(str, argument.choices)
    source = ARGUMENTS.get((verb.name, argument.dest)) or ARGUMENTS.get(argument.dest)
    source = source or (paths if argument.type is Path else None)
    return source(desk, here.fragment) if source else ()


def _argument(
    actions: Sequence[argparse.Action], by_name: Mapping[str, argparse.Action], words: Sequence[str]
) -> argparse.Action | None:
    """The one without a flag that comes next after `words`."""
    without = [action for action in actions if not action.option_strings]
    passed, takes_next = 0, False
    for word in words:
        flag = by_name.get(word)
        passed += not takes_next and not word.startswith("-")
        takes_next = flag is not None and flag.nargs != 0
    for action in without:
        if passed == 0 or action.nargs in ("*", "+"):
            return action
        passed -= 1
    return None


def _flags(names: Iterable[str], here: Here) -> list[str]:
    """Those that are not there yet come first."""
    return sorted(names, key=lambda name: (name in here.words, name))


def _values(desk: Desk, names: Sequence[str], choices: Any, fragment: str) -> list[str]:
    if choices:
        return [str(each) for each in choices]
    source = next((VALUES[name] for name in names if name in VALUES), None)
    if source is None:
        return []
    before, comma, last = fragment.rpartition(",") if set(names) & set(COMMA) else ("", "", fragment)
    return [f"{before}{comma}{each}" for each in source(desk, last)]


# --- IPython's side -------------------------------------------------------------------------------


class Completion:
    """`begin()` makes IPython ask us, `end()` takes that back."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # a function, since IPython writes on it what kind of matcher it is
        self._matcher = context_matcher(identifier="ipy_codeinterp")(lambda context: self._matches(context))

    def begin(self) -> None:
        self._matchers.append(self._matcher)

    def end(self) -> None:
        if self._matcher in self._matchers:
            self._matchers.remove(self._matcher)

    @property
    def _matchers(self) -> list[Any]:
        return self._desk.shell.Completer.custom_matchers

    def _matches(self, context: CompletionContext) -> SimpleMatcherResult:
        here = where(context.full_text, context.cursor_line, context.cursor_position)
        if here is None:
            return SimpleMatcherResult(completions=[])
        found = [
            SimpleCompletion(text=_quoted(each, here.quote), type="magic") for each in candidates(self._desk, here)
        ]
        return SimpleMatcherResult(completions=found, suppress=True, matched_fragment=here.fragment)


def where(text: str, line: int, column: int) -> Here | None:
    """What the cursor is in; None where the line is not ours, but Python's or another magic's."""
    lines = text.split("\n")
    before = lines[line][:column]
    magics = next((index for index, each in enumerate(lines) if not each.startswith("%%")), len(lines))
    if line < magics:  # `%%time` may stand above
        found = re.match(r"%%interp\s(.*)", before)
    elif magics:
        found = None
    else:
        found = re.match(r"\s*%interp\s(.*)", before)
    return None if found is None else _here(found[1], before.startswith("%%"))


def _here(said: str, is_cell: bool) -> Here:
    """The words of `said`; the last one is being written, also within quotes or after `=`."""
    words = [word.group() for word in re.finditer(r"""(?:"[^"]*"?|'[^']*'?|[^\s"'])+""", said)]
    fragment = words.pop() if words and not (said[-1:].isspace() and _is_closed(words[-1])) else ""
    if fragment.startswith("--") and "=" in fragment:
        flag, _, fragment = fragment.partition("=")
        words.append(flag)
    quote = fragment[:1] if fragment[:1] in ("'", '"') else ""
    return Here(is_cell, [word.strip("\"'") for word in words], fragment.removeprefix(quote), quote)


def _is_closed(word: str) -> bool:
    return word.count('"') % 2 == 0 and word.count("'") % 2 == 0


def _quoted(text: str, quote: str) -> str:
    """As it follows what stands there; a folder's name stays open."""
    if quote:
        return text if text.endswith("/") else text + quote
    return f'"{text}"' if re.search(r"\s", text) else text
