"""What a person sees of `%%interp` in a real JupyterLab: output while it runs, the panel, state, order, and no harm."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ipy_codeinterp.verbs import SANITIZER

from .lab import LabPage, OpenNotebook

LOAD = "%load_ext ipy_codeinterp"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_first_cell.ipynb"
INTERRUPT_TIMEOUT = 15.0

SLOW = """%%interp
import time
print("first")
time.sleep(5)
print("second")"""

FIGURE_AND_TABLE = """%%interp
import matplotlib.pyplot as plt
import pandas as pd
plt.plot([1, 4, 9])
pd.DataFrame({"city": ["Oslo", "Rome"], "n": [17, 4242]})"""


def test_output_is_on_the_screen_while_the_cell_runs(open_notebook: OpenNotebook) -> None:
    """The first line is read before the second is printed; a figure is an image, a DataFrame a table."""
    page = open_notebook([LOAD, SLOW, FIGURE_AND_TABLE])
    page.run_all()
    page.wait_text(1, "first")
    assert (page.prompt(1), page.text(1)) == ("[*]:", "first")
    page.wait_idle()
    assert (page.prompt(1), page.text(1)) == ("[2]:", "first\nsecond")

    ((width, height),) = page.images(2)
    assert width > 100 < height
    assert page.table(2) == [["", "city", "n"], ["0", "Oslo", "17"], ["1", "Rome", "4242"]]
    assert page.errors() == []


def test_the_panel_counts_and_leaves_a_table(open_notebook: OpenNotebook) -> None:
    """Calls, list price, latency and failures go on while cells run; closing leaves plain HTML in the file."""
    cells = ["%%interp\n1", "%%interp --model claude\nprint('a' * 400)", "%%interp\n1 / 0", "%interp panel --close"]
    page = open_notebook([f"{LOAD}\n%interp panel", *cells])
    seen = []
    for cell in range(4):
        page.run(cell)
        page.wait_idle()
        seen.append(figures(page, 0))
    assert [figure["calls"] for figure in seen] == ["0", "1", "2", "3"]
    assert [figure["failures"] for figure in seen] == ["0", "0", "0", "1"]
    assert {figure["billed"] for figure in seen} == {"$0.00"}
    assert [float(figure["list price ~"].lstrip("$")) > 0 for figure in seen] == [False, False, True, True]
    assert seen[0]["p50"] == "–"
    assert all(float(figure["p50"].split()[0]) > 0 for figure in seen[1:])

    page.run(4)
    page.wait_idle()
    assert figures(page, 0) == seen[-1]
    (left,) = page.save()["cells"][0]["outputs"]
    assert sorted(left["data"]) == ["text/html", "text/plain"]
    assert "".join(left["data"]["text/html"]).startswith("<div")
    assert page.errors() == []


@pytest.mark.filterwarnings("ignore:record_property is incompatible")  # with the default kind of --junitxml
def test_a_container_outlives_an_interrupt(
    open_notebook: OpenNotebook, record_property: Callable[[str, object], None]
) -> None:
    """Variables stay from cell to cell, also when the stop button ended the cell that made them."""
    interrupted = "y = 41\nprint('begun')\nimport time\ntime.sleep(60)"
    bodies = ["x = 17", "print(x)", interrupted, "print(x, y)"]
    page = open_notebook([LOAD, *(f"%%interp --container a\n{body}" for body in bodies)])
    for cell in range(3):
        page.run(cell)
    page.wait_idle()
    assert page.text(2) == "17"

    page.run(3)
    page.wait_text(3, "begun")
    pressed = time.monotonic()
    page.interrupt()
    page.tab.wait_for_function("drive.prompt(3) === '[4]:'", timeout=INTERRUPT_TIMEOUT * 1000)
    record_property("interrupt_seconds", round(time.monotonic() - pressed, 2))
    page.wait_idle()
    assert page.text(3).startswith("begun\nKeyboardInterrupt")

    page.run(4)
    page.wait_idle()
    assert page.text(4) == "17 41"
    assert page.errors() == []


IN_ORDER = """
import matplotlib.pyplot as plt
print("before")
plt.plot([1, 4, 9])
plt.show()
print("after")"""

CLEARED = """
import time
from IPython.display import clear_output
for step in range(6):
    clear_output(wait=True)
    print("step", step)
    time.sleep(0.05)"""

UPDATED = """
import time
handle = display("0 %", display_id=True)
print("between")
for percent in (50, 100):
    time.sleep(0.2)
    handle.update(f"{percent} %")"""


def test_run_all_beside_nest_asyncio(open_notebook: OpenNotebook) -> None:
    """With the original nest_asyncio applied every queued cell runs, each with its outputs in their final state."""
    bodies = ["print(1)", IN_ORDER, CLEARED, UPDATED, "print('last')"]
    page = open_notebook(
        [f"import nest_asyncio\nnest_asyncio.apply()\n{LOAD}", *(f"%%interp\n{body}" for body in bodies)]
    )
    page.run_all()
    page.wait_idle()
    assert [page.prompt(cell) for cell in range(6)] == [f"[{n}]:" for n in range(1, 7)]
    assert [page.text(cell) for cell in (1, 3, 4, 5)] == ["1", "step 5", "'100 %'\nbetween", "last"]
    kinds = [
        output.get("text", "figure" if "image/png" in output.get("data", ()) else "footer")
        for output in page.outputs(2)
    ]
    assert kinds == ["before\n", "figure", "after\n", "footer"]
    assert len(page.images(2)) == 1
    assert page.errors() == []


def test_a_notebook_saved_by_the_lab_passes_nbval(
    open_notebook: OpenNotebook, clean_environment: dict[str, str]
) -> None:
    """What Run All and Save leave is what a strict nbval gets, volatile figures and all."""
    page = open_notebook(NOTEBOOK)
    page.run_all()
    page.wait_idle(timeout=90)
    assert page.errors() == []
    page.save()
    options = ["--nbval", "--nbval-sanitize-with", str(SANITIZER), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, page.file.name]
    run = subprocess.run(
        command, cwd=page.file.parent, env=clean_environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def figures(page: LabPage, cell: int) -> dict[str, str]:
    """What the panel says of all calls: its last row."""
    heads, *_, values = page.table(cell)
    return dict(zip(heads, values, strict=True))
