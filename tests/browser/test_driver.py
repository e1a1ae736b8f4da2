"""Proves the browser driver against a plain notebook, so that other browser tests may trust it."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from .lab import OpenNotebook

PICTURE = """
from IPython.display import SVG
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect width="30" height="20" fill="teal"/></svg>')
"""


def test_page_file_and_picture_show_what_the_cells_did(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    """What is read from the page, saved to the file and photographed is what the cells did."""
    page = open_notebook(["import sys; print(sys.executable)", PICTURE, "for n in range(80): print(n)", "1 / 0"])
    page.run_all()
    page.wait_idle()
    assert page.text(0) == sys.executable
    assert page.images(1) == [(30, 20)]
    assert [page.prompt(cell) for cell in range(4)] == ["[1]:", "[2]:", "[3]:", "[4]:"]
    assert page.outputs(3)[0]["ename"] == "ZeroDivisionError"
    assert [cell["execution_count"] for cell in page.save()["cells"]] == [1, 2, 3, 4]
    page.screenshot(tmp_path / "window.png")
    page.screenshot(tmp_path / "full.png", full=True)
    page.screenshot(tmp_path / "cell.png", cell=2)
    window, full, cell = (height_of(tmp_path / f"{name}.png") for name in ("window", "full", "cell"))
    assert window == 900 < cell < full
    assert page.errors() == []


def test_the_stop_button_interrupts(open_notebook: OpenNotebook) -> None:
    """The stop button ends the running cell and the queued ones, and the kernel lives on."""
    page = open_notebook(["import time; print('begun', flush=True); time.sleep(600)", "print('queued')"])
    page.run_all()
    page.wait_text(0, "begun")
    assert page.prompt(0) == page.prompt(1) == "[*]:"
    page.interrupt()
    page.wait_idle(timeout=15)
    assert "KeyboardInterrupt" in page.text(0)
    assert page.outputs(1) == []
    page.set_source(1, "print(6 * 7)")
    page.run(1)
    assert page.wait_text(1, r"\d+")[0] == "42"


def test_trouble_in_the_page_is_noticed(open_notebook: OpenNotebook) -> None:
    """Errors of the console, of scripts and of requests are each reported."""
    page = open_notebook(
        [
            "from IPython.display import HTML, Javascript; HTML('<img src=\"https://cdn.example/a.png\">')",
            'Javascript(\'console.error("red"); setTimeout(() => { throw new Error("thrown") })\')',
            "HTML('<img src=\"/not-there.png\">')",
        ]
    )
    page.run_all()
    page.wait_idle()
    assert page.images(0) == page.images(2) == [(0, 0)]
    found = "\n".join(page.errors())
    for sign in ("console: red", "page: thrown", "cdn.example/a.png: net::ERR_NAME_NOT_RESOLVED", "not-there.png: 404"):
        assert sign in found


def height_of(png: Path) -> int:
    return struct.unpack(">II", png.read_bytes()[16:24])[1]
