"""Figures are compared by what they show, however they were packed."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.compare import pictures
from ipy_codeinterp.compare.pictures import Picture, decoded, likeness

FILTERS = (0, 1, 2, 3, 4)


def png(rows: list[bytes], width: int, channels: int, *, kinds: tuple[int, ...] = (0,), level: int = 6) -> str:
    """Rows of pixels as a PNG, each filtered by the next of `kinds`."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    packed, above = b"", bytes(width * channels)
    for i, row in enumerate(rows):
        kind = kinds[i % len(kinds)]
        packed += bytes([kind]) + filtered(kind, row, above, channels)
        above = row
    header = struct.pack(">IIBBBBB", width, len(rows), 8, colour, 0, 0, 0)
    return chunks((b"IHDR", header), (b"IDAT", zlib.compress(packed, level)), (b"IEND", b""))


def chunks(*parts: tuple[bytes, bytes]) -> str:
    said = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(said)).decode()


def filtered(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    """As the PNG specification has it."""
    made = bytearray()
    for i, byte in enumerate(row):
        left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
        guess = left + above[i] - corner
        paeth = min((left, above[i], corner), key=lambda each: abs(guess - each))
        made.append((byte - (0, left, above[i], (left + above[i]) // 2, paeth)[kind]) & 255)
    return bytes(made)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), channels=st.sampled_from((1, 2, 3, 4)), width=st.integers(1, 6), height=st.integers(1, 6))
def test_decoded(data: Any, channels: int, width: int, height: int) -> None:
    """The pixels come back, whatever filter each row went through; the bytes of the file do not matter."""
    rows = [data.draw(st.binary(min_size=width * channels, max_size=width * channels)) for _ in range(height)]
    kinds = tuple(data.draw(st.lists(st.sampled_from(FILTERS), min_size=1, max_size=5)))

    packed = png(rows, width, channels, kinds=kinds)

    assert decoded(packed) == Picture(width, height, channels, tuple(rows))
    assert likeness(packed, png(rows, width, channels, level=0)) == "same"


def drawing(lines: int, *, shade: int = 0, side: int = 96) -> str:
    """Some thick lines on white."""
    rows = []
    for y in range(side):
        row = bytes(shade if any(abs(x - y * (i + 1) // lines) < 4 for i in range(lines)) else 255 for x in range(side))
        rows.append(bytes(byte for grey in row for byte in (grey, grey, grey)))
    return png(rows, side, 3)


def test_alike() -> None:
    """Other pixels with the same look are alike; another drawing differs."""
    assert likeness(drawing(2), drawing(2, shade=1)) == "alike"
    assert likeness(drawing(1), drawing(3)) == "differs"


def test_a_figure_of_matplotlib() -> None:
    """A real figure is read: its pixels are those that it was drawn with."""
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=50)
    figure.add_subplot().plot([1, 2, 1])
    canvas, file = FigureCanvasAgg(figure), io.BytesIO()
    canvas.print_png(file)

    found = decoded(base64.b64encode(file.getvalue()).decode())

    assert found is not None and b"".join(found.rows) == bytes(canvas.buffer_rgba())


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "no base64!",
        base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
        drawing(1)[:200],
        chunks((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IEND", b"")),
        chunks(
            (b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(50_000_000))),
            (b"IEND", b""),
        ),
        png([b"\0\0\0"], 1, 3, kinds=(0,)).replace("A", "B", 3),
        chunks(
            (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)),
            (b"PLTE", b"\0\0\0"),
            (b"IDAT", zlib.compress(b"\0\1\7")),
            (b"IEND", b""),
        ),
    ],
    ids=["empty", "text", "headless", "cut", "vast", "bomb", "garbled", "colourless"],
)
def test_broken(broken: str) -> None:
    """What is no picture of ours is only the same as itself, and takes no room."""
    assert likeness(broken, broken) == "same"
    assert likeness(broken, drawing(1)) == "differs"


def test_a_palette() -> None:
    """A palette stands for its colours."""
    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    idat = zlib.compress(b"\0\1\0")
    packed = chunks((b"IHDR", header), (b"PLTE", b"\0\0\0\xff\x10\x20"), (b"IDAT", idat), (b"IEND", b""))

    assert likeness(packed, png([b"\xff\x10\x20\0\0\0"], 2, 3)) == "same"
    assert pictures.decoded.cache_info().maxsize == 4
