"""What draws itself by scripts elsewhere leaves the sandbox as data, without a word of configuration."""

from __future__ import annotations

import pytest

from ipy_codeinterp.execution import Display
from ipy_codeinterp.interactive import found, is_beside
from ipy_codeinterp.sandbox.container import Container

from .wing import Wing

pytestmark = pytest.mark.sandbox

PLOTLY = """
import plotly.express as px
fig = px.bar(x=["a", "b"], y=[1, 2], title="Sales")
fig.show()
fig"""
ALTAIR = """
import altair as alt
chart = alt.Chart(alt.Data(values=[{"a": "x", "b": 3}]), title="Bars").mark_bar().encode(x="a:O", y="b:Q")
display(alt.layer(chart, title="Layers"))
chart"""
BOKEH = """
from bokeh.io import output_notebook
from bokeh.plotting import figure, show
output_notebook()
p = figure(title="Drift", height=250)
p.line([1, 2], [3, 4])
show(p)"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (PLOTLY, ["plotly figure: Sales. 1 bar. x axis: x, y axis: y"] * 2),
        (ALTAIR, ["vega-lite figure: Layers. 1 bar", "vega-lite figure: Bars. 1 bar. x axis: a, y axis: b"]),
        (BOKEH, ["bokeh figure: Drift"]),
    ],
    ids=["plotly", "altair", "bokeh"],
)
def test_figures_are_data(wing: Wing, fresh: Container, code: str, words: list[str]) -> None:
    """Each figure is found in what comes out, and nothing else but what bokeh shows beside; no library travels."""
    ran = wing.run(code, container=fresh)
    bundles = [output.data for output in ran.outputs if isinstance(output, Display)]
    figures = [figure for bundle in bundles if (figure := found(bundle))]
    assert [figure.words for figure in figures] == words
    assert all(found(bundle) or is_beside(bundle) for bundle in bundles)
    assert sum(len(str(bundle)) for bundle in bundles) < 100_000


def test_a_renderer_of_the_code_stays(wing: Wing, fresh: Container) -> None:
    """Who enables a renderer of altair gets what it gives."""
    ran = wing.run(f"import altair\naltair.renderers.enable('json'){ALTAIR}", container=fresh)
    shown = [output.data for output in ran.outputs if isinstance(output, Display)]
    assert len(shown) == 2
    assert all("application/json" in data and found(data) is None for data in shown)
