"""What can be set: defaults, then the environment (`IPY_CODEINTERP_X`), then what the caller says; later wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import platformdirs

from ipy_codeinterp import registry
from ipy_codeinterp.errors import InvalidInput

PREFIX = "IPY_CODEINTERP_"
MOST_DAYS = 36_500
BATCH = "batch"  # as the last name of `fallback`: put it aside


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
    # whether cells may have a network: what is public, never this machine or private networks
    network: bool = False
    # how figures are shown: png, svg
    figure_format: str = "png"
    # dots per inch of figures; None leaves it to matplotlib
    figure_dpi: float | None = None
    # how the router chooses between the asked offer and those of `fallback`
    policy: str = "pinned"
    # offers that are asked when the asked one cannot do it or gives up; `batch` last puts it aside then
    fallback: tuple[str, ...] = ()
    # requests that one call may make
    attempts: int = 4
    # whether what may have run already, and may have been billed, may be run again
    may_run_twice: bool = False
    # USD that one session may spend on what is billed; None is no limit
    budget: Decimal | None = Decimal(1)
    # USD that all sessions together may spend in a day (UTC); None is no limit
    budget_day: Decimal | None = None
    # seconds that a whole call may take, with its waiting and its retries; None is no limit
    deadline: float | None = None
    # when the local gateway is started: load (in the background at %load_ext), first (at the first cell), never
    warm: str = "load"
    # thread blocks the cell's thread; nest keeps the kernel's own event loop running while a cell runs (nest-asyncio2)
    bridge: str = "thread"
    # where the journal of results is kept
    data_dir: Path = Path(platformdirs.user_data_dir("ipy-codeinterp", appauthor=False))
    # where caches of the sandbox are kept: bytecode and the font list
    cache_dir: Path = Path(platformdirs.user_cache_dir("ipy-codeinterp", appauthor=False))
    # whether a Result serves again for 0: auto where it was billed, always also local ones, off never
    cache: str = "auto"
    # days that a Result may serve again
    cache_days: float = 30.0
    # the folder that every run is recorded into
    record: Path | None = None
    # which runs are made and recorded: all, or those that are missing there (the others are replayed)
    record_runs: str = "all"
    # the folder of a recording that answers instead: nothing is run
    replay: Path | None = None
    # days a Result is kept in the journal; the ledger is kept for longer, then as monthly sums
    data_days: float = 90.0
    # megabytes the journal may take
    data_limit: int = 1024

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                wrong = f"{name} = {getattr(self, name)!r}"
                raise InvalidInput(wrong + " is not one of its values", hint=f"use one of: {', '.join(allowed)}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise InvalidInput(f"timeout = {self.timeout} is not a number of seconds", hint="use a positive one")
        if self.attempts < 1:
            raise InvalidInput(f"attempts = {self.attempts} asks nobody", hint="1 is the least: the call itself")
        if self.deadline is not None and not 0 < self.deadline < float("inf"):
            raise InvalidInput(f"deadline = {self.deadline} is not a number of seconds", hint="use a positive one")
        if self.figure_dpi is not None and not 10 <= self.figure_dpi <= 1200:
            raise InvalidInput(f"figure_dpi = {self.figure_dpi} is not a resolution", hint="use 10 to 1200")
        if not 0 < self.data_days < 100_000:
            raise InvalidInput(f"data_days = {self.data_days} is not a number of days", hint="use a positive one")
        if self.data_limit < 1:
            raise InvalidInput(f"data_limit = {self.data_limit} is not a number of megabytes", hint="use at least 1")
        if not 0 <= self.cache_days <= MOST_DAYS:
            raise InvalidInput(f"cache_days = {self.cache_days} is not a number of days", hint=f"use 0 to {MOST_DAYS}")
        if BATCH in self.fallback[:-1]:
            raise InvalidInput(f"fallback names {BATCH} before others", hint="name it last: nobody is asked after it")
        if self.record and self.replay:
            raise InvalidInput("record and replay are both set", hint="set one: a replay makes no run to record")

    @property
    def live(self) -> Settings:
        """The same, with nothing served from what is kept or recorded, or put aside: for questions of health."""
        return replace(self, cache="off", record=None, replay=None, fallback=())

    def changed(self, **changes: Any) -> Settings:
        """These settings with `changes`. Raises `InvalidInput` for a name or a value that is none."""
        for name in changes:
            registry.find("setting", name, _READERS)
        return replace(self, **{name: _read(name, value, name) for name, value in changes.items()})


CHOICES = {
    "policy": ("pinned", "cheapest", "fastest", "hybrid", "measured"),
    "isolation": ("auto", "bare"),
    "render": ("auto", "deterministic"),
    "warm": ("load", "first", "never"),
    "bridge": ("thread", "nest"),
    "figure_format": ("png", "svg"),
    "cache": ("auto", "always", "off"),
    "record_runs": ("all", "missing"),
}


YES_OR_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


def money(value: Any) -> Decimal | None:
    """USD. Raises `ValueError` for what is none."""
    if value in (None, "", "none"):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("not an amount of USD") from None
    if not 0 <= amount < Decimal("1e9"):
        raise ValueError("not an amount of USD")
    return amount


def _optional_path(value: Any) -> Path | None:
    return None if value in (None, "") else Path(value).expanduser()


def _yes_or_no(value: Any) -> bool:
    said = str(value).lower()
    if said not in YES_OR_NO:
        raise ValueError(f"use one of {', '.join(YES_OR_NO)}")
    return YES_OR_NO[said]


def _paths(value: Any) -> tuple[Path, ...]:
    """Several folders in one text are separated as in PATH."""
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    return tuple(Path(part).expanduser().absolute() for part in parts if part)


_READERS: dict[str, Callable[[Any], Any]] = {
    "model": str,
    "timeout": _number,
    "policy": str,
    "fallback": _names,
    "attempts": int,
    "may_run_twice": _yes_or_no,
    "budget": money,
    "budget_day": money,
    "deadline": _number,
    "isolation": str,
    "python": _optional_path,
    "render": str,
    "warm": str,
    "bridge": str,
    "mounts": _paths,
    "network": _yes_or_no,
    "figure_format": str,
    "figure_dpi": _number,
    "data_dir": lambda value: Path(value).expanduser(),
    "cache_dir": lambda value: Path(value).expanduser(),
    "data_days": float,
    "data_limit": int,
    "cache": str,
    "cache_days": float,
    "record": _optional_path,
    "record_runs": str,
    "replay": _optional_path,
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
