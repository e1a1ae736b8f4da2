"""What a run produced, written into a folder of the user's: names that a file may have here, and nothing overwritten.

The names come from the code. A file is made anew in the folder and never opened where a link leads; with `force` it
takes the place of what is there, which is not followed either.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ipy_codeinterp import exchange
from ipy_codeinterp.errors import InterpError, NotSaved
from ipy_codeinterp.execution import Result
from ipy_codeinterp.mime import safe_text

FIGURES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
MOST_NAME = 200  # bytes


@dataclass(frozen=True, slots=True)
class Saved:
    """What was `written` (names), what no file may be called (`refused`), and what `failed`, each with its reason."""

    written: tuple[str, ...]
    refused: Mapping[str, str]
    failed: Mapping[str, str]

    def __str__(self) -> str:
        said = ", ".join(self.written) or "nothing"
        return f"{said}; left out: {in_words(self.refused)}" if self.refused else said


def in_words(reasons: Mapping[str, str]) -> str:
    """Names, each with its reason."""
    return ", ".join(f"{name} ({why})" for name, why in reasons.items())


def opened(folder: Path) -> Path:
    """The folder, made where it is not there. Raises `NotSaved` where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotSaved(f"{folder} is no folder: {error.strerror}", hint="name another one: --save DIR") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NotSaved(f"{folder} cannot be written", hint="name another one: --save DIR")
    return folder


def save(result: Result, content: Callable[..., bytes], folder: Path, *, force: bool = False) -> Saved:
    """Write the files and figures of `result` into `folder`; `content` fetches what is in a file."""
    written: list[str] = []
    refused: dict[str, str] = {}
    failed: dict[str, str] = {}
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name, load in _produced(result, content):
            if why := refusal(name) or ("two are called so" if name in written else ""):
                refused[safe_text(name)[:MOST_NAME]] = why
            elif why := _written(place, name, load, force):
                failed[name] = why
            else:
                written.append(name)
    finally:
        os.close(place)
    return Saved(tuple(written), refused, failed)


def refusal(name: str) -> str:
    """Why no file of ours is called so; empty where one may be."""
    if not name or name.startswith("."):
        return "a name that begins with a dot"
    if "/" in name or "\\" in name or not name.isprintable():
        return "no name of a file"
    return "too long a name" if len(name.encode("utf-8", "replace")) > MOST_NAME else ""


def _produced(result: Result, content: Callable[..., bytes]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Files by name, then the figures that are no files."""
    known = {file.sha256 for file in result.files}
    names = {file.name for file in result.files}
    for file in result.files:
        if exchange.name_of(file) is None:
            yield file.name, lambda file=file: content(file)  # type: ignore[misc]
    for number, image in enumerate(result.images, 1):
        mime = next((mime for mime in FIGURES if mime in image.data), None)
        data = _bytes_of(image.data[mime], mime) if mime else b""
        if mime and data and hashlib.sha256(data).hexdigest() not in known:
            name = f"figure-{number}.{FIGURES[mime]}"
            yield name if name not in names else f"shown-{name}", lambda data=data: data  # type: ignore[misc]


def _bytes_of(said: object, mime: str) -> bytes:
    if not isinstance(said, str):
        return b""
    if mime == "image/svg+xml":
        return said.encode("utf-8", "replace")
    with contextlib.suppress(binascii.Error, ValueError):
        return base64.b64decode(said)
    return b""


def _written(place: int, name: str, load: Callable[[], bytes], force: bool) -> str:
    """Why it could not be; empty where the whole file is there."""
    if not force and _is_there(place, name):
        return "it is there already: --force writes over it"
    passing = f".{secrets.token_hex(8)}"
    try:
        data = load()
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=place), "wb") as file:
            file.write(data)
        if force:
            os.replace(passing, name, src_dir_fd=place, dst_dir_fd=place)
        else:  # fails where somebody was faster
            os.link(passing, name, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
    except InterpError as error:
        return str(error)
    except FileExistsError:
        return "it is there already: --force writes over it"
    except OSError as error:
        return str(error.strerror or error)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(passing, dir_fd=place)
    return ""


def _is_there(place: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        os.stat(name, dir_fd=place, follow_symlinks=False)
        return True
    return False
