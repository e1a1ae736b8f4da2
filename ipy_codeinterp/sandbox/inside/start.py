"""How a process becomes the runner of a language."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from . import walls
from .bash import Bash
from .limits import limit_memory
from .plan import Limits
from .python import Python

HERE = Path(__file__).parent
HEAP_SHARE = 0.75  # of the memory limit: what V8 may use for objects; the rest is buffers and code


def commands(language: str, channel: tuple[int, int], memory: int | None) -> list[str]:
    """The program that runs `language`, where that is one of its own."""
    ends = [str(fd) for fd in channel]
    if language == "r":
        return ["Rscript", "--vanilla", str(HERE / "r.R"), *ends]
    heap = [f"--max-old-space-size={int(memory * HEAP_SHARE) >> 20}"] if memory else []
    return ["node", *heap, str(HERE / "node.mjs"), *ends]


# Languages that run in a fork of this process; every other one is a program.
HERE_RUN: dict[str, Callable[[], Python | Bash]] = {"python": Python, "bash": Bash}


def become(language: str, channel: tuple[int, int], memory: int | None) -> None:
    """Be the runner of `language`; comes back when the channel closes, or never."""
    if language in HERE_RUN:
        HERE_RUN[language]().serve(*channel)
        return
    for fd in channel:
        os.set_inheritable(fd, True)
    if language == "r":  # V8 has a limit of its own
        limit_memory(memory)
    command = commands(language, channel, memory)
    os.execvp(command[0], command)


def main(in_fd: str, out_fd: str, language: str, memory: str = "", uid: str = "", limits: str = "") -> None:
    """The runner as a program of its own, where there is no zygote."""
    if uid:
        walls.leave_root(int(uid))
    if limits:
        walls.set_limits(Limits(**json.loads(limits)))
    os.umask(0o022)
    become(language, (int(in_fd), int(out_fd)), int(memory) if memory else None)
