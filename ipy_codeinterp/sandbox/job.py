"""What goes into a container and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.execution import Clear, Limit, Outcome, Output, Update
from ipy_codeinterp.sandbox.frames import Begun


@dataclass(frozen=True, slots=True)
class Input:
    """A file to lay into the working folder before the code runs."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run. `timeout` in seconds, `memory` in bytes; `must_parse` refuses text that is not code."""

    code: str = field(repr=False)
    inputs: tuple[Input, ...] = ()
    timeout: float | None = None
    memory: int | None = None
    must_parse: bool = False
    figure_format: str = "png"
    figure_dpi: float | None = None


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
