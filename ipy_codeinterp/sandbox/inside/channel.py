"""What the runner says to the host: frames over two pipes.

A frame is two big-endian uint32 (lengths of the head and of the body), the head as JSON, and the body as raw bytes.

    host -> runner   file {name, append} + bytes · value {name, append} + bytes
                     run {run, parse, memory, figure_format, figure_dpi, get} + code
    runner -> host   ready · begin {run} · refused {run} · stream {run, name} + text
                     display {run, kind, parts, metadata, display_id} + bundle · update · clear {run, wait}
                     error {run, ename, evalue, traceback} · file {run, name, more} + bytes
                     done {run, status, exit_status}

A bundle is the values of its MIME types one after the other; `parts` has a row [type, is JSON, bytes] for each. No
head is long: the host parses it while others wait.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import signal
import struct
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

HEAD = struct.Struct("!II")
PIECE = 1 << 20  # files travel in pieces of this size
WAIT_FOR_PIPES = 0.5  # seconds: the most a frame waits for the host to read what was written past the frames
NOTHING = bytes(4)  # zero, as ioctl writes it
MOST_DEPTH = 90
MOST_HEAD, MOST_BODY, MOST_JSON = 1 << 20, 64 << 20, 4 << 20  # bytes; the host takes no more


class Interrupts:
    """SIGINT becomes KeyboardInterrupt only while user code runs, and never in the middle of a frame."""

    def __init__(self) -> None:
        self.running = False
        self._held = 0
        self._pending = False
        self._main = threading.main_thread()

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _signum: int, _frame: object) -> None:
        if self._held:
            self._pending = True
        elif self.running:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        if threading.current_thread() is not self._main:
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held and self._pending:
            self._pending = False
            if self.running:
                raise KeyboardInterrupt


class Channel:
    """Frames over two pipes; `run` is the number of the run whose outputs may be sent, None between runs."""

    def __init__(self, interrupts: Interrupts) -> None:
        self.run: int | None = None
        self.forked = False
        self._in = self._out = -1
        self._interrupts = interrupts
        self._lock = threading.RLock()
        self._pipes: tuple[int, ...] = ()

    def attach(self, in_fd: int, out_fd: int) -> None:
        """Speak through these from now on."""
        self._in, self._out = in_fd, out_fd
        for fd in (in_fd, out_fd):
            os.set_inheritable(fd, False)
        self._pipes = (os.dup(1), os.dup(2))  # the code may close or redirect its own

    def fileno(self) -> int:
        """What the host's words can be waited for on."""
        return self._in

    def send(self, type_: str, body: bytes = b"", **head: Any) -> None:
        text = json.dumps({"type": type_, **head}, default=str).encode()
        if len(text) > MOST_HEAD or len(body) > MOST_BODY:
            self._send_note(f"[{type_} not shown: {(len(text) + len(body)) >> 20} MB are too large]\n")
            return
        with self._interrupts.held(), self._lock:
            write_all(self._out, HEAD.pack(len(text), len(body)) + text)
            if body:
                write_all(self._out, body)

    def _send_note(self, text: str) -> None:
        self.send("stream", text.encode(), run=self.run, name="stderr")

    def output(self, type_: str, body: bytes = b"", **head: Any) -> None:
        """Send what user code produced; what comes between runs belongs to nobody and is dropped."""
        if self.run is not None:
            self._wait_for_pipes()
            self.send(type_, body, run=self.run, **head)

    def show(self, type_: str, data: dict[str, Any], metadata: dict[str, Any] | None, **head: Any) -> None:
        """Send what `_repr_*_` methods gave."""
        bundle = [(mime, *_encoded(value)) for mime, value in data.items() if not _is_deep(value)]
        bundle = [(mime, is_json, raw) for mime, is_json, raw in bundle if not is_json or len(raw) <= MOST_JSON]
        metadata = {} if _is_deep(metadata) else metadata
        parts = [(mime, is_json, len(raw)) for mime, is_json, raw in bundle]
        self.output(type_, b"".join(raw for _, _, raw in bundle), parts=parts, metadata=metadata or {}, **head)

    def after_fork_in_child(self) -> None:
        """A process that user code forked does not speak to the host: two would talk at once."""
        if not self.forked:
            os.close(self._in)
            os.close(self._out)
        self.forked, self.run = True, None

    def _wait_for_pipes(self) -> None:
        """What the code wrote to descriptors 1 and 2 comes first: the host must have read it before this goes out."""
        end = time.monotonic() + WAIT_FOR_PIPES
        while any(map(_unread, self._pipes)) and time.monotonic() < end:
            time.sleep(0.0002)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        head_size, body_size = HEAD.unpack(self._exactly(HEAD.size))
        head = json.loads(self._exactly(head_size))
        return head, self._exactly(body_size)

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            piece = os.read(self._in, min(size - len(parts), PIECE))
            if not piece:
                raise EOFError
            parts += piece
        return bytes(parts)


def _unread(pipe: int) -> bool:
    """Whether there are bytes in `pipe` that nobody has read yet."""
    try:
        return fcntl.ioctl(pipe, termios.FIONREAD, NOTHING) != NOTHING
    except OSError:
        return False


def _encoded(value: object) -> tuple[bool, bytes]:
    """What a `_repr_*_` may have returned, and whether it is JSON: text as it is, bytes as base64."""
    if isinstance(value, bytes):
        return False, base64.b64encode(value)
    if isinstance(value, str):
        return False, value.encode("utf-8", "replace")
    return True, json.dumps(value, default=str).encode()


def _is_deep(value: object) -> bool:
    """Whether the host would refuse it: JSON nested deeper than anybody needs, or for ever."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            x for v in level for x in (v.values() if isinstance(v, dict) else v if isinstance(v, (list, tuple)) else ())
        ]
        if not level:
            return False
        if len(level) > MOST_JSON:
            break
    return True


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
