"""What the `logs` of a call tell of its end: the provider reports none, but a traceback at the end is one.

A notebook prints a traceback with a ruled heading, a program as plain Python does. Either is believed only where it is
the last that was printed: code that catches an error and prints it goes on.
"""

from __future__ import annotations

import re

MOST_READ = 1 << 16  # characters, from the end: a longer traceback is not recognised

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN = "Traceback (most recent call last):"
_RULED = re.compile(r"^([\w.]+) +Traceback \(most recent call last\)$", re.MULTILINE)
_RAISED = re.compile(r"[^\W\d][\w.]*(?:: .*)?")
_UNPARSED = re.compile(r"\n +\^+\n(?:Syntax|Indentation|Tab)Error: [^\n]*\Z")  # these have no heading


def end_in_traceback(logs: str) -> bool:
    """Whether an exception that nobody caught is the last that `logs` tell."""
    told = _COLOURS.sub("", logs[-MOST_READ:].replace("\r\n", "\n")).rstrip()
    return _ends_ruled(told) or _ends_plain(told) or bool(_UNPARSED.search(told))


def _ends_ruled(told: str) -> bool:
    """The heading names the exception, and so does the line at the end, whose message may go on over several."""
    headings = list(_RULED.finditer(told))
    if not headings:
        return False
    name = headings[-1][1]
    lines = told[headings[-1].end() :].split("\n")
    return any(line == name or line.startswith(f"{name}:") for line in lines)


def _ends_plain(told: str) -> bool:
    """Only the last line is not indented, and it names the exception."""
    before, heading, after = told.rpartition(_PLAIN)
    if not heading or (before and not before.endswith("\n")):
        return False
    *frames, last = after.lstrip("\n").split("\n")
    return bool(frames) and all(line.startswith(" ") for line in frames) and bool(_RAISED.fullmatch(last))
