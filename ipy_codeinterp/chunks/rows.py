"""A CSV file as rows of bytes: where each row begins, so that any range of rows is one read.

Rules of this file:
- A row ends where pandas ends it: at an end of line (\\n, \\r\\n, \\r) outside quoted fields. A blank line is no row.
- Nothing else is looked at: what is in the fields is read in the sandbox.
- The file is read once, in order; of its rows only every `STEP`th place is kept.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ipy_codeinterp.chunks.work import Range
from ipy_codeinterp.errors import InvalidInput

STEP = 256  # rows between two places that are kept
BLOCK = 1 << 20  # bytes that are read at a time
SMALL_BLOCK = 1 << 16  # bytes, where a few rows are looked for
MOST_ROW = 64 << 20  # bytes
SEPARATORS = (",", ";", "\t", "|")
BOM = codecs.BOM_UTF8
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file: its header (bytes, with the line's end), its number of rows below that, and what it is by content."""

    path: Path
    separator: str
    encoding: str
    header: bytes
    rows: int
    size: int
    sha256: str
    _marks: array[int] = field(repr=False, compare=False)  # where rows 0, STEP, 2 * STEP, ... begin
    _modified: int = field(repr=False, compare=False)

    def span(self, rows: Range) -> tuple[int, int]:
        """Where in the file these rows begin and end, in bytes."""
        with self._opened() as file:
            return self._place(file, rows.start), self._place(file, rows.stop)

    def read(self, start: int, stop: int) -> bytes:
        """The header and the bytes between two places. Raises `InvalidInput` where the file is not what it was."""
        with self._opened() as file:
            file.seek(start)
            return self.header + file.read(stop - start)

    def _place(self, file: BinaryIO, row: int) -> int:
        if row >= self.rows:
            return self.size
        place, further = self._marks[row // STEP], row % STEP
        if not further:
            return place
        file.seek(place)
        splitter = Splitter(self.separator, place)
        for block in _blocks(file, SMALL_BLOCK):
            ends = splitter.feed(block)
            if len(ends) >= further:
                return ends[further - 1]
            further -= len(ends)
        raise self._has_changed()

    def _opened(self) -> BinaryIO:
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise InvalidInput(f"{self.path} cannot be read any more", hint=str(error.strerror)) from None
        now = os.fstat(file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size, self._modified):
            file.close()
            raise self._has_changed()
        return file

    def _has_changed(self) -> InvalidInput:
        return InvalidInput(f"{self.path} has changed while it was read", hint="run it again")


class Splitter:
    """Finds where rows end. `feed()` it bytes from `at` on, in order, and `close()` it."""

    def __init__(self, separator: str, at: int = 0) -> None:
        self._separator = separator.encode()
        self._blanks = b" \t\r\n".replace(self._separator, b"")
        self._at = self._begun = at  # where the next line begins, and the row it is part of
        self._rest = b""  # a line whose end has not come
        self._is_quoted = False  # whether that line begins inside a quoted field

    def feed(self, block: bytes) -> list[int]:
        """Where the rows end that have come to their end."""
        lines = (self._rest + block).splitlines(keepends=True)
        self._rest = b""
        if lines and not lines[-1].endswith(b"\n"):  # also after \r: \n may follow
            self._rest = lines.pop()
        ends = self._ends(lines)
        if self._at + len(self._rest) - self._begun > MOST_ROW:
            raise InvalidInput(
                f"the row that begins at byte {self._begun:,} has more than {MOST_ROW >> 20} MB",
                hint="is a quote missing?",
            )
        return ends

    def close(self) -> list[int]:
        """The end of the last row, which needs no line's end."""
        ends = self._ends([self._rest] if self._rest else [])
        if self._is_quoted:
            raise InvalidInput(
                f"a quoted field in the row that begins at byte {self._begun:,} never ends", hint="close its quote"
            )
        return ends

    def _ends(self, lines: list[bytes]) -> list[int]:
        ends = []
        for line in lines:
            self._at += len(line)
            if self._is_quoted or b'"' in line:
                self._is_quoted = self._ends_quoted(line)
                if self._is_quoted:
                    continue
            elif not line.strip(self._blanks):
                continue
            ends.append(self._at)
            self._begun = self._at
        return ends

    def _ends_quoted(self, line: bytes) -> bool:
        """Whether a quoted field is open at the end of `line`. A quote opens a field only as its first byte."""
        inside, at = self._is_quoted, 0
        if not inside:
            inside = line.startswith(b'"')
            at += inside
        while True:
            if inside:
                at = line.find(b'"', at) + 1
                if not at:
                    return True
                if line.startswith(b'"', at):  # two of them are one that is meant
                    at += 1
                    continue
            at = line.find(self._separator, at) + 1
            if not at:
                return False
            inside = line.startswith(b'"', at)
            at += inside


def look_at(path: str | os.PathLike[str], *, separator: str | None = None, encoding: str = "utf-8") -> Table:
    """Read the file once. Raises `InvalidInput` for what is no table of at least one row.

    Without `separator` it is the first of `, ; tab |` that is in the header.
    """
    place = Path(path).expanduser().absolute()
    _check_encoding(encoding)
    if not place.exists():
        raise InvalidInput(f"there is no file {path}", hint=f"looked in {Path.cwd()}")
    if not place.is_file():
        raise InvalidInput(f"{path} is not a file", hint="name a CSV file")
    try:
        with place.open("rb") as file:
            return _looked_at(file, place, separator, encoding)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read", hint=str(error.strerror)) from None


def _looked_at(file: BinaryIO, path: Path, separator: str | None, encoding: str) -> Table:
    before = os.fstat(file.fileno())
    first = file.read(BLOCK)
    _check_beginning(first, path)
    separator = _separator_of(first) if separator is None else _checked(separator)
    at = len(BOM) if first.startswith(BOM) else 0
    file.seek(at)
    digest, splitter = hashlib.sha256(first[:at]), Splitter(separator, at)
    header, rows, marks = 0, 0, array("Q")
    for ends in _ends(file, splitter, digest):
        if ends and not header:
            header = ends.pop(0)
            marks.append(header)
        marks.extend(ends[i] for i in range(-(rows + 1) % STEP, len(ends), STEP))
        rows += len(ends)
    if not rows:
        what = "has a header and no rows" if header else "is empty"
        raise InvalidInput(f"{path} {what}", hint="there is nothing to run on")
    file.seek(0)
    return Table(
        path,
        separator,
        encoding,
        file.read(header),
        rows,
        before.st_size,
        digest.hexdigest(),
        marks,
        before.st_mtime_ns,
    )


def _ends(file: BinaryIO, splitter: Splitter, digest: hashlib._Hash) -> Iterator[list[int]]:
    for block in _blocks(file, BLOCK):
        digest.update(block)
        yield splitter.feed(block)
    yield splitter.close()


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while block := file.read(size):
        yield block


def _check_encoding(encoding: str) -> None:
    """Only where line ends, quotes and separators are the bytes they are in ASCII."""
    try:
        is_plain = '\n\r",;\t|'.encode(encoding) == b'\n\r",;\t|'
    except LookupError:
        raise InvalidInput(f"unknown encoding {encoding!r}", hint="use utf-8, latin-1, cp1252, ...") from None
    if not is_plain:
        raise InvalidInput(f"a file in {encoding} cannot be cut into rows", hint="convert it to utf-8")


def _check_beginning(first: bytes, path: Path) -> None:
    if first.startswith(PACKED):
        raise InvalidInput(f"{path} is compressed", hint="unpack it: its rows are read from their places")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in first:
        raise InvalidInput(f"{path} is not text in an encoding of bytes", hint="save it as CSV in utf-8")


def _checked(separator: str) -> str:
    if len(separator) != 1 or not separator.isascii() or separator in '"\r\n':
        raise InvalidInput(f"a separator of {separator!r}", hint=f"one character, such as {', '.join(SEPARATORS)!r}")
    return separator


def _separator_of(first: bytes) -> str:
    header = re.sub(rb'"[^"]*"', b"", first.removeprefix(BOM).lstrip()).splitlines()
    return next((each for each in SEPARATORS if header and each.encode() in header[0]), SEPARATORS[0])
