"""A session that runs ranges in this process: what runs inside is the product's own, only the walls are missing."""

from __future__ import annotations

import ast
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ipy_codeinterp import attachments
from ipy_codeinterp.execution import Display, Error, Execution, Limit, Output, Result, Step, Stream

Verdict = Callable[[list[int]], Result | Exception | None]  # by the ids of a range's rows; None lets it run
MEMORY = Limit("memory", 512 << 20, "bytes")


class Here:
    """`ran` has the ids (first column) of each range that ran to its end, `asked` of each that was asked for."""

    def __init__(self, folder: Path, verdict: Verdict = lambda ids: None) -> None:
        self.folder = folder / "inside"
        self.folder.mkdir(exist_ok=True)
        self.verdict = verdict
        self.asked: list[list[int]] = []
        self.ran: list[list[int]] = []
        self.looks = 0
        self.terms: list[dict[str, Any]] = []
        self.executions: list[Execution] = []

    def execution(self, code: str, **how: Any) -> Execution:
        return Execution(code, **{**how, "files": attachments.read(how.get("files", ()))})

    async def execute(self, execution: Execution, *, emit: Any, **terms: Any) -> Result:
        self.terms.append(terms)
        self.executions.append(execution)
        for file in execution.files:
            assert file.path is not None
            shutil.copy(file.path, self.folder / file.name)
        is_look = "'code': None" in execution.body
        self.looks += is_look
        ids = ids_in(self.folder / "chunk.csv")
        said = None if is_look else self.verdict(ids)
        if not is_look:
            self.asked.append(ids)
        if isinstance(said, Exception):
            raise said
        if said is None:
            said = run_here(execution.body, self.folder)
            if said.ok and not is_look:
                self.ran.append(ids)
        return said


def ids_in(path: Path) -> list[int]:
    """The numbers in the first column; of no use where it has none."""
    firsts = [line.partition(b",")[0] for line in path.read_bytes().splitlines()[1:]]
    return [int(first) for first in firsts if first.isdigit()]


def ended(outcome: Any, *outputs: Output, limit: Limit | None = None) -> Result:
    return Result("res_1", (Step("", outputs=outputs, outcome=outcome),), outcome, limit)


def too_much() -> Result:
    return ended("limit", limit=MEMORY)


def raised(words: str = "bad row") -> Result:
    return ended("error", Error("ValueError", words, (f"ValueError: {words}",)))


def run_here(body: str, folder: Path) -> Result:
    """As the shell inside would, in `folder`."""
    shell, before, hook = Shell(), Path.cwd(), sys.displayhook
    sys.displayhook = lambda value: None
    os.chdir(folder)
    try:
        exec(body, {"get_ipython": lambda: shell})
    except Exception as error:
        shell.show_error(error)
    finally:
        os.chdir(before)
        sys.displayhook = hook
    return ended("error" if any(isinstance(o, Error) for o in shell.outputs) else "ok", *shell.outputs)


class Shell:
    """As much of IPython's as the inside uses."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.user_ns: dict[str, Any] = {"print": self._print}
        self.display_pub = SimpleNamespace(publish=lambda data: self.outputs.append(Display(data)))

    def _print(self, *words: Any) -> None:
        self.outputs.append(Stream("stdout", " ".join(map(str, words)) + "\n"))

    def run_cell(self, code: str, store_history: bool) -> Any:
        parsed = ast.parse(code)
        last = parsed.body.pop() if isinstance(parsed.body[-1], ast.Expr) else None
        try:
            exec(compile(parsed, "cell", "exec"), self.user_ns)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "cell", "eval"), self.user_ns)
                if value is not None:
                    sys.displayhook(value)
        except (Exception, SystemExit) as error:
            if not isinstance(error, SystemExit):
                self.show_error(error)
            return SimpleNamespace(success=False, error_in_exec=error)
        return SimpleNamespace(success=True, error_in_exec=None)

    def show_error(self, error: BaseException) -> None:
        lines = tuple(traceback.format_exception_only(error))
        self.outputs.append(Error(type(error).__name__, str(error), lines))
