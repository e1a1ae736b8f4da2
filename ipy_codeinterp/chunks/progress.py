"""How far it is, shown as one display that is updated while it goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ipy_codeinterp import pace
from ipy_codeinterp.bridge import Emit
from ipy_codeinterp.chunks.report import said
from ipy_codeinterp.chunks.work import Failure, Range
from ipy_codeinterp.execution import Display, Update

EVERY = 0.1  # seconds between two updates, at least
MOST_NOTES = 5  # halvings that are shown, the last ones
MOST_NOTE = 120  # characters
DISPLAY = "chunks"


class Progress:
    """Counts rows and ranges; `show()` emits them, at most every `EVERY` seconds unless it is `now`."""

    def __init__(self, emit: Emit, rows: int, *, clock: Callable[[], float]) -> None:
        self._emit = emit
        self._rows = rows
        self._clock = clock
        self._rows_done = self._ranges = 0
        self._before = (0, 0.0)  # rows that were done when it began, and when that was
        self._notes: deque[str] = deque(maxlen=MOST_NOTES)
        self._shown: tuple[str, float] | None = None
        self.halved = 0

    def done(self, rows: Range) -> None:
        self._rows_done += rows.rows
        self._ranges += 1

    def note_halved(self, rows: Range, failure: Failure) -> None:
        self.halved += 1
        self._notes.append(f"{rows} halved: {said(failure)}"[:MOST_NOTE].partition("\n")[0])

    def _text(self, moment: float | None) -> str:
        """How far it is; how long it may still take is said only of a `moment` that passes."""
        halved = f", {self.halved} halved" if self.halved else ""
        words = f"{self._rows_done:,} of {self._rows:,} rows, {self._ranges:,} ranges done{halved}"
        rows, began = self._before
        taken = None if moment is None else moment - began
        left = pace.remaining(self._rows_done - rows, self._rows - rows, taken)
        return "\n  ".join([pace.line(words, self._rows_done, self._rows, left), *self._notes])

    async def show(self, *, now: bool = False) -> None:
        moment = self._clock()
        if self._shown is None:
            self._before = self._rows_done, moment
        if self._shown and not now and moment - self._shown[1] < EVERY:
            return
        text = self._text(None if now else moment)
        if self._shown and self._shown[0] == text:
            return
        data = {"text/plain": text}
        event = Update(DISPLAY, data) if self._shown else Display(data, display_id=DISPLAY)
        self._shown = text, moment
        await self._emit(event)
