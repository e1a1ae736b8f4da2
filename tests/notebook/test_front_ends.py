"""One notebook on every front end that is here: papermill, nbval, nbconvert, `jupyter console` and plain IPython."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pexpect
import pytest

from .test_nbval import nbval

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox, pytest.mark.slow]

FIGURE = "plt.plot([1, 4, 9])\nplt.title('Squares')\nplt.show()"
CELLS = [
    "%load_ext ipy_codeinterp",
    f"%%interp -o r\nimport matplotlib.pyplot as plt\nprint('seen', 6 * 7)\n{FIGURE}",
    "%%interp --container kept\nimport pandas as pd\nfound = pd.DataFrame({'city': ['Oslo', 'Rome'], 'n': [17, 4242]})",
    "%%interp --container kept\nfound",
    "r.offer, len(r.images)",
    "%interp panel",
]
ALT = "Squares. 1 line"  # for who does not see the figure
SAID = ["seen 42", "local@local"]
KEYS_AND_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>78]|\r")
PATIENCE = 60  # seconds until what never comes fails a test


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook, as one writes it: without outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("front-ends") / "written.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def deterministic(clean_environment: dict[str, str]) -> dict[str, str]:
    return {**clean_environment, "IPY_CODEINTERP_RENDER": "deterministic"}


def call(*command: object, environment: dict[str, str]) -> str:
    """What it said; it has to go well."""
    words = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def executed(written: Path, deterministic: dict[str, str]) -> Path:
    """As papermill executed it."""
    path = written.with_name("executed.ipynb")
    call("papermill", "--no-progress-bar", "--cwd", written.parent, written, path, environment=deterministic)
    return path


def test_papermill(executed: Path) -> None:
    """papermill runs every cell; figure, table and figures of the panel are in the file it writes."""
    cells = nbformat.read(executed, as_version=4).cells
    shown = [[kind for o in cell.outputs for kind in o.get("data", {"text": 0})] for cell in cells]

    assert cells[1].outputs[0].text == "seen 42\n"
    assert "image/png" in shown[1] and "text/html" in shown[3]
    (figure,) = [output for output in cells[1].outputs if "image/png" in output.get("data", {})]
    assert figure.metadata["image/png"]["alt"] == ALT
    assert cells[4].outputs[0].data["text/plain"] == "('local@local', 1)"
    assert "text/html" in shown[5]


def test_papermill_stops_where_code_raised(deterministic: dict[str, str], written: Path) -> None:
    """A cell whose code raised ends the run with an error that names it; a parameter is a variable of the notebook."""
    sent = nbformat.v4.new_code_cell("%%interp --in parts\nprint(1 / parts)")
    first = nbformat.v4.new_code_cell("%load_ext ipy_codeinterp\nparts = 1")
    first.metadata.tags = ["parameters"]
    path, out = written.with_name("parameters.ipynb"), written.with_name("out.ipynb")
    notebook = nbformat.v4.new_notebook(cells=[first, sent, nbformat.v4.new_code_cell("print('after')")])
    notebook.metadata = nbformat.read(written, as_version=4).metadata
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-p", "parts", "0", path, out]
    done = subprocess.run(command, env=deterministic, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.returncode != 0 and "ZeroDivisionError" in done.stderr
    assert nbformat.read(out, as_version=4).cells[-1].outputs == []


def test_nbval(executed: Path, clean_environment: dict[str, str]) -> None:
    """What papermill wrote is what a strict nbval finds again."""
    failed, printed = nbval(executed, clean_environment)

    assert failed == [], printed


class Page(HTMLParser):
    """The parts of a page that show something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.heads = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images += [dict(attrs)] * str(dict(attrs)["src"]).startswith("data:image/png;base64,")
        self.heads += tag == "th"


def test_nbconvert(written: Path, clean_environment: dict[str, str]) -> None:
    """nbconvert executes it into a page with text, the figure, the table, a footer a cell, and a static panel."""
    call("nbconvert", "--execute", "--to", "html", written, environment=clean_environment)
    html = written.with_suffix(".html").read_text("utf-8")
    page = Page(html)

    assert len(page.images) == 1
    assert all(said in html for said in SAID)
    assert re.search(r"<td[^>]*>Oslo</td>\s*<td[^>]*>17</td>", html)
    assert html.count('class="interp-footer') == 3
    assert "Interpreter calls of this session" in html and page.heads > 10
    assert "widget model not found" not in html


def test_words_of_a_figure(executed: Path, clean_environment: dict[str, str]) -> None:
    """nbconvert's template that asks for the words of a figure finds them."""
    call("nbconvert", "--to", "html", "--template", "classic", executed, environment=clean_environment)

    assert [image["alt"] for image in Page(executed.with_suffix(".html").read_text("utf-8")).images] == [ALT]


@pytest.fixture(params=["IPython", "jupyter_console"])
def typed(request: pytest.FixtureRequest, clean_environment: dict[str, str], tmp_path: Path) -> Iterator[list[str]]:
    """What a terminal has shown for each cell that was typed into it."""
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", request.param],
        env={**clean_environment, "TERM": "xterm"},
        cwd=tmp_path,
        dimensions=(60, 200),
        timeout=PATIENCE,
        encoding="utf-8",
    )
    try:
        yield [*screens(terminal)]
    finally:
        terminal.close(force=True)


def screens(terminal: pexpect.spawn[str]) -> Iterator[str]:
    """Paste each cell, press Enter (twice more where a cell magic waits for empty lines), wait for the next prompt."""
    for number, cell in enumerate([*CELLS, "%%interp\n1 / 0"], start=1):
        terminal.expect(prompt(number))
        terminal.send(f"\x1b[200~{cell}\x1b[201~")
        terminal.send("\r\r\r" if "\n" in cell else "\r")
        terminal.expect(prompt(number + 1))
        yield KEYS_AND_COLOURS.sub("", terminal.before or "")
        terminal.send("\r")  # the prompt has been read: an empty line brings it again


def prompt(number: int) -> str:
    colour = r"(?:\x1b\[[\d;]*m)*"
    return rf"In {colour}\[{colour}{number}{colour}\]"


def test_terminals(typed: list[str]) -> None:
    """A terminal shows text, tables and the panel as text, a footer below each cell, and the code's own traceback."""
    _, text, _, table, facts, panel, failed = typed

    assert "seen 42\n" in text
    assert "interp: local@local" in text and "verbatim" in text
    assert re.search(r"0\s+Oslo\s+17\n", table.replace("\n\n", "\n"))
    assert "('local@local', 1)" in facts
    assert re.search(r"local@local\s+3\s+0\s+100%", panel)
    assert "ZeroDivisionError: division by zero" in failed and "ipy_codeinterp/" not in failed
