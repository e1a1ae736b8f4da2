"""A benchmark in a notebook, recorded and replayed: the whole report, the same every time, and nbval sees it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from ipy_codeinterp.__main__ import OK, main
from tests.notebook.test_nbval import nbval

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox, pytest.mark.slow]

CELLS = (
    "%load_ext ipy_codeinterp",
    "%interp bench --model local,claude --work sieve,regression --repeat 3 --expect 'success >= 100 %'",
)


def test_replayed(
    clean_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Recorded once, it passes strict nbval in every replay, with its latencies and costs; what changes is found."""
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    notebook = tmp_path / "bench.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in CELLS]), notebook)
    assert main(["record", str(notebook), "--all"]) == OK, capsys.readouterr()
    assert main(["record", str(notebook), "--outputs-only"]) == OK, capsys.readouterr()
    shown = outputs(notebook)
    assert "local@local, claude@local: profiles of one sandbox" in shown
    assert "Latency" in shown and " ms (" in shown and "no difference found" in shown
    replay = ("--interp-replay", str(tmp_path / "bench.recording"))
    for home in ("one", "two"):
        environment = {**clean_environment, "IPY_CODEINTERP_DATA_DIR": str(tmp_path / home)}
        failed, said = nbval(notebook, environment, *replay)
        assert failed == [], said
    one, two = (report_of(tmp_path / home) for home in ("one", "two"))
    assert one == two
    notebook.write_text(notebook.read_text().replace("6 of 6", "5 of 6").replace("100.0%", "99.0%"))
    assert nbval(notebook, clean_environment, *replay)[0] == [1]


def outputs(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in cells[1].outputs)


def report_of(home: Path) -> dict[str, object]:
    """Apart from where and when it was worked out."""
    (path,) = home.glob("bench/*/report.json")
    return {name: value for name, value in json.loads(path.read_text()).items() if name != "provenance"}
