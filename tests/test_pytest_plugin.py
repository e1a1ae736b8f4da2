"""Notebooks under pytest: their cells are answered from a recording that an option or a project's file names."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ipy_codeinterp import pytest_plugin
from ipy_codeinterp.execution import Execution, Result, Step, Stream
from ipy_codeinterp.store.recording import Recording

SAYS = "import os\ndef test_it():\n    assert [os.environ.get(f'IPY_CODEINTERP_{n}') for n in {names}] == {values}\n"


def ran(environment: dict[str, str], folder: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a recording of one run, and a file that names it."""
    made = Recording(tmp_path / "study.recording")
    step = Step("print(6 * 7)", verbatim=True, outputs=(Stream("stdout", "42\n"),), outcome="ok")
    done = Result("run_1", parts=(step,), outcome="ok", provider="anthropic", model="claude-sonnet-5-5")
    made.keep(Execution("print(6 * 7)\n", model="claude@anthropic"), done, {})
    (tmp_path / "pytest.ini").write_text("[pytest]\ninterp_replay = study.recording\n")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "replay", "record", "runs"),
    [
        ((), "study.recording", "", None),
        (("--interp-replay", "study.recording"), "study.recording", "", None),
        (("--interp-record", "new"), "", "new", "missing"),
        (("--interp-record", "new", "--interp-record-runs", "all"), "", "new", "all"),
    ],
)
def test_what_kernels_inherit(
    project: Path,
    clean_environment: dict[str, str],
    options: tuple[str, ...],
    replay: str,
    record: str,
    runs: str | None,
) -> None:
    """An option stands before the file; a record stands before a replay that the file asks for."""
    wanted = [replay and str(project / replay), record and str(project / record), runs]
    names = ["REPLAY", "RECORD", "RECORD_RUNS"]
    (project / "test_it.py").write_text(SAYS.replace("{names}", str(names)).replace("{values}", str(wanted)))

    status, told = ran(clean_environment, project, *options)
    assert status == 0, told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--interp-replay", "elsewhere"), "there is no recording in"),
        (("--interp-replay", "study.recording", "--interp-record", "new"), "a replay makes no run to record"),
        (("--interp-record-runs", "all"), "goes with --interp-record DIR"),
    ],
)
def test_wrong_options(project: Path, clean_environment: dict[str, str], options: tuple[str, ...], words: str) -> None:
    """What cannot be meant is a usage error in one line, before anything is run."""
    status, told = ran(clean_environment, project, *options)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert words in told and "Traceback" not in told


@pytest.mark.kernel
def test_a_notebook_from_a_recording(project: Path, clean_environment: dict[str, str]) -> None:
    """A notebook that asks a vendor passes strict nbval without a key or a sandbox, and fails where a cell changed."""
    cells = ["%load_ext ipy_codeinterp", "%%interp --model claude@anthropic\nprint(6 * 7)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    for number, cell in enumerate(notebook.cells, 1):
        cell.execution_count = number
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="42\n")]
    nbformat.write(notebook, project / "study.ipynb")
    environment = {**clean_environment, "PATH": "", "IPY_CODEINTERP_FOOTER": "no"}  # no bubblewrap, nothing

    status, told = ran(environment, project, "--nbval", "--nbval-current-env", "study.ipynb")
    assert status == 0, told

    notebook.cells[1].source += "  # changed"
    nbformat.write(notebook, project / "study.ipynb")
    status, told = ran(environment, project, "--nbval", "--nbval-current-env", "study.ipynb")
    assert status == 1 and "ReplayMiss" in told


def test_it_is_found() -> None:
    """Every pytest of an environment that has the package knows the options."""
    (found,) = importlib.metadata.entry_points(group="pytest11", name="ipy_codeinterp")
    assert found.load() is pytest_plugin
