"""docs/features.md says what shows each row, and what it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "features.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| what |", "| --- |"))]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
ELSEWHERE = ("by hand:", "untested there:", "sh scripts/test")


@cache
def names_in(path: str) -> set[str]:
    """The names of the tests in a file below tests/."""
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(PAGE))))
def test_is_there(path: str, name: str) -> None:
    """Each test that a row names exists."""
    assert name in names_in(path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_row(row: str) -> None:
    """Each row is shown by a test, or says how it was looked at."""
    *_, shown = re.split(r"(?<!\\)\|", row.strip().rstrip("|"))

    assert len(re.split(r"(?<!\\)\|", row)) == 5
    assert NAMED.search(shown) or shown.strip().startswith(ELSEWHERE)
