"""How matplotlib's figures are shown: in which format, how fine, and in words for those who cannot see them."""

from __future__ import annotations

import base64
import contextlib
import html
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

MIME = {"png": "image/png", "svg": "image/svg+xml"}
PNG, PNG_AS_TEXT, HEADER = b"\x89PNG\r\n\x1a\n", "iVBORw0KGgo", 33  # the last in bytes: signature and first chunk
MOST_AXES, MOST_NAMES, MOST_WORDS = 6, 8, 1000  # what a description names at most; the last in characters


def configure(shell: Any, kind: str, dpi: float | None) -> None:
    """Show figures as `kind` (png, svg), with `dpi` dots an inch (None: as the figure says)."""
    if "matplotlib" not in sys.modules or kind not in MIME:
        return
    from IPython.core.pylabtools import select_figure_formats
    from matplotlib.figure import Figure

    select_figure_formats(shell, {kind}, **({"dpi": dpi} if dpi else {}))
    formatter = shell.display_formatter.formatters[MIME[kind]]
    formatter.for_type(Figure, _with_words(formatter.for_type(Figure)))


def _with_words(draw: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def drawn(figure: Any) -> Any:
        picture = draw(figure)
        if not isinstance(picture, (str, bytes)):
            return picture
        with contextlib.suppress(Exception):  # a figure that cannot be described can still be seen
            if words := describe(figure):
                return told(picture, words), {"alt": words}
        return picture

    return drawn


def told(picture: str | bytes, words: str) -> str | bytes:
    """The picture with its words in it, where readers of files look for them; as base64 where it came so."""
    if isinstance(picture, bytes):
        return _told_png(picture, words)
    if picture.startswith(PNG_AS_TEXT):
        return base64.b64encode(_told_png(base64.b64decode(picture), words)).decode()
    return re.sub(r"<svg\b[^>]*>", lambda found: f"{found[0]}<title>{html.escape(words)}</title>", picture, count=1)


def _told_png(picture: bytes, words: str) -> bytes:
    """With a text chunk, `Description`, behind the header: in UTF-8, in no language and not compressed."""
    content = b"iTXtDescription\0\0\0\0\0" + words.encode("utf-8", "replace")
    chunk = (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    return picture[:HEADER] + chunk + picture[HEADER:] if picture.startswith(PNG) else picture


def describe(figure: Any) -> str:
    """Titles, axes and series of a figure, in sentences."""
    sentences = [_text(figure.get_suptitle())] if hasattr(figure, "get_suptitle") else []
    axes = [a for a in figure.axes if a.get_visible() and a.get_label() != "<colorbar>"]
    if len(axes) > 1:
        sentences.append(f"{len(axes)} panels")
    for each in axes[:MOST_AXES]:
        sentences += _describe_axes(each)
    return ". ".join(s for s in sentences if s)[:MOST_WORDS]


def _describe_axes(axes: Any) -> Iterator[str]:
    yield _text(axes.get_title())
    what = _kinds(axes)
    yield what.capitalize()
    labels = [(name, _text(get())) for name, get in (("x", axes.get_xlabel), ("y", axes.get_ylabel))]
    yield ", ".join(f"{name} axis: {label}" for name, label in labels if label)
    _, names = axes.get_legend_handles_labels()
    if names:
        shown = ", ".join(map(_text, names[:MOST_NAMES]))
        yield f"Series: {shown}" + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _kinds(axes: Any) -> str:
    counts = {
        "line": len(axes.lines),
        "bar": len(axes.patches),
        "set of points or areas": len(axes.collections),
        "image": len(axes.images),
    }
    return ", ".join(f"{n} {_plural(kind, n)}" for kind, n in counts.items() if n)


def _plural(kind: str, number: int) -> str:
    if number == 1:
        return kind
    head, of, rest = kind.partition(" of ")
    return f"{head}s{of}{rest}"


def _text(said: object) -> str:
    return " ".join(str(said).split())
