"""Which code a call of the interpreter ran: its own, a here-document's, or that of a file which was written before.

A model often makes a file with the editor and then runs it with bash. What ran is told as well as a shell's command
can be read without a shell; every reading takes time in proportion to what is read, for the command is not ours.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

MOST_QUOTED = 100_000  # characters of a command whose arguments are looked at one by one
INLINE = ("-c", "-e")

_HERE = re.compile(r"<<(-?)[ \t]*(['\"]?)([\w.-]+)\2")
_INTO = re.compile(r">{1,2}[ \t]*['\"]?([^\s;&|<>'\"]+)")
_RUN = re.compile(
    r"(?:(?:^|[\s;&|(/'\"])(?:python[\d.]*|Rscript|node|bash|sh|source|\.)[ \t]+(?:-\w+[ \t]+)*['\"]?"
    r"|(?:^|[;&|(\n])[ \t]*(?=\.?/))"
    r"([^\s;&|()<>'\"]+)"
)
_BLANK = re.compile(r"[ \t]*")


def normal(code: str) -> str:
    """`code` with `\\n` line ends."""
    return code.replace("\r\n", "\n").replace("\r", "\n")


class Sought:
    """Code that is looked for; made ready once, for it may be compared with very many texts."""

    def __init__(self, code: str) -> None:
        self._code = normal(code)
        self._core = self._code.strip()

    def equals(self, code: str) -> bool:
        """Up to line ends and the outermost blank lines."""
        other = normal(code)
        if other == self._code:
            return True
        return other.strip() == self._core and _within(other) == _within(self._code)  # the first is quick

    def is_whole_in(self, command: str) -> bool:
        """Whether it stands in it as the command, as a here-document, or behind `-c` or `-e`."""
        if self.equals(command) or any(self.equals(text) for _, text, exact in here_documents(command) if exact):
            return True
        return any(map(self.equals, _inline(command)))


def _within(code: str) -> list[str]:
    lines = code.split("\n")
    filled = [i for i, line in enumerate(lines) if not _BLANK.fullmatch(line)]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _inline(command: str) -> list[str]:
    """The programs that are arguments of the command."""
    if len(command) > MOST_QUOTED or not any(option in command for option in INLINE):
        return []
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    return [word for option, word in itertools.pairwise(words) if option in INLINE]


def here_documents(command: str) -> Iterator[tuple[str, str, bool]]:
    """Each with the path it is written to (empty: none) and whether the shell changes nothing in it."""
    end, into, exact, strip, text = "", "", True, False, list[str]()
    for line in normal(command).split("\n"):
        if end:
            line = line.lstrip("\t") if strip else line
            if line == end:
                body = "\n".join(text)
                yield into, body, exact or not re.search(r"[$`\\]", body)
                end, text = "", []
            else:
                text.append(line)
        elif found := _HERE.search(line):
            target = _INTO.search(line)
            end, into = found[3], target[1] if target else ""
            strip, exact = bool(found[1]), bool(found[2])


class Written:
    """What was written to files so far, by the last part of their paths, and what of it is the code that was asked."""

    def __init__(self, asked: str) -> None:
        self.asked = Sought(asked)
        self._texts: dict[str, tuple[str, str]] = {}  # path and text
        self._told: set[str] = set()

    def edit(self, said: Mapping[str, Any]) -> None:
        """A call of the editor that went well."""
        command, path, text = said.get("command"), said.get("path"), said.get("file_text")
        if not isinstance(path, str) or command == "view":
            return
        if command == "str_replace":
            text = _replaced(self._texts.get(_last(path), ("", None))[1], said.get("old_str"), said.get("new_str"))
        self._put(path, text)

    def run(self, command: str) -> tuple[str, bool]:
        """The code that `command` runs, and whether what was asked is in it whole.

        Its files stand behind the command; with the next command that runs one they are not told again.
        """
        for path, text, _ in here_documents(command):
            if path:
                self._put(path, text)
                self._told.add(_last(path))
        run = {name: self._texts[name] for name in map(_last, _RUN.findall(command)) if name in self._texts}
        whole = self.asked.is_whole_in(command) or any(self.asked.equals(text) for _, text in run.values())
        new = [f"# {path}\n{text}" for name, (path, text) in run.items() if name not in self._told]
        self._told.update(run)
        return normal("\n\n".join([command, *new])), whole

    def _put(self, path: str, text: object) -> None:
        self._told.discard(_last(path))
        if isinstance(text, str):
            self._texts[_last(path)] = path, text
        else:
            self._texts.pop(_last(path), None)  # nobody knows what is in it now


def _replaced(text: str | None, old: object, new: object) -> str | None:
    if text is None or not isinstance(old, str) or not isinstance(new, str | None):
        return None
    return text.replace(old, new or "", 1)


def _last(path: str) -> str:
    return path.rpartition("/")[2]
