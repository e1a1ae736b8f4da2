"""JSON that may be anything, for what has to read it without raising a foreign error."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def anything_with(*names: str, words: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Any JSON value, with the member names and words of a format among its own."""
    said = st.sampled_from(words) | st.text(max_size=8) if words else st.text(max_size=8)
    leaves = st.none() | st.booleans() | st.integers(-2, 1 << 70) | st.floats() | said
    keys = st.sampled_from(names) | st.text(max_size=3)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))
