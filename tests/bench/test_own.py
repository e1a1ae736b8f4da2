"""Work of one's own: cells of a folder, tagged cells of a notebook, what the journal holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.bench.grading import Grade, grade
from ipy_codeinterp.bench.own import of_folder, of_history, of_notebook
from ipy_codeinterp.bench.workload import Case
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Execution, File, Result, Step, Stream
from ipy_codeinterp.store import journal, place
from ipy_codeinterp.store.database import Database

# --- a folder -------------------------------------------------------------------------------------


def folder_of(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, "utf-8")
    return folder


def test_folder(tmp_path: Path) -> None:
    """Each cell is a case, by name; its language is that of the file, and words are a task."""
    folder_of(tmp_path, a__py="print(1)", b__R="cat(1)", c__js="1", d__txt="Add.", e__csv="x", README__md="About.")
    (tmp_path / ".hidden.py").write_text("no", "utf-8")
    (tmp_path / "f.py").mkdir()

    cases = of_folder(tmp_path)

    assert [(case.workload, case.language, case.kind) for case in cases] == [
        ("a", "python", "code"),
        ("b", "r", "code"),
        ("c", "node", "code"),
        ("d", "python", "task"),
    ]
    assert [case.body for case in cases] == ["print(1)", "cat(1)", "1", "Add."]
    assert all(case.category == "own" and case.answer is None for case in cases)


def test_expected(tmp_path: Path) -> None:
    """What is expected is the answer: a cell that prints it is right, and a task is told its names."""
    folder_of(tmp_path, a__py="print(1)", a__md="Add.", a__expected__json='{"sum": 10, "x": [1.5]}')

    task, code = of_folder(tmp_path)

    assert task.expect == 'a JSON object with the names "sum", "x", in one line' and code.expect is None
    assert graded(code, '{"sum": 10, "x": [1.5]}').right
    assert graded(task, '{"sum": 11, "x": [1.5]}') == Grade(False, "sum: expected 10, got 11")


def graded(case: Case, stdout: str) -> Grade:
    return grade(case, Result("run_1", (Step("", outputs=(Stream("stdout", stdout),)),)))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "no cells in"),
        ({"README__md": "x"}, "no cells in"),
        ({"a__py": " \n"}, "a.py is empty"),
        ({"a__txt": "1", "a__md": "1"}, "a.md and .*a.txt have one name: a"),
        ({"a__py": "1", "a__expected__json": "{"}, "is no JSON"),
        ({"a__py": "1", "a__expected__json": "[1]"}, "is no answer"),
        ({"a__py": "1", "a__expected__json": "{}"}, "is no answer"),
    ],
)
def test_bad_folder(files: dict[str, str], why: str, tmp_path: Path) -> None:
    """What cannot be asked is told with its file."""
    with pytest.raises(InvalidInput, match=why) as caught:
        of_folder(folder_of(tmp_path, **files))
    assert str(tmp_path) in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there, and a file that is no text, are told as that."""
    with pytest.raises(InvalidInput, match="no folder"):
        of_folder(tmp_path / "missing")
    (tmp_path / "a.py").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="cannot be read"):
        of_folder(tmp_path)


# --- a notebook -----------------------------------------------------------------------------------


def cell(source: str | list[str], *tags: str, **facts: Any) -> dict[str, Any]:
    metadata = {"tags": list(tags), **{name: facts.pop(name) for name in ["bench_expected"] if name in facts}}
    return {"cell_type": "code", "source": source, "metadata": metadata, **facts}


def notebook(folder: Path, *cells: object) -> Path:
    path = folder / "work.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "cells": cells}), "utf-8")
    return path


def test_notebook(tmp_path: Path) -> None:
    """The tagged code cells are cases, in their order, named by their ids; the others are not."""
    path = notebook(
        tmp_path,
        cell("not()"),
        cell(["print(1)\n", "print(2)"], "bench", "other", id="abc", bench_expected={"x": 1}),
        {"cell_type": "markdown", "source": "words", "metadata": {"tags": ["bench"]}},
        {"cell_type": "code", "source": "no_metadata()"},
        cell("%%interp --model claude -l R --timeout=5\nx <- 1", "bench"),
        cell('%%interp --ask --expect "a list"\nSort it.', "bench"),
        cell("%%interp --ask\nSort it.", "bench", bench_expected={"x": 1}),
    )

    plain, in_r, asked, told = of_notebook(path)

    assert (plain.workload, plain.body, plain.answer) == ("work#abc", "print(1)\nprint(2)", {"x": 1})
    assert (in_r.workload, in_r.body, in_r.language, in_r.timeout) == ("work#5", "x <- 1", "r", 5.0)
    assert (asked.kind, asked.body, asked.expect) == ("task", "Sort it.", "a list")
    assert told.expect == 'a JSON object with the names "x", in one line'


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "cell 1 is empty"),
        ("%%interp -l r\n", "cell 1 is empty"),
        ("%%time\nx", "begins with %%time"),
        ("%%interp --attach a.csv\nx", "unrecognized arguments: --attach a.csv"),
        ("%%interp --container mine\nx", "unrecognized arguments"),
        ("%%interp --timeout soon\nx", "invalid float value"),
        ('%%interp --expect "a\nx', "No closing quotation"),
    ],
)
def test_bad_cell(source: str, why: str, tmp_path: Path) -> None:
    """A cell that needs more than what stands in it is told with its number."""
    with pytest.raises(InvalidInput, match=r"work\.ipynb, cell 1") as caught:
        of_notebook(notebook(tmp_path, cell(source, "bench")))
    assert why in str(caught.value)


def test_one_id_twice(tmp_path: Path) -> None:
    """Two cells of one id could not be told apart."""
    with pytest.raises(InvalidInput, match=r"cell 1 and .*cell 2 have one name: work#a"):
        of_notebook(notebook(tmp_path, cell("1", "bench", id="a"), cell("2", "bench", id="a")))


def test_unknown_language(tmp_path: Path) -> None:
    """A language that nobody speaks is answered with the nearest."""
    with pytest.raises(UnknownName, match="pyton"):
        of_notebook(notebook(tmp_path, cell("%%interp -l pyton\nx", "bench")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no notebook"),
        ('{"worksheets": []}', "is no notebook"),
        ('{"cells": [1]}', "is no notebook"),
        ('{"cells": []}', "is tagged 'bench'"),
        ('{"cells": [{"cell_type": "code", "metadata": {"tags": "bench"}}]}', "is tagged 'bench'"),
    ],
)
def test_bad_notebook(text: str, why: str, tmp_path: Path) -> None:
    """A file that is no notebook, or has no tagged cell, is told as that."""
    path = tmp_path / "work.ipynb"
    path.write_text(text, "utf-8")

    with pytest.raises(InvalidInput, match=why):
        of_notebook(path)


def test_no_notebook(tmp_path: Path) -> None:
    """So is one that is not there."""
    with pytest.raises(InvalidInput, match="cannot be read"):
        of_notebook(tmp_path / "missing.ipynb")


# --- the journal ----------------------------------------------------------------------------------

KEPT = (
    Execution("print(1)"),
    Execution("x <- 1", language="r", timeout=5),
    Execution("print(1)", model="claude"),  # the first once more, at another offer
    Execution("print(2)", container="mine"),
    Execution("print(3)", files=(File("a.csv", "00", 1),)),
    Execution("print(4)", packages=("polars",)),
    Execution("print(5)", after="run_0"),
    Execution("Draw it.", kind="task", expect="a figure"),
    Execution("Only write it.", kind="task", execute=False),
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A journal's file."""
    store = Database(place.of(tmp_path).path, limit=1 << 26)
    for number, execution in enumerate(KEPT):
        result = Result(f"run_{number}", (Step("print(1)"),), outcome="ok")
        store.run(lambda connection, e=execution, r=result: journal.insert(connection, e, r)).result()
    store.close()
    return store.path


def test_history(store: Path) -> None:
    """The newest first, each once whoever was asked, and only what stands alone."""
    task, code, in_r = of_history(store, 10)

    assert (task.workload, task.kind, task.expect) == ("run_7", "task", "a figure")
    assert (code.workload, code.body, code.answer) == ("run_2", "print(1)", None)
    assert (in_r.workload, in_r.language, in_r.timeout) == ("run_1", "r", 5)
    assert of_history(store, 2) == [task, code]


def test_no_history(store: Path, tmp_path: Path) -> None:
    """None wanted, and none there, are told apart."""
    with pytest.raises(InvalidInput, match="0 cases"):
        of_history(store, 0)
    with pytest.raises(InvalidInput, match="holds nothing"):
        of_history(tmp_path / "empty.db", 3)
