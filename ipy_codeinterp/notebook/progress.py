"""The line that says what a cell waits for, and since when, while nothing of it is to be seen.

It comes after half a second, and leaves nothing behind: the first output, or the end, takes it away by clearing the
cell. So it is shown only where somebody looks, and where the cell is ours alone: what other code of it had shown would
be cleared, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_hex

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.execution import CodeDelta, Event, Notice, Partial, Phase, Restarted, TextDelta
from ipy_codeinterp.notebook.footer import STYLE

AFTER = 0.5  # seconds until there is a line
EVERY = 0.5  # seconds between two updates

# What the phases are called on the screen; others are called by their own names.
WORDS = {"asked": "waiting for the answer", "waiting": "waiting to try again", "queued": "queued by the limits"}
WRITING = "writing code"


class Progress:
    """Told of every event by `note()` before it is shown, and of idle time by `idle()`; `close()` takes the line away.

    `again` shows what was said meanwhile and is not the code's own: it was cleared with the line. Where code that a
    model writes is shown, `is_written` says so.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        again: Callable[[Event], None],
        *,
        is_written: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shell = shell
        self._again = again
        self._is_written = is_written
        self._clock = clock
        self._began = clock()
        self._display_id = f"ipy-codeinterp-{token_hex(8)}"
        self._shown_at: float | None = None
        self._said: list[Event] = []  # notices
        self._phase = "connecting"
        self._closed = False

    def note(self, event: Event) -> None:
        match event:
            case Phase(name):
                self._phase = WORDS.get(name, name)
            case CodeDelta() | TextDelta() if not self._is_written:
                self._phase = WRITING
            case Notice() | Restarted():
                self._take_away()
                self._said.append(event)
            case Partial():
                pass
            case _:
                self.close()

    def idle(self) -> None:
        """Show the line, or how it is now, where it is time for that."""
        now = self._clock()
        if self._closed or now - self._began < AFTER or (self._shown_at and now - self._shown_at < EVERY):
            return
        words = f"{self._phase}, {now - self._began:.1f} s"
        data = {"text/html": f'<p style="{STYLE}">{words}</p>', "text/plain": words}
        is_update = self._shown_at is not None
        self._shown_at = now
        self._shell.display_pub.publish(data, {}, transient={"display_id": self._display_id}, update=is_update)

    def close(self) -> None:
        """Take the line away, if there is one, and show no other."""
        self._closed = True
        self._take_away()

    def _take_away(self) -> None:
        if self._shown_at is None:
            return
        self._shown_at = None
        self._shell.display_pub.clear_output()
        for event in self._said:
            self._again(event)


def is_alone(shell: InteractiveShell) -> bool:
    """Whether the running cell is one `%%interp` from its first line, and shows itself."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    code = str(parent.get("content", {}).get("code", ""))
    return code.startswith("%%interp") and not isinstance(shell.display_pub, CapturingDisplayPublisher)
