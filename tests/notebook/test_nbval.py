"""Notebooks as tests: what nbval compares is the same each time, and it fails when something changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from ipy_codeinterp.verbs import SANITIZER

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

FIRST_CELL = Path(__file__).parents[2] / "notebooks" / "01_first_cell.ipynb"


def nbval(notebook: Path, environment: dict[str, str], *more: str) -> tuple[list[int], str]:
    """The indices of the code cells that strict nbval fails, and what it printed; `more` are options."""
    options = [
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        notebook.parent,
    ]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *more, notebook],
        env=environment,
        cwd=notebook.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    failed = re.findall(r"^FAILED .*::Cell (\d+)", run.stdout, re.MULTILINE)
    assert run.returncode == bool(failed), run.stdout + run.stderr
    return sorted(map(int, failed)), run.stdout


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_a_changed_value_table_or_figure_fails(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """Changing a printed value or a table's cell, or removing a figure, fails just that cell."""
    notebook = nbformat.read(FIRST_CELL, as_version=4)
    cells = code_cells(notebook)
    changed = {}
    for index, cell in enumerate(cells):
        for output in cell.outputs:
            if output.output_type == "stream" and "1229" in output.text:
                output.text = output.text.replace("1229", "1230")
                changed[index] = "printed value"
            elif "text/html" in output.get("data", {}) and "13.74" in output.data["text/html"]:
                output.data["text/html"] = output.data["text/html"].replace("13.74", "13.75")
                changed[index] = "table cell"
    path = tmp_path / "changed.ipynb"
    nbformat.write(notebook, path)

    failed, printed = nbval(path, clean_environment)

    assert len(changed) == 2
    assert failed == sorted(changed), printed


def test_a_removed_figure_fails(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """A figure that is no longer there, or one too many, is noticed."""
    notebook = nbformat.read(FIRST_CELL, as_version=4)
    cells = code_cells(notebook)
    with_figure = next(i for i, c in enumerate(cells) if any("image/png" in o.get("data", {}) for o in c.outputs))
    cells[with_figure].outputs = [o for o in cells[with_figure].outputs if "image/png" not in o.get("data", {})]
    path = tmp_path / "without.ipynb"
    nbformat.write(notebook, path)

    failed, printed = nbval(path, clean_environment)

    assert failed == [with_figure], printed


def test_what_was_shown_live_passes(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """Outputs saved from a live run, with updates, clears and footers, are what nbval sees with the shipped file."""
    cells = [
        "%load_ext ipy_codeinterp",
        "%%interp\nfrom IPython.display import display, clear_output\n"
        "shown = display('one', display_id=True)\nprint('a')\nshown.update('two')",
        "%%interp\nfrom IPython.display import clear_output\n"
        "for i in range(3):\n    clear_output(wait=True)\n    print('step', i)",
        "%%interp --container c\nx = [1]\nx",
        "%%interp --container c\nimport sys\nprint(x)\nprint('late', file=sys.stderr)",
        "%%interp\nimport time\ntime.sleep(1.5)",
        "%interp panel",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environment.items():
            patch.setenv(name, value)
        patch.delenv("PYTEST_CURRENT_TEST")
        patch.delenv("PYTEST_VERSION", raising=False)
        patch.setenv("JPY_SESSION_NAME", "as in JupyterLab")
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    notebook.metadata.pop("widgets", None)
    path = tmp_path / "live.ipynb"
    nbformat.write(notebook, path)

    failed, printed = nbval(path, clean_environment, "--nbval-sanitize-with", str(SANITIZER))

    saved = code_cells(notebook)
    assert "application/vnd.jupyter.widget-view+json" in saved[-1].outputs[0].data
    assert [footers(cell) for cell in saved] == [0, *[1] * 5, 0]
    assert failed == [], printed


def footers(cell: nbformat.NotebookNode) -> int:
    """How many of its outputs are one with figures in it."""
    texts = [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
    return sum("interp-footer" in text and "$0.00" in text for text in texts)
