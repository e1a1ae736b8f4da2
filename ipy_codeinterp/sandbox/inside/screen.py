"""What code prints, gathered in order until it is worth a frame."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import threading
import time
from collections.abc import Iterator
from typing import Any

from .channel import PIECE, Channel, Interrupts, write_all

FLUSH_EVERY = 0.010  # seconds: the most a printed line waits
RUN = "_codeinterp_run"  # attribute of a thread
FLUSH_AT = 1 << 16  # characters: more than this does not wait


class Screen:
    """Where stdout and stderr are gathered, in order, until they are worth a frame."""

    def __init__(self, channel: Channel, interrupts: Interrupts) -> None:
        self._channel = channel
        self._interrupts = interrupts
        self._pieces: list[tuple[str, str]] = []
        self._size = 0
        self._flushed = 0.0
        self._lock = threading.RLock()
        self._waiting = threading.Event()
        self._flusher: threading.Thread | None = None
        self._forked = False

    def write(self, name: str, text: str) -> None:
        with self._interrupts.held(), self._lock:
            if not self._is_late():
                self._pieces.append((name, text))
                self._size += len(text)
        wait = 0 if self._forked else FLUSH_EVERY
        if self._size >= FLUSH_AT or ("\n" in text and time.monotonic() - self._flushed >= wait):
            self.flush()
        elif not self._forked and not self._waiting.is_set():
            self._wake_flusher()

    def _is_late(self) -> bool:
        """Whether no run is there, or this is a thread of an earlier one: what it says belongs to no cell."""
        if self._forked:
            return False
        run = self._channel.run
        return run is None or bool(getattr(threading.current_thread(), RUN, run) != run)

    def marked(self, start: Any) -> Any:
        """`start` starts a thread: it belongs to the run in which it is started."""

        @functools.wraps(start)
        def started(thread: threading.Thread, *args: Any, **kwargs: Any) -> Any:
            setattr(thread, RUN, getattr(threading.current_thread(), RUN, self._channel.run))
            return start(thread, *args, **kwargs)

        return started

    def flush(self) -> None:
        with self._interrupts.held(), self._lock:
            pieces, self._pieces, self._size = self._pieces, [], 0
            self._flushed = time.monotonic()
            for name, text in _joined(pieces):
                for start in range(0, len(text), PIECE):
                    self._put(name, text[start : start + PIECE].encode("utf-8", "replace"))

    def drop(self) -> None:
        """Forget what was printed after the last flush: the run that it belonged to is over."""
        with self._interrupts.held(), self._lock:
            self._pieces, self._size = [], 0

    def _put(self, name: str, text: bytes) -> None:
        if self._forked:
            write_all(1 if name == "stdout" else 2, text)
        else:
            self._channel.output("stream", text, name=name)

    def flushed_before(self, start: Any) -> Any:
        """`start` starts a program: what was printed before comes before what that one prints."""

        @functools.wraps(start)
        def started(*args: Any, **kwargs: Any) -> Any:
            self.flush()
            return start(*args, **kwargs)

        return started

    def revive(self) -> None:
        """In a fork of the process that made this: threads stay behind."""
        self._flusher, self._waiting = None, threading.Event()

    def _wake_flusher(self) -> None:
        if self._flusher is None:
            flusher = threading.Thread(target=self._flush_for_ever, name="flusher", daemon=True)
            try:
                flusher.start()
            except RuntimeError:  # the code has started as many as there may be
                self.flush()
                return
            self._flusher = flusher
        self._waiting.set()

    def _flush_for_ever(self) -> None:
        while True:
            self._waiting.wait()
            time.sleep(FLUSH_EVERY)
            self._waiting.clear()
            with contextlib.suppress(OSError):
                self.flush()

    def after_fork_in_child(self) -> None:
        self._forked = True
        self._lock = threading.RLock()  # the parent's may be held by a thread that does not exist here
        self._pieces = []


def _joined(pieces: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    texts: list[str] = []
    for i, (name, text) in enumerate(pieces):
        texts.append(text)
        if i + 1 == len(pieces) or pieces[i + 1][0] != name:
            if joined := "".join(texts):
                yield name, joined
            texts = []


class ScreenFile(io.TextIOBase):
    """sys.stdout or sys.stderr of the code."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, screen: Screen, name: str) -> None:
        self.name = f"<{name}>"
        self._screen = screen
        self._stream = name
        self.buffer = ScreenBytes(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._screen.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._screen.flush()

    def fileno(self) -> int:
        return 1 if self._stream == "stdout" else 2

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


class ScreenBytes(io.RawIOBase):
    """The `buffer` of a ScreenFile."""

    def __init__(self, file: ScreenFile) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._file.write(self._decoder.decode(raw))
        return len(raw)

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True
