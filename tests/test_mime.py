"""What of a mimebundle may be shown: nothing that a terminal or a browser would obey, and a reason for what is not."""

from __future__ import annotations

import base64
import io
import itertools
import random
import re
import subprocess
import sys
import zlib
from typing import Any

import pytest

from ipy_codeinterp.mime import MAX_SIDE, SHOWN, TextFilter, safe_bundle, safe_text

# --- text -----------------------------------------------------------------------------------------

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"
LINK = "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\"
RED = "\x1b[1;38;2;255;0;0mred\x1b[0m"


@pytest.mark.parametrize(
    "text", ["", "plain", "a\tb\r\nc\b\b", RED, "\x1b[mx", "na\u00efve \u6587\u5b57 \U0001f600 \u202e"]
)
def test_what_only_looks_stays(text: str) -> None:
    """Letters, tabs, line ends, backspaces and colours come out as they went in."""
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"a{CLIPBOARD}b", "ab"),
        (f"a{LINK}b", "aclickb"),
        ("\x1b]0;title\x07x", "x"),
        ("a\x1b[2Jb\x1b[10;5Hc\x1b[?1049hd\x1b[6n", "abcd"),
        ("\x1bPq#0;2;0~\x1b\\x", "x"),
        ("\x1bcx\x1b(0y\x1b#8z\x1b7", "xyz"),
        ("\x9b2Jx\x9d52;c;QQ==\x9cy\x90z", "2Jx52;c;QQ==yz"),
        ("a\x00b\x07c\x7fd\x0be\x0cf", "abcdef"),
        ("\x1b[38:5:1mx\x1b[>4;1my\x1b[ m", "xy"),
        (f"\x1b[{'1;' * 40}mx", "x"),
        ("\x1b\x1b[31mx", "\x1b[31mx"),
        ("\x1b[3\x001mx", "1mx"),
        ("\x1b]never finished\nnext line", "\nnext line"),
        ("half \ud83d of a character", "half \ufffd of a character"),
        ("x\x1b", "x"),
    ],
)
def test_what_acts_goes(text: str, left: str) -> None:
    """Clipboard, links, titles, cursor, modes, strings, C1 and other controls leave no trace but their text."""
    assert safe_text(text) == left
    assert safe_text(left) == left


def live(text: str) -> list[str]:
    """Everything a terminal would obey, apart from colours."""
    return re.findall(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]", re.sub(r"\x1b\[[0-9;]*m", "", text))


STREAM = f"a{CLIPBOARD}\x1b[1;31mred\x1b]8;;u\x1b\\b\x1b[2J\x1b(B\x9b31m\n\x1b]2;cut\nend\x1b[3"


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_sequence_cut_anywhere_does_not_become_live(cuts: int) -> None:
    """However a stream is cut, the filtered chunks together are what the whole would have been."""
    for places in itertools.combinations(range(len(STREAM) + 1), cuts):
        chunks = [STREAM[start:end] for start, end in itertools.pairwise([0, *places, len(STREAM)])]
        stream = TextFilter()
        assert "".join(map(stream.feed, chunks)) + stream.close() == safe_text(STREAM)
        assert live("".join(map(safe_text, chunks))) == []


def test_a_stream_cut_into_characters_is_the_same_stream() -> None:
    """Chunks of one character are chunks too."""
    stream = TextFilter()
    assert "".join(map(stream.feed, STREAM)) + stream.close() == safe_text(STREAM)


@pytest.mark.parametrize("begin", ["\x1b]52;c;", "\x1b[", "\x1b(", "\x1bP", "\x1b"])
def test_what_is_held_back_is_bounded(begin: str) -> None:
    """A sequence that never ends does not fill the memory, and a newline brings the text back."""
    stream = TextFilter()
    out = stream.feed(begin) + "".join(stream.feed("1" * 1000) for _ in range(100))
    assert len(stream._held) < 300
    assert (out + stream.feed("\nafter") + stream.close()).endswith("\nafter")


@pytest.mark.parametrize(
    "unit", ["\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b]8;;", "\x1b[1", "\x1b ", "\x9d", "\x1b[1;1", "\ud800"]
)
def test_text_of_nothing_but_beginnings_takes_no_longer(unit: str) -> None:
    """A hundred thousand hostile characters are one pass, for a text and for a stream."""
    text = unit * (100_000 // len(unit)) + "\n"
    stream = TextFilter()
    assert live(safe_text(text)) == live(stream.feed(text) + stream.close()) == []


# --- images ---------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def header(width: int = 2, height: int = 3, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + bytes([depth, colour, 0, 0, interlace]))


def pixels(size: int = 3 * (1 + 2 * 3)) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes(size)))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = chunk(b"IEND")
PNG = SIGNATURE + header() + chunk(b"tEXt", b"Software\0x") + pixels() + END


def jpeg(width: int = 4, height: int = 5, end: bytes = b"\xff\xd9") -> bytes:
    frame = b"\xff\xc0\x00\x0b\x08" + height.to_bytes(2) + width.to_bytes(2) + b"\x01\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x04ab" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x12" * 20 + end


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("mime", "raw", "text"),
    [
        ("image/png", PNG, "[image/png, 2 x 3]"),
        ("image/png", SIGNATURE + header(depth=1, colour=0) + pixels(6) + END, "[image/png, 2 x 3]"),
        ("image/png", SIGNATURE + header(9, 9, 8, 6, 1) + pixels(81 * 4 + 19) + END, None),
        ("image/png", SIGNATURE + header(colour=3) + chunk(b"PLTE", bytes(3)) + pixels(9) + END, None),
        ("image/jpeg", jpeg(), "[image/jpeg, 4 x 5]"),
    ],
)
def test_an_image_that_decodes_is_shown(mime: str, raw: bytes, text: str | None) -> None:
    """It comes as base64 without line breaks, with a text that stands for it in a terminal."""
    folded = "\n".join(re.findall(".{1,10}", b64(raw))) + "\n"
    data, _ = safe_bundle({mime: folded})
    assert data[mime] == b64(raw)
    assert data["text/plain"] == text or text is None


BAD_IMAGES = {
    "not base64": ("image/png", "<svg onload=alert(1)>"),
    "not ascii": ("image/png", "\u00e9"),
    "empty": ("image/png", ""),
    "a JPEG": ("image/png", b64(jpeg())),
    "signature only": ("image/png", b64(SIGNATURE)),
    "no header": ("image/png", b64(SIGNATURE + pixels() + END)),
    "two headers": ("image/png", b64(SIGNATURE + header() + header() + pixels() + END)),
    "no pixels": ("image/png", b64(SIGNATURE + header() + END)),
    "too few pixels": ("image/png", b64(SIGNATURE + header() + pixels(20) + END)),
    "too many pixels": ("image/png", b64(SIGNATURE + header() + pixels(5_000_000) + END)),
    "pixels cut": ("image/png", b64(SIGNATURE + header() + chunk(b"IDAT", zlib.compress(bytes(21))[:-3]) + END)),
    "pixels not deflated": ("image/png", b64(SIGNATURE + header() + chunk(b"IDAT", b"x" * 21) + END)),
    "bad checksum": ("image/png", b64(PNG.replace(b"\x00\x00\x00\x02\x00", b"\x00\x00\x00\x04\x00", 1))),
    "bad checksum later": ("image/png", b64(PNG.replace(b"Software", b"Hardware"))),
    "no palette": ("image/png", b64(SIGNATURE + header(colour=3) + pixels(9) + END)),
    "unknown colour": ("image/png", b64(SIGNATURE + header(colour=5) + pixels() + END)),
    "unknown depth": ("image/png", b64(SIGNATURE + header(depth=4) + pixels() + END)),
    "no width": ("image/png", b64(SIGNATURE + header(width=0) + pixels() + END)),
    "too wide": ("image/png", b64(SIGNATURE + header(width=MAX_SIDE + 1) + pixels() + END)),
    "60,000 x 60,000": ("image/png", b64(SIGNATURE + header(60_000, 60_000) + pixels() + END)),
    "20,000 x 20,000": ("image/png", b64(SIGNATURE + header(20_000, 20_000) + pixels() + END)),
    "a PNG": ("image/jpeg", b64(PNG)),
    "jpeg too wide": ("image/jpeg", b64(jpeg(width=65_535))),
    "jpeg without height": ("image/jpeg", b64(jpeg(height=0))),
    "jpeg without end": ("image/jpeg", b64(jpeg(end=b""))),
    "jpeg of nothing": ("image/jpeg", b64(b"\xff\xd8\xff\xd9")),
    "jpeg without frame": ("image/jpeg", b64(b"\xff\xd8\xff\xda" + bytes(20) + b"\xff\xd9")),
}


@pytest.mark.parametrize(("mime", "value"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_an_image_that_would_not_decode_is_left_out(mime: str, value: str) -> None:
    """A viewer may die of it or of its size: one line under the text says why it is missing."""
    data, metadata = safe_bundle({"text/plain": "<Figure>", mime: value}, {mime: {"width": 9}})
    assert data.keys() == {"text/plain"} and metadata == {}
    assert re.fullmatch(rf"<Figure>\n\[{mime} not shown: [^\n]+\]", data["text/plain"])


@pytest.mark.parametrize("raw", [PNG, jpeg()], ids=["png", "jpeg"])
def test_an_image_cut_anywhere_is_left_out(raw: bytes) -> None:
    """A truncated file is never shown, wherever it ends."""
    mime = "image/png" if raw is PNG else "image/jpeg"
    assert not any(mime in safe_bundle({mime: b64(raw[:end])})[0] for end in range(len(raw)))


def test_what_hides_behind_an_image_is_cut_off() -> None:
    """What follows the end of a PNG is no part of it."""
    assert safe_bundle({"image/png": b64(PNG + b"<script>")})[0]["image/png"] == b64(PNG)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_what_pillow_writes_is_shown(mode: str) -> None:
    """The judge of images is not stricter than the program that wrote the file."""
    image = pytest.importorskip("PIL.Image").new(mode, (33, 7))
    image.save(buffer := io.BytesIO(), format="png")
    assert safe_bundle({"image/png": b64(buffer.getvalue())})[0]["image/png"] == b64(buffer.getvalue())
    if mode in ("L", "RGB"):
        image.save(buffer := io.BytesIO(), format="jpeg", progressive=mode == "L")
        assert safe_bundle({"image/jpeg": b64(buffer.getvalue())})[0]["image/jpeg"] == b64(buffer.getvalue())


def test_svg_is_shown_as_an_image() -> None:
    """In an `<img>` of our own its scripts do not run; the type itself, which a page would inline, is gone."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    data, _ = safe_bundle({"image/svg+xml": svg, "text/plain": "<Figure>"})
    assert data.keys() == {"text/plain", "text/html"}
    found = re.fullmatch(r'<img alt="SVG image" src="data:image/svg\+xml;base64,([\w+/=]+)">', data["text/html"])
    assert found and base64.b64decode(found[1]).decode() == svg


@pytest.mark.parametrize(
    "svg", ["not one", "<svg>" + "x" * 10_000_000, '<!DOCTYPE svg [<!ENTITY a "aa">]><svg>&a;</svg>', 7]
)
def test_svg_that_is_none_or_too_much_is_left_out(svg: object) -> None:
    """Neither something else under its name, nor entities that multiply, nor any amount of it."""
    data, _ = safe_bundle({"image/svg+xml": svg})
    assert data["text/plain"].startswith("[image/svg+xml not shown: ")
    assert len(data) == 1


# --- bundles --------------------------------------------------------------------------------------


def test_html_is_shown_clean_and_has_a_text() -> None:
    """Where the sandbox sent no text, what the HTML says stands for it."""
    data, _ = safe_bundle({"text/html": "<table><tr><td onclick=x>1<td>a&amp;b&#27;[2J</table><script>x</script>"})
    assert "<td>1</td>" in data["text/html"] and "onclick" not in data["text/html"]
    assert data["text/plain"].startswith("1\ta&b") and "\x1b" not in data["text/plain"]


def test_html_that_is_unfit_is_shown_as_its_text() -> None:
    """One line says why, and the HTML is gone."""
    html = "<style>.a{float:left}</style><div class=a>x</div>"
    data, _ = safe_bundle({"text/html": html, "text/plain": "A()"})
    assert data == {"text/plain": "A()\n[text/html not shown: it needs a style sheet]"}
    assert safe_bundle({"text/html": "x" * 5_000_001})[0] == {"text/plain": "[text/html not shown: too large]"}


def test_html_comes_before_a_drawing() -> None:
    """Both would be shown as text/html: the one that is HTML already is, whichever was sent first."""
    html, svg = "<b>x</b>", "<svg></svg>"
    for bundle in ({"text/html": html, "image/svg+xml": svg}, {"image/svg+xml": svg, "text/html": html}):
        assert html in safe_bundle(bundle)[0]["text/html"]


@pytest.mark.parametrize("mime", ["text/markdown", "text/latex"])
def test_sources_are_shown_as_text(mime: str) -> None:
    """Markdown and LaTeX are read as they are written, unless there is a text that says more."""
    placeholder = "<IPython.core.display.Markdown object>"
    assert safe_bundle({mime: "# a\x1b[2J"})[0] == {"text/plain": "# a"}
    assert safe_bundle({mime: "# a", "text/plain": placeholder})[0] == {"text/plain": "# a"}
    assert safe_bundle({mime: "$x^2$", "text/plain": "x**2"})[0] == {"text/plain": "x**2"}


@pytest.mark.parametrize(
    ("mime", "why"),
    [
        ("application/javascript", "scripts from a sandbox do not run here"),
        ("application/vnd.jupyter.widget-view+json", "widgets from a sandbox do not work here"),
        ("application/json", "unknown type"),
        ("application/pdf", "unknown type"),
        ("TEXT/HTML", "unknown type"),
        ("text/html; charset=utf-7", "unknown type"),
    ],
)
def test_types_that_act_or_are_unknown_are_left_out(mime: str, why: str) -> None:
    """The text stays and says in one line what is missing; beside an image nothing need be said."""
    line = f"[{mime.replace(';', '?').replace(' ', '?').replace('=', '?')} not shown: {why}]"
    assert safe_bundle({mime: "x"})[0] == {"text/plain": line}
    assert safe_bundle({mime: {}, "text/plain": "X()"})[0] == {"text/plain": f"X()\n{line}"}
    assert safe_bundle({mime: "x", "text/plain": "X()", "image/png": b64(PNG)})[0].keys() == {"text/plain", "image/png"}


def test_a_name_is_hostile_too() -> None:
    """What a sandbox calls a type is shortened, made plain, and not repeated for ever."""
    data, _ = safe_bundle({f"\x1b]52;c;x\x07\n{'y' * 500}{number}": "" for number in range(1000)})
    lines = data["text/plain"].split("\n")
    assert len(lines) == 6 and lines[-1] == "[and 995 more]"
    assert all(len(line) < 120 and line.isprintable() for line in lines)


def test_metadata_keeps_what_is_harmless() -> None:
    """Size and description of images that are shown; nothing else, and nothing of the wrong kind."""
    about = {"width": 640, "height": 480.5, "alt": "a\x1b[2Jb", "style": "x", "isolated": True}
    metadata = {"image/png": about, "image/jpeg": about, "text/html": {"isolated": True}, "x": 1}
    assert safe_bundle({"image/png": b64(PNG)}, metadata)[1] == {
        "image/png": {"width": 640, "height": 480.5, "alt": "ab"}
    }


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), 10**400, True, "9", None, [9], MAX_SIDE + 1])
def test_sizes_are_sane_numbers(size: object) -> None:
    """Finite, positive, not a bool, not larger than an image may be."""
    assert safe_bundle({"image/png": b64(PNG)}, {"image/png": {"width": size, "alt": size and None}})[1] == {}


@pytest.mark.parametrize("value", [None, 1, b"x", ["a"], {}, object()])
def test_values_of_the_wrong_type_are_left_out(value: object) -> None:
    """Never an error: a line for each, and keys that are no names are not there."""
    data, metadata = safe_bundle(dict.fromkeys(("text/plain", *SHOWN), value) | {7: "x"})
    assert data.keys() == {"text/plain"} and metadata == {}
    assert data["text/plain"].count("not shown: not text]") == 5


def test_nothing_is_shown_as_nothing() -> None:
    """An empty bundle stays one; an empty text is a text."""
    assert safe_bundle({}) == ({}, {})
    assert safe_bundle({"text/plain": ""}) == ({"text/plain": ""}, {})


def junk(rng: random.Random, depth: int = 2) -> Any:
    """Anything at all, with a liking for what is nearly right."""
    texts = [
        "",
        "\ud800",
        "\x1b]",
        "<b",
        "<style>#T_{",
        "<svg",
        b64(PNG),
        b64(PNG[:40]),
        b64(jpeg()[:30]),
        "$",
        "=" * 9,
    ]
    if depth and rng.random() < 0.4:
        names = [*SHOWN, "text/plain", "text/latex", "width", "height", "alt", "x/y", 7, None, ("a",)]
        return {rng.choice(names): junk(rng, depth - 1) for _ in range(rng.randint(0, 6))}
    plain = "".join(map(chr, rng.choices(range(0xFFFF), k=rng.randint(0, 20))))
    return rng.choice(
        [
            *texts,
            plain,
            plain.encode("utf-8", "replace"),
            None,
            1.5,
            10**400,
            -1,
            [],
            object(),
            "".join(rng.sample(texts, 3)),
        ]
    )


def test_nothing_raises_and_nothing_else_comes_out() -> None:
    """Any input gives names and texts, with a text/plain whenever there is anything."""
    rng = random.Random(11)
    for _ in range(1500):
        data, metadata = safe_bundle(junk(rng), junk(rng))
        assert data.keys() <= {"text/plain", "text/html", "image/png", "image/jpeg"}
        assert all(isinstance(value, str) for value in data.values())
        assert not data or live(data["text/plain"]) == []
        assert metadata.keys() <= data.keys() - {"text/plain", "text/html"}


def test_importing_is_cheap() -> None:
    """nh3 is loaded when the first HTML is shown, and not before."""
    code = "import sys, ipy_codeinterp.mime; print('nh3' in sys.modules, 'IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
