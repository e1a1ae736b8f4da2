"""Interactive figures are found, taken apart and said in words, whatever a sandbox puts in their place."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipy_codeinterp import interactive
from ipy_codeinterp.interactive import HIGHEST, LOWEST, MOST_WORDS, WHY, found
from ipy_codeinterp.mime import safe_bundle

PLOTLY = "application/vnd.plotly.v1+json"
VEGA_LITE = "application/vnd.vegalite.v6.json"
BOKEH = "application/vnd.bokehjs_exec.v0+json"

BARS = {
    "data": [{"type": "bar", "name": "Oslo"}, {"type": "bar", "name": "Rome"}, {"x": [1]}],
    "layout": {
        "title": {"text": "Sales"},
        "xaxis": {"title": {"text": "month"}},
        "yaxis": {"title": "units"},
        "height": 300,
    },
}
LINES = {
    "title": ["Two", "lines"],
    "layer": [{"mark": "line"}, {"mark": {"type": "point"}}],
    "encoding": {"x": {"field": "year"}, "y": {"field": "n", "title": "number"}},
    "height": 200,
}
ROOT = {"attributes": {"title": {"attributes": {"text": "Drift"}}, "height": 250}}


def bokeh(docs: object, items: object) -> dict[str, Any]:
    """What `show()` hands a notebook, as bokeh writes it."""
    script = (
        f"(function(root) {{\n  const docs_json = {json.dumps(docs)};\n  const render_items = {json.dumps(items)};\n"
        "  void root.Bokeh.embed.embed_items_notebook(docs_json, render_items);\n})(window);"
    )
    return {"application/javascript": script, BOKEH: ""}


@pytest.mark.parametrize(
    ("bundle", "words", "height"),
    [
        ({PLOTLY: BARS}, "plotly figure: Sales. 2 bar, 1 scatter. x axis: month, y axis: units. Oslo, Rome", 300),
        ({PLOTLY: {}}, "plotly figure", 450),
        ({VEGA_LITE: LINES}, "vega-lite figure: Two lines. 1 line, 1 point. x axis: year, y axis: number", 290),
        ({"application/vnd.vega.v5+json": {"title": "T"}}, "vega figure: T", 400),
        (bokeh({"d": {"roots": [ROOT]}}, [{"roots": {"p1": "e1"}}]), "bokeh figure: Drift", 260),
    ],
    ids=["plotly", "plotly, empty", "vega-lite", "vega", "bokeh"],
)
def test_a_figure_is_said_in_words(bundle: dict[str, Any], words: str, height: int) -> None:
    """Title, kinds, axes and names are told, and its height is what it names, with room for what is around."""
    figure = found(bundle)
    assert figure is not None
    assert (figure.words, figure.height) == (words, height)


def test_what_bokeh_would_hand_its_library_is_read_without_running_it() -> None:
    """The documents and their places come out of the script as data; what else it says is left behind."""
    figure = found(bokeh({"d": {"roots": [ROOT]}}, [{"roots": {"p1": "e1"}}]))
    assert figure is not None
    assert json.loads(figure.data) == {"docs": {"d": {"roots": [ROOT]}}, "items": [{"roots": {"p1": "e1"}}]}


@pytest.mark.parametrize(
    "bundle",
    [
        {PLOTLY: "<script>alert(1)</script>"},
        {PLOTLY: {"data": math.nan}},
        {PLOTLY: {"data": "x" * (interactive.MAX_CHARS + 1)}},
        {BOKEH: "", "application/javascript": "const docs_json = fetch('https://evil.example')"},
        {BOKEH: "", "application/javascript": "const docs_json = [1];const render_items = {}"},
        {BOKEH: ""},
        {"text/html": "<div id='x' data-root-id='y'>text</div>"},
    ],
    ids=["text", "not JSON", "too large", "a call", "not its shape", "without a script", "text in its place"],
)
def test_what_is_no_figure(bundle: dict[str, Any]) -> None:
    """What is not whole is no figure, and is left out for the reason that any unknown type has."""
    assert found(bundle) is None
    assert not interactive.is_beside(bundle)
    assert set(safe_bundle(bundle)[0]) <= {"text/plain", "text/html"}


def test_nested_without_end() -> None:
    """JSON that is nested too deeply to be written is no figure."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert found({PLOTLY: {"data": deep}}) is None


NAMES = st.sampled_from(
    ["data", "layout", "title", "text", "xaxis", "type", "name", "height", "mark", "layer", "encoding", "x", "field"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from([PLOTLY, VEGA_LITE]), st.dictionaries(NAMES, ANYTHING))
def test_of_any_shape(mime: str, value: dict[str, Any]) -> None:
    """Whatever JSON there is in the place of a figure, its words are short and plain, and its height is one."""
    figure = found({mime: value})
    if figure is not None:
        assert len(figure.said) <= MOST_WORDS and figure.words.isprintable()
        assert LOWEST <= figure.height <= HIGHEST
        assert json.loads(figure.data) == value


def test_without_the_flag_one_line_says_what_and_why() -> None:
    """A figure is left out with its words and the flag that shows it, and its scripts are not mentioned apart."""
    data, _ = safe_bundle({PLOTLY: BARS, "text/html": "<script>draw()</script>", "text/plain": "Figure({...})"})
    assert data == {
        "text/plain": f"[plotly figure not shown: {WHY}] Sales. 2 bar, 1 scatter. x axis: month, y axis: units."
        " Oslo, Rome"
    }
    assert "--interactive" in WHY


@pytest.mark.parametrize(
    "bundle",
    [
        {"application/javascript": "load()", "application/vnd.bokehjs_load.v0+json": "load()"},
        {"text/html": '\n  <div id="d98302c3" data-root-id="p1008" style="display: contents;"></div>\n'},
        {"text/html": "<style>\n  .bk-notebook-logo { display: block; }</style><div>Loading BokehJS ...</div>"},
    ],
    ids=["library", "place", "loading"],
)
def test_what_only_prepares_a_figure_is_passed_over(bundle: dict[str, Any]) -> None:
    """What bokeh shows beside its figures is nothing to see, and nothing is said of it."""
    assert interactive.is_beside(bundle)
    assert safe_bundle(bundle) == ({}, {})
