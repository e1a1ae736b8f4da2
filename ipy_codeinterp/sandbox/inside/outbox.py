"""Files in and out: what is attached to a run, and what the code leaves in its output folder."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from .channel import PIECE, Channel

MOST_FILES = 100
MOST_FILE = 100 << 20  # bytes of one: also of one that is mostly holes


class Inbox:
    """Lays attached files into the folder that code starts in."""

    def __init__(self) -> None:
        self._failure: OSError | None = None

    def take(self, head: dict[str, Any], body: bytes) -> None:
        try:
            with open(head["name"], "ab" if head["append"] else "wb") as file:
                file.write(body)
        except OSError as error:
            error.filename = head["name"]
            self._failure = error

    def failure(self) -> OSError | None:
        """Why a file of this run is not there, asked once: half a file is worse than none."""
        failure, self._failure = self._failure, None
        return failure


class Outbox:
    """The folder whose regular files go back to the host at the end of a run, if the run changed them."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[int, int, int]] = {}

    def changed(self) -> list[str]:
        """Names that are new or different since the last call."""
        before, self._seen = self._seen, self._scan()
        return [name for name, mark in self._seen.items() if before.get(name) != mark]

    def _scan(self) -> dict[str, tuple[int, int, int]]:
        if not self._folder:
            return {}
        try:
            with os.scandir(self._folder) as entries:
                found = {e.name: e.stat(follow_symlinks=False) for e in entries}
        except OSError:
            return {}
        marks = {n: (s.st_mtime_ns, s.st_size, s.st_ino) for n, s in found.items() if stat.S_ISREG(s.st_mode)}
        return dict(sorted(marks.items()))

    def _opened(self, name: str) -> int:
        """Another process may be changing the folder meanwhile: no link is followed, no pipe waited for."""
        fd = os.open(os.path.join(str(self._folder), name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(fd).st_mode) and os.fstat(fd).st_size <= MOST_FILE:
            return fd
        os.close(fd)
        raise OSError(f"{name} is no regular file any more")

    def send(self, channel: Channel) -> None:
        names = self.changed()
        fitting = [name for name in names if self._seen[name][1] <= MOST_FILE][:MOST_FILES]
        if dropped := len(names) - len(fitting):
            note = f"[{dropped} files in $OUTPUT_DIR not kept: more than {MOST_FILES}, or over {MOST_FILE >> 20} MB]\n"
            channel.output("stream", note.encode(), name="stderr")
        for name in fitting:
            with contextlib.suppress(OSError), open(self._opened(name), "rb") as file:
                piece = file.read(PIECE)
                while True:
                    following = file.read(PIECE)
                    channel.output("file", piece, name=name, more=bool(following))
                    if not following:
                        break
                    piece = following
