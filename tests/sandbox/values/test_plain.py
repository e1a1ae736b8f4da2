"""Python's own values and numpy's arrays as files, and back: what came is what was sent, or it is refused in words."""

from __future__ import annotations

import datetime as dates
import math
import zoneinfo
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ipy_codeinterp.sandbox.inside import values
from ipy_codeinterp.sandbox.inside.values import Unfit

HALVES = range(0xD800, 0xE000)
texts = st.text(st.characters(exclude_categories=["Cs"]))
zones = (
    st.none() | st.just(dates.UTC) | st.timezones() | st.just(dates.timezone(dates.timedelta(hours=-3, minutes=-30)))
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | texts
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=zones)
    | st.times()
    | st.timedeltas()
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
nested = st.recursive(
    scalars | st.sets(hashable, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(texts | st.just("$"), inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=10,
)
kinds = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes()
    | hnp.unicode_string_dtypes(max_len=5)
    | hnp.byte_string_dtypes(max_len=5)
    | hnp.datetime64_dtypes()
    | hnp.timedelta64_dtypes()
)


def back(value: object, language: str = "python") -> Any:
    return values.unpack(*values.pack(value, language))


def same(one: Any, other: Any) -> bool:
    """Equal, of equal types all through, and times in the same zone."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one == other and all(same(a, b) for a, b in zip(one.items(), other.items(), strict=True))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dates.datetime):
        return one.replace(tzinfo=None) == other.replace(tzinfo=None) and str(one.tzinfo) == str(other.tzinfo)
    return one == other and repr(one) == repr(other) if isinstance(one, Decimal) else one == other


@given(nested)
@settings(max_examples=50, deadline=None)
def test_every_value_comes_back(value: Any) -> None:
    """What Python has is the same afterwards, with its types all through; equal values are equal bytes."""
    assert same(back(value), value)
    assert values.pack(value) == values.pack(back(value))


def test_what_json_cannot_say() -> None:
    """No-number, the infinities, the second half of a doubled hour and a name called `$` are told truly."""
    night = dates.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))

    assert math.isnan(back(math.nan)) and back([math.inf, -math.inf]) == [math.inf, -math.inf]
    assert back(night).fold == 1 and back(night).utcoffset() == night.utcoffset()
    assert back({"$": "frame"}) == {"$": "frame"}
    assert math.copysign(1, back(-0.0)) == -1


@given(kinds.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))))
@settings(max_examples=50, deadline=None)
def test_every_array_comes_back(array: Any) -> None:
    """An array keeps kind, shape and bytes, as a file of its own and among other values; it can be written to."""
    if array.dtype.kind == "U" and any(ord(c) in HALVES for text in array.ravel() for c in text):
        return
    for found in (back(array), back([array])[0]):
        assert found.dtype == array.dtype and found.shape == array.shape
        assert found.tobytes() == array.tobytes()
        assert found.flags.writeable


def test_order_of_an_array() -> None:
    """An array whose columns lie together is the same afterwards."""
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))

    assert np.array_equal(back(array), array)
    assert np.array_equal(back({"a": array})["a"], array)


def itself() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


class Table(dict[str, Any]):
    """More than a dict may hold."""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "type object cannot travel; what can: pandas, polars"),
        (print, "type builtin_function_or_method cannot travel"),
        (Table(), "Table cannot travel"),
        (itself(), "into itself"),
        ("\ud800", "half a character"),
        (["\udfff"], "half a character"),
        ({"\ud800": 1}, "half a character"),
        (10**5000, "too long"),
        (np.array([object()]), "send it as a list"),
        ([np.array([None])], "send it as a list"),
        (np.zeros(2, [("a", "i4")]), "one by one"),
        (np.ma.array([1]), "cannot travel"),
    ],
    ids=range(12),
)
def test_unfit(value: object, words: str) -> None:
    """What cannot travel is refused in words that say what, or what to do."""
    with pytest.raises(Unfit, match=words):
        values.pack(value)


def test_names_of_files() -> None:
    """A value's file says its variable and how it is written; other files are no values."""
    assert values.name_and_suffix(values.file_name("größe", "npy")) == ("größe", "npy")
    assert [values.name_and_suffix(name) for name in ("a.json", ".value.json", "a.value.pickle", "a/b.value.json")] == [
        None
    ] * 4
