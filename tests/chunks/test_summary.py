"""Aggregates and types of columns: merged from parts, they are what pandas finds in the whole."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.chunks import columns, inside
from ipy_codeinterp.chunks.summary import Summary, merged
from ipy_codeinterp.errors import InvalidInput

number = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-(10**6), 10**6))


def summary_of(values: object) -> dict[str, Summary]:
    """As the inside makes it."""
    told = inside.summarize(pd.Series(values, dtype="float64", name="x"))
    return {name: Summary(**each) for name, each in told.columns.items()}


@settings(max_examples=100, deadline=None)
@given(values=st.lists(number, min_size=1, max_size=60), size=st.integers(1, 20))
def test_merged_is_the_whole(values: list[float | None], size: int) -> None:
    """Wherever the rows are cut, count, mean, std, min and max are pandas' own of the whole (D46)."""
    whole = pd.Series(values, dtype="float64")

    found = merged(summary_of(values[at : at + size]) for at in range(0, len(values), size))["x"]

    assert found.count == whole.count()
    assert found.mean == pytest.approx(whole.mean(), rel=1e-9, abs=1e-6, nan_ok=True)
    assert found.std == pytest.approx(whole.std(), rel=1e-9, abs=1e-6, nan_ok=True)
    assert found.sum == pytest.approx(whole.sum(), rel=1e-9, abs=1e-6)
    assert (found.min, found.max) == ((whole.min(), whole.max()) if found.count else (None, None))


def test_a_large_mean_loses_nothing() -> None:
    """Where squares would swallow the deviations, these stay exact (D46)."""
    values = 1e9 + np.random.default_rng(1).normal(size=10_000)

    found = merged(summary_of(part) for part in np.split(values, 100))["x"]

    assert found.std == pytest.approx(values.std(ddof=1), rel=1e-9)


def test_infinities() -> None:
    """An infinity makes the mean infinite, both signs make it none, as in pandas."""
    one, both = [[1.0, math.inf], [2.0]], [[math.inf], [-math.inf, 1.0]]

    assert merged(map(summary_of, one))["x"].mean == math.inf
    assert math.isnan(merged(map(summary_of, one))["x"].std)
    assert math.isnan(merged(map(summary_of, both))["x"].mean)


def test_whole_numbers_stay_whole() -> None:
    """The least and greatest of whole numbers are whole, of words there are none."""
    told = inside.summarize(pd.DataFrame({"n": [2**60 + 1, 3], "word": ["a", "b"]})).columns

    assert list(told) == ["n"]
    assert (told["n"]["min"], told["n"]["max"]) == (3, 2**60 + 1)


LARGE = "18446744073709551615"
CELLS = ("1", "-7", "2.5", "", "x", "True", "False", LARGE, "01", "1e400")


@settings(max_examples=80, deadline=None)
@given(cells=st.lists(st.sampled_from(CELLS), min_size=1, max_size=8), size=st.integers(1, 4))
def test_types_are_those_of_the_whole(cells: list[str], size: int) -> None:
    """Every range reads as the same part of the whole does, whatever comes in another range (D45)."""

    def read(part: list[str], dtype: object = None) -> pd.DataFrame:
        return pd.read_csv(
            io.StringIO("k,x\n" + "".join(f"k,{cell}\n" for cell in part)), dtype=dtype, low_memory=False
        )

    parts = [cells[at : at + size] for at in range(0, len(cells), size)]
    looks = [{str(name): inside.looked_at(column) for name, column in read(part).items()} for part in parts]
    found = columns.dtypes(looks, {})
    together = pd.concat([read(part, found) for part in parts], ignore_index=True)["x"]
    whole = read(cells)["x"]

    assert found["k"] == "str"
    if LARGE not in cells or found["x"] == "uint64":  # with gaps or words beside it pandas has several answers
        assert together.isna().tolist() == whole.isna().tolist()
        assert together.dropna().tolist() == whole.dropna().tolist()


def test_given_types_count() -> None:
    """What the user says of a column counts; a column that is not there is refused (D45)."""
    looks = [{"zip": ("int64", False), "n": ("int64", False)}]

    assert columns.dtypes(looks, {"zip": "str"}) == {"zip": "str", "n": "int64"}
    with pytest.raises(InvalidInput, match="no column 'zap'"):
        columns.dtypes(looks, {"zap": "str"})
