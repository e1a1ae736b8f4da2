"""The values: equal content is equal and has one address, and a Result answers what is asked of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import execution
from ipy_codeinterp.execution import (
    NOT_ISOLATED,
    Display,
    Error,
    Execution,
    File,
    Limit,
    Result,
    Step,
    Stream,
    Text,
    Timings,
    Usage,
)

ANOTHER: dict[str, Any] = {
    "mounts": ("/data",),
    "packages": ("polars>=1",),
    "network": True,
    "get": ("out",),
    "figure_format": "svg",
    "figure_dpi": 200.0,
    "body": "print(2)",
    "kind": "task",
    "language": "r",
    "model": "claude",
    "container": "mine",
    "timeout": 5.0,
    "files": (File("a.csv", "00", 1),),
    "inputs": (File("a.csv", "00", 1),),
    "after": "run_1",
    "expect": "a JSON list of primes",
    "execute": False,
}
VALUES = [value for value in vars(execution).values() if dataclasses.is_dataclass(value)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_frozen(value: type) -> None:
    """Every value is frozen and slotted."""
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)


def test_key_of_equals() -> None:
    """Equal executions have equal keys, however their numbers are written."""
    whole, real = Execution("print(1)", timeout=5), Execution("print(1)", timeout=5.0)

    assert whole == real
    assert whole.key == real.key


def test_key_is_stable() -> None:
    """A key means the same in every version, for it is the address of results already kept."""
    asked = Execution("print('é')", model="claude", timeout=2.5, files=(File("a.csv", "ab", 2),))

    assert asked.key == "577932ddd3a65a4eb418fe4dd696a5e7335455daef1965c26a935ae0755f47b1"


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Execution)])
def test_key_sees_every_field(name: str) -> None:
    """A change of any field is another key."""
    first = Execution("print(1)")

    second = dataclasses.replace(first, **{name: ANOTHER[name]})

    assert second != first
    assert second.key != first.key


@pytest.mark.parametrize(
    "change", [{"name": "b.csv"}, {"sha256": "01"}, {"size": 2}], ids=lambda change: next(iter(change))
)
def test_key_sees_what_a_file_is(change: dict[str, Any]) -> None:
    """A file with another name or content is another execution."""
    file = File("a.csv", "00", 1)

    changed = dataclasses.replace(file, **change)

    assert Execution("x", files=(changed,)).key != Execution("x", files=(file,)).key


def test_key_ignores_where_a_file_is() -> None:
    """Where a file lies, and what a provider calls it, is no part of what it is."""
    here = Execution("x", files=(File("a", "00", 1, path=Path("/here/a"), id="file_1"),))
    there = Execution("x", files=(File("a", "00", 1, path=Path("/there/a"), id="file_2"),))

    assert here == there
    assert here.key == there.key


@pytest.mark.parametrize("body", ["", "\ud800", "\N{SNOWMAN}", "a\0b"], ids=["empty", "surrogate", "unicode", "nul"])
def test_key_of_any_text(body: str) -> None:
    """Every string has a key, also one that no encoding can write."""
    assert len(Execution(body).key) == 64


def test_repeatable() -> None:
    """Only without a container, and without anything from outside, does a run start from the same state again."""
    assert Execution("x").repeatable
    assert not Execution("x", mounts=("/data",)).repeatable
    assert not Execution("x", network=True).repeatable
    assert not Execution("x", container="mine").repeatable


@pytest.mark.parametrize(
    ("outcome", "ok"),
    [("ok", True), ("error", False), ("limit", False), ("cancelled", False), ("crashed", False), ("unknown", None)],
)
def test_ok(outcome: Any, ok: bool | None) -> None:
    """`ok` is None, not False, where the provider does not say how it went."""
    assert Result("run_1", outcome=outcome).ok is ok


def a_result(**facts: Any) -> Result:
    figure = Display({"image/png": "aGk=", "text/plain": "<Figure>"})
    first = Step("a", verbatim=True, outputs=(Stream("stdout", "1\n"), Stream("stderr", "warn\n"), figure))
    error = Error("ValueError", "no", ("Traceback", "ValueError: no"))
    second = Step("b", verbatim=True, outputs=(Stream("stdout", "2\n"), error), files=(File("out.csv"),))
    parts = (Text("I run it. "), first, second, Text("Done."))
    return Result("run_1", parts=parts, outcome="error", provider="local", model="claude", **facts)


def test_result_gathers_its_parts() -> None:
    """What a Result says is gathered from its parts in the order they came."""
    result = a_result()

    assert result.stdout == "1\n2\n"
    assert result.stderr == "warn\n"
    assert result.text == "I run it. Done."
    assert [step.code for step in result.steps] == ["a", "b"]
    assert [file.name for file in result.files] == ["out.csv"]
    assert [image.data["text/plain"] for image in result.images] == ["<Figure>"]
    assert result.error is not None and result.error.ename == "ValueError"
    assert result.offer == "claude@local"


@pytest.mark.parametrize(
    ("said", "verbatim"),
    [((), None), ((True,), True), ((True, False), False), ((True, None), None), ((False, None), None)],
    ids=str,
)
def test_verbatim(said: tuple[bool | None, ...], verbatim: bool | None) -> None:
    """A Result is verbatim when every step is, and says nothing where nobody said."""
    result = Result("run_1", parts=tuple(Step("x", verbatim=one) for one in said))

    assert result.verbatim is verbatim


def test_repr_says_what_matters() -> None:
    """The text form names outcome, offer, limit, error, time, output and missing isolation."""
    limit = Limit("time", 2, "seconds")

    shown = repr(a_result(limit=limit, timings=Timings(total=0.5), isolation=NOT_ISOLATED))

    said = "error, claude@local, time limit, ValueError, 0.500 s, stdout 4 characters, 1 image(s), not isolated"
    assert shown == f"Result({said})"


def test_tokens_outside_code() -> None:
    """A Result says what a model spent on anything but code; where no model spoke, nothing is said."""
    asked = Result("run_1", (Text("so"), Step("x" * 8)), usage=Usage(5, 100, reasoning_tokens=60), stop="end")

    assert asked.tokens_outside_code == 98
    assert dataclasses.replace(asked, usage=Usage(5, 1)).tokens_outside_code == 0
    assert dataclasses.replace(asked, usage=Usage()).tokens_outside_code is None
    assert dataclasses.replace(asked, stop=None).tokens_outside_code is None
