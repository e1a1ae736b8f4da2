"""What can be set: defaults, then the environment (`IPY_CODEINTERP_X`), then what the caller says; later wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from ipy_codeinterp import registry
from ipy_codeinterp.errors import InvalidInput

PREFIX = "IPY_CODEINTERP_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. docs/settings.md has a line for each."""

    # which interpreter runs a cell that names none: local, claude
    model: str = "local"
    # seconds the code may run; None leaves it to the model's profile
    timeout: float | None = None
    # auto isolates or refuses; bare runs the code without isolation, as you, on this machine
    isolation: str = "auto"
    # the Python whose environment the code sees; None is the one that runs the notebook
    python: Path | None = None
    # auto streams, except under nbval; deterministic emits the final outputs once, at the end
    render: str = "auto"
    # folders that cells may mount, with all that is below them
    mounts: tuple[Path, ...] = ()
    # how figures are shown: png, svg
    figure_format: str = "png"
    # dots per inch of figures; None leaves it to matplotlib
    figure_dpi: float | None = None
    # when the local gateway is started: load (in the background at %load_ext), first (at the first cell), never
    warm: str = "load"
    # thread blocks the cell's thread; nest keeps the kernel's own event loop running while a cell runs (nest-asyncio2)
    bridge: str = "thread"
    # where the journal of results is kept
    data_dir: Path = Path(platformdirs.user_data_dir("ipy-codeinterp", appauthor=False))
    # where caches of the sandbox are kept: bytecode and the font list
    cache_dir: Path = Path(platformdirs.user_cache_dir("ipy-codeinterp", appauthor=False))
    # megabytes the journal may take
    data_limit: int = 1024

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                wrong = f"{name} = {getattr(self, name)!r}"
                raise InvalidInput(wrong + " is not one of its values", hint=f"use one of: {', '.join(allowed)}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise InvalidInput(f"timeout = {self.timeout} is not a number of seconds", hint="use a positive one")
        if self.figure_dpi is not None and not 10 <= self.figure_dpi <= 1200:
            raise InvalidInput(f"figure_dpi = {self.figure_dpi} is not a resolution", hint="use 10 to 1200")
        if self.data_limit < 1:
            raise InvalidInput(f"data_limit = {self.data_limit} is not a number of megabytes", hint="use at least 1")

    def changed(self, **changes: Any) -> Settings:
        """These settings with `changes`. Raises `InvalidInput` for a name or a value that is none."""
        for name in changes:
            registry.find("setting", name, _READERS)
        return replace(self, **{name: _read(name, value, name) for name, value in changes.items()})


CHOICES = {
    "isolation": ("auto", "bare"),
    "render": ("auto", "deterministic"),
    "warm": ("load", "first", "never"),
    "bridge": ("thread", "nest"),
    "figure_format": ("png", "svg"),
}


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _optional_path(value: Any) -> Path | None:
    return None if value in (None, "") else Path(value).expanduser()


def _paths(value: Any) -> tuple[Path, ...]:
    """Several folders in one text are separated as in PATH."""
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    return tuple(Path(part).expanduser().absolute() for part in parts if part)


_READERS: dict[str, Callable[[Any], Any]] = {
    "model": str,
    "timeout": _number,
    "isolation": str,
    "python": _optional_path,
    "render": str,
    "warm": str,
    "bridge": str,
    "mounts": _paths,
    "figure_format": str,
    "figure_dpi": _number,
    "data_dir": lambda value: Path(value).expanduser(),
    "cache_dir": lambda value: Path(value).expanduser(),
    "data_limit": int,
}


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Defaults changed by the environment. An `IPY_CODEINTERP_` name that is no setting is an error."""
    settings = Settings()
    named = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(Settings)}
    changes = {}
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and value:
            name = registry.find("setting", variable, named)
            changes[name] = _read(name, value, variable)
    return replace(settings, **changes)


def _read(name: str, value: Any, said: str) -> Any:
    try:
        return _READERS[name](value)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{said} = {value!r} cannot be read: {error}", hint="see docs/settings.md") from None
