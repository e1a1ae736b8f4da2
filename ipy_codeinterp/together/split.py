"""Where one cell ends and the next begins, in the events of a group: found by the marks that `inside` writes.

What comes from there is not trusted: a mark that is none counts for nothing, and its cell as not seen to the end.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ipy_codeinterp.execution import Clear, Display, Error, Event, Restarted, Stream, StreamName, Update
from ipy_codeinterp.outputs import Collector

STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")
MOST_MARK = 1 << 16  # characters; what is longer is none


@dataclass(frozen=True, slots=True)
class Mark:
    """The begin or the end of a cell. `at` is seconds since the group began, `files` the sizes of those it left."""

    at: float
    ok: bool = False
    exit_status: int = 0
    files: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Part:
    """What is seen of one cell: its outputs, and its marks by stream."""

    collector: Collector = field(default_factory=Collector)
    begins: dict[str, Mark] = field(default_factory=dict)
    ends: dict[str, Mark] = field(default_factory=dict)
    figures: int = 0

    @property
    def begun(self) -> Mark | None:
        return self.begins.get("stdout")

    @property
    def ended(self) -> Mark | None:
        """The mark of its end, where nothing between its marks can be another cell's."""
        is_whole = all(name in self.begins and name in self.ends for name in STREAMS)
        return self.ends["stdout"] if is_whole else None

    @property
    def seconds(self) -> float | None:
        return self.ended.at - self.begun.at if self.ended and self.begun else None


class Splitter:
    """Feed it the events of a group of `count` cells; `parts` is what each of them has by now."""

    def __init__(self, token: str, count: int) -> None:
        self._opening = f"<{token} "
        self._mark = re.compile(re.escape(self._opening) + r"(begin|end) (\d{1,9}) (.*)>\n")
        self._count = count
        self._begin()

    def _begin(self) -> None:
        self.parts = [Part() for _ in range(self._count)]
        self.is_empty = True
        self._current: dict[StreamName, int] = dict.fromkeys(STREAMS, 0)
        self._pending: dict[StreamName, str] = dict.fromkeys(STREAMS, "")

    def feed(self, event: Event) -> Iterator[Event]:
        """What may be shown of `event`: marks are left out, and so is what looks like the beginning of one, for now."""
        self.is_empty = self.is_empty and not isinstance(event, Stream | Display | Error)
        if isinstance(event, Stream):
            yield from self._feed_text(event.name, event.text)
            return
        if isinstance(event, Restarted):
            self._begin()
        if isinstance(event, Display | Error | Update | Clear):
            part = self.parts[self._current["stdout"]]
            part.collector.feed(event)
            part.figures += isinstance(event, Display) and isinstance(event.data.get("image/png"), str)
        yield event

    def finish(self) -> Iterator[Event]:
        """The group has ended: what was held back is text, or a mark whose line was cut."""
        for name in STREAMS:
            held, self._pending[name] = self._pending[name], ""
            found = self._mark.fullmatch(held + "\n")
            if found:
                self._note(name, found)
            else:
                yield from self._put(name, held)

    def _feed_text(self, name: StreamName, text: str) -> Iterator[Event]:
        text, start = self._pending[name] + text, 0
        for found in self._mark.finditer(text):
            yield from self._put(name, text[start : found.start()])
            self._note(name, found)
            start = found.end()
        stop = start + self._held_from(text[start:])
        self._pending[name] = text[stop:]
        yield from self._put(name, text[start:stop])

    def _held_from(self, text: str) -> int:
        """Where in `text` a mark may begin whose end is not here yet; its length where none may."""
        begin = text.rfind(self._opening)
        if begin >= 0:
            return begin if len(text) - begin < MOST_MARK else len(text)
        sizes = range(min(len(self._opening), len(text)), 0, -1)
        return len(text) - next((size for size in sizes if self._opening.startswith(text[-size:])), 0)

    def _put(self, name: StreamName, text: str) -> Iterator[Event]:
        if text:
            stream = Stream(name, text)
            self.parts[self._current[name]].collector.feed(stream)
            yield stream

    def _note(self, name: StreamName, found: re.Match[str]) -> None:
        word, number, mark = found[1], int(found[2]), _mark_of(found[3])
        if mark is None or not self._current[name] <= number < self._count:
            return
        part = self.parts[number]
        if word == "begin":
            self._current[name] = number
            part.begins[name] = mark
        elif number == self._current[name]:
            part.ends[name] = mark


def _mark_of(said: str) -> Mark | None:
    try:
        facts = json.loads(said)
        at, files = float(facts["at"]), {str(name): int(size) for name, size in facts.get("files", {}).items()}
        if not math.isfinite(at):
            return None
        return Mark(at, facts.get("ok") is True, int(facts.get("exit", 0)), files)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
