"""JSON in which long strings stand: each is lifted out of the bytes as they arrive, and never stands there twice.

A figure of 50 MB is one string of one event. To join its pieces, decode them and parse the text would hold it three
times; here it grows in one place, a word nobody can guess stands for it in the JSON, and `loads` puts it back.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
import secrets
from collections.abc import Generator
from typing import Any

LEAST = 1 << 16  # bytes of a string that is lifted; a shorter one is read faster than it is looked for
MOST_JSON = 64 << 20  # bytes of JSON that was not lifted: as lists and numbers it takes more than ten times that
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # to its quote
_STRINGS = re.compile(rb'(?:[^"]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[^"]*+', re.DOTALL)  # whole ones, and what is around
_URL_BEFORE = re.compile(rb'"url"\s*:\s*"\Z')
_DATA_URL = re.compile(r"data:[^,]{0,500},", re.IGNORECASE)
_SAID_BEFORE = 100  # bytes before a string that say what it is
_read = json.JSONDecoder().decode  # as `json.loads`, which looks at its arguments anew for each event
_SHARE = 64  # a text grows by at least this part of itself: where it must be copied, the time is still linear


class TooLong(ValueError):
    """More JSON at once than any reply needs."""


class DataUrl(str):
    """The long `data:` URL of a member `url`, cut: this is its head (`data:image/png;base64,`), `data` all else."""

    __slots__ = ("data",)
    data: str


class Lifted(str):
    """JSON whose long strings are in `texts`, by the words that stand for them. To be read by `loads` alone."""

    __slots__ = ("texts",)
    texts: dict[str, str]


def lifted(data: bytes, texts: dict[str, str]) -> str:
    """The text of `data`. Raises `UnicodeDecodeError` where it is none."""
    if not texts:
        return data.decode()
    text = Lifted(data.decode())
    text.texts = texts
    return text


def loads(data: str) -> Any:
    """What `json.loads` gives for the JSON as it came, but for long data URLs: see `DataUrl`.

    Raises `ValueError` for what is no JSON, and `RecursionError` for what is nested too deep.
    """
    if len(data) > MOST_JSON:
        raise TooLong(f"more than {MOST_JSON >> 20} MB of JSON at once")
    value = _read(data)
    return _put_back(value, data.texts) if isinstance(data, Lifted) else value


class Lifter:
    """Feed it the bytes of one JSON value; `close()` gives them without the strings in `texts`, which were lifted."""

    def __init__(self, known: Known | None = None) -> None:
        self.texts: dict[str, str] = {}
        self._known = Known() if known is None else known
        self._kept = bytearray()
        self._inside = False  # a string
        self._half = b""  # of an escape
        self._head = bytearray()  # of the string, while it may be a short one
        self._text: _LongText | None = None

    def feed(self, piece: bytes) -> None:
        """Raises `ValueError` for a long string that is none, and for more of all else than any reply needs."""
        piece, self._half, at = self._half + piece, b"", 0
        if self._inside:
            at = _end_of_string(piece, 0)
            self._more(piece[:at])
            if piece[at : at + 1] == b'"':
                self._over()
                self._keep(b'"')
                at += 1
        if not self._inside:  # what begins and ends here is short
            end = _match(_STRINGS, piece, at)
            self._keep(piece[at : end + 1])
            if end == len(piece):
                return
            self._inside, start = True, end + 1
            at = _end_of_string(piece, start)
            self._more(piece[start:at])
        self._half = piece[at:]  # a backslash, with nothing after it yet

    def close(self) -> bytes:
        self._over()
        self._keep(self._half)
        return bytes(self._kept)

    def _keep(self, piece: bytes) -> None:
        if len(self._kept) + len(piece) > MOST_JSON:
            raise TooLong(f"more than {MOST_JSON >> 20} MB of JSON at once")
        self._kept += piece

    def _more(self, piece: bytes) -> None:
        """Of a string."""
        if self._text is not None:
            self._text.feed(piece)
            return
        self._head += piece
        if len(self._head) >= self._known.least:
            before = bytes(self._kept[-_SAID_BEFORE:])
            self._text = _LongText(self._known, is_url=_URL_BEFORE.search(before) is not None)
            self._text.feed(bytes(self._head))
            self._head.clear()

    def _over(self) -> None:
        """The string has ended, or the whole."""
        self._inside = False
        if self._text is None:
            self._keep(bytes(self._head))
        else:
            word = self._known.new_word()
            self.texts[word] = self._text.close()
            self._keep(word.encode())
        self._text = None
        self._head.clear()


class Known:
    """Long strings of one stream, by how they begin: some come twice, live and in the reply, and are kept once.

    `least` is how many bytes a string has that is lifted.
    """

    def __init__(self, least: int = LEAST) -> None:
        self.least = least
        self._texts: dict[int, str] = {}
        self._word = ""
        self._numbers = itertools.count()

    def find(self, beginning: str) -> str:
        """A text that begins so; empty where there is none."""
        found = self._texts.get(self._key(beginning), "")
        return found if found.startswith(beginning) else ""

    def add(self, text: str) -> None:
        self._texts[self._key(text)] = text

    def _key(self, text: str) -> int:
        return hash(text[: self.least // 2])  # the head of a URL is gone, and an escape may be half there

    def new_word(self) -> str:
        """That stands for a text; who sends the JSON cannot know it."""
        self._word = self._word or secrets.token_hex(16)
        return f"{self._word}-{next(self._numbers)}"


class _LongText:
    """A string that grows as its JSON arrives, escapes decoded; its first piece is a long one."""

    def __init__(self, known: Known, *, is_url: bool) -> None:
        self._known = known
        self._is_url = is_url
        self._url = ""  # the head of a data URL
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._half = ""  # of an escape, as it is written
        self._surrogate = ""  # the first of two
        self._same, self._length = "", 0  # a known text, and how much of it was said again
        self._growth: Generator[str, str | None, None] | None = None

    def feed(self, raw: bytes) -> None:
        written = self._half + self._decode(raw)
        cut = _last_whole(written)
        self._half = written[cut:]
        self._add(self._joined(json.loads(f'"{written[:cut]}"')))

    def close(self) -> str:
        self._decode(b"", final=True)
        self._add(self._surrogate + json.loads(f'"{self._half}"'))
        text = self._text()
        return _data_url(self._url, text) if self._url else text

    def _joined(self, text: str) -> str:
        """With the first half of a pair that stood before it, and without one at its end."""
        if self._surrogate and text:
            text = (self._surrogate + text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            self._surrogate = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._surrogate = text[:-1], text[-1]
        return text

    def _add(self, text: str) -> None:
        if self._is_url:
            head = _DATA_URL.match(text)
            self._url, self._is_url = head[0] if head else "", False
            text = text[len(self._url) :]
        if self._growth is None and not self._length:
            self._same = self._known.find(text)
        if self._same:
            if self._same.startswith(text, self._length):
                self._length += len(text)
                return
            text, self._same = self._same[: self._length] + text, ""
        if self._growth is None:
            self._growth = _growing()
            next(self._growth)
        self._growth.send(text)

    def _text(self) -> str:
        if self._growth is None:
            return self._same if len(self._same) == self._length else self._same[: self._length]
        text = self._growth.send(None)
        self._growth.close()
        self._known.add(text)
        return text


def _growing() -> Generator[str, str | None, None]:
    """Send it pieces, and None for the whole.

    A text that grows by `+=` is enlarged where it lies as long as a local name alone holds it: hence a generator.
    """
    text, pieces, size = "", list[str](), 0
    while (piece := (yield "")) is not None:
        pieces.append(piece)
        size += len(piece)
        if size * _SHARE > len(text):
            more = "".join(pieces)
            pieces.clear()
            size = 0
            text += more
            more = ""
    more = "".join(pieces)
    pieces.clear()
    text += more
    yield text


def _end_of_string(piece: bytes, at: int) -> int:
    """Where its quote is; or a backslash that ends the piece, or the end of the piece."""
    if piece.find(b"\\", at) < 0:
        end = piece.find(b'"', at)
        return len(piece) if end < 0 else end
    return _match(_STRING, piece, at)


def _match(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    """Where the match ends of a pattern that also matches nothing."""
    found = pattern.match(piece, at)
    return found.end() if found else at


def _last_whole(written: str) -> int:
    """Where a last escape begins that is not whole; else the end."""
    at = written.rfind("\\", max(len(written) - 5, 0))
    if at < 0 or (at + 1 - len(written[: at + 1].rstrip("\\"))) % 2 == 0:
        return len(written)
    length = 6 if written[at + 1 : at + 2] == "u" else 2
    return at if len(written) - at < length else len(written)


def _data_url(head: str, data: str) -> DataUrl:
    url = DataUrl(head)
    url.data = data
    return url


def _put_back(value: Any, texts: dict[str, str]) -> Any:
    """`value` with each word's text in its place; without recursion, for it may be nested deep."""
    whole = [value]
    todo: list[Any] = [whole]
    while todo:
        here = todo.pop()
        if isinstance(here, dict) and not texts.keys().isdisjoint(here):
            members = [(texts.get(name, name), each) for name, each in here.items()]
            here.clear()
            here.update(members)
        for place, each in list(here.items() if isinstance(here, dict) else enumerate(here)):
            if isinstance(each, str):
                here[place] = texts.get(each, each)
            elif isinstance(each, dict | list):
                todo.append(each)
    return whole[0]
