"""The docs cannot lie: what can be said to the product is mentioned in them."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp import errors
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.notebook import own_verbs
from ipy_codeinterp.notebook.arguments import FLAGS
from ipy_codeinterp.settings import CHOICES, PREFIX, Settings

ROOT = Path(__file__).parents[2]
OURS = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, InterpError)]
SETTINGS = [field.name for field in fields(Settings)]


@cache
def docs() -> str:
    return "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])


def mentions(word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", docs()) is not None


@pytest.mark.parametrize("flag", [name for names, _ in FLAGS for name in names])
def test_flag(flag: str) -> None:
    """Every flag of a cell is mentioned, in each of its spellings."""
    assert mentions(flag)


@pytest.mark.parametrize("verb", own_verbs.names())
def test_verb(verb: str) -> None:
    """Every verb of the magic is mentioned."""
    assert f"`{verb}`" in docs() or f"%interp {verb}" in docs()


@pytest.mark.parametrize("name", SETTINGS)
def test_setting(name: str) -> None:
    """Every setting is mentioned, with its variable."""
    assert f"`{name}`" in docs()
    assert mentions(f"{PREFIX}{name.upper()}")


@pytest.mark.parametrize("word", sorted({word for words in CHOICES.values() for word in words}))
def test_choice(word: str) -> None:
    """Every value that a setting can take is mentioned."""
    assert f"`{word}`" in docs()


def subcommands() -> list[str]:
    """The verbs of the shell, from its own help."""
    return re.findall(r"^    (\w+)  ", shell.parser().format_help(), re.MULTILINE)


def test_shell_verbs() -> None:
    """Every verb of the shell is mentioned."""
    assert {"run", "gateway", "doctor"} <= set(subcommands())
    assert [verb for verb in subcommands() if f"ipy-codeinterp {verb}" not in docs()] == []


@pytest.mark.parametrize("status", [shell.OK, shell.CODE_RAISED, shell.USAGE, shell.NO_ISOLATION, shell.LIMIT_OR_CRASH])
def test_exit_code(status: int) -> None:
    """Every exit code is mentioned where exit codes are."""
    lines = [line for line in docs().splitlines() if "exit code" in line.lower()]

    assert re.search(rf"\b{status} \w", " ".join(lines))


def test_variables_exist() -> None:
    """No variable is mentioned that does not exist."""
    known = {f"{PREFIX}{name.upper()}" for name in SETTINGS}

    assert set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", docs())) <= known


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_error(error: type[InterpError]) -> None:
    """Every error has its row, with who failed and what to do."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")

    assert f"| `{error.__name__}` | {error.failed} | {error.advice} |" in page
