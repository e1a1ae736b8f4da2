"""Outputs as a terminal can show them: text as it comes, everything else by its plain text."""

from __future__ import annotations

import re
import sys

from ipy_codeinterp.execution import Display, Error, Event, Notice, Restarted, Stream, StreamName
from ipy_codeinterp.mime import TextFilter, safe_bundle, safe_text

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
