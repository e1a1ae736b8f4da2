"""Work of one's own, as cases: a folder of cells, the tagged cells of a notebook, what the journal holds.

Whether it runs, how fast and for how much can be told of all of it; whether it is right, where an answer is beside it.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ipy_codeinterp import languages
from ipy_codeinterp.bench.workload import Answer, Case
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Execution, Kind
from ipy_codeinterp.store import database, history

CATEGORY = "own"
TAG, EXPECTED = "bench", "bench_expected"
MOST_BYTES = 10 << 20  # of a file that is read
MOST_ENTRIES = 50  # of the journal are looked through for each case that is wanted
TASKS = ("txt", "md")
CELLS = ("py", *languages.SUFFIXES)


def _case(name: str, body: str, *, language: str = "python", kind: Kind = "code", **known: Any) -> Case:
    return Case(name, CATEGORY, 0, 0, languages.find(language).name, kind, body, **known)


def _distinct(cases: Sequence[tuple[str, Case]]) -> list[Case]:
    """As they are, with where each is from: what is asked is told apart by name, language and kind."""
    seen: dict[tuple[str, str, Kind], str] = {}
    for where, case in cases:
        first = seen.setdefault((case.workload, case.language, case.kind), where)
        if first is not where:
            raise InvalidInput(f"{first} and {where} have one name: {case.workload}", hint="give one of them another")
    return [case for _, case in cases]


# --- a folder -------------------------------------------------------------------------------------


def of_folder(folder: Path) -> list[Case]:
    """A case for each cell in it, by name: `*.py`, `*.R`, `*.js`, `*.sh`, and `*.txt` and `*.md` for tasks in words.

    `NAME.expected.json` beside it is the answer: an object, with the names and values that NAME is to print. READMEs
    and hidden files are left out. Raises `InvalidInput`.
    """
    if not folder.is_dir():
        raise InvalidInput(f"no folder {folder}", hint="name a folder with cells: *.py, *.R, *.js, *.txt")
    files = [path for path in sorted(folder.iterdir()) if _suffix(path) in (*CELLS, *TASKS) and _is_wanted(path)]
    if not files:
        raise InvalidInput(
            f"no cells in {folder}", hint="put cells there: *.py, *.R, *.js, or *.txt for tasks in words"
        )
    return _distinct([(str(path), _of_file(path)) for path in files])


def _suffix(path: Path) -> str:
    return path.suffix.lstrip(".").lower()


def _is_wanted(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.stem.lower() != "readme"


def _of_file(path: Path) -> Case:
    body, answer = _read(path), _expected(path.with_name(f"{path.stem}.expected.json"))
    if not body.strip():
        raise InvalidInput(f"{path} is empty", hint="remove it, or write a cell into it")
    if _suffix(path) in TASKS:
        return _case(path.stem, body, kind="task", expect=_in_words(answer), answer=answer)
    return _case(path.stem, body, language=languages.of_file(path.name).name, answer=answer)


def _expected(path: Path) -> Answer | None:
    return _answer(_json(path), str(path)) if path.is_file() else None


def _in_words(answer: Answer | None) -> str | None:
    """What a task is to print: the names of the answer, not their values."""
    if answer is None:
        return None
    return f"a JSON object with the names {', '.join(map(json.dumps, answer))}, in one line"


# --- a notebook -----------------------------------------------------------------------------------


def of_notebook(path: Path) -> list[Case]:
    """A case for each code cell that is tagged `bench`, in their order; `bench_expected` of its metadata is the answer.

    A first line `%%interp` is understood as far as it says what is run: language, time, a task in words. Raises
    `InvalidInput`.
    """
    notebook = _json(path)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise InvalidInput(f"{path} is no notebook of nbformat 4", hint="open and save it in Jupyter")
    tagged = [(number, cell) for number, cell in enumerate(cells, 1) if _is_tagged(cell)]
    if not tagged:
        hint = f"tag the code cells that are to be asked: {TAG}"
        raise InvalidInput(f"no cell of {path} is tagged {TAG!r}", hint=hint)
    return _distinct([(f"{path}, cell {number}", _of_cell(path, number, cell)) for number, cell in tagged])


def _is_tagged(cell: Mapping[str, Any]) -> bool:
    tags = _metadata(cell).get("tags")
    return cell.get("cell_type") == "code" and isinstance(tags, list) and TAG in tags


def _metadata(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    found = cell.get("metadata")
    return found if isinstance(found, dict) else {}


def _of_cell(path: Path, number: int, cell: Mapping[str, Any]) -> Case:
    source, where = cell.get("source"), f"{path}, cell {number}"
    body = "".join(map(str, source)) if isinstance(source, list) else str(source or "")
    said, rest = _without_magic(body, where)
    if not rest.strip():
        raise InvalidInput(f"{where} is empty", hint=f"write something into it, or take its tag {TAG} away")
    expected = _metadata(cell).get(EXPECTED)
    answer = None if expected is None else _answer(expected, f"{EXPECTED} of {where}")
    kind: Kind = "task" if said.ask else "code"
    expect = (said.expect or _in_words(answer)) if said.ask else None
    name = f"{path.stem}#{cell.get('id') or number}"
    return _case(name, rest, language=said.language, kind=kind, expect=expect, answer=answer, timeout=said.timeout)


# --- its magic ------------------------------------------------------------------------------------


class _Line(argparse.ArgumentParser):
    """The flags of a cell that say what is run, and those that make no difference here."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.add_argument("-l", "--language", default="python")
        self.add_argument("-t", "--timeout", type=float)
        self.add_argument("--ask", action="store_true")
        self.add_argument("--expect")
        for names in (("-m", "--model"), ("-o", "--out"), ("--repeat",), ("--policy",), ("--max-cost",), ("--label",)):
            self.add_argument(*names)
        for name in ("--bg", "--critical", "--debug", "--new", "--no-cache", "--no-raise-error"):
            self.add_argument(name, action="store_true")

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(message)


def _without_magic(body: str, where: str) -> tuple[argparse.Namespace, str]:
    """What the `%%interp` line on top says, and what stands below it."""
    first, _, rest = body.lstrip("\n").partition("\n")
    words = first.split(maxsplit=1)
    if not words or not words[0].startswith("%%"):
        return _Line().parse_args([]), body
    if words[0] != "%%interp":
        raise InvalidInput(f"{where} begins with {words[0]}", hint="only %%interp is understood here")
    try:
        return _Line().parse_args(shlex.split(words[1]) if len(words) > 1 else []), rest
    except (InvalidInput, ValueError) as error:
        hint = "a case is what stands in the cell alone: no files, values, folders, packages or containers"
        raise InvalidInput(f"{where}: {first}: {error}", hint=hint) from None


# --- the journal ----------------------------------------------------------------------------------


def of_history(store: Path, count: int) -> list[Case]:
    """The last `count` different executions that can be asked again as they were, the newest first.

    `store` is the journal's file. Those that go on from another, or need a container, files, values or packages are
    left out, and those whose code was never run. Raises `InvalidInput`.
    """
    if count < 1:
        raise InvalidInput(f"{count} cases are none", hint="use 1 or more")
    found: dict[str, Case] = {}
    for id, execution in _newest(store, count * MOST_ENTRIES):
        if _stands_alone(execution):
            found.setdefault(replace(execution, model=None).key, _of_execution(id, execution))
        if len(found) == count:
            break
    if not found:
        raise InvalidInput("the journal holds nothing that can be asked again", hint="%%interp runs a cell")
    return list(found.values())


def _newest(store: Path, most: int) -> Iterator[tuple[str, Execution]]:
    with database.reading(store) as connection:
        if connection is None:
            return
        for entry in history.entries(connection, limit=most):
            yield entry.id, history.find(connection, entry.id).execution


def _stands_alone(execution: Execution) -> bool:
    beside = execution.files or execution.inputs or execution.get or execution.packages or execution.after
    return execution.repeatable and execution.execute and not beside


def _of_execution(id: str, execution: Execution) -> Case:
    said = {"expect": execution.expect, "timeout": execution.timeout}
    return _case(id, execution.body, language=execution.language, kind=execution.kind, **said)


# --- reading --------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{path} is larger than {MOST_BYTES >> 20} MB", hint="name another file")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint="name a readable file in UTF-8") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no JSON: {error}", hint="repair it, or name another file") from None


def _answer(said: Any, where: str) -> Answer:
    if not isinstance(said, dict) or not said:
        raise InvalidInput(f"{where} is no answer", hint='write an object of names and values: {"sum": 10}')
    return said
