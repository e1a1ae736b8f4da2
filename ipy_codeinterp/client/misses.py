"""What to say when a replay has no answer: which cell, which recorded run comes nearest, and what differs."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Mapping
from typing import Any

from ipy_codeinterp.errors import ReplayMiss
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.store.recording import Entry, Recording, asked_of

MOST_COMPARED = 4000  # characters of a cell
SHORTLIST = 10
MOST_LINES = 12  # of a difference
MOST_WIDTH = 70


def missed(recording: Recording, execution: Execution) -> ReplayMiss:
    """The error for `execution`, of which the recording has no next run."""
    asked = asked_of(execution)
    message = f"{first_line(execution.body)!r} was not recorded in {recording.folder}"
    nearest = _nearest(recording.entries, asked)
    lines = ["the recording is empty"] if nearest is None else _explained(recording, execution, nearest, asked)
    way_out = "record it: ipy-codeinterp record NOTEBOOK --missing"
    return ReplayMiss(message, hint="\n".join([*lines, way_out]))


def first_line(body: str) -> str:
    """The first line that says something, cut to fit."""
    line = next((line.strip() for line in body.splitlines() if line.strip()), "")
    return line if len(line) <= MOST_WIDTH else line[: MOST_WIDTH - 3] + "..."


def _nearest(entries: tuple[Entry, ...], asked: Mapping[str, Any]) -> Entry | None:
    """The entry with the most similar code; of equal ones that with the most fields in common."""
    body = asked["body"]
    letters = difflib.SequenceMatcher(None, b=body[:MOST_COMPARED], autojunk=False)
    lines = difflib.SequenceMatcher(None, b=body[:MOST_COMPARED].splitlines(), autojunk=False)

    def by_letters(entry: Entry) -> float:
        letters.set_seq1(entry.asked["body"][:MOST_COMPARED])
        return letters.quick_ratio()  # which letters, in any order: matching them in order takes seconds

    def closeness(entry: Entry) -> tuple[bool, float, int]:
        lines.set_seq1(entry.asked["body"][:MOST_COMPARED].splitlines())
        likeness = by_letters(entry) + lines.ratio()
        return entry.asked["body"] == body, likeness, -len(_fields(entry.asked, asked))

    return max(heapq.nlargest(SHORTLIST, entries, key=by_letters), key=closeness, default=None)


def _explained(recording: Recording, execution: Execution, nearest: Entry, asked: Mapping[str, Any]) -> list[str]:
    fields, body = _fields(nearest.asked, asked), _body(nearest.asked["body"], asked["body"])
    told = [f"nearest: {first_line(nearest.asked['body'])!r} in runs/{nearest.name}"]
    if fields or body:
        return [*told, *fields, *body]
    if times := recording.times(execution):
        return [*told, f"it was recorded {times} time{'s' * (times > 1)}, and is asked for once more"]
    return [*told, f"what ran before it in container {execution.container!r} is not what was recorded before it"]


def _fields(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    names = sorted((recorded.keys() | asked.keys()) - {"body"})
    return [
        f"{name}: recorded with {_told(recorded, name)}, asked with {_told(asked, name)}"
        for name in names
        if recorded.get(name) != asked.get(name)
    ]


def _told(fields: Mapping[str, Any], name: str) -> str:
    said = repr(fields[name]) if name in fields else "none"
    return said if len(said) <= 2 * MOST_WIDTH else said[: 2 * MOST_WIDTH - 3] + "..."


def _body(recorded: str, asked: str) -> list[str]:
    """The lines that differ, of the first MOST_COMPARED characters."""
    old, new = recorded[:MOST_COMPARED].splitlines(), asked[:MOST_COMPARED].splitlines()
    lines = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:2] not in ("--", "++", "@@")]
    if not lines and recorded != asked:
        return ["the code differs further down, or in its white space"]
    return lines[:MOST_LINES] + (["..."] if len(lines) > MOST_LINES else [])
