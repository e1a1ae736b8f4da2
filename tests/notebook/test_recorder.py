"""Recording whole notebooks: what is asked is checked first, and nothing of the user's is lost."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp.errors import InvalidInput, NotAllowed
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.notebook import recorder
from ipy_codeinterp.notebook.recorder import Report, State
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store.recording import Recording


def a_recording(folder: Path, *codes: str) -> Recording:
    made = Recording(folder)
    for code in codes:
        made.keep(Execution(code), Result("run_1", outcome="ok"), {})
    return Recording.existing(folder)


def a_notebook(path: Path) -> Path:
    path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path, str]]:
    """In place of a kernel: each notebook runs a cell of its own name, and one that is called bad fails."""
    seen: list[tuple[Path, Path, str]] = []

    def run(notebook: Path, folder: Path, how: recorder.How) -> Report:
        seen.append((notebook, folder, how))
        recording = Recording(folder)
        if recording.take(Execution(notebook.stem)) is None:
            recording.keep(Execution(notebook.stem), Result("run_2", outcome="ok"), {})
        told = recorder.state(Settings(record=folder), recording)
        return Report(notebook, told, "cell 1 failed" if notebook.stem == "bad" else "")

    monkeypatch.setattr(recorder, "_run", run)
    return seen


def bodies(folder: Path) -> list[str]:
    return sorted(entry.asked["body"] for entry in Recording.existing(folder).entries)


@pytest.mark.parametrize(
    ("flags", "how"), [([], "missing"), (["--missing"], "missing"), (["--outputs-only"], "replay")], ids=str
)
def test_where(tmp_path: Path, ran: list[Any], flags: list[str], how: str) -> None:
    """A recording lies beside its notebook, under its name; what is recorded already is the default to keep."""
    notebook = a_notebook(tmp_path / "a.ipynb")

    assert shell.main(["record", str(notebook), *flags]) == shell.OK
    assert ran == [(notebook, tmp_path / "a.recording", how)]


def test_one_for_all(tmp_path: Path, ran: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Notebooks that share a recording leave unused what none of them asked for, and that is listed."""
    a_recording(tmp_path / "to", "a", "b", "c")
    notebooks = [str(a_notebook(tmp_path / f"{name}.ipynb")) for name in "ab"]

    assert shell.main(["record", *notebooks, "--to", str(tmp_path / "to")]) == shell.OK

    told = capsys.readouterr().out
    assert told.count("0 runs recorded, 1 run replayed") == 2
    assert told.count("1 run there not asked for") == told.count("'c' in runs/") == 2
    assert "'a' in runs/" not in told


def test_all(tmp_path: Path, ran: list[Any]) -> None:
    """`--all` replaces what was recorded, and nothing else that lies in the folder."""
    a_recording(tmp_path / "to", "a", "old")
    (tmp_path / "to" / "README.md").write_text("mine")

    assert shell.main(["record", str(a_notebook(tmp_path / "a.ipynb")), "--all", "--to", str(tmp_path / "to")]) == 0

    assert bodies(tmp_path / "to") == ["a"]
    assert sorted(os.listdir(tmp_path / "to")) == ["README.md", "recording.json", "runs"]


def test_all_that_fails(tmp_path: Path, ran: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Where one notebook fails `--all` keeps what was recorded before, and ends with 1 after all have been tried."""
    a_recording(tmp_path / "to", "old")
    notebooks = [str(a_notebook(tmp_path / f"{name}.ipynb")) for name in ("bad", "good")]

    assert shell.main(["record", *notebooks, "--all", "--to", str(tmp_path / "to")]) == shell.FAILED

    assert bodies(tmp_path / "to") == ["old"]
    assert sorted(os.listdir(tmp_path / "to")) == ["recording.json", "runs"]
    assert len(ran) == 2
    assert "bad.ipynb: cell 1 failed" in capsys.readouterr().out


def test_no_notebook(tmp_path: Path, ran: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook that is not there is said before any is run."""
    there = a_notebook(tmp_path / "a.ipynb")

    assert shell.main(["record", str(there), str(tmp_path / "b.ipynb")]) == shell.USAGE
    assert "there is no notebook" in capsys.readouterr().err
    assert ran == []


def test_no_notebook_format(tmp_path: Path) -> None:
    """A file that is no notebook is refused by its name."""
    (tmp_path / "a.ipynb").write_text("print(1)")

    with pytest.raises(InvalidInput, match=r"a\.ipynb is no notebook"):
        recorder.record([tmp_path / "a.ipynb"], None, "missing")


def test_without_nbclient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nbclient the error names what to install."""
    monkeypatch.setitem(sys.modules, "nbclient", None)

    with pytest.raises(NotAllowed) as caught:
        recorder.record([a_notebook(tmp_path / "a.ipynb")], None, "missing")
    assert "ipy-codeinterp[demo]" in caught.value.hint


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel is told one folder, whatever the shell had set."""
    monkeypatch.setenv("IPY_CODEINTERP_RECORD", "/else")

    ours = {name: value for name, value in recorder._environment(tmp_path, "replay").items() if name in recorder.OURS}
    missing = recorder._environment(tmp_path, "missing")

    assert ours == {"IPY_CODEINTERP_REPLAY": str(tmp_path)}
    assert (missing["IPY_CODEINTERP_RECORD"], missing["IPY_CODEINTERP_RECORD_RUNS"]) == (str(tmp_path), "missing")


def test_state(tmp_path: Path) -> None:
    """A session says what it recorded and replayed, and which entries nobody asked for; as text and as JSON."""
    recording = a_recording(tmp_path / "it", "a", "\nb\nc")
    recording.take(Execution("a"))

    told = recorder.state(Settings(replay=tmp_path / "it"), recording)

    assert (told.mode, told.made, told.replayed) == ("replay", 0, 1)
    assert recorder.state_text(told).splitlines()[1:] == ["1 run there not asked for:", *told.unused]
    assert told.unused[0].startswith("'b' in runs/")
    assert json.loads(recorder.state_json(told))["unused"] == list(told.unused)
    assert "IPY_CODEINTERP_RECORD" in recorder.state_text(State())
