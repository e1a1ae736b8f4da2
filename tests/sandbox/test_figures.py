"""Figures: all that are open are shown, in the format that is asked for, with words for those who cannot see them."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from typing import Any

import pytest

from ipy_codeinterp.execution import Display
from ipy_codeinterp.mime import safe_bundle
from ipy_codeinterp.sandbox.container import Container

from .wing import Ran, Wing

pytestmark = pytest.mark.sandbox

PLOT = """
import matplotlib.pyplot as plt
fig, (left, right) = plt.subplots(1, 2, figsize=(4, 2))
fig.suptitle("Growth")
left.plot([1, 2], [3, 4], label="rye")
left.plot([1, 2], [4, 3], label="oats")
left.set(title="Yield", xlabel="year", ylabel="t/ha")
left.legend()
right.bar([1, 2, 3], [1, 2, 3])"""


WORDS = "Growth. 2 panels. Yield. 2 lines. x axis: year, y axis: t/ha. Series: rye, oats. 3 bars"


def description(png: bytes) -> str:
    """What a PNG says of itself in words, read as any reader of metadata does; its checksums hold."""
    at, found = 8, ""
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + content)
        keyword, _, rest = content.partition(b"\0")
        if (kind, keyword, rest[:2]) == (b"iTXt", b"Description", b"\0\0"):  # not compressed
            language, translated, text = rest[2:].split(b"\0", 2)
            assert (language, translated) == (b"", b"")
            found += text.decode()
        at += 12 + length
    return found


def pictures(ran: Ran) -> list[Display]:
    return [o for o in ran.outputs if isinstance(o, Display) and any(m.startswith("image/") for m in o.data)]


def width(picture: Display) -> int:
    return int(struct.unpack(">I", base64.b64decode(picture.data["image/png"])[16:20])[0])


def test_every_open_figure_is_shown(wing: Wing, fresh: Container) -> None:
    """Figures that the code leaves open come at its end, each once, without `plt.show()`."""
    ran = wing.run("import matplotlib.pyplot as plt\nfor i in range(3): plt.figure(); plt.plot([i])", container=fresh)
    assert len(pictures(ran)) == 3
    assert pictures(wing.run("1", container=fresh)) == []


def test_a_figure_is_described(wing: Wing, fresh: Container) -> None:
    """Titles, panels, axes and series are told in the picture's metadata."""
    (picture,) = pictures(wing.run(PLOT, container=fresh))
    assert picture.metadata["image/png"]["alt"] == WORDS


def test_its_words_are_in_the_picture_itself(wing: Wing, fresh: Container) -> None:
    """A PNG has them as its description and an SVG as its title; the picture can still be shown, and says them."""
    code = f"{PLOT}\nleft.set_title('Yield < 5 \N{GREEK SMALL LETTER MU}g')"
    words = WORDS.replace("Yield", "Yield < 5 \N{GREEK SMALL LETTER MU}g")
    (png,) = pictures(wing.run(code, container=fresh))
    (svg,) = pictures(wing.run(code, container=fresh, figure_format="svg"))
    assert description(base64.b64decode(png.data["image/png"])) == words
    assert f"<title>{html.escape(words)}</title>" in svg.data["image/svg+xml"]
    assert safe_bundle(png.data, png.metadata)[0]["image/png"] == png.data["image/png"].replace("\n", "")
    assert f'<img alt="{html.escape(words)}"' in safe_bundle(svg.data, svg.metadata)[0]["text/html"]


def test_the_same_figure_is_the_same_bytes(wing: Wing) -> None:
    """Nothing in a PNG tells when or where it was drawn."""
    first, second = (pictures(wing.run(PLOT))[0].data["image/png"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("asked", "mime"),
    [({}, "image/png"), ({"figure_format": "svg"}, "image/svg+xml"), ({"figure_dpi": 200}, "image/png")],
)
def test_format_and_resolution(wing: Wing, fresh: Container, asked: dict[str, Any], mime: str) -> None:
    """A figure has the format that is asked for, and as many dots."""
    (plain,) = pictures(wing.run(PLOT, container=fresh))
    (picture,) = pictures(wing.run(PLOT, container=fresh, **asked))
    assert set(picture.data) - {"text/plain"} == {mime}
    assert "Growth" in picture.metadata[mime]["alt"]
    if "figure_dpi" in asked:
        assert width(picture) == pytest.approx(2 * width(plain), rel=0.05)


def test_a_choice_of_the_code_stays(wing: Wing, fresh: Container) -> None:
    """What the code itself chooses in a container is not undone by the next run."""
    wing.run("from matplotlib_inline.backend_inline import set_matplotlib_formats as f; f('svg')", container=fresh)
    (picture,) = pictures(wing.run(PLOT, container=fresh))
    assert "image/svg+xml" in picture.data
