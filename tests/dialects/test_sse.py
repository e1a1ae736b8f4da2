"""Server-sent events mean the same however the network cuts them."""

from __future__ import annotations

import json

import pytest

from ipy_codeinterp.dialects import sse
from ipy_codeinterp.dialects.lifting import loads

SAMPLE = (
    b": a comment\n\n"
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b'data: {"type": "a"}\r\n\r\n'
    b"id: 7\nretry: 10\ndata:no space\ndata:  two\ndata:\n\n\n\n"
    b"event: nothing\n\n" + "data: \N{SNOWMAN}\N{GRINNING FACE}\u2028\x0b\n\n".encode() + b"data: never ended\n"
)
MEANT = [
    '{"type": "ping"}',
    '{"type": "a"}',
    "no space\n two\n",
    "\N{SNOWMAN}\N{GRINNING FACE}\u2028\x0b",
]


def parsed(*chunks: bytes) -> list[str]:
    parser = sse.Parser()
    return [data for chunk in chunks for data in parser.feed(chunk)]


def test_events() -> None:
    """The data of each complete event is given; comments, names and what has not ended are not."""
    assert parsed(SAMPLE) == MEANT


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=repr)
def test_line_ends(end: bytes) -> None:
    """Each of the three line ends means the same, however the network cuts it."""
    sample = SAMPLE.replace(b"\r\n", b"\n").replace(b"\n", end)

    for size in (1, 2, 3, len(sample)):
        assert parsed(*[sample[at : at + size] for at in range(0, len(sample), size)]) == MEANT


def test_long_line_with_other_line_ends() -> None:
    """A line that is too long to be held ends with any of them too."""
    wire = b'data: {"a": "' + b"x" * 300_000 + b'"}\r\r' + b"data: next\r\r"

    first, second = parsed(*[wire[at : at + 1000] for at in range(0, len(wire), 1000)])

    assert (len(loads(first)["a"]), second) == (300_000, "next")


@pytest.mark.parametrize(
    "nothing", [b"data:\n\n", b"data: \n\n", b"data\n\n", b"data:\ndata:\n\n", b"event: a\n\n"], ids=repr
)
def test_an_event_that_says_nothing(nothing: bytes) -> None:
    """It is none: some servers keep a connection alive with it."""
    assert parsed(nothing + b"data: a\n\n" + nothing) == ["a"]


@pytest.mark.parametrize("half", [b"\xff", b"\xe2\x98", b"\x98\x83"], ids=repr)
def test_half_a_character(half: bytes) -> None:
    """What is no text is none, and not some other text."""
    with pytest.raises(UnicodeDecodeError):
        parsed(b'data: "' + half + b'"\n\n')


def test_every_cut() -> None:
    """A cut between any two bytes changes nothing."""
    for at in range(len(SAMPLE) + 1):
        assert parsed(SAMPLE[:at], SAMPLE[at:]) == MEANT, at


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_every_chunking(size: int) -> None:
    """Chunks of any size give the same, also of a single byte, and with empty ones between them."""
    chunks = [SAMPLE[at : at + size] for at in range(0, len(SAMPLE), size)]

    assert parsed(*chunks) == MEANT
    assert parsed(*[part for chunk in chunks for part in (chunk, b"")]) == MEANT


@pytest.mark.parametrize("size", [1 << 12, 1 << 16, 1 << 30])
def test_long_line(size: int) -> None:
    """A figure of 5 MB in one line arrives whole."""
    event = {"type": "figure", "data": "x" * 5_000_000}
    line = sse.encode(event)

    (found,) = parsed(*[line[at : at + size] for at in range(0, len(line), size)])

    assert loads(found) == event


@pytest.mark.parametrize("text", ["", "a\nb\r\nc\n\n", "\ud800", "\N{SNOWMAN}", "data: x\n\n"], ids=repr)
def test_there_and_back(text: str) -> None:
    """Whatever an event says, it is one event, and says the same at the other end."""
    event = {"type": "a", "text": text}

    found = parsed(sse.encode(event) + sse.encode({"type": "end"}))

    assert [json.loads(data) for data in found] == [event, {"type": "end"}]
