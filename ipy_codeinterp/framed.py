"""An interactive figure as HTML: its data and the library that draws it, in a frame that nothing leaves.

What came from a sandbox is data here, packed, and never a script. The walls around it, from the inside:
1. The browser runs two scripts, known by their hashes: the library, which is of this machine, and the lines below.
2. A policy (CSP) forbids every load and every connection; what is drawn may only use what it carries.
3. The frame has an origin of its own (`sandbox`): it reaches neither the page, nor its storage, nor its server, and
   opens no window, sends no form and stores no download.
4. A frame may always navigate itself, which is a request, too. So it stands within another one, whose policy has no
   place that a frame in it may go to.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from dataclasses import dataclass

from ipy_codeinterp.interactive import Figure

BORDER = "1px solid rgba(128, 128, 128, 0.35)"
# White in every theme: figures bring dark text, and seldom a ground for it.
_STYLE = "<style>html { background: #fff; color-scheme: light } body { margin: 0; font: 13px sans-serif }</style>"

_BEGIN = """\
(async () => {
  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await new Response(stream).text();
  };
  const place = document.getElementById("place");
  try {
    const library = document.createElement("script");
    library.textContent = await unpacked("library");
    document.head.append(library);
    const figure = JSON.parse(await unpacked("data"));
"""
_END = """
  } catch (error) {
    place.textContent = `not drawn: ${error}`;
  }
})();
"""
# What would leave the frame (menus that open an editor, save a file, phone home) is not offered. `usermeta` would be
# options for the embedding itself.
_DRAW = {
    "plotly": """
    const modeBarButtonsToRemove = ["toImage", "sendDataToCloud", "sendChartToCloud"];
    const config = { modeBarButtonsToRemove, displaylogo: false, responsive: true };
    const { data, layout, frames } = figure;
    await Plotly.newPlot(place, { data, layout, frames, config });
""",
    "vega": """
    delete figure.usermeta;
    await vegaEmbed(place, figure, { mode: "vega", ast: true, actions: false, renderer: "svg" });
""",
    "vega-lite": """
    delete figure.usermeta;
    await vegaEmbed(place, figure, { mode: "vega-lite", ast: true, actions: false, renderer: "svg" });
""",
    "bokeh": """
    for (const id of figure.items.flatMap((item) => Object.values(item.roots))) {
      const root = document.createElement("div");
      root.id = id;
      place.append(root);
    }
    await Bokeh.embed.embed_items(figure.docs, figure.items);
""",
}


@dataclass(frozen=True, slots=True)
class Library:
    """A script, packed for a page; `digest` is how a policy names it. `evaluates`: it writes code of its own."""

    packed: str
    digest: str
    evaluates: bool = False

    @classmethod
    def of(cls, script: str, *, evaluates: bool = False) -> Library:
        return cls(_packed(script), _digest(script), evaluates)


def caption(figure: Figure) -> str:
    """What there is to see, in words: above the frame, and in its place where there is none."""
    return f'<div style="font-size: 0.85em; opacity: 0.75">{html.escape(figure.words)}</div>'


def frame(figure: Figure, library: Library) -> str:
    """The frame as an element, about as large as the library; the same figure gives the same text."""
    draw = _BEGIN + _DRAW[figure.kind] + _END
    head = f"<!doctype html>{_policy(draw, library)}{_STYLE}"
    parts = {"library": library.packed, "data": _packed(figure.data)}
    carried = "".join(f'<script type="text/plain" id="{name}">{packed}</script>' for name, packed in parts.items())
    inner = f'{head}<body><div id="place"></div>{carried}<script>{draw}</script>'
    outer = f"{head}<body>{_element(inner, figure.words, 'border: 0; position: fixed; width: 100%; height: 100%')}"
    size = f"width: 100%; height: {figure.height}px; resize: vertical; border: {BORDER}; background: #fff"
    return _element(outer, figure.words, size)


def _element(document: str, title: str, style: str) -> str:
    said = {"title": title, "sandbox": "allow-scripts", "referrerpolicy": "no-referrer", "style": style}
    attributes = " ".join(f'{name}="{html.escape(value)}"' for name, value in [*said.items(), ("srcdoc", document)])
    return f"<iframe {attributes}></iframe>"


def _policy(draw: str, library: Library) -> str:
    scripts = f"{_digest(draw)} {library.digest}" + (" 'unsafe-eval'" if library.evaluates else "")
    rules = (
        "default-src 'none'",
        f"script-src {scripts}",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "font-src data:",
        "frame-src 'none'",
        "form-action 'none'",
        "base-uri 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'


def _packed(text: str) -> str:
    """Letters and digits only: there is nothing in it to escape, or to break out with."""
    return base64.b64encode(gzip.compress(text.encode(errors="replace"), mtime=0)).decode()


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
