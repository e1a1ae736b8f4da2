"""Frames read by the host: every field may be forged, so what is not exactly right is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ipy_codeinterp.execution import Clear, Display, Error, Stream, Update
from ipy_codeinterp.sandbox.frames import (
    HEAD,
    Begun,
    Done,
    FilePiece,
    Malformed,
    Received,
    encode,
    receive,
    receive_sizes,
)

SHOWN = {"type": "display", "run": 1, "kind": "display_data", "metadata": {}, "parts": [["text/plain", False, 2]]}
RAISED = {"type": "error", "run": 1, "ename": "E", "evalue": "v", "traceback": ["a", "b"]}


def read(raw: bytes) -> Received:
    """The first frame in `raw`, which then ends."""

    async def reading() -> Received:
        reader = asyncio.StreamReader()
        reader.feed_data(raw)
        reader.feed_eof()
        return await receive(reader, await receive_sizes(reader))

    return asyncio.run(reading())


@pytest.mark.parametrize(
    ("head", "body", "frame"),
    [
        ({"type": "begin"}, b"", Begun()),
        ({"type": "stream", "name": "stdout"}, b"a\xffb", Stream("stdout", "a\ufffdb")),
        (SHOWN, b"hi", Display({"text/plain": "hi"})),
        ({**SHOWN, "kind": "execute_result"}, b"hi", Display({"text/plain": "hi"}, kind="execute_result")),
        (
            {**SHOWN, "parts": [["a/b", True, 9], ["c", False, 1]]},
            b"[1, NaN]\nx",
            Display({"a/b": [1, None], "c": "x"}),
        ),
        ({**SHOWN, "parts": [["a", False, 99]]}, b"short", Display({"a": "short"})),
        ({**SHOWN, "type": "update", "display_id": "d"}, b"hi", Update("d", {"text/plain": "hi"})),
        ({"type": "clear", "wait": True}, b"", Clear(True)),
        (RAISED, b"", Error("E", "v", ("a", "b"))),
        ({"type": "file", "name": "ü b", "more": False}, b"x", FilePiece("ü b", b"x", False)),
        ({"type": "done", "status": "ok", "exit_status": -1}, b"", Done("ok", 255)),
    ],
)
def test_each_kind_of_frame(head: dict[str, Any], body: bytes, frame: object) -> None:
    """A frame of each kind becomes its value, with its run and its size."""
    received = read(encode({"run": 3, **head, "unknown": "field"} | {"run": 3}, body))
    assert received.frame == frame
    assert received.run == 3
    assert received.size > len(body)


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"type": "unknown"}, b""),
        ({"type": ["list"]}, b""),
        ({"kind": "stream"}, b""),
        ({"metadata": "text"}, b""),
        ({"display_id": 5}, b""),
        ({"parts": None}, b""),
        ({"parts": [["a", False]]}, b""),
        ({"parts": [[["a"], False, 1]]}, b"x"),
        ({"parts": [["a", False, "1"]]}, b"x"),
        ({"parts": [["a", False, 2], ["b", False, -2], ["c", False, 2]]}, b"xx"),
        ({"parts": [["a", True, 2]]}, b"{]"),
        ({"parts": [["a", True, 5 << 20]]}, b"[]"),
        ({"type": "update"}, b""),
        ({"type": "stream", "name": "stdin"}, b""),
        ({"type": "stream", "name": "stdout"}, bytes(5 << 20)),
        ({"type": "error", "ename": "E", "evalue": "v", "traceback": "text"}, b""),
        ({"type": "error", "ename": "E", "evalue": 1, "traceback": []}, b""),
        ({"type": "done", "status": "fine", "exit_status": 0}, b""),
        ({"type": "done", "status": "ok", "exit_status": "0"}, b""),
        *(({"type": "file", "name": name, "more": False}, b"") for name in ("", ".", "..", "a/b", "/etc", "x" * 256)),
        ({"type": "file", "name": "a", "more": False}, bytes(5 << 20)),
    ],
)
def test_a_forged_field_is_refused(change: dict[str, Any], body: bytes) -> None:
    """A field of the wrong type, size or meaning makes a frame malformed, and never anything else."""
    with pytest.raises(Malformed):
        read(encode({**SHOWN, **change}, body))


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 500_000, b'{"run": ' + b"9" * 5000 + b"}"])
def test_a_head_that_is_no_mapping_is_refused(text: bytes) -> None:
    """A head that is not a JSON object is malformed, however deep or long it is."""
    with pytest.raises(Malformed):
        read(HEAD.pack(len(text), 0) + text)


@pytest.mark.parametrize("sizes", [(1 << 20 | 1, 0), (0, 64 << 20 | 1), (2**32 - 1, 2**32 - 1)])
def test_a_frame_too_large_is_refused_before_it_is_read(sizes: tuple[int, int]) -> None:
    """A frame that announces more than is allowed is refused by its header alone."""
    with pytest.raises(Malformed, match="a frame of"):
        read(HEAD.pack(*sizes))


@pytest.mark.parametrize("raw", [b"", b"\0\0", HEAD.pack(10, 0), HEAD.pack(2, 5) + b"{}abc"])
def test_an_end_in_the_middle_is_told_apart(raw: bytes) -> None:
    """A channel that ends within a frame is an end, not a malformed frame."""
    with pytest.raises(asyncio.IncompleteReadError):
        read(raw)


def test_a_run_that_is_no_number_is_nobodys() -> None:
    """A frame belongs to a run only by a whole number."""
    for run in (None, "1", 1.0, [1]):
        assert read(json_frame({"type": "begin", "run": run})).run is None


def json_frame(head: dict[str, Any]) -> bytes:
    text = json.dumps(head).encode()
    return HEAD.pack(len(text), 0) + text


def test_names_are_printable() -> None:
    """A file may be called anything inside; what reaches us has no control characters."""
    received = read(encode({"type": "file", "name": "a\x1b]0;x\x07\nb", "more": False}))

    assert received.frame == FilePiece("a_]0;x__b", b"", False)
