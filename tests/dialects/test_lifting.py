"""A long string that was lifted out of its JSON is put back as if it never had been."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipy_codeinterp.dialects import images, sse
from ipy_codeinterp.dialects.lifting import DataUrl, Known, Lifted, Lifter, TooLong, lifted, loads
from ipy_codeinterp.execution import Display

SMALL = 6  # bytes of a string that is lifted here
TEXTS = st.text(st.sampled_from('ab/+=\\"\n\t\x7f\xe9\u2603\ud83d\ude00\U0001f600'), max_size=30) | st.text()
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted(min(place, len(data)) for place in at)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def read(data: bytes, at: list[int], known: Known | None = None) -> Any:
    lifter = Lifter(known or Known(SMALL))
    for piece in cut(data, at):
        lifter.feed(piece)
    return loads(lifted(lifter.close(), lifter.texts))


@given(VALUES, st.booleans(), st.lists(st.integers(0, 200)))
@example({"abcdefgh": 1, "abcdefgh\\": ["abcdefgh", "\U0001f600" * 9]}, True, list(range(200)))
@example("\ud83d\ude00aaaaaaa\ud83d" + "\\" * 9, True, list(range(200)))
def test_as_json(value: Any, ascii_only: bool, at: list[int]) -> None:
    """However the bytes are cut, and however strings are escaped, it says what `json.loads` would have given."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")

    assert read(data, at) == json.loads(data)


@given(
    st.binary(max_size=80) | st.text(st.sampled_from('"\\u{}[],:ab d83e\n'), max_size=80).map(str.encode),
    st.lists(st.integers(0, 80)),
)
def test_no_json(data: bytes, at: list[int]) -> None:
    """What `json.loads` refuses is refused, and nothing else is."""
    try:
        value = json.loads(data.decode())
    except ValueError:
        with pytest.raises(ValueError):
            read(data, at)
    else:
        found = read(data, at)
        assert found == value or (isinstance(value, float) and math.isnan(value) and math.isnan(found))


@given(st.lists(VALUES.map(lambda value: {"type": "x", "value": value}), max_size=4), st.lists(st.integers(0, 900)))
def test_events(values: list[dict[str, Any]], at: list[int]) -> None:
    """Events with long lines are the same events, however the stream is cut."""
    wire = b"".join(map(sse.encode, values))
    parser = sse.Parser(SMALL, SMALL)

    assert [loads(data) for piece in cut(wire, at) for data in parser.feed(piece)] == json.loads(json.dumps(values))


def test_long_lines_around_long_lines() -> None:
    """Several data lines of one event, long comments and carriage returns mean what short ones do."""
    long = "x" * 50
    wire = f': {long}\ndata: {{"a": "{long}",\r\ndata:"b":\ndata: "{long}"}}\r\n\r\nretry: {long}\n\n'.encode()
    for size in range(1, len(wire)):
        parser = sse.Parser(SMALL, SMALL)
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        assert [loads(data) for piece in pieces for data in parser.feed(piece)] == [{"a": long, "b": long}]


def test_said_twice() -> None:
    """A text that comes again is the same object: it takes no memory a second time."""
    known, text = Known(SMALL), "abcdefghijklm"
    first = read(json.dumps([text]).encode(), list(range(40)), known)[0]

    assert read(json.dumps({"x": text}).encode(), [9, 11], known)["x"] is first
    assert read(json.dumps([text[:9], text + "n", text[:9] + "x"]).encode(), [], known) == [
        text[:9],
        text + "n",
        text[:9] + "x",
    ]


def test_data_url() -> None:
    """The data of a long image URL stands by itself, so that nobody has to cut it off; elsewhere a text stays whole."""
    url = "data:image/png;base64," + "iVBORw0KGgo" + "A" * 89
    found = read(json.dumps({"type": "image", "url": url, "text": url}).encode(), [60, 200])

    assert isinstance(found["url"], DataUrl)
    assert (found["url"] + found["url"].data, found["text"]) == (url, url)
    assert images.from_url(found["url"]) == images.from_url(url) == Display({"image/png": url[22:]})


def test_word_cannot_be_said() -> None:
    """What stands for a text is another in each stream: the sender cannot put it there."""
    assert Known().new_word()[:32] != Known().new_word()[:32]


def test_only_what_is_long() -> None:
    """Ordinary events are plain text, and a long one is read from where it was lifted to."""
    (plain,) = sse.Parser().feed(sse.encode({"type": "a"}))
    parser = sse.Parser()
    wire = sse.encode({"type": "a", "x": "y" * 2 * sse.LONG})
    (long,) = [data for at in range(0, len(wire), 1 << 16) for data in parser.feed(wire[at : at + (1 << 16)])]

    assert (type(plain), type(long)) == (str, Lifted)
    assert len(long) < 200


@pytest.mark.parametrize("line", [b"data: " + b"[" * (1 << 20), b"data: x\n" * (1 << 17)], ids=["a line", "lines"])
def test_too_long(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON without long strings is bounded, in one line and in many."""
    monkeypatch.setattr("ipy_codeinterp.dialects.lifting.MOST_JSON", 1 << 16)
    monkeypatch.setattr(sse, "MOST_JSON", 1 << 16)
    parser = sse.Parser()

    with pytest.raises(TooLong):
        for _ in range(3):
            list(parser.feed(line))


def test_endless_comment() -> None:
    """A line that is no data is forgotten as it comes."""
    parser = sse.Parser(SMALL, SMALL)
    for _ in range(1000):
        assert list(parser.feed(b":" * 1000)) == []

    assert sum(map(len, parser._rest)) < 2000
    assert list(parser.feed(b"\ndata: {}\n\n")) == ["{}"]


@pytest.mark.parametrize("filler", [b"x", b"\\n", b"\\", "\N{SNOWMAN}".encode()], ids=repr)
def test_linear(filler: bytes) -> None:
    """A text of twice the length takes about twice the time, in small pieces too."""

    def seconds(count: int) -> float:
        lifter, piece, started = Lifter(), filler * 4096, time.process_time()
        lifter.feed(b'"')
        for _ in range(count):
            lifter.feed(piece)
        lifter.feed(b'"')
        lifter.close()
        return time.process_time() - started

    seconds(400)
    assert seconds(1600) < 12 * max(seconds(400), 0.02)
