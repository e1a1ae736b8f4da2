"""A string that is still being written is told as far as it is known, however its JSON is cut."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects.growing import Growing

from .samples import CODES

# every code point, halves of surrogate pairs among them: code may hold them, and JSON can say them
anything = st.text(st.characters(codec=None), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything | st.just("code"), inner, max_size=3),
    max_leaves=8,
)


def told(*pieces: str, names: tuple[str, ...] = ("code",)) -> str:
    growing = Growing(*names)
    return "".join(growing.feed(piece) for piece in pieces)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_code_is_told(code: str) -> None:
    """What is told in the end is the value that the whole text has."""
    text = json.dumps({"language": "python", "code": code})

    assert told(text) == json.loads(text)["code"]


@given(
    before=st.dictionaries(anything.filter(lambda name: name != "code"), json_values, max_size=3),
    code=anything,
    after=json_values,
    plain=st.booleans(),
    indent=st.sampled_from([None, 1]),
    places=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_every_cut(before: Any, code: str, after: Any, plain: bool, indent: int | None, places: list[int]) -> None:
    """Other members, nested ones of the same name, escapes and cuts anywhere change nothing of what is told."""
    text = json.dumps({**before, "code": code, "Code": after}, ensure_ascii=plain, indent=indent)

    assert told(*cut(text, places)) == json.loads(text)["code"]
    assert told(*text) == json.loads(text)["code"]


def test_as_it_grows() -> None:
    """Each piece tells what is newly known, and an escape when it is complete."""
    growing = Growing("command")
    pieces = ["", '{"comm', 'and": "ech', "o \\", "n", "\\ud83d", "\\ude00 \\u00", 'e9"', ', "x": "y"}']

    assert [growing.feed(piece) for piece in pieces] == ["", "", "ech", "o ", "\n", "", "\N{GRINNING FACE} ", "é", ""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"code": "a", "file_text": "b", "path": "c"}', "ab"),
        ('{"input": {"code": "a"}, "list": ["code", "b"], "code": null}', ""),
        ('{"x": "code", "code": 5, "y": "z"}', ""),
        ('["code", {"code": "a"}]', ""),
        ('"code"', ""),
        ('{"code": "a"} {"code": "b"}', "a"),
        ('{"code": "a\\q\\uZZ1b', "aqZZ1b"),
        ('{"code": "\\ud83d\\n\\ude00\\ud83d"}', "\ud83d\n\ude00\ud83d"),
        ('{"\\u0063ode": "a"}', "a"),
        ("}}]]::,,", ""),
        ("not JSON at all", ""),
    ],
    ids=str,
)
def test_what_counts(text: str, expected: str) -> None:
    """String values of the outermost object's members count, and nothing else does, also where it is no JSON."""
    assert told(text, names=("code", "file_text")) == expected
    assert told(*text, names=("code", "file_text")) == expected


@given(st.lists(st.text(st.sampled_from('{}[]":,\\u0dDcode \n'), max_size=12), max_size=12))
def test_never_raises(pieces: list[str]) -> None:
    """Whatever is fed, what is told does not depend on how it was cut, and nothing is raised."""
    assert told(*pieces) == told("".join(pieces)) == told(*"".join(pieces))


@pytest.mark.parametrize("piece", ["x", '"', "\\", "\\u", "{", "[", '{"a":', '{"code":"', "\\ud83d"], ids=repr)
def test_time_is_linear(piece: str) -> None:
    """Many characters, in one piece or one by one, are read in about the time that their number takes."""
    text = '{"code":"' + piece * (50_000 // len(piece))

    began = time.process_time()
    told(text)
    told(*text)
    assert time.process_time() - began < 5
