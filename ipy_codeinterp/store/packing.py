"""JSON whose long texts are kept apart, by content; what stays can be written so that it reads well in a diff.

Three forms stand for what plain JSON would say otherwise; everything else stays what it is:

    {"$lines": [...]}                        a text of more than one line, where the texts are to be read
    {"$artifact": sha256, "$as": "base64"}   a long text; kept is what the base64 stands for ("text": itself, as UTF-8)
    {"$pairs": [[name, value], ...]}         an object that has a name with a dollar of its own

Long texts are made into bytes in pieces: what is kept apart is never there twice.
"""

from __future__ import annotations

import binascii
import codecs
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

LONG = 4096  # characters, unless the caller says otherwise
PIECE = 1 << 18  # characters; a multiple of four, as base64 goes
SHA256 = re.compile(r"[0-9a-f]{64}")

Form = Literal["base64", "text"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A long text as the bytes that are kept of it: their SHA-256 (hex) and their number."""

    sha256: str
    size: int
    form: Form
    text: str = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """The bytes, reckoned anew each time."""
        return _PIECES[self.form](self.text)


class Readable(Protocol):
    """What is open for reading: a file, or a value in a database."""

    def read(self, length: int = ..., /) -> bytes: ...


Keep = Callable[[Artifact], object]  # keeps an artifact
Read = Callable[[str, Form], str]  # gives its text again, by its sha256


def packed(value: Any, keep: Keep, *, long: int = LONG, lines: bool = True) -> Any:
    """`value` (of JSON) in the forms above; `keep` is given the texts of more than `long` characters.

    Raises `RecursionError` for what is nested some hundred levels deep.
    """
    if isinstance(value, str):
        return _packed_text(value, keep, long, lines)
    if isinstance(value, Mapping):
        inner = {name: packed(each, keep, long=long, lines=lines) for name, each in value.items()}
        return {"$pairs": _pairs(inner)} if any(isinstance(n, str) and n.startswith("$") for n in value) else inner
    if isinstance(value, (list, tuple)):
        return [packed(each, keep, long=long, lines=lines) for each in value]
    return value


def unpacked(value: Any, read: Read) -> Any:
    """The way back. Raises `ValueError` for a form that is none, so that nothing is read that was never kept."""
    if isinstance(value, list):
        return [unpacked(inner, read) for inner in value]
    if not isinstance(value, dict):
        return value
    return plain({name: unpacked(inner, read) for name, inner in value.items()}, read)


def plain(value: dict[str, Any], read: Read) -> Any:
    """What one object stands for, where everything below it is plain already; fit to be an `object_hook` of JSON."""
    if not any(name.startswith("$") for name in value):
        return value
    match value:
        case {"$lines": [*lines]} if len(value) == 1:
            return "".join(lines)
        case {"$artifact": str(sha256), "$as": "base64" | "text" as form} if SHA256.fullmatch(sha256):
            return read(sha256, form)
        case {"$pairs": [*pairs]} if len(value) == 1:
            return {str(name): inner for name, inner in pairs}
    raise ValueError(f"not a form of ours: {sorted(value)}")


def artifact(text: str) -> Artifact:
    """`text`, by content: what it stands for where that is base64 to the letter, or its own UTF-8."""
    for form in ("base64", "text"):
        digest, size = hashlib.sha256(), 0
        try:
            for piece in _PIECES[form](text):
                digest.update(piece)
                size += len(piece)
        except ValueError:  # this base64 would come back as another text
            continue
        return Artifact(digest.hexdigest(), size, form, text)
    raise AssertionError("every text has UTF-8 that lets surrogates pass")


def text_of(source: Readable, form: Form) -> str:
    """The text of an artifact whose bytes are open at their beginning. Raises `ValueError` where they hold none."""
    return _TEXTS[form](source)


def _packed_text(text: str, keep: Keep, long: int, lines: bool) -> Any:
    if len(text) > long:
        found = artifact(text)
        keep(found)
        return {"$artifact": found.sha256, "$as": found.form}
    if lines and "\n" in text[:-1]:
        return {"$lines": text.splitlines(keepends=True)}
    return text


def _pairs(content: Mapping[Any, Any]) -> list[list[Any]]:
    """Names that are none yet become the texts that JSON makes of them."""
    return [[name if isinstance(name, str) else json.dumps(name), inner] for name, inner in content.items()]


def _bytes_of_base64(text: str) -> Iterator[bytes]:
    """What `text` stands for, in pieces. Raises `ValueError` unless encoding that gives `text` again to the letter."""
    if not text.isascii() or text.find("=", 0, -2) >= 0:
        raise ValueError("not base64")
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        content = binascii.a2b_base64(piece, strict_mode=True)
        if binascii.b2a_base64(content, newline=False) != piece.encode("ascii"):
            raise ValueError("not base64 as it is written today")
        yield content


def _bytes_of_text(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE].encode("utf-8", "surrogatepass")


def _base64_of(source: Readable) -> str:
    return "".join(binascii.b2a_base64(piece, newline=False).decode("ascii") for piece in _read(source, PIECE // 4 * 3))


def _text_of(source: Readable) -> str:
    return "".join(codecs.iterdecode(_read(source, PIECE), "utf-8", "surrogatepass"))


def _read(source: Readable, length: int) -> Iterator[bytes]:
    while piece := source.read(length):
        yield piece


_PIECES: dict[str, Callable[[str], Iterator[bytes]]] = {"base64": _bytes_of_base64, "text": _bytes_of_text}
_TEXTS: dict[str, Callable[[Readable], str]] = {"base64": _base64_of, "text": _text_of}
