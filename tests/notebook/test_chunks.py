"""`%%interp --chunks`, through a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]


@pytest.fixture(autouse=True)
def data(folder: Path) -> None:
    (folder / "data.csv").write_text("id,x\n" + "".join(f"{i},{i}.5\n" for i in range(100)))


def test_a_report_is_shown_and_kept(kernel: Any) -> None:
    """Progress, what ranges print, and the merged figures are shown; the report is in the variable."""
    outputs = kernel.run("%%interp --chunks data.csv --rows 40 -o report\nprint(len(chunk))\nsummarize(chunk)")

    assert outputs.status == "ok"
    assert outputs.displays[0]["data"]["text/plain"] == "0 of 100 rows, 0 ranges done"
    assert outputs.updates[-1]["data"]["text/plain"] == "100 of 100 rows, 3 ranges done"
    assert outputs.stream().startswith(
        "rows 0 to 39:\n40\nrows 40 to 79:\n40\nrows 80 to 99:\n20\n100 rows in 3 ranges\n"
    )
    assert kernel.run("print(report.summary['x'].mean, report.rows)").stream() == "50.0 100\n"


def test_a_failing_row_fails_the_cell(kernel: Any) -> None:
    """The cell fails with the code's traceback and the row; a checkpoint keeps the rest."""
    line = "%%interp --chunks data.csv --rows 50 --checkpoint kept -o report"

    outputs = kernel.run(f"{line}\n[1 // (row - 60) for row in chunk['id']]")

    assert outputs.error["ename"] == "RangeFailed"
    assert "row 60 failed: ZeroDivisionError" in outputs.traceback
    assert "60 of 100 rows are done and kept in " in outputs.traceback
    assert "ipy_codeinterp/" not in outputs.traceback
    assert kernel.run("print(report.rows_done)").stream() == "60\n"


def test_hints_come_first(kernel: Any) -> None:
    """A variable of the notebook is explained as in any cell."""
    kernel.run("factor = 3")

    outputs = kernel.run("%%interp --chunks data.csv\nfactor * 2")

    assert "factor" in outputs.traceback
    assert "notebook" in outputs.traceback


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--chunks none.csv", "there is no file none.csv"),
        ("--chunks data.csv --container a", "neither language nor container"),
        ("--rows 5", "--rows: it goes with --chunks"),
    ],
)
def test_mistakes(line: str, words: str, kernel: Any) -> None:
    """A mistake on the line is one line."""
    assert words in kernel.run(f"%%interp {line}\n1").traceback
