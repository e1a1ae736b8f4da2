"""What goes into a container and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.execution import Clear, Limit, Outcome, Output, Update
from ipy_codeinterp.sandbox.frames import Begun


@dataclass(frozen=True, slots=True)
class Input:
    """A file to lay into the working folder before the code runs, or one that holds a variable's value."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Extras:
    """What a container has beyond the others: folders of the user's to read, packages installed for it, a network."""

    folders: tuple[Path, ...] = ()
    packages: tuple[str, ...] = ()
    network: bool = False

    def __bool__(self) -> bool:
        return bool(self.folders or self.packages or self.network)

    def __str__(self) -> str:
        """As a Result says it: nothing for nothing."""
        mounted = (f"+mount {folder}" for folder in self.folders)
        network = ["+network"] if self.network else []
        return " ".join([*mounted, *(f"+with {package}" for package in self.packages), *network])

    def covers(self, wanted: Extras) -> bool:
        """Whether all that is wanted is there."""
        has_files = set(wanted.folders) <= set(self.folders) and set(wanted.packages) <= set(self.packages)
        return has_files and (self.network or not wanted.network)


NOTHING_MORE = Extras()


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run. `timeout` in seconds, `memory` in bytes; `must_parse` refuses text that is not code.

    `values` are there as variables before it begins, those that `get` names come back among the files when it is ok.
    """

    code: str = field(repr=False)
    inputs: tuple[Input, ...] = ()
    timeout: float | None = None
    memory: int | None = None
    must_parse: bool = False
    figure_format: str = "png"
    figure_dpi: float | None = None
    values: tuple[Input, ...] = ()
    get: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftFile:
    """A file that the code left in its output folder."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended. `alive` says whether the container can be used again."""

    outcome: Outcome
    limit: Limit | None = None
    exit_status: int | None = None
    files: tuple[LeftFile, ...] = ()
    seconds: float = 0.0
    alive: bool = True
    refused: bool = False


Event = Output | Update | Clear | Begun | Verdict


class ContainerGone(SandboxError):
    """The container is no more; the message says why. Nothing was run."""
