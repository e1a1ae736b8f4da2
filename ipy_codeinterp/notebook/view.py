"""One cell's output on the screen: as it comes, or, for runners that compare, once and final."""

from __future__ import annotations

import os
import sys
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.execution import (
    Clear,
    CodeDelta,
    Display,
    Error,
    Event,
    Notice,
    Partial,
    Restarted,
    Result,
    Stream,
    StreamName,
    Update,
)
from ipy_codeinterp.mime import TextFilter, safe_bundle, safe_text
from ipy_codeinterp.notebook.frames import Frames
from ipy_codeinterp.notebook.written import Written
from ipy_codeinterp.outputs import Collector


def is_deterministic(render: str) -> bool:
    """Whether outputs are to be final when they are emitted: nbval ignores updates and clears."""
    return render == "deterministic" or "PYTEST_CURRENT_TEST" in os.environ


class View:
    """`show()` each event on the cell's own thread, then `finish()`.

    What a model writes is shown where it has an `author`: else it only passes on what the cell says. With `frames`,
    interactive figures are drawn.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        *,
        deterministic: bool,
        place: str,
        facts: dict[str, Any],
        author: str = "",
        frames: Frames | None = None,
    ) -> None:
        self._shell = shell
        self._frames = frames
        self._collector = Collector() if deterministic else None
        self._place = place  # display ids of the code are its own business: they must not meet other people's
        self._facts = facts
        self._written = Written(author) if author else None
        self._failed: Error | None = None
        self.partial: Partial | None = None  # of the run, where it was cut short
        self._filters: dict[StreamName, TextFilter] = {"stdout": TextFilter(), "stderr": TextFilter()}

    def show(self, event: Event) -> None:
        self.partial = event if isinstance(event, Partial) else None  # told last: what a tool call left is passed over
        if isinstance(event, Restarted):
            self._forget()
        if isinstance(event, CodeDelta) and self._failed:
            self._say_failed(self._failed)
        if isinstance(event, Error):
            self._failed = event
        if isinstance(event, Notice | Restarted):
            print(safe_text(str(event)), file=sys.stderr)  # noqa: T201 - this is the screen
        else:
            for written in self._written.feed(event) if self._written else ():
                self._keep_or_emit(written)
            self._keep_or_emit(event)

    def _say_failed(self, error: Error) -> None:
        """In one line, where a model writes other code after this: only the last error is the cell's own."""
        self._failed = None
        if self._written:
            self._keep_or_emit(Stream("stderr", f"{error.ename}: {error.evalue}\n"))

    def _keep_or_emit(self, event: Event) -> None:
        if self._collector is not None:
            self._collector.feed(event)
        else:
            self._emit(event)

    def _forget(self) -> None:
        """What was shown was of an attempt that does not count any more."""
        self._failed = None
        self._filters = {"stdout": TextFilter(), "stderr": TextFilter()}
        if self._collector is not None:
            self._collector = Collector()
        else:
            self._shell.display_pub.clear_output()

    def finish(self) -> None:
        """What was held back."""
        for written in self._written.close() if self._written else ():
            self._keep_or_emit(written)
        if self._collector is not None:
            for output in self._collector.outputs:
                self._emit(output)
            self._collector = None
        for name, held in self._filters.items():
            self._write(name, held.close())

    def _emit(self, event: Event) -> None:
        match event:
            case Stream(name, text):
                self._write(name, self._filters[name].feed(text))
            case Display(data, metadata, _, display_id):
                self._publish(data, metadata, display_id)
            case Update(display_id, data, metadata):
                self._publish(data, metadata, display_id, update=True)
            case Clear(wait):
                self._shell.display_pub.clear_output(wait)

    def _write(self, name: StreamName, text: str) -> None:
        if text:
            file = sys.stdout if name == "stdout" else sys.stderr
            file.write(text)
            file.flush()  # ipykernel would wait for a fifth of a second

    def _publish(self, data: Any, metadata: Any, display_id: str | None, *, update: bool = False) -> None:
        shown, kept = safe_bundle(data, metadata)
        if self._frames:
            shown |= self._frames.bundle(data)
        if shown:
            transient = {"display_id": f"{self._place}-{display_id}"} if display_id else {}
            kept["ipy_codeinterp"] = self._facts
            self._shell.display_pub.publish(shown, kept, transient=transient, update=update)


def result_html(result: Result) -> str:
    """A Result as a small table, for a cell that ends in one."""
    from html import escape

    seconds = result.timings.total
    rows = {
        "outcome": result.outcome,
        "offer": result.offer,
        "time": "unknown" if seconds is None else f"{seconds:.3f} s",
        "steps": str(len(result.steps)),
        "files": ", ".join(file.name for file in result.files) or "none",
        "isolation": result.isolation or "unknown",
    }
    cells = "".join(
        f'<tr><th style="text-align: left">{escape(k)}</th><td style="text-align: left">{escape(v)}</td></tr>'
        for k, v in rows.items()
    )
    caption = f'<caption style="text-align: left; white-space: nowrap">Result {escape(result.id)}</caption>'
    return f"<table>{caption}{cells}</table>"
