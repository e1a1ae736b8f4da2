"""What a model writes, while it writes it: code and words, each in one place of the output that grows."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator

from ipy_codeinterp.execution import CodeDelta, Display, Event, Output, TextDelta, Update
from ipy_codeinterp.mime import safe_text

EVERY = 0.1  # seconds between two looks of one place
MOST_SHOWN = 200_000  # characters
STYLE = "white-space: pre-wrap; margin: 0.3em 0 0 1em"


class Written:
    """Feed it every event; it gives what is to be shown. A new place begins where code runs in between."""

    def __init__(self, author: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._author = author
        self._clock = clock
        self._number = 0
        self._kind: type[CodeDelta | TextDelta] | None = None
        self._text = ""
        self._shown: str | None = None  # of the place that grows
        self._at = 0.0

    def feed(self, event: Event) -> Iterator[Output | Update]:
        """What `event` makes of the screen; outputs of the code are not looked at."""
        if isinstance(event, CodeDelta | TextDelta):
            if type(event) is not self._kind:
                yield from self.close()
                self._kind = type(event)
            self._text += event.text
            if self._clock() - self._at >= EVERY:
                yield from self._show()
        elif isinstance(event, Display) or self._kind is not None:
            yield from self.close()

    def close(self) -> Iterator[Output | Update]:
        """The last word on what is being written."""
        yield from self._show()
        self._number += self._shown is not None
        self._kind, self._text, self._shown = None, "", None

    def _show(self) -> Iterator[Output | Update]:
        text = self._text[:MOST_SHOWN]
        if not text.strip() or text == self._shown:
            return
        place, is_new = f"written-{self._number}", self._shown is None
        self._shown, self._at = text, self._clock()
        data = self._as_code(text) if self._kind is CodeDelta else {"text/plain": safe_text(text.strip("\n"))}
        yield Display(data, display_id=place) if is_new else Update(place, data)

    def _as_code(self, text: str) -> dict[str, str]:
        plain = safe_text(text.strip("\n"))
        head = f"code by {html.escape(self._author)}"
        shown = f"<details open><summary>{head}</summary><pre style='{STYLE}'>{html.escape(plain)}</pre></details>"
        return {"text/plain": plain, "text/html": shown}
