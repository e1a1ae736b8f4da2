"""Files that go along with code: looked at here, refused with a reason, known by what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipy_codeinterp.errors import BadAttachment
from ipy_codeinterp.execution import File

MOST_BYTES = 100 << 20
CALLED = "attached file"
MOST_LOOKED_AT = 4 << 20  # bytes of a file in which keys are looked for
PIECE = 1 << 20

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # Linux takes any bytes for a name, a request does not


def read(files: Iterable[str | os.PathLike[str] | File]) -> tuple[File, ...]:
    """Each as a `File` with its content's hash. Raises `BadAttachment` for what is no readable regular file."""
    found = tuple(file if isinstance(file, File) else describe(_at_home(file)) for file in files)
    names = [file.name for file in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadAttachment(f"two attached files are called {twice}", hint="rename one of them")
    return found


def texts_of(files: Iterable[File]) -> Iterator[tuple[str, str]]:
    """The beginning of each file that is text, with what it is called; of one that cannot be read, nothing."""
    for file in files:
        with contextlib.suppress(OSError):
            if file.path and b"\0" not in (data := _beginning(file.path)):
                yield f"{CALLED} {file.name}", data.decode("utf-8", "replace")


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_LOOKED_AT)


def _at_home(said: str | os.PathLike[str]) -> Path:
    try:
        return Path(said).expanduser()
    except RuntimeError as error:  # ~ of somebody who is not there
        raise BadAttachment(f"{said} cannot be found: {error}", hint="give the path without ~") from None


def describe(path: Path) -> File:
    """The file at `path` by content."""
    try:
        return _described(path)
    except OSError as error:
        raise BadAttachment(f"{path} cannot be read: {error.strerror}", hint="check path and permissions") from None


def _described(path: Path) -> File:
    if not path.exists():
        raise BadAttachment(f"there is no file {path}", hint=f"looked in {Path.cwd()}")
    if not path.is_file():
        raise BadAttachment(f"{path} is not a file", hint="attach the files one by one, or a zip of the folder")
    if _NO_TEXT.search(path.name):
        raise BadAttachment(f"the name of {str(path)!r} cannot be sent", hint="rename the file")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BadAttachment(f"{path} has {size:,} bytes", hint=f"at most {MOST_BYTES:,} can be attached")
    return File(path.name, _sha256(path), size, path.absolute())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
