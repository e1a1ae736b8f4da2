"""Whether two figures show the same: by their pixels, and by a hash of how light and dark lie where those differ.

PNGs are decoded here, in plain Python: what they hold is compared however it was packed. Images are hostile, and large
ones are slow: those of more than `MOST_PIXELS`, and kinds that nobody draws with, are only compared as they are.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Likeness = Literal["same", "alike", "differs"]

MOST_PIXELS = 4_000_000
GRID = 16  # cells a side of the hash, which is a bit for each of their neighbourhoods
PROBES = 8  # pixels a side that are looked at of a cell
ALIKE = 0.06  # share of bits that may differ in two pictures that look the same
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; 3 is a palette
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of pixels, each as its own PNG's `channels` have it: grey, colours, and transparency last where even."""

    width: int
    height: int
    channels: int
    rows: tuple[bytes, ...]

    def light(self, x: int, y: int) -> int:
        """How light a pixel is on white, from 0 to 255."""
        pixel = self.rows[y][x * self.channels : (x + 1) * self.channels]
        colours, alpha = (pixel[:-1], pixel[-1]) if self.channels in (2, 4) else (pixel, 255)
        grey = colours[0] if len(colours) == 1 else (299 * colours[0] + 587 * colours[1] + 114 * colours[2]) // 1000
        return (grey * alpha + 255 * (255 - alpha)) // 255


def likeness(first: str, second: str) -> Likeness:
    """Of two PNGs in base64."""
    if first == second:
        return "same"
    one, other = decoded(first), decoded(second)
    if one is None or other is None:
        return "differs"
    if one == other:
        return "same"
    differing = (bits(one) ^ bits(other)).bit_count()
    return "alike" if differing <= ALIKE * GRID * GRID * 2 else "differs"


def bits(picture: Picture) -> int:
    """For each cell whether it is lighter than the one to its right, and than the one below: 2 x GRID x GRID bits."""
    side = GRID + 1
    light = [[_cell(picture, column, row, side) for column in range(side)] for row in range(side)]
    found = 0
    for row in range(GRID):
        for column in range(GRID):
            found = found << 1 | (light[row][column] > light[row][column + 1])
            found = found << 1 | (light[row][column] > light[row + 1][column])
    return found


def _cell(picture: Picture, column: int, row: int, side: int) -> int:
    """The sum of what is seen at some of its pixels."""
    xs = _some(column * picture.width // side, (column + 1) * picture.width // side, picture.width)
    ys = _some(row * picture.height // side, (row + 1) * picture.height // side, picture.height)
    return sum(picture.light(x, y) for y in ys for x in xs)


def _some(begin: int, end: int, size: int) -> list[int]:
    return [min(begin + i * (end - begin) // PROBES, size - 1) for i in range(PROBES)]


# --- PNG ------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)  # the first is compared with each of the others
def decoded(text: str) -> Picture | None:
    """The pixels of a PNG in base64; None for one that is damaged, too large, or of a kind that nobody draws with."""
    try:
        raw = base64.b64decode(text)
        return _picture(raw) if raw.startswith(_SIGNATURE) else None
    except (binascii.Error, zlib.error, ValueError, IndexError, KeyError):
        return None


def _picture(raw: bytes) -> Picture | None:
    chunks = list(_chunks(raw))
    header = next((data for kind, data in chunks if kind == b"IHDR"), b"")
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    depth, colour, _, _, interlaced = header[8:13]
    if depth != 8 or interlaced or not 0 < width * height <= MOST_PIXELS:
        return None
    channels = 1 if colour == 3 else CHANNELS[colour]
    size = height * (1 + width * channels)
    stream = zlib.decompressobj()
    packed = stream.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"), size)
    if len(packed) != size:
        return None
    rows = tuple(_rows(packed, width * channels, channels))
    if colour == 3:
        palette = next((data for kind, data in chunks if kind == b"PLTE"), b"")
        rows = tuple(b"".join(palette[3 * i : 3 * i + 3] for i in row) for row in rows)
        channels = 3
        if any(len(row) != width * channels for row in rows):
            return None  # a colour that the palette has not
    return Picture(width, height, channels, rows)


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND" and at < len(raw):
        length, kind = int.from_bytes(raw[at : at + 4]), raw[at + 4 : at + 8]
        yield kind, raw[at + 8 : at + 8 + length]
        at += 12 + length


def _rows(packed: bytes, length: int, step: int) -> Iterator[bytes]:
    """Each row as it was before its filter; `step` bytes to the left is the pixel before."""
    above = bytes(length)
    for begin in range(0, len(packed), length + 1):
        row = bytearray(packed[begin + 1 : begin + 1 + length])
        _unfilter(packed[begin], row, above, step)
        above = bytes(row)
        yield above


def _unfilter(kind: int, row: bytearray, above: bytes, step: int) -> None:
    if kind == 1:
        for i in range(step, len(row)):
            row[i] = (row[i] + row[i - step]) & 255
    elif kind == 2:
        for i, up in enumerate(above):
            row[i] = (row[i] + up) & 255
    elif kind == 3:
        for i, up in enumerate(above):
            row[i] = (row[i] + ((row[i - step] if i >= step else 0) + up) // 2) & 255
    elif kind == 4:
        for i, up in enumerate(above):
            left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
            row[i] = (row[i] + _nearest(left, up, corner)) & 255
    elif kind:
        raise ValueError("no such filter")


def _nearest(left: int, up: int, corner: int) -> int:
    """Of the three neighbours the one nearest to `left + up - corner`."""
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner
