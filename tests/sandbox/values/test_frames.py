"""pandas' tables as files, and back: every dtype that can travel is the same afterwards, every other is refused."""

from __future__ import annotations

import datetime as dates
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.sandbox.inside import values
from ipy_codeinterp.sandbox.inside.values import Unfit

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
moments = st.integers(-(2**62), 2**62)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


# What a column may hold, by its dtype.
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int8": st.integers(-128, 127),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "complex128": st.complex_numbers(),
    "Int64": maybe(st.integers(-(2**63), 2**63 - 1)),
    "UInt8": maybe(st.integers(0, 255)),
    "Float64": maybe(st.floats(allow_nan=False)),
    "boolean": maybe(st.booleans()),
    "string": maybe(texts),
    "str": maybe(texts),
    "category": maybe(st.sampled_from(["a", "ü", "\0"])),
    "object": maybe(st.integers() | texts | st.dates() | st.lists(st.integers(), max_size=2) | st.just({"x": [1]})),
    "datetime64[ns]": maybe(moments),
    "datetime64[s]": maybe(st.integers(-(2**40), 2**40)),
    "datetime64[us, Europe/Paris]": maybe(st.integers(-(2**50), 2**50)),
    "datetime64[ns, UTC]": maybe(moments),
    "timedelta64[us]": maybe(moments),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Frames of any of these, with names that come twice, and of any length."""
    rows = draw(st.integers(0, 4))
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), max_size=4))
    columns = [column(kind, draw(st.lists(COLUMNS[kind], min_size=rows, max_size=rows))) for kind in kinds]
    frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(rows))
    frame.columns = pd.Index(draw(st.lists(texts, min_size=len(kinds), max_size=len(kinds))), dtype=object)
    return frame


def column(kind: str, said: list[Any]) -> pd.Series:
    if kind.startswith(("datetime", "timedelta")):
        naive, _, zone = kind.rstrip("]").partition(", ")
        numbers = np.array([np.iinfo("i8").min if each is None else each for each in said], dtype="i8")
        series = pd.Series(numbers.view(f"{naive.rstrip(']')}]"))
        return series.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else series
    return pd.Series(said, dtype=kind)


def back(value: object) -> Any:
    return values.unpack(*values.pack(value))


def assert_same(found: Any, frame: Any) -> None:
    check = pd.testing.assert_frame_equal if isinstance(frame, pd.DataFrame) else pd.testing.assert_series_equal
    check(found, frame, check_exact=True, check_freq=True, check_index_type=True)


@given(frames())
@settings(max_examples=50, deadline=None)
def test_every_frame_comes_back(frame: pd.DataFrame) -> None:
    """Values, dtypes, what is missing, names and order are the same; equal frames are equal bytes."""
    found = back(frame)

    assert_same(found, frame)
    assert list(found.dtypes) == list(frame.dtypes)
    assert values.pack(frame) == values.pack(found)


INDEXES = {
    "range": pd.RangeIndex(10, 4, -2, name="n"),
    "text": pd.Index(["a", "b", "a"], name=("x", 1)),
    "days": pd.date_range("2026-01-01", periods=3, freq="D", tz="Europe/Paris", name="day"),
    "pairs": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), (None, 1)], names=["k", None]),
    "floats": pd.Index([1.5, np.nan, 2.5]),
    "categories": pd.CategoricalIndex(["x", "y", "x"]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_every_index_comes_back(name: str) -> None:
    """An index keeps its kind, its names, its levels and its frequency, over rows, over columns, and alone."""
    index = INDEXES[name]

    assert_same(back(pd.DataFrame({"v": range(3)}, index=index)), pd.DataFrame({"v": range(3)}, index=index))
    assert_same(back(pd.Series(range(3), index=index, name="s")), pd.Series(range(3), index=index, name="s"))
    pd.testing.assert_index_equal(back(pd.DataFrame([range(3)], columns=index)).columns, index)
    pd.testing.assert_index_equal(back(index), index)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=pd.RangeIndex(3)),
        pd.DataFrame({"a": [], "b": pd.Series([], dtype="str")}),
        pd.DataFrame([[1, 2, 3]], columns=pd.Index([1, ("a", 2), None], dtype=object)),
        pd.DataFrame({"d": [Decimal("1.10"), None], "n": [[[1], {"a": (2,)}], np.array([1, 2])]}),
        pd.DataFrame({"c": pd.Categorical([3, 1, None], categories=[3, 2, 1], ordered=True)}),
        pd.DataFrame({"t": pd.to_datetime(["2026-01-01"]).tz_localize(dates.timezone(dates.timedelta(hours=5)))}),
    ],
    ids=["nothing", "no columns", "no rows", "odd names", "nested", "ordered", "offset"],
)
def test_odd_frames_come_back(frame: pd.DataFrame) -> None:
    """What is empty, nested, oddly named, ordered or in a zone without a name is the same."""
    assert_same(back(frame), frame)


def test_single_values_come_back() -> None:
    """A moment, a duration and what is missing keep their types, also inside of others."""
    moment = pd.Timestamp("2026-07-01 12:00", tz="Europe/Paris")

    assert back([moment, pd.Timedelta("1 ns")]) == [moment, pd.Timedelta("1 ns")]
    assert str(back(moment).tz) == "Europe/Paris"
    assert back({"a": pd.NaT})["a"] is pd.NaT and back(pd.NA) is pd.NA
    assert_same(back({"both": [pd.DataFrame({"a": [1]})]})["both"][0], pd.DataFrame({"a": [1]}))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"p": pd.period_range("2026", periods=1)}), r"column 'p': .* period\[D\] cannot travel: convert"),
        (pd.DataFrame({"i": pd.interval_range(0, 1)}), "column 'i'"),
        (pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}), "column 's'"),
        (pd.DataFrame({"o": [object()]}), "column 'o': a value of type object cannot travel"),
        (pd.DataFrame({"h": ["\ud800"]}, dtype=object), "half a character"),
    ],
)
def test_unfit(frame: pd.DataFrame, words: str) -> None:
    """A dtype that cannot travel is refused with the name of its column."""
    with pytest.raises(Unfit, match=words):
        values.pack(frame)


def test_no_pyarrow_is_needed() -> None:
    """Frames travel where pyarrow cannot be imported."""
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import pandas as pd\nfrom ipy_codeinterp.sandbox.inside import values\n"
        "df = pd.DataFrame({'a': [1, None], 's': ['x', None], 't': pd.to_datetime(['2026-01-01', None])})\n"
        "pd.testing.assert_frame_equal(values.unpack(*values.pack(df)), df)\nprint('same')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr
