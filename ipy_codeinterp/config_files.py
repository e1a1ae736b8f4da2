"""The files of the configuration: where they are, and the tables in them.

`config.toml` of the system and of the user may set anything; `enabled.toml` is what `%interp enable` writes. A project
has the table `[tool.ipy_codeinterp]` in the nearest `pyproject.toml`, upwards from the working folder; the home folder
and what is above it belong to no project.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import platformdirs

from ipy_codeinterp.errors import InvalidInput

NAME = "ipy-codeinterp"
CONFIG, ENABLED, PROJECT = "config.toml", "enabled.toml", "pyproject.toml"
MOST_BYTES = 1 << 20  # of a file: a longer one is no configuration
HINT = "see docs/settings.md"


def config_dir() -> Path:
    """The user's own folder."""
    return Path(platformdirs.user_config_dir(NAME, appauthor=False))


@dataclass(frozen=True, slots=True)
class Places:
    """Where files are looked for: the system's folder, the user's, where a project's search starts, and the home."""

    system: Path | None = None
    user: Path | None = None
    work: Path | None = None
    home: Path | None = None

    @classmethod
    def here(cls) -> Places:
        """Those of this machine, this user and this working folder."""
        work = None
        with contextlib.suppress(OSError):  # the folder may be gone
            work = Path.cwd()
        home = Path(os.path.expanduser("~"))
        return cls(Path(platformdirs.site_config_dir(NAME, appauthor=False)), config_dir(), work, home)

    @property
    def trusted(self) -> list[Path]:
        """The files of the system and the user, the one that counts most last."""
        user = [self.user / CONFIG, self.user / ENABLED] if self.user else []
        return [*([self.system / CONFIG] if self.system else []), *user]


@dataclass(frozen=True, slots=True)
class Project:
    """What a project's file says, or what is wrong with it."""

    path: Path
    said: Mapping[str, Any] = field(default_factory=dict)
    wrong: str = ""


def table(path: Path) -> Mapping[str, Any]:
    """What stands in a file of ours; nothing where there is none. Raises `InvalidInput` with file and line."""
    try:
        return _parsed(path) or {}
    except ValueError as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint=HINT) from None


def project(places: Places) -> Project | None:
    """The nearest `pyproject.toml` with a table of ours."""
    if places.work is None:
        return None
    for folder in (places.work, *places.work.parents):
        if folder == places.home:
            return None
        path = folder / PROJECT
        try:
            tool = (_parsed(path) or {}).get("tool")
        except ValueError as error:
            return Project(path, wrong=f"{path} is not read: {error}")
        said = tool.get("ipy_codeinterp") if isinstance(tool, dict) else None
        if isinstance(said, dict):
            return Project(path, said)
    return None


def _parsed(path: Path) -> dict[str, Any] | None:
    """The tables of a file; None where there is none. Raises `ValueError`."""
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MB")
        return tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except (ArithmeticError, OSError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def write_enabled(names: Iterable[str], folder: Path) -> None:
    """Write down which providers are enabled, in one step. Raises `InvalidInput` where that cannot be done."""
    words = ", ".join(f'"{name}"' for name in names)
    text = f"# Written by `%interp enable` and `%interp disable`.\nenabled = [{words}]\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{ENABLED}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, folder / ENABLED)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise InvalidInput(f"{folder / ENABLED} cannot be written: {error}", hint=HINT) from None
