"""Hostile output in a real page: on no way to the screen does anything run, ask for anything or cover what is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .lab import LabPage, OpenNotebook
from .labserver import LabServer
from .witness import Witness, watching

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOAD = "%load_ext ipy_codeinterp"
SERVER = "/api/contents/planted"  # what a script asks of the Jupyter server, with the user's own rights

# Each is a display of its own, so that one that is dropped as a whole hides no other. {web} and {tls} are a witness.
PLANTED = [
    '<b>innocent</b><img src="{web}/img" onerror="window.__pwned = 1"><img srcset="{web}/srcset 1x">',
    '<img src="{tls}/tls">',
    '<script src="{web}/script"></script><script>window.__pwned = 2; fetch("{server}")</script>',
    '<form action="{web}/form" target="planted"><input name="a" value="b"><button>Run again</button></form>',
    "<img src=\"/missing.png\" onerror=\"window.__pwned = 3; fetch('{server}', {{method: 'POST'}})\">",
    '<a href="javascript:window.__pwned = 4">link</a><a href="{web}/link" ping="{web}/ping">other link</a>',
    '<iframe src="data:text/html,<img src={web}/data>"></iframe>',
    '<iframe srcdoc="<img src={web}/srcdoc>"></iframe>',
    '<p style="background: url({web}/inline)">inline style</p>',
    "<style>@import url({web}/import); p {{ background: url({web}/sheet) }}</style><p>sheet</p>",
    '<svg onload="window.__pwned = 5"><image href="{web}/svg" /><script>window.__pwned = 6</script></svg>',
    '<video poster="{web}/poster" src="{web}/video" autoplay></video><audio src="{web}/audio" autoplay></audio>',
    '<link rel="stylesheet" href="{web}/linked"><object data="{web}/object"></object><embed src="{web}/embed">',
    '<details open ontoggle="window.__pwned = 7"><summary>more</summary></details>',
    '<div style="position: fixed; inset: 0; z-index: 99999; background: red">overlay</div>',
    '<table background="{web}/table"><tr><td background="{web}/cell">cell</td></tr></table>',
]
BITES = {  # what the same asks for where it comes from the kernel itself: the page lets all of these through
    *{"img", "srcset", "script", "srcdoc", "inline", "import", "sheet", "svg", "poster", "linked", "object", "embed"},
    *{"table", "cell", "markdown"},
}

HOSTILE = """
from IPython.display import HTML, Javascript, Latex, Markdown, display
for planted in {planted!r}:
    display(HTML(planted))
display(Javascript("window.__pwned = 8; fetch('{server}')"))
display(Markdown("![x]({web}/markdown) <img src='{web}/markdown' onerror='window.__pwned = 9'>"))
display(Latex(r"$\\href{{javascript:window.__pwned=10}}{{x}}\\includegraphics{{{web}/latex}}$"))
display({{"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>"
         "<image href='{web}/picture' width='9' height='9'/><script>window.__pwned = 11</script></svg>"}}, raw=True)
display({{"text/html": "<b>late</b>"}}, raw=True, display_id="late")
display({{"text/html": "<img src='{web}/late' onerror='window.__pwned = 12'>"}}, raw=True, display_id="late",
        update=True)
raise ValueError("<img src='/error.png' onerror='window.__pwned = 13'>")
"""

LIVE_PARTS = """cell => {
  const inside = [...drive.area(cell).querySelectorAll('.jp-OutputArea-output *')]
    .filter(e => !e.matches('.jp-RenderedText a'));  // the Lab itself links what reads like a place
  return {
    live: inside.filter(e => e.matches('a[href], iframe, script, style, form, input, button, object, embed, svg, link')
      || [...e.attributes].some(a => a.name.startsWith('on') || a.value.includes('javascript:')))
      .map(e => e.outerHTML.slice(0, 100)),
    floating: inside.filter(e => ['fixed', 'absolute', 'sticky'].includes(getComputedStyle(e).position)).length,
  };
}"""


@pytest.fixture
def witness() -> Iterator[Witness]:
    with watching() as there:
        yield there


def planted_for(witness: Witness) -> str:
    """A cell that plants all of it."""
    known = {"web": witness.urls["http"], "tls": witness.urls["https"], "server": SERVER}
    return HOSTILE.format(planted=[each.format(**known) for each in PLANTED], **known)


def asked_of(lab: LabServer) -> bool:
    """Whether the Jupyter server's log has what a planted script asks for."""
    return SERVER in lab.log.read_text()


def begin_again(**variables: str) -> str:
    """A cell that makes the session anew, under these variables of ours and no others."""
    known = {f"IPY_CODEINTERP_{name.upper()}": value for name, value in variables.items()}
    return (
        "import os\nfor name in ('IPY_CODEINTERP_RECORD', 'IPY_CODEINTERP_REPLAY'): os.environ.pop(name, None)\n"
        f"os.environ.update({known!r})\n%reload_ext ipy_codeinterp"
    )


def test_nothing_is_asked_for_on_any_way_to_the_screen(
    open_notebook: OpenNotebook, lab: LabServer, witness: Witness
) -> None:
    """Live, in the background, from the journal, recorded, replayed and exported: the witness and the server's log
    hear nothing, and nothing runs; the same from the kernel itself is heard by both.
    """
    code = planted_for(witness)
    ways = {
        "live": f"%%interp --no-raise-error{code}",
        "journaled": "%interp show",
        "in the background": f"%%interp --bg --no-raise-error{code}",
        "recorded": f"%%interp --no-raise-error{code}",
        "replayed": f"%%interp --no-raise-error --out served{code}",
    }
    before = {"recorded": begin_again(record="kept"), "replayed": begin_again(replay="kept")}
    cells, shown = [LOAD], {}
    for way, source in ways.items():
        cells += [before[way]] if way in before else []
        shown[len(cells)] = way
        cells.append(source)
    page = open_notebook([*cells, "served.source", code])
    for cell in range(len(cells)):
        page.run(cell)
        if way := shown.get(cell):
            page.wait_text(cell, "ValueError")
            page.wait_idle()
            assert "innocent" in page.text(cell), way
            assert page.tab.evaluate(LIVE_PARTS, cell) == {"live": [], "floating": 0}, way
            quiet(page.tab, witness, way)
            assert not asked_of(lab), way
    served, bare = len(cells), len(cells) + 1
    page.run(served)
    page.wait_text(served, "'replay'")
    assert page.errors() == []

    exported = export(page)
    tab = page.tab.context.new_page()
    tab.goto(exported.as_uri(), wait_until="domcontentloaded")
    assert "innocent" in tab.inner_text("body")
    quiet(tab, witness, "exported")
    tab.close()

    page.run(bare)  # the same without a sandbox, to see that it bites
    page.tab.wait_for_function("window.__pwned !== undefined")
    page.wait_idle()
    page.tab.wait_for_load_state("networkidle")
    bites = page.tab.evaluate(LIVE_PARTS, bare)
    assert len(bites["live"]) > 5 and bites["floating"] > 0
    assert witness.asked() >= BITES
    assert asked_of(lab)


def quiet(tab: Page, witness: Witness, way: str) -> None:
    """Nothing was asked for, nor ran, when the page has come to rest."""
    tab.wait_for_load_state("networkidle")
    assert tab.evaluate("window.__pwned") is None, way
    assert witness.seen == [], way


def export(page: LabPage) -> Path:
    """The notebook as the Lab saved it, as a page of HTML, which nbconvert does not sanitise."""
    saved: dict[str, Any] = page.save()
    assert len(saved["cells"]) > 5
    command = [sys.executable, "-m", "nbconvert", "--to", "html", page.file.name]
    subprocess.run(command, cwd=page.file.parent, check=True, capture_output=True, timeout=60)
    return page.file.with_suffix(".html")
