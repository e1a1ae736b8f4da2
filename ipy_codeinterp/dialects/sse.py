"""Server-sent events: from bytes as they arrive, and to bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# Lines are split here and not by the reader of the socket: a figure in one line is larger than any sensible buffer.
END = (b"", b"\r")  # of an event: an empty line


class Parser:
    """Feed it chunks; it gives the `data` of each complete event."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        *lines, rest = chunk.split(b"\n")
        if lines and self._rest:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest = []
        if rest:
            self._rest.append(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removesuffix(b"\r").removeprefix(b" "))
            elif self._data and line in END:
                data, self._data = self._data, []
                yield b"\n".join(data).decode("utf-8", "replace")
            # `event:` repeats the type inside the data, and lines that begin with `:` are comments


def encode(event: Mapping[str, Any]) -> bytes:
    """One event; its `type` is its name."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
