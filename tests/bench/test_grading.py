"""Grading: what is right, what is wrong and why, and that nothing that was printed can harm it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.bench.grading import MOST_LINE, Grade, answer_of, differs, grade
from ipy_codeinterp.bench.workload import Case
from ipy_codeinterp.execution import Display, Output, Result, Step, Stream

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FIGURE = Display({"image/png": PIXEL})
ANSWER = {"count": 3, "mean": 0.5, "name": "north", "flag": True, "rows": [1, 2.5], "of": {"a": [10]}}
CASE = Case("w", "own", 1, 0, "python", "code", "print(1)", answer=ANSWER, tolerance=1e-6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def result(stdout: str, *outputs: Output, code: str = "print(1)") -> Result:
    return Result("run_1", (Step(code, outputs=(Stream("stdout", stdout), *outputs)),), outcome="ok")


def graded(said: Any, case: Case = CASE) -> Grade:
    return grade(case, result(said if isinstance(said, str) else json.dumps(said)))


def changed(**names: Any) -> dict[str, Any]:
    return {**ANSWER, **names}


@pytest.mark.parametrize(
    "said",
    [
        ANSWER,
        changed(count=3.0),
        changed(mean=0.5 + 4e-7),
        dict(reversed(ANSWER.items())),
        f"working\n{json.dumps(ANSWER)}\n",
        f'{{"count": 9}}\n{json.dumps(ANSWER)}\n\ndone\n[1]\n',
        f"  {json.dumps(ANSWER)} \r\n",
    ],
)
def test_right(said: Any) -> None:
    """The last line that is an object counts: names in any order, numbers within the tolerance."""
    assert graded(said) == Grade(True)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (changed(count=4), "count: expected 3, got 4"),
        (changed(count=3 + 1e-9), "count: expected 3"),
        (changed(count="3"), "count: expected 3, got '3'"),
        (changed(mean=0.5 + 6e-7), "mean: expected 0.5, got"),
        (changed(mean=True), "mean: expected 0.5, got True"),
        (changed(mean=None), "mean: expected 0.5, got None"),
        (changed(flag=1), "flag: expected True, got 1"),
        (changed(count=True), "count: expected 3, got True"),
        (changed(name="North"), "name: expected 'north', got 'North'"),
        (changed(name=["north"]), "name: expected 'north', got a list"),
        (changed(rows=[2.5, 1]), "rows[0]: expected 1, got 2.5"),
        (changed(rows=[1]), "rows: expected 2 values, got 1"),
        (changed(rows={"0": 1}), "rows: expected a list, got an object"),
        (changed(of=[10]), "of: expected an object, got a list"),
        (changed(of={"a": [11]}), "of.a[0]: expected 10, got 11"),
        (changed(of={"b": [10]}), "of: 'a' is missing"),
        (changed(more=1), "answer: 'more' was not asked for"),
        ({}, "answer: 'count' is missing"),
        ("", "no answer"),
        ("3", "no answer"),
        (json.dumps(ANSWER).replace("0.5", "NaN"), "no answer"),
        (json.dumps(ANSWER).replace("0.5", "Infinity"), "no answer"),
        (json.dumps(ANSWER).replace("0.5", "1e999"), "mean: expected 0.5, got inf"),
        (json.dumps(ANSWER).replace("0.5", "9" * 5000), "mean: expected 0.5, got inf"),
        (json.dumps(ANSWER).replace("0.5", "9" * 390), "mean: expected 0.5, got a huge number"),
        (json.dumps(ANSWER).replace('"count": 3', '"count": 4, "count": 3'), "no answer"),
    ],
)
def test_wrong(said: Any, why: str) -> None:
    """What differs is named with what was expected; true is no number, and NaN is no answer."""
    found = graded(said)

    assert found.right is False
    assert found.why.startswith(why)


def test_unknown() -> None:
    """Where nobody knows the answer, nothing is said of it."""
    assert graded("", replace(CASE, answer=None)) == Grade(None)


def test_zero() -> None:
    """Near zero a relative tolerance allows nothing: what rounding leaves is let pass."""
    assert differs(0.0, 1e-17, 1e-6, "x") == ""
    assert differs(0.0, 1e-9, 1e-6, "x") != ""
    assert differs(math.inf, 1.0, 1e-6, "x") != ""


def test_figures() -> None:
    """As many images as were asked for have to be shown; what is only called an image is none."""
    case, line = replace(CASE, figures=1), json.dumps(ANSWER)
    forged = Display({"image/png": "bm8gaW1hZ2U="})

    assert grade(case, result(line, FIGURE)).right
    assert grade(case, result(line, forged)) == Grade(False, "figures: expected 1, got 0")
    assert grade(replace(case, figures=2), result(line, FIGURE)) == Grade(False, "figures: expected 2, got 1")


def test_needs() -> None:
    """The lines that a task gives have to be in the code that ran, whatever stands around them."""
    case, line = replace(CASE, needs="def probe():\n    pass\n"), json.dumps(ANSWER)

    assert grade(case, result(line, code="x = 1\ndef probe():  \n    pass\nprobe()\n")).right
    assert not grade(case, result(line, code="def probe(): pass")).right
    assert not grade(case, Result("run_1")).right


@pytest.mark.parametrize(
    "stdout",
    [
        "[" * 1_000_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"a": ' + "9" * 10_000_000 + "}",
        '{"a": "' + "x" * 10_000_000 + '"}',
        "{" * (MOST_LINE // 2) + "}" * (MOST_LINE // 2),
        '{"' * (MOST_LINE // 4) + "}",
        '{"\\' * (MOST_LINE // 6) + "}",
        "{}x\n" * 1_000_000,
        "\n" * 5_000_000,
        '{"a": "\ud800\x1b]0;title\x07"}',
    ],
    ids=["open", "deep", "digits", "long", "braces", "quotes", "escapes", "lines", "blank", "escape"],
)
def test_hostile(stdout: str) -> None:
    """What is too long, too deep or too much is a wrong answer, and what is said of it is one short line of text."""
    found = graded(stdout)

    assert found.right is False
    assert len(found.why) <= 160 and found.why.isprintable()


def test_names_are_shown_safely() -> None:
    """A name that the program chose moves no terminal."""
    found = graded({**ANSWER, "\x1b[31m\x1b]0;x\x07" + "y" * 999: 1})

    assert found.why.isprintable() and len(found.why) <= 160


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_reads_what_json_writes(said: dict[str, Any]) -> None:
    """Any answer that JSON can hold is read as it was printed, and differs from itself nowhere."""
    read = answer_of(f"before\n{json.dumps(said)}\n")

    assert read == said
    assert differs(said, read, 0.0) == ""


@given(st.text())
def test_never_raises(text: str) -> None:
    """No text is an error of ours."""
    assert graded(text).right is False or answer_of(text) is not None
