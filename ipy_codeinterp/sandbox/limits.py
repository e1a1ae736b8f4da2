"""Which wall it was, from what the code's language says when it runs into one."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from dataclasses import dataclass, replace

from ipy_codeinterp.execution import Error, Limit
from ipy_codeinterp.sandbox.isolation import LIMITS

TAIL = 4096  # bytes of stderr in which a dying interpreter's last words are looked for
MEMORY_ERRORS = ("MemoryError", "_ArrayMemoryError", "ArrayMemoryError")
HEAP_EXHAUSTED = b"heap out of memory"  # V8's words


@dataclass(frozen=True, slots=True)
class Sign:
    """An error that is raised at a limit: its type, the kernel's words, and what else must be in its traceback."""

    ename: str
    words: str
    traceback: str
    limit: Limit


_PROCESSES = Limit("processes", LIMITS["processes"], "processes")
SIGNS = (
    Sign("OSError", "[Errno 28] No space left on device", "", Limit("disk", LIMITS["tmp"], "bytes")),
    Sign("OSError", "[Errno 27] File too large", "", Limit("file size", LIMITS["file_size"], "bytes")),
    Sign("OSError", "[Errno 24] Too many open files", "", Limit("open files", LIMITS["open_files"], "files")),
    Sign("BlockingIOError", "[Errno 11] Resource temporarily unavailable", "fork", _PROCESSES),
    Sign("RuntimeError", "can't start new thread", "", _PROCESSES),
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CELL_LINE = re.compile(r"(?:Cell In\[\d+\]|<ipython-input-[^>]*>)\"?, line (\d+)")


def of_error(error: Error, memory: int | None) -> Limit | None:
    """The limit that this error is the sign of, if it is one."""
    line = line_of("\n".join(error.traceback))
    if error.ename in MEMORY_ERRORS:
        return Limit("memory", float(memory or 0), "bytes", line=line)
    limit = next((sign.limit for sign in SIGNS if _is_sign(sign, error)), None)
    return limit and replace(limit, line=line)


def _is_sign(sign: Sign, error: Error) -> bool:
    said = error.ename == sign.ename and error.evalue.startswith(sign.words)
    return said and sign.traceback in "\n".join(error.traceback)


def is_heap_exhaustion(words: bytes) -> bool:
    return HEAP_EXHAUSTED in words


def line_of(words: str) -> int | None:
    """The line of the cell that a traceback names first."""
    found = _CELL_LINE.search(_COLOUR.sub("", words))
    return int(found[1]) if found and len(found[1]) < 8 else None


def describe_exit(status: int | None) -> str:
    """The end of a process in words."""
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
