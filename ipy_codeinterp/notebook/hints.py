"""Errors at the wall: what the notebook knows about a name, a file or a module that the sandbox does not have.

Each rule looks at one kind of error and gives at most one line. To add a rule, add a function to RULES.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ipy_codeinterp import catalog, exchange
from ipy_codeinterp.execution import Error, Limit

INSIDE = "/tmp/input/"  # where attached files lie
MOST_TEXT = 4000  # characters of an error that are looked at
MOST_LINE = 500  # characters: longer ones are data
MOST_CODE = 200_000  # characters of an earlier cell that are kept and searched


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier cell: its code (as much as is searched), the container it ran in, and the names it was sent."""

    code: str
    container: str | None
    sent: tuple[str, ...] = ()

    @classmethod
    def of(cls, code: str, container: str | None, sent: tuple[str, ...] = ()) -> Past:
        return cls(code[:MOST_CODE], container, sent)

    def makes(self, name: str) -> bool:
        """Whether it looks as if the variable were its own."""
        return name not in self.sent and _defines(self.code, name)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the notebook knows. `container_new` is set when the cell's container had nothing in it yet."""

    namespace: Mapping[str, Any]
    folder: Path
    past: Sequence[Past]
    container: str | None = None
    is_new: bool = False
    has_network: bool = False


Rule = Callable[[Error, Surroundings], str | None]


def hints(error: Error | None, limit: Limit | None, around: Surroundings) -> list[str]:
    """The lines that follow the traceback."""
    return [*_limit_hints(limit), *(_error_hints(error, around) if error else ())]


def _error_hints(error: Error, around: Surroundings) -> Iterator[str]:
    for rule in RULES:
        if hint := rule(error, around):
            yield hint
            return


def _limit_hints(limit: Limit | None) -> Iterator[str]:
    if limit and limit.name in NEXT_STEPS:
        yield NEXT_STEPS[limit.name] + (_larger_profile(limit) if limit.name == "memory" else "")


# What to do about each limit. To add one, add a row.
NEXT_STEPS = {
    "time": "to give it longer: --timeout S",
    "memory": "work on less at a time (read files in chunks, drop columns), or delete what is no longer needed",
    "output": "print less, or write it to a file in $OUTPUT_DIR",
    "processes": "start fewer processes or threads at a time (n_jobs=2), and wait for them",
    "disk": "write less to /tmp, or delete what is no longer needed: it is the code's only disk",
    "file size": "write several smaller files",
    "open files": "close files when they are done with (use `with open(...)`)",
}


def _larger_profile(limit: Limit) -> str:
    larger = [p for p in catalog.profiles().values() if p.memory > limit.allowed]
    best = max(larger, key=lambda p: p.memory, default=None)
    return f", or give it more: --model {best.name} ({best.memory >> 20} MB)" if best else ""


def _missing_file(error: Error, around: Surroundings) -> str | None:
    if error.ename != "FileNotFoundError":
        return None
    for said in _paths_in(error.evalue):
        path = Path(said.removeprefix(INSIDE))
        with contextlib.suppress(OSError, ValueError):
            here = around.folder / path
            if here.is_dir():
                bring_in = f"--mount {_quoted(str(path))}, or --attach its files"
                return f"the folder {path} is here but not in the sandbox: {bring_in}"
            if here.is_file():
                seen_as = "" if path.name == str(path) else f" (it appears as {path.name})"
                return f"{path} is here but not in the sandbox: --attach {_quoted(str(path))}{seen_as}"
    return None


def _paths_in(text: str) -> list[str]:
    """What may be a path: what is quoted, and what numpy says without quotes (`data.csv not found.`)."""
    quoted = re.findall(r"['\"]([^'\"\n]{1,400})['\"]", text[:MOST_TEXT])
    bare = re.match(r"(\S{1,400}) not found", text)
    return [*reversed(quoted), *([bare[1]] if bare else [])]


def _missing_module(error: Error, around: Surroundings) -> str | None:
    found = re.match(r"No module named '([A-Za-z_]\w{0,100})(\.)?", error.evalue)
    if error.ename not in ("ModuleNotFoundError", "ImportError") or not found:
        return None
    name = found[1]
    if (around.folder / f"{name}.py").is_file():
        return f"{name}.py is here but not in the sandbox: --attach {name}.py"
    if (around.folder / name / "__init__.py").is_file():
        return f"the package {name} is a folder here, not in the sandbox: install it (%pip install ., not -e)"
    if not _is_importable_here(name):
        install = f"%pip install {name} (the environment is mounted live)"
        return f"install it in the notebook, outside %%interp: {install}, or --with {name} for this cell alone"
    if found[2]:
        return None  # the package is there, it has no such part
    return f"{name} is importable here but outside the environment (an editable install?): install it without -e"


def _is_importable_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


# How each language says that there is no variable of a name.
UNDEFINED = (
    ("NameError", re.compile(r"name '([^\W\d]\w{0,100})' is not defined")),
    ("ReferenceError", re.compile(r"([^\W\d]\w{0,100}) is not defined")),
    ("Error", re.compile(r"object '([^\W\d]\w{0,100})' not found")),
)


def _missing_name(error: Error, around: Surroundings) -> str | None:
    name = _undefined(error)
    if name is None:
        return None
    earlier = next((past for past in reversed(around.past) if past.makes(name)), None)
    if earlier is None:
        return _lives_here(name, around.namespace)
    if earlier.container and around.container == earlier.container:
        again = f"run the cell that makes {name} again"
        return f"container {around.container!r} is new (a restart ends containers): {again}" if around.is_new else None
    where = earlier.container or "NAME on both"
    return f"{name} is from an earlier %%interp cell; each starts fresh: keep variables with --container {where}"


def _undefined(error: Error) -> str | None:
    found = (said.match(error.evalue) for kind, said in UNDEFINED if kind == error.ename)
    return next((match[1] for match in found if match), None)


def _lives_here(name: str, namespace: Mapping[str, Any]) -> str | None:
    if name not in namespace:
        return None
    value = namespace[name]
    if isinstance(value, ModuleType):
        as_name = "" if value.__name__ == name else f" as {name}"
        return f"{name} is imported in the notebook, not in the sandbox: import {value.__name__}{as_name}"
    if callable(value) and getattr(value, "__module__", None) == "__main__":
        return f"{name} is defined in the notebook, not in the sandbox: define it in a %%interp cell"
    if exchange.may_travel(value):
        return f"{name} lives in the notebook, not in the sandbox: --in {name}"
    return f"{name} lives in the notebook, not in the sandbox, and cannot be sent: save it to a file and --attach that"


def _defines(code: str, name: str) -> bool:
    """By its looks, line by line: parsing somebody's 20 MB cell here would cost minutes."""
    word = re.compile(rf"\b{name}\b")
    return any(len(line) <= MOST_LINE and word.search(line) and _binds(line, name) for line in code.splitlines())


def _binds(line: str, name: str) -> bool:
    assigned = rf"\b{name}\b[^=]*(?<![=!<>])=(?!=)"
    declared = rf"\b(?:def|class|as|import) {name}\b|\bfor\b.*\b{name}\b.* in |\bimport\b.*\b{name}\b"
    return re.search(f"{assigned}|{declared}", line) is not None


def _no_network(error: Error, around: Surroundings) -> str | None:
    if around.has_network:
        is_closed = "No route to host" in error.evalue
        return "--network leads to public addresses only, by TCP and UDP over IPv4" if is_closed else None
    words = ("name resolution", "Name or service not known", "Network is unreachable", "getaddrinfo failed")
    if any(word in error.evalue for word in words):
        return "there is no network inside the sandbox (see --network): fetch the data in the notebook and --attach it"
    return None


def _no_packages(error: Error, _: Surroundings) -> str | None:
    if error.ename == "PackagesAreReadOnly":
        return "install in the notebook, outside %%interp: %pip install NAME (the environment is mounted live)"
    return None


def _no_input(error: Error, _: Surroundings) -> str | None:
    return "there is nobody to ask: input() does not work in a %%interp cell" if error.ename == "EOFError" else None


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


RULES: tuple[Rule, ...] = (_missing_file, _missing_module, _missing_name, _no_network, _no_packages, _no_input)
