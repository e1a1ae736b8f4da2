"""What of a mimebundle may be shown: output of a sandbox is hostile, to the browser and to the terminal.

Rules of this file:
- It is for *showing*. What is stored is what the sandbox sent; everything on its way to a screen passes here.
- A type is shown because it has a row in `SHOWN`, never because nothing spoke against it.
- Nothing here raises on any input, does I/O, or takes more than linear time.
- What is left out is said in one line of text/plain, unless the bundle shows something richer instead.
"""

from __future__ import annotations

import base64
import html
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ipy_codeinterp import interactive
from ipy_codeinterp.html import Unfit, harmless, text_of

MAX_PIXELS = 100_000_000
MAX_SIDE = 30_000
MAX_SVG_CHARS = 10_000_000
MAX_ALT_CHARS = 1_000
MAX_TITLE_AT = 10_000  # characters of an SVG in which its title is looked for
MAX_NOTES = 5


# --- text -----------------------------------------------------------------------------------------

# What `safe_text` has to look at more closely: all controls but \b \t \n \r, and halves of characters.
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_STRING = r"\x1b[\]PX^_]"  # begins a title, a link, a write to the clipboard
_PAYLOAD = r"[^\x00-\x1f\x7f-\x9f]*+"  # any control ends it: one that is never finished must not swallow the rest
_SEQUENCE = re.compile(
    r"(?P<colour>\x1b\[[0-9;]{0,64}m)"
    r"|\x1b\[[0-?]*+[ -/]*+[@-~]?"
    rf"|{_STRING}{_PAYLOAD}(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*+[0-~]?"
    rf"|{_CONTROL.pattern}"
)
# The same, where the text ends within one.
_UNFINISHED = re.compile(
    rf"(?:(?P<string>{_STRING}){_PAYLOAD}(?P<escape>\x1b?)|\x1b\[[0-?]{{0,256}}[ -/]{{0,16}}|\x1b[ -/]{{0,16}})\Z"
)


def safe_text(text: str) -> str:
    """The text without what a terminal would obey; colours, tabs, line ends and backspaces stay.

    An escape character leaves here only at the head of a whole colour sequence, so whatever is written next,
    nothing becomes live that was cut in two. `TextFilter` is for such cuts to be invisible as well.
    """
    return _SEQUENCE.sub(_harmless_sequence, text) if _CONTROL.search(text) else text


def _harmless_sequence(found: re.Match[str]) -> str:
    if "\ud800" <= found[0] <= "\udfff":
        return "\ufffd"
    return found["colour"] or ""


class TextFilter:
    """`safe_text` for a stream: chunks may end within a sequence, the result is the same as for the whole."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, chunk: str) -> str:
        """What may be written now. At most a bounded beginning of a sequence is held back."""
        text = self._held + chunk
        cut = _UNFINISHED.search(text) if _CONTROL.search(text) else None
        if cut is None:
            self._held = ""
            return safe_text(text)
        # Of a title or link only its beginning is kept: the payload is not going to be shown.
        self._held = cut["string"] + cut["escape"] if cut["string"] else cut[0]
        return safe_text(text[: cut.start()])

    def close(self) -> str:
        """What is left when nothing follows."""
        held, self._held = self._held, ""
        return safe_text(held)


# --- images ---------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """What a front end gets, as which type, and what stands for it where there is only text."""

    mime: str
    value: str
    text: str


_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_WHOLE = ((0, 0, 1, 1),)  # passes over the image: first column and row, step to the next
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_SVG_TITLE = re.compile(rf"<title>([^<>]{{1,{MAX_ALT_CHARS}}})</title>")


def _png(value: str) -> Shown:
    """A PNG that decodes: jupyter console dies of one that does not."""
    raw = _decoded(value)
    _require(raw.startswith(_PNG), "not a PNG")
    chunks = list(_png_chunks(raw))
    kinds = [kind for kind, _ in chunks]
    header = chunks[0][1]
    _require(kinds[0] == b"IHDR" and kinds.count(b"IHDR") == 1 and len(header) == 13)
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    depth, colour, compression, filters, interlaced = header[8:]
    _require_size(width, height)
    _require(depth in _DEPTHS.get(colour, ()) and (compression, filters) == (0, 0) and interlaced in (0, 1))
    _require(colour != 3 or b"PLTE" in kinds)
    size = _scanline_bytes(width, height, depth * _CHANNELS[colour], _ADAM7 if interlaced else _WHOLE)
    _require(_inflates_to(size, [data for kind, data in chunks if kind == b"IDAT"]))
    end = len(_PNG) + sum(12 + len(data) for _, data in chunks)
    return _image("image/png", raw[:end], width, height)


def _png_chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) up to IEND; what follows that is no part of the image."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(raw[at : at + 4]), raw[at + 4 : at + 8]
        end = at + 8 + length
        data, checksum = raw[at + 8 : end], raw[end : end + 4]
        _require(len(checksum) == 4 and zlib.crc32(kind + data) == int.from_bytes(checksum))
        yield kind, data
        at = end + 4


def _scanline_bytes(width: int, height: int, bits: int, passes: tuple[tuple[int, int, int, int], ...]) -> int:
    """How much the pixels inflate to: each row of each pass is its bits, rounded up, and one byte for its filter."""
    size = 0
    for column, row, right, down in passes:
        columns, rows = -(-max(0, width - column) // right), -(-max(0, height - row) // down)
        size += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return size


def _inflates_to(size: int, parts: list[bytes]) -> bool:
    """In pieces that are thrown away, and not further than `size`: it may be a bomb."""
    stream, left = zlib.decompressobj(), size
    try:
        for part in parts:
            while part and not stream.eof and left >= 0:
                left -= len(stream.decompress(part, 1 << 20))
                part = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof and left == 0


def _jpeg(value: str) -> Shown:
    raw = _decoded(value)
    _require(raw.startswith(b"\xff\xd8\xff"), "not a JPEG")
    at, size = 2, (0, 0)
    while (marker := _jpeg_marker(raw, at)) != _START_OF_SCAN:
        if marker in _START_OF_FRAME:
            size = int.from_bytes(raw[at + 7 : at + 9]), int.from_bytes(raw[at + 5 : at + 7])
        at += 2 + max(2, int.from_bytes(raw[at + 2 : at + 4]))
    _require_size(*size)
    _require(raw.rfind(b"\xff\xd9") > at)
    return _image("image/jpeg", raw, *size)


def _jpeg_marker(raw: bytes, at: int) -> int:
    _require(len(raw) > at + 8 and raw[at] == 0xFF)
    return raw[at + 1]


def _svg(value: str) -> Shown:
    """As an image: in an `<img>` no script runs and nothing is loaded. The element is ours, not the sandbox's."""
    _require(len(value) <= MAX_SVG_CHARS, "too large")
    _require("<svg" in value and "<!ENTITY" not in value, "not a plain SVG")
    encoded = base64.b64encode(value.encode(errors="replace")).decode()
    title = _SVG_TITLE.search(value, 0, MAX_TITLE_AT)
    alt = html.escape(safe_text(html.unescape(title[1]))) if title else "SVG image"
    element = f'<img alt="{alt}" src="data:image/svg+xml;base64,{encoded}">'
    return Shown("text/html", element, "[image/svg+xml]")


def _html(value: str) -> Shown:
    clean = harmless(value)
    return Shown("text/html", clean, text_of(clean))


def _image(mime: str, raw: bytes, width: int, height: int) -> Shown:
    return Shown(mime, base64.b64encode(raw).decode(), f"[{mime}, {width} x {height}]")


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        raise Unfit("not base64") from None


def _require(fine: bool, why: str = "damaged") -> None:
    if not fine:
        raise Unfit(why)


def _require_size(width: int, height: int) -> None:
    fine = 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS
    _require(fine, f"{width} x {height} pixels")


# --- bundles --------------------------------------------------------------------------------------

# To show another type, add a row: a function from its value to what is shown, which raises `Unfit` when it may not be.
# Of two rows that end in one type, the upper one is shown.
SHOWN: Mapping[str, Callable[[str], Shown]] = {
    "text/html": _html,
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/svg+xml": _svg,
}
_SOURCES = ("text/markdown", "text/latex")  # shown as they are written, where there is nothing plainer
_REASONS = {
    "application/javascript": "scripts from a sandbox do not run here",
    "application/vnd.jupyter.widget-view+json": "widgets from a sandbox do not work here",
}

# What IPython's own display objects say for want of a text; their source says more.
_PLACEHOLDER = re.compile(r"<IPython\.core\.display\.\w+ object>")


def safe_bundle(
    data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(data, metadata) as a front end may have them; text/plain is there whenever anything is."""
    offered = _named(data)
    if interactive.is_beside(offered):
        return {}, {}
    rich: dict[str, Shown] = {}
    notes: list[str] = []
    if figure := interactive.found(offered):
        offered = {mime: value for mime, value in offered.items() if mime not in figure.mimes}
        notes.append(figure.missing(interactive.WHY))
    for mime in dict.fromkeys([*SHOWN, *offered]):
        if mime in offered:
            answer = _show(mime, offered[mime])
            if isinstance(answer, Shown):
                rich.setdefault(answer.mime, answer)
            elif answer:
                notes.append(f"[{_spelled(mime)} not shown: {answer}]")
    text = _plain(offered, rich, notes)
    plain = {} if text is None else {"text/plain": text}
    return plain | {mime: shown.value for mime, shown in rich.items()}, _about(rich, _named(metadata))


def _named(mapping: object) -> dict[str, Any]:
    """The entries with a name, of whatever a sandbox sent in the place of a mapping."""
    entries = mapping.items() if isinstance(mapping, Mapping) else ()
    return {key: value for key, value in entries if isinstance(key, str)}


def _show(mime: str, value: object) -> Shown | str:
    """What is shown beside the text, or why nothing is; a text itself needs no reason."""
    is_text = mime == "text/plain" or mime in _SOURCES
    if not is_text and mime not in SHOWN:
        return _REASONS.get(mime, "unknown type")
    if not isinstance(value, str):
        return "not text"
    try:
        return "" if is_text else SHOWN[mime](value)
    except Unfit as why:
        return str(why)


def _plain(offered: Mapping[str, Any], rich: Mapping[str, Shown], notes: list[str]) -> str | None:
    """The text of a bundle, else the source of what it would have been, else what stands for what is shown."""
    text = offered.get("text/plain")
    if not isinstance(text, str) or _PLACEHOLDER.fullmatch(text):
        text = next((offered[mime] for mime in _SOURCES if isinstance(offered.get(mime), str)), text)
    texts = [text] if isinstance(text, str) else [shown.text for shown in rich.values()][:1]
    lines = [safe_text(text) for text in texts]
    if notes and not rich:
        more = [f"[and {len(notes) - MAX_NOTES} more]"] if len(notes) > MAX_NOTES else []
        lines = [*filter(None, lines), *notes[:MAX_NOTES], *more]
    return "\n".join(lines) if lines else None


def _spelled(mime: str) -> str:
    """A name that a sandbox chose, short and without surprises."""
    return re.sub(r"[^\w.+/-]", "?", mime[:80], flags=re.ASCII)


def _about(rich: Mapping[str, Shown], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is said about the images, how large they are to be and what they show."""
    about = {mime: _about_image(_named(metadata.get(mime))) for mime in rich if mime.startswith("image/")}
    return {mime: facts for mime, facts in about.items() if facts}


def _about_image(facts: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {key: facts[key] for key in ("width", "height") if _is_side(facts.get(key))}
    alt = facts.get("alt")
    return sizes | ({"alt": safe_text(alt[:MAX_ALT_CHARS])} if isinstance(alt, str) else {})


def _is_side(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_SIDE
