"""Variables that go along with code and come back: each value is a file by content, kept here for as long as it serves.

How a value becomes bytes is `sandbox/inside/values`: the one part of what runs inside that both ends import, since it
believes neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import keyword
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ipy_codeinterp.errors import BadValue, LostValue
from ipy_codeinterp.execution import File
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.sandbox.inside import values

MB = 1 << 20
MOST_LOOKED_AT = MB  # bytes of a value that is searched for keys
MOST_KEPT = 1 << 30  # bytes of all files: beyond that the oldest go
FOLDER = "values"
LOADER = "interp_values"


def sent(inputs: Mapping[str, Any], language: str, data_dir: Path, most: int) -> tuple[File, ...]:
    """A file for each of `inputs`, values by name, for code in `language`; none may have more than `most` bytes.

    Raises `BadValue` for what cannot travel.
    """
    return tuple(_sent(checked_name(name), value, language, data_dir, most) for name, value in inputs.items())


def checked_name(name: str) -> str:
    """The same. Raises `BadValue` for what no variable can be called."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise BadValue(f"{str(name)[:80]!r} is not a variable's name", hint="give names, with commas between")
    return name


def _sent(name: str, value: object, language: str, data_dir: Path, most: int) -> File:
    try:
        suffix, data = values.pack(value, language)
    except values.Unfit as error:
        why, _, hint = str(error).partition("; ")
        raise BadValue(f"{name} cannot be sent: {why}", hint=hint or "send what can: see docs/data.md") from None
    if len(data) > most:
        raise BadValue(
            f"{name} takes {amount(len(data))}, and may take {amount(most)}",
            hint="send less of it, attach a file, or raise the setting value_limit",
        )
    digest = hashlib.sha256(data).hexdigest()
    return File(values.file_name(name, suffix), digest, len(data), keep(data_dir, digest, data))


def may_travel(value: object) -> bool:
    """Whether it looks as if it could be sent: for a hint, so without looking into it."""
    kind = type(value)
    return kind.__module__.partition(".")[0] in ("pandas", "numpy", "polars", "pyarrow") or kind in values.plain.KINDS


def texts_of(files: Iterable[File]) -> Iterator[tuple[str, str]]:
    """What can be read in values that were sent, with what it is called: of what nobody would look through, nothing."""
    for file in files:
        if file.path and (file.size or 0) <= MOST_LOOKED_AT and file.name.endswith(".json"):
            with contextlib.suppress(OSError):
                yield f"value of {name_of(file)}", file.path.read_text("utf-8", "replace")


# --- what comes back ------------------------------------------------------------------------------


def name_of(file: File) -> str | None:
    """Which variable's value is in a file; None where it is just a file."""
    found = values.name_and_suffix(file.name)
    return found[0] if found else None


def value_of(file: File, data: bytes) -> Any:
    """The value that is in a file. Raises `LostValue` where there is none, with the reason."""
    name, suffix = values.name_and_suffix(file.name) or (file.name, "")
    try:
        return values.unpack(suffix, data)
    except values.Missing as error:
        raise lost(name, str(error)) from None
    except values.Unfit as error:
        raise lost(name, f"what came is refused: {error}") from None


def lost(name: str, why: str) -> LostValue:
    return LostValue(safe_text(f"{name} did not come back: {why}"), hint="the run itself is kept: --out has its Result")


# --- files ----------------------------------------------------------------------------------------


def keep(data_dir: Path, digest: str, data: bytes) -> Path:
    """Where a file of that content lies from now on, readable for its owner only."""
    folder = data_dir / FOLDER
    path = folder / digest
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)
        return path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    passing = folder / f".{secrets.token_hex(8)}"
    try:
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.replace(passing, path)
    finally:
        passing.unlink(missing_ok=True)
    _make_room(folder)
    return path


def kept(data_dir: Path, digest: str | None) -> bytes | None:
    """The content of that hash, where it is still here."""
    if not digest or not digest.isalnum():
        return None
    with contextlib.suppress(OSError):
        data = (data_dir / FOLDER / digest).read_bytes()
        return data if hashlib.sha256(data).hexdigest() == digest else None
    return None


def _make_room(folder: Path) -> None:
    found = sorted(_files(folder))
    size = sum(each[1] for each in found)
    while size > MOST_KEPT and len(found) > 1:
        _, freed, path = found.pop(0)
        Path(path).unlink(missing_ok=True)
        size -= freed


def _files(folder: Path) -> Iterator[tuple[int, int, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                stat = entry.stat(follow_symlinks=False)
                yield stat.st_mtime_ns, stat.st_size, entry.path


# --- for others -----------------------------------------------------------------------------------


def loader(data_dir: Path) -> File:
    """An archive that Python can import from: what reads and writes values, for an interpreter that is not ours."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for path in sorted(Path(str(values.__file__)).parent.glob("*.py")):
            made.writestr(zipfile.ZipInfo(f"{LOADER}/{path.name}"), path.read_bytes())  # of no date: always the same
    data = archive.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    return File(f"{LOADER}.zip", digest, len(data), keep(data_dir, digest, data))


# --- in words -------------------------------------------------------------------------------------


def describe(value: Any) -> str:
    """What kind of thing it is, and how much: `dict of 4`, `int`, or a shape."""
    root = values.plain.root_of(value)
    kind = f"{root} {type(value).__name__}" if root in ("polars", "pyarrow") else type(value).__name__
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(size, int) for size in shape):
        return f"{kind} {' × '.join(f'{size:,}' for size in shape)}"
    return f"{kind} of {len(value):,}" if hasattr(value, "__len__") else kind


def amount(size: int) -> str:
    """Bytes in words."""
    if size < 10_000:
        return f"{size:,} byte{'s' if size != 1 else ''}"
    return f"{size / 1000:,.0f} kB" if size < 10 * MB else f"{size / MB:,.0f} MB"


def is_steady(file: File) -> bool:
    """Whether equal values are equal bytes, whoever wrote them: Arrow's change with its version."""
    return not file.name.endswith(".arrow")


def line(way: str, items: Iterable[tuple[File, Any]], *, steady_only: bool = False) -> str:
    """Names, types, shapes and bytes of what went one way; with `steady_only` only what is the same every time."""
    told = []
    for file, value in items:
        size = "" if steady_only and not is_steady(file) else f" ({amount(file.size or 0)})"
        told.append(f"{name_of(file)} {describe(value)}{size}")
    return f"{way}: {', '.join(told)}" if told else ""
