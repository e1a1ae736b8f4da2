"""The host's end of the channel: what the runner says, read without believing it.

The format is described in runner.py. A frame from inside may be forged in every field, so each is checked here for
type and size before anybody else sees it, and turned into one of our values.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ipy_codeinterp.execution import Clear, Display, DisplayKind, Error, Stream, StreamName, Update

HEAD = struct.Struct("!II")
MOST_HEAD = 1 << 20  # bytes of JSON in one frame: parsing stops everything else
MOST_BODY = 64 << 20  # a figure of 48 MB
MOST_JSON = 4 << 20  # bytes of one value in a bundle that is JSON
MOST_PIECE = 4 << 20  # bytes of a file or of text in one frame
MOST_NAME = 255
MOST_DEPTH = 100  # of JSON
_NAME = re.compile(r"[^/\0]+")


@dataclass(frozen=True, slots=True)
class Ready:
    """The runner waits for code."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The code has begun to run."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The text is not code."""


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Part of a file the code left; `more` follow under the same name."""

    name: str
    data: bytes
    more: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The code has ended by itself."""

    status: str
    exit_status: int


Frame = Ready | Begun | Refused | FilePiece | Done | Stream | Display | Error | Update | Clear


class Malformed(Exception):
    """Bytes that are no frame: the runner is not itself any more."""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame, the run it says it belongs to, and how many bytes it took."""

    run: int | None
    frame: Frame
    size: int


def encode(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return HEAD.pack(len(text), len(body)) + text + body


async def receive_sizes(reader: asyncio.StreamReader) -> tuple[int, int]:
    """How long head and body of the next frame are. Raises `asyncio.IncompleteReadError` at the end."""
    head_size, body_size = HEAD.unpack(await reader.readexactly(HEAD.size))
    if head_size > MOST_HEAD or body_size > MOST_BODY:
        raise Malformed(f"a frame of {head_size} + {body_size} bytes")
    return head_size, body_size


async def receive(reader: asyncio.StreamReader, sizes: tuple[int, int]) -> Received:
    """The frame of these sizes. Raises `asyncio.IncompleteReadError` at the end and `Malformed` for what is none."""
    head_size, body_size = sizes
    text = await reader.readexactly(head_size)
    body = await reader.readexactly(body_size)
    try:
        head = _loads(text)
        run = head.get("run")
        frame = _DECODERS[head["type"]](head, body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(str(error)[:200]) from None
    return Received(run if isinstance(run, int) else None, frame, head_size + body_size)


def _stream(head: dict[str, Any], body: bytes) -> Stream:
    name = cast(StreamName, _one_of(head["name"], "stdout", "stderr"))
    return Stream(name, _piece(body).decode("utf-8", "replace"))


def _display(head: dict[str, Any], body: bytes) -> Display:
    kind = cast(DisplayKind, _one_of(head["kind"], "display_data", "execute_result"))
    display_id = head.get("display_id")
    return Display(_bundle(head, body), _mapping(head["metadata"]), kind, _text(display_id) if display_id else None)


def _update(head: dict[str, Any], body: bytes) -> Update:
    return Update(_text(head["display_id"]), _bundle(head, body), _mapping(head["metadata"]))


def _bundle(head: dict[str, Any], body: bytes) -> dict[str, Any]:
    data, start = {}, 0
    for mime, is_json, size in head["parts"]:
        if size < 0 or (is_json and size > MOST_JSON):
            raise ValueError(f"a value of {size} bytes")
        raw = body[start : start + size]
        data[_text(mime)] = _loads(raw) if is_json else raw.decode("utf-8", "replace")
        start += size
    return data


def _loads(text: bytes) -> Any:
    """JSON without infinities, and not so deep that writing it again would fail."""
    value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise ValueError("JSON that is nested too deep")


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def _inside(value: object) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _error(head: dict[str, Any], _: bytes) -> Error:
    lines = head["traceback"]
    if not isinstance(lines, list):
        raise TypeError("traceback is not a list")
    return Error(_text(head["ename"]), _text(head["evalue"]), tuple(_text(line) for line in lines))


def _file(head: dict[str, Any], body: bytes) -> FilePiece:
    name = "".join(c if c.isprintable() else "_" for c in _text(head["name"]))
    return FilePiece(file_name(name), _piece(body), bool(head["more"]))


def _piece(body: bytes) -> bytes:
    if len(body) > MOST_PIECE:
        raise ValueError(f"a piece of {len(body)} bytes")
    return body


def _done(head: dict[str, Any], _: bytes) -> Done:
    exit_status = head["exit_status"]
    if not isinstance(exit_status, int):
        raise TypeError("exit status is not a number")
    status = _one_of(head["status"], "ok", "error")
    return Done(status, exit_status % 256 or int(status != "ok"))


# One row a kind of frame; the runner's docstring lists the same.
_DECODERS: dict[str, Callable[[dict[str, Any], bytes], Frame]] = {
    "ready": lambda head, body: Ready(),
    "begin": lambda head, body: Begun(),
    "refused": lambda head, body: Refused(),
    "stream": _stream,
    "display": _display,
    "update": _update,
    "clear": lambda head, body: Clear(bool(head.get("wait"))),
    "error": _error,
    "file": _file,
    "done": _done,
}


def file_name(name: str) -> str:
    """`name`, if it names a file in a folder and nothing else; raises ValueError otherwise."""
    if not _NAME.fullmatch(name) or name in (".", "..") or len(name.encode("utf-8", "replace")) > MOST_NAME:
        raise ValueError(f"not a file name: {name[:80]!r}")
    return name


def _one_of(value: object, *allowed: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{str(value)[:80]!r} is none of {allowed}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text belongs")
    return value


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where a mapping belongs")
    return value
