"""Server-sent events: from bytes as they arrive, and to bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp.dialects.lifting import LEAST, MOST_JSON, Known, Lifter, TooLong, lifted

# Lines are split here and not by the reader of the socket: a figure in one line is larger than any sensible buffer.
LINE = 64  # bytes that it takes to hold a line, beside its own
LONG = 1 << 18  # bytes of a line whose strings are lifted out of it


class Parser:
    """Feed it chunks; it gives the `data` of each complete event, which is for `lifting.loads` where it is JSON.

    Raises `ValueError` for what is no text, and for an event that is longer than any reply needs.
    """

    def __init__(self, long: int = LONG, least: int = LEAST) -> None:
        self._most = long
        self._rest: list[bytes] = []
        self._size = 0  # of the rest
        self._data: list[bytes] = []
        self._held = 0  # bytes that the data takes
        self._texts: dict[str, str] = {}  # lifted out of the data
        self._long: Lifter | None = None
        self._known = Known(least)
        self._returned = False  # whether what came last was a `\r`: a `\n` that follows it ends no second line

    def feed(self, chunk: bytes) -> Iterator[str]:
        chunk = self._with_one_line_end(chunk)
        if self._long:
            line, end, chunk = chunk.partition(b"\n")
            self._long.feed(line)
            if not end:
                return
            self._end_long(self._long)
        *lines, rest = chunk.split(b"\n")
        if lines and self._rest:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._size = [], 0
        if rest:
            self._rest.append(rest)
            self._size += len(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._add(line[5:].removeprefix(b" "))
            elif self._data and not line and (said := self._dispatched()) is not None:
                yield said
            # `event:` repeats the type inside the data, and lines that begin with `:` are comments
        if self._size > self._most:
            self._begin_long()

    def _with_one_line_end(self, chunk: bytes) -> bytes:
        """`\r\n` and `\r` end a line as `\n` does; inside JSON there is none of them."""
        if self._returned and chunk:
            chunk, self._returned = chunk.removeprefix(b"\n"), False
        if b"\r" not in chunk:
            return chunk
        self._returned = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _dispatched(self) -> str | None:
        """An event is over; one that says nothing is none: some keep a connection alive with it."""
        data, self._data, self._held = b"\n".join(self._data), [], 0
        texts, self._texts = self._texts, {}
        return lifted(data, texts) if data.strip() else None

    def _add(self, data: bytes) -> None:
        self._held += len(data) + LINE
        if self._held > MOST_JSON:
            raise TooLong(f"more than {MOST_JSON >> 20} MB of JSON at once")
        self._data.append(data)

    def _begin_long(self) -> None:
        """Read the line on as it comes; of one that is no data nothing is worth keeping."""
        line = b"".join(self._rest)
        self._rest, self._size = [], 0
        if line.startswith(b"data:"):
            self._long = Lifter(self._known)
            self._long.feed(line[5:].removeprefix(b" "))
        else:
            self._rest, self._size = [line[:5]], 5

    def _end_long(self, long: Lifter) -> None:
        self._long = None
        self._add(long.close())
        self._texts |= long.texts


def encode(event: Mapping[str, Any]) -> bytes:
    """One event; its `type` is its name."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
