"""A folder that keeps what is done: one file a range, each whole or not there at all.

Rules of this file:
- `about.json` says of which code and which data it is; anything else that is asked for here is refused.
- A file is written beside its name, synced, renamed, and the folder is synced: a kill leaves the old state or the new.
- One process at a time: the lock goes with the process that holds it, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ipy_codeinterp.chunks import cell
from ipy_codeinterp.chunks.cell import Answer
from ipy_codeinterp.chunks.work import Range
from ipy_codeinterp.errors import InvalidInput, StoreError

FORMAT = 1
ABOUT, LOCK, PART = "about.json", "lock", ".part"


@dataclass(frozen=True, slots=True)
class About:
    """What a checkpoint is of: hashes (hex) of the code with all it sees, of the data, and of how that is read."""

    code: str
    data: str
    reading: str
    format: int = FORMAT


class Checkpoint:
    """Open it as a context. `done` and `dtypes` are what an earlier run left, `keep()` adds to it."""

    def __init__(self, folder: str | os.PathLike[str], about: About) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.done: dict[Range, Answer] = {}
        self.dtypes: dict[str, str] | None = None
        self._about = about
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Raises `InvalidInput` for a folder of something else, or in use, and `StoreError` for an unusable one."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_folder()
            self._take_lock()
            self._read()
        except OSError as error:
            self.close()
            raise self._failed(error) from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others use it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, dtypes: dict[str, str]) -> None:
        """Say what this is of, before any range is kept."""
        self.dtypes = dtypes
        self._write(ABOUT, json.dumps({**asdict(self._about), "dtypes": dtypes}, indent=1))

    def keep(self, rows: Range, answer: Answer) -> None:
        """Keep a range that is done; when this returns it is on disk. Raises `StoreError`."""
        content = {"start": rows.start, "stop": rows.stop, "answer": answer.text}
        self._write(f"rows-{rows.start:012}-{rows.stop:012}.json", json.dumps(content))

    # --- inside ---

    def _check_folder(self) -> None:
        names = {path.name for path in self.folder.iterdir() if path.suffix != PART} - {LOCK}
        if names and ABOUT not in names:
            raise InvalidInput(f"{self.folder} is no checkpoint: it holds other files", hint="name a folder of its own")

    def _take_lock(self) -> None:
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(f"{self.folder} is in use by another run", hint="wait for its end") from None

    def _read(self) -> None:
        for path in self.folder.glob(f"*{PART}"):
            path.unlink()
        if (self.folder / ABOUT).exists():
            self.dtypes = self._known()
            self.done = _without_overlaps(self._ranges())

    def _known(self) -> dict[str, str]:
        try:
            told = json.loads((self.folder / ABOUT).read_text("utf-8"))
            dtypes = {str(column): str(dtype) for column, dtype in told.pop("dtypes").items()}
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise InvalidInput(f"{self.folder / ABOUT} is damaged", hint="name another folder") from None
        asked = asdict(self._about)
        for name, words in DIFFERENCES.items():
            if told.get(name) != asked[name]:
                raise InvalidInput(
                    f"{self.folder} is the checkpoint of {words}", hint="name another folder, or delete this one"
                )
        return dtypes

    def _ranges(self) -> Iterator[tuple[Range, Answer]]:
        """What is kept; a file that is no range any more counts as not done."""
        for path in sorted(self.folder.glob("rows-*.json")):
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                told: dict[str, Any] = json.loads(path.read_text("utf-8"))
                rows = Range(int(told["start"]), int(told["stop"]))
                if 0 <= rows.start < rows.stop:
                    yield rows, cell.read(told["answer"])

    def _write(self, name: str, text: str) -> None:
        part = self.folder / f"{name}{PART}"
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self.folder / name)
            _sync(self.folder)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(f"the checkpoint {self.folder} cannot be used: {error.strerror}", hint="name another folder")


# What of `about.json` may differ, and what it then is the checkpoint of; the first that differs is told.
DIFFERENCES = {
    "format": "another version of this program",
    "data": "other data",
    "code": "other code",
    "reading": "the same data, read in another way",
}


def _without_overlaps(found: Iterator[tuple[Range, Answer]]) -> dict[Range, Answer]:
    done: dict[Range, Answer] = {}
    end = 0
    for rows, answer in sorted(found, key=lambda pair: pair[0]):
        if rows.start >= end:
            done[rows], end = answer, rows.stop
    return done


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
