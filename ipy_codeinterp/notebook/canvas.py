"""All that a run has shown so far as one display: what a background job writes into its place, again and again.

Hostile as ever: every output passes `mime` before it stands here, and text is escaped.
"""

from __future__ import annotations

import html
import itertools
import re

from ipy_codeinterp.execution import Display, Error, Event, Notice, Output, Restarted, Stream
from ipy_codeinterp.mime import safe_bundle, safe_text
from ipy_codeinterp.notebook.written import Written
from ipy_codeinterp.outputs import Collector

MOST_TEXT = 100_000  # characters of one stream that are drawn each time
IMAGES = ("image/png", "image/jpeg")
PRE = "white-space: pre-wrap; margin: 0"
BESIDE = f"{PRE}; opacity: 0.7"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Drawn = tuple[str, str]  # as text, as HTML
Seen = tuple[tuple[Output, ...], tuple[str, ...]]  # outputs, and notes


class Canvas:
    """`feed()` it every event; `seen()` is what there is by now, and `bundle(head, seen)` draws that, on any thread."""

    def __init__(self, author: str = "") -> None:
        self._author = author
        self._begin()

    def _begin(self) -> None:
        self._collector = Collector()
        self._written = Written(self._author) if self._author else None
        self._notes: list[str] = []
        self._drawn: tuple[tuple[Output, Drawn], ...] = ()  # as it was when it was drawn last

    def feed(self, event: Event) -> None:
        if isinstance(event, Restarted):
            self._begin()
        if isinstance(event, Notice | Restarted):
            self._notes.append(str(event))
            return
        for each in self._written.feed(event) if self._written else ():
            self._collector.feed(each)
        self._collector.feed(event)

    def note(self, text: str) -> None:
        """What is beside the work."""
        self._notes.append(text)

    def close(self) -> None:
        """Nothing follows: what a model was still writing is whole."""
        for each in self._written.close() if self._written else ():
            self._collector.feed(each)

    def seen(self) -> Seen:
        """All that has come by now."""
        return self._collector.outputs, tuple(self._notes)

    def bundle(self, head: str, seen: Seen) -> dict[str, str]:
        """`head`, then all of it, as text and as HTML that needs nothing but itself."""
        outputs, notes = seen
        drawn = [_line(head), *self._outputs(outputs), *map(_line, notes)]
        return {
            "text/plain": "\n".join(text for text, _ in drawn if text),
            "text/html": "".join(f"<div>{shown}</div>" for _, shown in drawn),
        }

    def _outputs(self, outputs: tuple[Output, ...]) -> list[Drawn]:
        """Each drawn once, for as long as it stays what it is: to sanitise a table costs more than all the rest."""
        known = itertools.chain(self._drawn, itertools.repeat((None, ("", ""))))
        pairs = zip(outputs, known, strict=False)
        self._drawn = tuple((each, drawn if each == was else draw(each)) for each, (was, drawn) in pairs)
        return [drawn for _, drawn in self._drawn]


def draw(output: Output) -> Drawn:
    """One output, safe to show."""
    match output:
        case Stream(_, text):
            return _text(text)
        case Error(ename, evalue, traceback):
            return _text("\n".join(traceback) or f"{ename}: {evalue}")
        case Display(data, metadata):
            shown, about = safe_bundle(data, metadata)
            text = shown.get("text/plain", "")
            image = next((mime for mime in IMAGES if mime in shown), None)
            if image:
                alt = html.escape(about.get(image, {}).get("alt") or text)
                return text, f'<img alt="{alt}" src="data:{image};base64,{shown[image]}">'
            return (text, shown["text/html"]) if "text/html" in shown else _text(text)


def _text(said: str) -> Drawn:
    plain = _COLOUR.sub("", safe_text(_cut(said))).rstrip("\n")
    return plain, f'<pre style="{PRE}">{html.escape(plain)}</pre>'


def _line(said: str) -> Drawn:
    plain = _COLOUR.sub("", safe_text(said))
    return plain, f'<pre style="{BESIDE}">{html.escape(plain)}</pre>'


def _cut(text: str) -> str:
    """Without its middle, where it is long: what is drawn again and again must not grow without end."""
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out: %interp show has them ...\n{text[-half:]}"
