"""Outputs as a terminal can show them: text as it comes, everything else by its plain text."""

from __future__ import annotations

import re
import shutil
import sys
import time
from typing import Self, TextIO

from ipy_codeinterp.execution import Display, Error, Event, Notice, Restarted, Stream, StreamName, Update
from ipy_codeinterp.mime import TextFilter, safe_bundle, safe_text

EVERY = 10.0  # seconds between two lines where nobody may watch
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """`show()` each event; `close()` writes what was held back."""

    def __init__(self) -> None:
        self._filters: dict[StreamName, TextFilter] = {"stdout": TextFilter(), "stderr": TextFilter()}

    def show(self, event: Event) -> None:
        match event:
            case Stream(name, text):
                self._write(name, self._filters[name].feed(text))
            case Display(data, metadata):
                shown, _ = safe_bundle(data, metadata)
                self._write("stdout", f"{shown.get('text/plain', '')}\n")
            case Error(traceback=lines):
                self._write("stderr", "".join(f"{safe_text(line)}\n" for line in lines))
            case Notice() | Restarted():
                self._write("stderr", f"{safe_text(str(event))}\n")

    def close(self) -> None:
        for name, held in self._filters.items():
            self._write(name, held.close())

    def _write(self, name: StreamName, text: str) -> None:
        file = sys.stdout if name == "stdout" else sys.stderr
        encoding = file.encoding or "utf-8"
        shown = text if file.isatty() else _COLOURS.sub("", text)
        file.write(shown.encode(encoding, "replace").decode(encoding))
        file.flush()


class Line:
    """How far something is: one line that is written anew on a terminal, and now and then a line anywhere else.

    Open it as a context; `show()` what is told, `say()` what stays.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_live = file.isatty()
        self._width = 0  # of what stands in the line
        self._told_at = -EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def show(self, event: Event) -> None:
        """The plain text of a Display or an Update; of anything else nothing."""
        if not isinstance(event, Display | Update):
            return
        text = safe_text(str(event.data.get("text/plain", "")))
        if self._is_live:
            self._clear()
            text = text[: shutil.get_terminal_size().columns - 1]
            self._file.write(text)
            self._width = len(text)
        elif (now := time.monotonic()) - self._told_at >= EVERY:
            self._told_at = now
            self._file.write(f"{text}\n")
        self._file.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._clear()
        self._file.write(f"{safe_text(text)}\n")
        self._file.flush()

    def _clear(self) -> None:
        if self._width:
            self._file.write(f"\r{' ' * self._width}\r")
            self._width = 0
