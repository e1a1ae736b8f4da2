"""What runs in the interpreter around cells that go together: each in a name-space of its own, between two marks.

The host reads this file as text and never imports it; `plan` has the `token` of its marks, and the code of the `cells`.
A mark is written to stdout and to stderr, since the two may be told apart: `<TOKEN begin|end NUMBER JSON>`.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import time
import types
from typing import Any


def main(plan: dict[str, Any], shell: Any) -> None:
    """Run the cells, one after the other, whatever becomes of each. An interrupt ends them all."""
    before = shell.user_module, shell.user_ns, sys.modules["__main__"]
    group = Group(plan["token"], shell)
    try:
        for number, code in enumerate(plan["cells"]):
            if not group.run(number, code):
                break
    finally:
        shell.user_module, shell.user_ns, sys.modules["__main__"] = before


class Group:
    """What all cells begin with: the streams, the folder, the process, the clock."""

    def __init__(self, token: str, shell: Any) -> None:
        self._token = token
        self._shell = shell
        self._streams = sys.stdout, sys.stderr
        self._folder = os.getcwd()
        self._pid = os.getpid()
        self._began = time.monotonic()

    def run(self, number: int, code: str) -> bool:
        """Run one cell. Whether the next has its turn."""
        left = outputs()
        self._mark("begin", number)
        self._make_new(code)
        ran = self._shell.run_cell(code, store_history=False)
        error = ran.error_in_exec
        status = exit_status(ran.success, error)
        if os.getpid() != self._pid:  # the cell forked, and this is its child: the rest is not its business
            os._exit(status)
        sys.stdout, sys.stderr = self._streams
        os.chdir(self._folder)
        if isinstance(error, KeyboardInterrupt):  # from outside, and there they know what for: it has no end of its own
            return False
        if isinstance(error, MemoryError):  # the others may have used it up: it has no end, and is run again alone
            return True
        files = {name: mark[1] for name, mark in outputs().items() if left.get(name) != mark}
        self._mark("end", number, ok=status == 0, exit=status, files=files)
        return True

    def _make_new(self, code: str) -> None:
        """A `__main__` that holds nothing but what a fresh one does, and a history that begins with `code`."""
        module = types.ModuleType("__main__")
        module.__dict__["__builtins__"] = builtins
        self._shell.user_module, self._shell.user_ns = module, module.__dict__
        sys.modules["__main__"] = module  # pickle and multiprocessing look there
        self._shell.init_user_ns()
        module.__dict__.update(exit=sys.exit, quit=sys.exit)
        self._shell.execution_count = 1
        history = self._shell.history_manager
        history.input_hist_parsed[:] = history.input_hist_raw[:] = ["", code]  # IPython looks there for a semicolon
        history.output_hist.clear()

    def _mark(self, word: str, number: int, **facts: Any) -> None:
        facts["at"] = time.monotonic() - self._began
        for stream in self._streams:
            stream.flush()
            stream.write(f"<{self._token} {word} {number} {json.dumps(facts)}>\n")
            stream.flush()


def exit_status(success: bool, error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return int(not success)


def outputs() -> dict[str, tuple[int, int]]:
    """What lies in the folder for files to keep: when each was changed, and its size (bytes)."""
    try:
        with os.scandir(os.environ["OUTPUT_DIR"]) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except (KeyError, OSError):
        return {}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found.items()}


if "plan" in globals():
    main(globals()["plan"], globals()["shell"])
