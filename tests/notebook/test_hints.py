"""Errors at the wall are followed by one line that says what to do, and by none where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.execution import Error, Limit
from ipy_codeinterp.notebook.hints import MOST_CODE, Past, Surroundings, hints


def around(folder: Path, *past: Past, **facts: Any) -> Surroundings:
    return Surroundings(**({"namespace": {"df": 1}, "folder": folder, "past": past} | facts))


def name_error(name: str) -> Error:
    return Error("NameError", f"name '{name}' is not defined")


def missing_file(name: str) -> Error:
    return Error("FileNotFoundError", f"[Errno 2] No such file or directory: {name!r}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.csv", "a.csv is here but not in the sandbox: --attach a.csv"),
        ("b c.csv", 'b c.csv is here but not in the sandbox: --attach "b c.csv"'),
        ("data/d.csv", "data/d.csv is here but not in the sandbox: --attach data/d.csv (it appears as d.csv)"),
    ],
)
def test_file_that_is_here(tmp_path: Path, name: str, hint: str) -> None:
    """A file that lies beside the notebook is told how to be attached."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

    assert hints(missing_file(name), None, around(tmp_path)) == [hint]


@pytest.mark.parametrize("name", ["nowhere.csv", "x" * 300, "a\0b", "~", "x" * 5000])
def test_file_that_is_nowhere(tmp_path: Path, name: str) -> None:
    """Of a file that is not here either there is nothing to say."""
    assert hints(missing_file(name), None, around(tmp_path)) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("helper", "helper.py is here but not in the sandbox: --attach helper.py"),
        ("package", "the package package is a folder here"),
        ("pytest", "pytest is importable here but outside the environment"),
        ("no_such_module_anywhere", "%pip install no_such_module_anywhere"),
        ("no_such_module_anywhere.part", "%pip install no_such_module_anywhere "),
    ],
)
def test_module(tmp_path: Path, name: str, hint: str) -> None:
    """A module that is missing is told how to get inside, by where it is."""
    (tmp_path / "helper.py").touch()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()

    (found,) = hints(Error("ModuleNotFoundError", f"No module named '{name}'"), None, around(tmp_path))

    assert hint in found


def test_name_of_the_notebook(tmp_path: Path) -> None:
    """A variable of the notebook is told the flag that sends it, if it can be sent, in each language's words."""
    (sent,) = hints(name_error("df"), None, around(tmp_path))
    (unfit,) = hints(name_error("f"), None, around(tmp_path, namespace={"f": object()}))

    assert sent == "df lives in the notebook, not in the sandbox: --in df"
    assert unfit.startswith("f lives in the notebook, not in the sandbox, and cannot be sent: save it to a file")
    for name, said in (("Error", "object 'df' not found"), ("ReferenceError", "df is not defined")):
        assert hints(Error(name, said), None, around(tmp_path)) == [sent]


def test_name_that_was_sent(tmp_path: Path) -> None:
    """A cell that was sent a variable, and used it, did not make it."""
    used = Past.of("out = df.assign(c=1)\ndf = df + 1", None, ("df",))

    assert hints(name_error("df"), None, around(tmp_path, used))[0].endswith("--in df")


@pytest.mark.parametrize(
    "code",
    [
        "x = 1",
        "a, x = 1, 2",
        "x: int = 1",
        "x += 1",
        "if (x := 1): pass",
        "def x(): pass",
        "class x: pass",
        "for i, x in y: pass",
        "import x",
        "import a, x",
        "from a import b as x",
        "with open('a') as x: pass",
    ],
)
def test_name_of_an_earlier_cell(tmp_path: Path, code: str) -> None:
    """A name that an earlier cell made is told how to be kept."""
    (found,) = hints(name_error("x"), None, around(tmp_path, Past(code, None), Past("y = 1", None)))

    assert (
        found == "x is from an earlier %%interp cell; each starts fresh: keep variables with --container NAME on both"
    )


@pytest.mark.parametrize("code", ["print(x)", "x == 1", "xx = 1", "x.y", "assert x != 1", "x <= 1"])
def test_name_that_nobody_made(tmp_path: Path, code: str) -> None:
    """A cell that only uses a name has not made it."""
    assert hints(name_error("x"), None, around(tmp_path, Past(code, None))) == []


def test_name_in_a_container(tmp_path: Path) -> None:
    """A name that an earlier cell made in a container is said to be there, unless that container was lost."""
    past = Past("x = 1", "mine")

    (elsewhere,) = hints(name_error("x"), None, around(tmp_path, past))
    (lost,) = hints(name_error("x"), None, around(tmp_path, past, container="mine", is_new=True))

    assert elsewhere.endswith("keep variables with --container mine")
    assert lost == "container 'mine' is new (a restart ends containers): run the cell that makes x again"


def test_earlier_cell_before_notebook(tmp_path: Path) -> None:
    """Only one line is said, and the nearest place counts."""
    assert len(hints(name_error("df"), None, around(tmp_path, Past("df = 1", None)))) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Error("URLError", "<urlopen error [Errno -3] Temporary failure in name resolution>"), "there is no network"),
        (Error("OSError", "[Errno 101] Network is unreachable"), "there is no network"),
        (Error("PackagesAreReadOnly", "x"), "install in the notebook, outside %%interp"),
        (Error("EOFError", "EOF when reading a line"), "there is nobody to ask"),
    ],
    ids=lambda value: getattr(value, "ename", ""),
)
def test_other_walls(tmp_path: Path, error: Error, words: str) -> None:
    """Network, packages and input have a line of their own."""
    (found,) = hints(error, None, around(tmp_path))

    assert words in found


def test_what_a_network_does_not_reach(tmp_path: Path) -> None:
    """With a network a closed address says what is open, and nothing says that there is none."""
    around_it = replace(around(tmp_path), has_network=True)
    (found,) = hints(Error("OSError", "[Errno 113] No route to host"), None, around_it)
    assert "public addresses only" in found
    assert hints(Error("gaierror", "[Errno -2] Name or service not known"), None, around_it) == []


@pytest.mark.parametrize(
    ("name", "words"), [("time", "--timeout S"), ("memory", "in chunks"), ("output", "$OUTPUT_DIR")]
)
def test_limit(tmp_path: Path, name: str, words: str) -> None:
    """A limit is followed by how to live with it."""
    (found,) = hints(None, Limit(name, 1, "x"), around(tmp_path))

    assert words in found


@pytest.mark.parametrize(
    "error",
    [
        None,
        Error("ValueError", "no"),
        Error("NameError", ""),
        Error("NameError", "name 'x\n' is not defined"),
        Error("ModuleNotFoundError", "No module named ''"),
        Error("ModuleNotFoundError", "x" * 1_000_000),
        Error("FileNotFoundError", "'" * 1_000_000),
        Error("", ""),
    ],
    ids=lambda error: error and f"{error.ename} {error.evalue[:20]!r}",
)
def test_nothing_to_say(tmp_path: Path, error: Error | None) -> None:
    """Where nothing is known nothing is said, also of text that was made to confuse."""
    assert hints(error, None, around(tmp_path)) == []


def test_large_cell(tmp_path: Path) -> None:
    """Of a very large earlier cell only the beginning is looked at."""
    past = Past.of("y" * MOST_CODE + "\nx = 1", None)

    assert hints(name_error("x"), None, around(tmp_path, past)) == []
