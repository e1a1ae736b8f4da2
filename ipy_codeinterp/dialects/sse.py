"""Server-sent events: from bytes as they arrive, and to bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# Lines are split here and not by the reader of the socket: a figure in one line is larger than any sensible buffer.


class Parser:
    """Feed it chunks; it gives the `data` of each complete event."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            whole = b"".join([*self._rest, line])
            self._rest = []
            yield from self._line(whole.removesuffix(b"\r"))
        if rest:
            self._rest.append(rest)

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                yield b"\n".join(self._data).decode("utf-8", "replace")
            self._data = []
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        # `event:` repeats the type inside the data, and lines that begin with `:` are comments


def encode(event: Mapping[str, Any]) -> bytes:
    """One event; its `type` is its name."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
