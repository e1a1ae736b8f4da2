"""Errors at the wall: what the notebook knows about a name, a file or a module that the sandbox does not have.

Each rule looks at one kind of error and gives at most one line. To add a rule, add a function to RULES.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipy_codeinterp.execution import Error, Limit

MOST_CODE = 200_000  # characters of an earlier cell that are kept and searched


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier cell: its code (as much as is searched) and the container it ran in."""

    code: str
    container: str | None

    @classmethod
    def of(cls, code: str, container: str | None) -> Past:
        return cls(code[:MOST_CODE], container)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the notebook knows. `container_new` is set when the cell's container had nothing in it yet."""

    namespace: Mapping[str, Any]
    folder: Path
    past: Sequence[Past]
    container: str | None = None
    container_new: bool = False


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
    if limit and limit.name == "time":
        yield "to give it longer: --timeout S"
    elif limit and limit.name == "memory":
        yield "work on less at a time (read files in chunks, drop columns), or delete what is no longer needed"
    elif limit and limit.name == "output":
        yield "print less, or write it to a file in $OUTPUT_DIR"


def _missing_file(error: Error, around: Surroundings) -> str | None:
    if error.ename != "FileNotFoundError":
        return None
    found = re.search(r"['\"]([^'\"\n]{1,400})['\"]\s*$", error.evalue)
    if not found:
        return None
    path = Path(found[1])
    try:
        exists = (around.folder / path).is_file()
    except (OSError, ValueError):
        return None
    if not exists:
        return None
    seen_as = "" if path.name == str(path) else f" (it appears as {path.name})"
    return f"{path} is here but not in the sandbox: --attach {_quoted(str(path))}{seen_as}"


def _missing_module(error: Error, around: Surroundings) -> str | None:
    found = re.match(r"No module named '([A-Za-z_]\w{0,100})", error.evalue)
    if error.ename not in ("ModuleNotFoundError", "ImportError") or not found:
        return None
    name = found[1]
    if (around.folder / f"{name}.py").is_file():
        return f"{name}.py is here but not in the sandbox: --attach {name}.py"
    if (around.folder / name / "__init__.py").is_file():
        return f"the package {name} is a folder here, not in the sandbox: install it (pip install ., not -e)"
    if _is_importable_here(name):
        return f"{name} is importable here but outside the environment (an editable install?): install it without -e"
    return f"install it in the notebook, outside %%interp: !pip install {name} (the environment is mounted live)"


def _is_importable_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _missing_name(error: Error, around: Surroundings) -> str | None:
    found = re.match(r"name '([^\W\d]\w{0,100})' is not defined", error.evalue)
    if error.ename != "NameError" or not found:
        return None
    name = found[1]
    earlier = next((past for past in reversed(around.past) if _defines(past.code, name)), None)
    if earlier and earlier.container and around.container == earlier.container and around.container_new:
        return (
            f"container {around.container!r} is new (a restart ends containers): run the cell that makes {name} again"
        )
    if earlier:
        where = f"{earlier.container}" if earlier.container else "NAME on both"
        return f"{name} is from an earlier %%interp cell; each starts fresh: keep variables with --container {where}"
    if name in around.namespace:
        return f"{name} lives in the notebook, not in the sandbox: save it to a file and --attach that"
    return None


def _defines(code: str, name: str) -> bool:
    """By its looks: parsing somebody's 20 MB cell here would cost minutes."""
    assigned = rf"\b{name}\b[^\n=]*(?<![=!<>])=(?!=)"
    declared = rf"\b(?:def|class) {name}\b|\bfor\b[^\n]*\b{name}\b[^\n]* in |\bas {name}\b"
    imported = rf"\bimport\b[^\n]*\b{name}\b"
    return re.search(f"{assigned}|{declared}|{imported}", code) is not None


def _no_network(error: Error, _: Surroundings) -> str | None:
    words = ("name resolution", "Name or service not known", "Network is unreachable", "getaddrinfo failed")
    if any(word in error.evalue for word in words):
        return "there is no network inside the sandbox: fetch the data in the notebook and --attach the file"
    return None


def _no_packages(error: Error, _: Surroundings) -> str | None:
    if error.ename == "PackagesAreReadOnly":
        return "install in the notebook, outside %%interp: the environment is mounted live"
    return None


def _no_input(error: Error, _: Surroundings) -> str | None:
    return "there is nobody to ask: input() does not work in a %%interp cell" if error.ename == "EOFError" else None


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


RULES: tuple[Rule, ...] = (_missing_file, _missing_module, _missing_name, _no_network, _no_packages, _no_input)
