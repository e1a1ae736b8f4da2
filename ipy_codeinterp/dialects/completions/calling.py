"""The calls of a model, put together from the pieces they are streamed in, and judged: can this be run?

Servers differ: a piece may lack its index, calls may share one, ids may be missing or the same for all, arguments may
be an object instead of the text of one. Nothing here raises; a call that cannot be run says why, in words for a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp import languages
from ipy_codeinterp.dialects.completions.asking import FUNCTION
from ipy_codeinterp.dialects.dialect import Call
from ipy_codeinterp.dialects.growing import Growing
from ipy_codeinterp.dialects.reading import mapping, text
from ipy_codeinterp.errors import UnknownName

MOST_NAME = 80  # characters of what a model called, in our words to it
READ = {"index", "id", "type", "function"}


@dataclass(slots=True)
class Growth:
    """One call as far as it has come."""

    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)  # of the text of its arguments
    code: Growing = field(default_factory=lambda: Growing("code"))
    others: dict[str, Any] = field(default_factory=dict)  # what else it carries, to be sent back with it

    def feed(self, said: Mapping[str, Any]) -> str:
        """More of it; what is newly known of its code comes back."""
        function = mapping(said.get("function"))
        self.id = self.id or text(said.get("id"))
        self.name = self.name or text(function.get("name"))
        self.others.update({name: value for name, value in said.items() if name not in READ and value is not None})
        piece = _as_text(function.get("arguments"))
        if piece:
            self.pieces.append(piece)
        return self.code.feed(piece)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


def _as_text(arguments: object) -> str:
    """Some servers give the object itself."""
    try:
        return json.dumps(arguments) if isinstance(arguments, Mapping) else text(arguments)
    except RecursionError:
        return ""


class Calls:
    """Feed it each `tool_calls` entry of each delta."""

    def __init__(self) -> None:
        self._all: list[Growth] = []
        self._by_index: dict[int, Growth] = {}

    def feed(self, said: Mapping[str, Any]) -> str:
        """What is newly known of code."""
        return self._of(said).feed(said)

    def _of(self, said: Mapping[str, Any]) -> Growth:
        index, id = said.get("index"), text(said.get("id"))
        at = index if isinstance(index, int) else None
        known = self._by_index.get(at) if at is not None else self._all[-1] if self._all else None
        if known and not (id and known.id and id != known.id) and not (at is None and not id and _begins(said, known)):
            return known
        new = Growth()
        self._all.append(new)
        if at is not None:
            self._by_index[at] = new
        return new

    def finished(self, prefix: str) -> list[Growth]:
        """All, in the order they began, each with an id of its own: `prefix` and a number where it has none."""
        taken: set[str] = set()
        for number, call in enumerate(self._all):
            call.id = call.id if call.id and call.id not in taken else f"{prefix}{number}"
            taken.add(call.id)
        return self._all


def _begins(said: Mapping[str, Any], known: Growth) -> bool:
    """Without index and id, a name after arguments is the next call's."""
    return bool(text(mapping(said.get("function")).get("name")) and known.pieces)


def judged(growth: Growth, language: str) -> Call:
    """The call as what we are to run, in the one language that was offered."""
    arguments = _parsed(growth.arguments)
    fault = "".join(list(_faults(growth.name, arguments, language))[:1])
    if fault or not isinstance(arguments, dict):
        return Call(growth.id, text(mapping(arguments).get("code")), language, fault)
    return Call(growth.id, arguments["code"], language)


def _faults(name: str, arguments: object, language: str) -> Iterator[str]:
    if name != FUNCTION:
        yield f"there is no function {name[:MOST_NAME]!r}: call {FUNCTION}"
    if isinstance(arguments, str):
        yield f"the arguments are not valid JSON: {arguments}"
    if not isinstance(arguments, dict) or not isinstance(arguments.get("code"), str):
        yield f'the arguments have to be {{"language": "{language}", "code": "..."}}'
    elif not arguments["code"].strip():
        yield "the code is empty"
    elif not _is_language(arguments.get("language", language), language):
        yield f"only {language} runs here"


def _parsed(arguments: str) -> object:
    """The object, or in words why there is none."""
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        return f"{error}"
    return found if isinstance(found, dict) else None


def _is_language(said: object, language: str) -> bool:
    try:
        return languages.find(text(said)).name == language
    except UnknownName:
        return False


def said_again(growth: Growth) -> dict[str, Any]:
    """The call as the next request repeats it. Arguments that are no object are left out: some servers parse them."""
    arguments = growth.arguments if isinstance(_parsed(growth.arguments), dict) else "{}"
    function = {"name": growth.name or FUNCTION, "arguments": arguments}
    return {**growth.others, "id": growth.id, "type": "function", "function": function}
