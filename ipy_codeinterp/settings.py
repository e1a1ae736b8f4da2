"""What can be set, and who may set what: later wins.

Defaults, the system's file, the user's file, the project's file, the environment (`IPY_CODEINTERP_X`), the caller. A
project's file comes with somebody's repository: it may set how things look, the default model and lower limits, and
nothing that could send a key or a cell elsewhere. `config_files` finds and reads the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import platformdirs

from ipy_codeinterp import config_files, registry
from ipy_codeinterp.config_files import Places, config_dir
from ipy_codeinterp.errors import InvalidInput

PREFIX = "IPY_CODEINTERP_"
MOST_DAYS = 36_500
MOST_VALUE = 100  # megabytes: what a file of a run may have
BATCH = "batch"  # as the last name of `fallback`: put it aside
LOCAL = "@local"  # the only provider that a project's file may name

__all__ = ["BATCH", "CHOICES", "PREFIX", "Loaded", "Places", "Settings", "config_dir", "load", "money", "read"]


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
    # whether a line under each cell says who ran it, for how long and for how much
    footer: bool = True
    # folders that cells may mount, with all that is below them
    mounts: tuple[Path, ...] = ()
    # whether cells may have a network: what is public, never this machine or private networks
    network: bool = False
    # megabytes that the value of one variable may take on its way
    value_limit: int = 100
    # how figures are shown: png, svg
    figure_format: str = "png"
    # dots per inch of figures; None leaves it to matplotlib
    figure_dpi: float | None = None
    # whether interactive figures (plotly, altair, bokeh) are drawn, each in a frame of its own
    interactive: bool = False
    # how the router chooses between the asked offer and those of `fallback`
    policy: str = "pinned"
    # offers that are asked when the asked one cannot do it or gives up; `batch` last puts it aside then
    fallback: tuple[str, ...] = ()
    # where what is put aside is run: auto gives it to its vendor's own batches where there are any, own runs it here
    batches: str = "auto"
    # requests that one call may make
    attempts: int = 4
    # whether what may have run already, and may have been billed, may be run again
    may_run_twice: bool = False
    # USD that one session may spend on what is billed; None is no limit
    budget: Decimal | None = Decimal(1)
    # USD that all sessions together may spend in a day (UTC); None is no limit
    budget_day: Decimal | None = None
    # calls that may be under way at one model at the same time, over all sessions; None leaves it to the model's limits
    concurrency: int | None = None
    # seconds that a whole call may take, with its waiting and its retries; None is no limit
    deadline: float | None = None
    # when the local gateway is started: load (in the background at %load_ext), first (at the first cell), never
    warm: str = "load"
    # thread blocks the cell's thread; nest keeps the kernel's own event loop running while a cell runs (nest-asyncio2)
    bridge: str = "thread"
    # background jobs that run at once; the rest wait in line
    jobs: int = 4
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
    # providers that may be used; None is all of them. Each who sets it can only make it narrower
    allow: tuple[str, ...] | None = None
    # providers that serve their models where no provider is named: `%interp enable`
    enabled: tuple[str, ...] = ()
    # what may serve a run: any, live (nothing that was kept), local (this machine), replay (a recording)
    require: str = "any"
    # where the provider `compatible` listens
    base_url: str | None = None
    # the environment variable that holds its key; None is COMPATIBLE_API_KEY
    key_variable: str | None = None
    # whether `base_url` may be http:// in a private network; on this machine it always may
    plain_http: bool = False
    # the version of the interpreter's tool, at providers that have several; None is the model's newest
    tool: str | None = None
    # offers without a price that may be used all the same while there is a budget
    unpriced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                wrong = f"{name} = {getattr(self, name)!r}"
                raise InvalidInput(wrong + " is not one of its values", hint=f"use one of: {', '.join(allowed)}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise InvalidInput(f"timeout = {self.timeout} is not a number of seconds", hint="use a positive one")
        if self.attempts < 1:
            raise InvalidInput(f"attempts = {self.attempts} asks nobody", hint="1 is the least: the call itself")
        if self.concurrency is not None and self.concurrency < 1:
            raise InvalidInput(f"concurrency = {self.concurrency} lets nothing through", hint="use 1 or more, or none")
        if self.jobs < 1:
            raise InvalidInput(f"jobs = {self.jobs} runs none", hint="1 is the least; cancel ends those that run")
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
        if not 1 <= self.value_limit <= MOST_VALUE:
            wrong = f"value_limit = {self.value_limit} is not a number of megabytes"
            raise InvalidInput(wrong, hint=f"use 1 to {MOST_VALUE}")
        if BATCH in self.fallback[:-1]:
            raise InvalidInput(f"fallback names {BATCH} before others", hint="name it last: nobody is asked after it")
        if self.record and self.replay:
            raise InvalidInput("record and replay are both set", hint="set one: a replay makes no run to record")

    @property
    def live(self) -> Settings:
        """The same, with nothing served from what is kept or recorded, or put aside: for questions of health."""
        require = "any" if self.require == "replay" else self.require
        return replace(self, cache="off", record=None, replay=None, fallback=(), require=require)

    def changed(self, **changes: Any) -> Settings:
        """These settings with `changes`; `allow` becomes narrower only.

        Raises `InvalidInput` for a name or a value that is none.
        """
        for name in changes:
            registry.find("setting", name, _READERS)
        return self._with({name: _read(name, value, name) for name, value in changes.items()})

    def _with(self, values: Mapping[str, Any]) -> Settings:
        """With values that are read already."""
        if "allow" in values:
            values = {**values, "allow": _narrower(self.allow, values["allow"])}
        return replace(self, **values)


CHOICES = {
    "policy": ("pinned", "cheapest", "fastest", "hybrid", "measured"),
    "isolation": ("auto", "bare"),
    "render": ("auto", "deterministic"),
    "warm": ("load", "first", "never"),
    "bridge": ("thread", "nest"),
    "figure_format": ("png", "svg"),
    "cache": ("auto", "always", "off"),
    "record_runs": ("all", "missing"),
    "require": ("any", "live", "local", "replay"),
    "batches": ("auto", "own"),
}


YES_OR_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _optional_word(value: Any) -> str | None:
    return None if value in (None, "") else _word(value)


def _whole(value: Any) -> int:
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError("not a whole number")
    return number


def _optional_whole(value: Any) -> int | None:
    return None if value in (None, "", "none") else _whole(value)


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(_word(part).strip() for part in parts if _word(part).strip())


def _allowed(value: Any) -> tuple[str, ...] | None:
    return None if value is None else _names(value)


def _narrower(before: tuple[str, ...] | None, asked: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What both allow; None is everything."""
    if before is None or asked is None:
        return asked if before is None else before
    return tuple(name for name in before if name in asked)


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
    "model": _word,
    "timeout": _number,
    "policy": _word,
    "fallback": _names,
    "batches": _word,
    "attempts": _whole,
    "jobs": _whole,
    "may_run_twice": _yes_or_no,
    "budget": money,
    "budget_day": money,
    "deadline": _number,
    "isolation": _word,
    "python": _optional_path,
    "render": _word,
    "footer": _yes_or_no,
    "concurrency": _optional_whole,
    "warm": _word,
    "bridge": _word,
    "mounts": _paths,
    "network": _yes_or_no,
    "figure_format": _word,
    "figure_dpi": _number,
    "interactive": _yes_or_no,
    "data_dir": lambda value: Path(value).expanduser(),
    "cache_dir": lambda value: Path(value).expanduser(),
    "data_days": float,
    "data_limit": _whole,
    "value_limit": _whole,
    "cache": _word,
    "cache_days": float,
    "record": _optional_path,
    "record_runs": _word,
    "replay": _optional_path,
    "allow": _allowed,
    "enabled": _names,
    "require": _word,
    "base_url": _optional_word,
    "key_variable": _optional_word,
    "plain_http": _yes_or_no,
    "tool": _optional_word,
    "unpriced": _names,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, who said each of them (`default`, a file, a variable), and a line for each that was refused."""

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def load(environ: Mapping[str, str] = os.environ, places: Places | None = None) -> Settings:
    """Defaults changed by the files and the environment; see `read`."""
    return read(environ, places).settings


def read(environ: Mapping[str, str] = os.environ, places: Places | None = None) -> Loaded:
    """The same, with who said what. An `IPY_CODEINTERP_` name that is no setting is an error.

    Raises `InvalidInput` for the system's, the user's or the environment's mistakes. What a project's file may not say,
    or says wrongly, is refused with a line: a clone must not be able to stop anybody's work.
    """
    places = Places.here() if places is None else places
    loaded = Loaded(Settings(), {each.name: "default" for each in fields(Settings)})
    for path in places.trusted:
        loaded = _then(loaded, config_files.table(path), str(path))
    loaded = _then_project(loaded, places)
    named = {f"{PREFIX}{each.name.upper()}": each.name for each in fields(Settings)}
    said = {variable: value for variable, value in environ.items() if variable.startswith(PREFIX) and value}
    for variable, value in said.items():
        name = registry.find("setting", variable, named)
        loaded = _then(loaded, {name: value}, variable)
    return loaded


def _then(loaded: Loaded, said: Mapping[str, Any], source: str) -> Loaded:
    for name in said:
        registry.find(f"setting in {source}:", name, _READERS)
    is_variable = source.startswith(PREFIX)
    values = {name: _read(name, each, source if is_variable else f"{source}: {name}") for name, each in said.items()}
    try:
        changed = loaded.settings._with(values)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}", hint=error.hint) from None
    return replace(loaded, settings=changed, sources={**loaded.sources, **dict.fromkeys(values, source)})


# --- what a project may say -----------------------------------------------------------------------

PROJECT_MAY = ("model", "render", "footer", "figure_format", "figure_dpi", "require", "allow")
PROJECT_MAY_LOWER = ("timeout", "budget", "budget_day", "deadline", "attempts")
LEAST_TIMEOUT = 120.0  # seconds that every profile gives: where nothing else is set, a project may ask for less


def _then_project(loaded: Loaded, places: Places) -> Loaded:
    found = config_files.project(places)
    if found is None:
        return loaded
    refused = [found.wrong] if found.wrong else []
    for name, value in found.said.items():
        why = _refusal(loaded.settings, name, value)
        if not why:
            try:
                loaded = _then(loaded, {name: value}, str(found.path))
                continue
            except InvalidInput as error:
                why = f"{error}: {error.hint}"
        refused.append(f"{found.path}: {ascii(name)[1:-1][:40]} is refused: {why}")
    return replace(loaded, refused=tuple(refused))


def _refusal(settings: Settings, name: str, value: Any) -> str:
    """Why a project's file may not say this; empty where it may."""
    if name not in _READERS:
        return registry.suggestion(name, _READERS)
    if name not in (*PROJECT_MAY, *PROJECT_MAY_LOWER):
        return "a project may not set it; the user's config.toml may"
    try:
        asked = _READERS[name](value)
    except UNREADABLE as error:
        return f"it cannot be read: {error}"
    if name == "model" and "@" in asked and not asked.endswith(LOCAL):
        return "a project may not name a provider"
    if name == "require" and asked == "any":
        return "a project may only ask for more"
    if name in PROJECT_MAY_LOWER:
        now = getattr(settings, name)
        most = LEAST_TIMEOUT if name == "timeout" and now is None else now
        if asked is None or (most is not None and not asked <= most):
            return f"a project may only lower it, and it is {most if most is not None else 'not limited'}"
    return ""


UNREADABLE = (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError)  # RuntimeError: a ~ of nobody


def _read(name: str, value: Any, said: str) -> Any:
    try:
        return _READERS[name](value)
    except UNREADABLE as error:
        raise InvalidInput(f"{said} = {value!r} cannot be read: {error}", hint="see docs/settings.md") from None
