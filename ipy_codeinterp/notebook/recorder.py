"""`ipy-codeinterp record`: run whole notebooks in kernels of their own, and keep what their cells were answered."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ipy_codeinterp.client.misses import first_line
from ipy_codeinterp.errors import InvalidInput, NotAllowed
from ipy_codeinterp.settings import PREFIX, Settings
from ipy_codeinterp.store.recording import Recording

How = Literal["missing", "all", "replay"]
PARTS = ("recording.json", "runs", "artifacts")  # of a recording; whatever else is in its folder is the user's
OURS = tuple(f"{PREFIX}{name}" for name in ("RECORD", "RECORD_RUNS", "REPLAY"))
QUESTION = "%interp record --json"


@dataclass(frozen=True, slots=True)
class State:
    """How far a session has come in its recording: runs made and replayed, and the entries nobody asked for."""

    folder: Path | None = None
    mode: str = ""
    made: int = 0
    replayed: int = 0
    unused: tuple[str, ...] = ()  # lines: a cell's first line, and its file


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one notebook; `failure` is why its outputs were not written."""

    notebook: Path
    state: State
    failure: str = ""

    def __str__(self) -> str:
        told = f"{self.notebook}: {self.failure or state_text(self.state)}"
        return told.replace("\n", "\n  ")


# --- what a session says of its recording ---------------------------------------------------------


def state(settings: Settings, recording: Recording | None) -> State:
    if recording is None:
        return State()
    mode = "replay" if settings.replay else settings.record_runs
    unused = tuple(f"{first_line(entry.asked['body'])!r} in runs/{entry.name}" for entry in recording.unused)
    return State(recording.folder, mode, recording.made, recording.used - recording.made, unused)


def state_text(told: State) -> str:
    """A line of counts, then one for each entry that is not used."""
    if told.folder is None:
        return "nothing is recorded or replayed: set IPY_CODEINTERP_RECORD or IPY_CODEINTERP_REPLAY to a folder"
    counts = f"{_runs(told.made)} recorded, {_runs(told.replayed)} replayed in {told.folder}"
    unused = [f"{_runs(len(told.unused))} there not asked for:", *told.unused] if told.unused else []
    return "\n".join([counts, *unused])


def state_json(told: State) -> str:
    folder = None if told.folder is None else str(told.folder)
    return json.dumps(
        {
            "folder": folder,
            "mode": told.mode,
            "made": told.made,
            "replayed": told.replayed,
            "unused": list(told.unused),
        }
    )


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


# --- running notebooks ----------------------------------------------------------------------------


def record(notebooks: Sequence[Path], to: Path | None, how: How) -> list[Report]:
    """Run each notebook where it lies and write its outputs; those with one folder share one recording.

    `missing` makes only runs that are not recorded; `all` makes every run, and what was recorded before is kept until
    all notebooks of the folder have passed; `replay` makes none. A notebook that fails is left as it is. Raises
    `InvalidInput` for what is no notebook.
    """
    _check_installed()
    folders: dict[Path, list[Path]] = {}
    for notebook in notebooks:
        if not notebook.is_file():
            raise InvalidInput(f"there is no notebook {notebook}", hint=f"looked in {Path.cwd()}")
        folders.setdefault((to or notebook.with_suffix(".recording")).absolute(), []).append(notebook)
    act = _record_anew if how == "all" else _record_into
    return [report for folder, group in folders.items() for report in act(folder, group, how)]


def _record_into(folder: Path, notebooks: Sequence[Path], how: How) -> list[Report]:
    reports = [_run(notebook, folder, how) for notebook in notebooks]
    nobodys = set.intersection(*[set(report.state.unused) for report in reports])
    return [replace(report, state=replace(report.state, unused=tuple(sorted(nobodys)))) for report in reports]


def _record_anew(folder: Path, notebooks: Sequence[Path], how: How) -> list[Report]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as passing:
        reports = _record_into(Path(passing), notebooks, how)
        if not any(report.failure for report in reports):
            _put_in_place(Path(passing), folder)
    return [replace(report, state=replace(report.state, folder=folder)) for report in reports]


def _put_in_place(new: Path, folder: Path) -> None:
    for name in PARTS:
        old = folder / name
        if old.is_dir():
            shutil.rmtree(old)
        old.unlink(missing_ok=True)
        if (new / name).exists():
            os.replace(new / name, old)


def _run(path: Path, folder: Path, how: How) -> Report:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    notebook: Any = _read(path)
    question = nbformat.v4.new_code_cell(QUESTION, metadata={"tags": ["raises-exception"]})
    notebook.cells.append(question)
    where = {"metadata": {"path": str(path.absolute().parent)}}
    client = NotebookClient(notebook, timeout=None, resources=where, record_timing=False, coalesce_streams=True)
    try:
        client.execute(env=_environment(folder, how))
    except (CellControlSignal, DeadKernelError) as error:
        return Report(path, State(folder), _failure(notebook, error))
    notebook.cells.remove(question)
    _write(path, nbformat.writes(notebook) + "\n")
    return Report(path, _state_of(question))


def _environment(folder: Path, how: How) -> dict[str, str]:
    """Outputs are those that nbval compares, unless the user's own variables say otherwise."""
    said = {name: value for name, value in os.environ.items() if name not in OURS}
    kept = {f"{PREFIX}RENDER": "deterministic", **said}
    if how == "replay":
        return {**kept, f"{PREFIX}REPLAY": str(folder)}
    return {**kept, f"{PREFIX}RECORD": str(folder), f"{PREFIX}RECORD_RUNS": how}


def _read(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise InvalidInput(f"{path} is no notebook: {error}", hint="give .ipynb files") from None


def _write(path: Path, text: str) -> None:
    """The whole notebook or nothing of it, with the permissions it had."""
    passing = path.with_name(f".{path.name}.new")
    try:
        passing.write_text(text, "utf-8")
        shutil.copymode(path, passing)
        os.replace(passing, path)
    finally:
        passing.unlink(missing_ok=True)


def _state_of(question: Any) -> State:
    """What the session said in the last cell; nothing, where the notebook has none any more."""
    said = "".join(output.get("text", "") for output in question.outputs if output.get("name") == "stdout")
    try:
        told = json.loads(said)
    except ValueError:
        return State()
    folder = None if told["folder"] is None else Path(told["folder"])
    return State(folder, told["mode"], told["made"], told["replayed"], tuple(told["unused"]))


def _failure(notebook: Any, error: Exception) -> str:
    """The last error that a cell ended with, and its number."""
    cells = [
        (i, o) for i, cell in enumerate(notebook.cells) for o in cell.get("outputs", ()) if o.output_type == "error"
    ]
    if not cells:
        return f"the notebook failed, and is left as it is: {error}"
    number, output = cells[-1]
    said = "\n".join(output.traceback[-12:]) or f"{output.ename}: {output.evalue}"
    return f"cell {number + 1} failed, and the notebook is left as it is:\n{said}"


def _check_installed() -> None:
    try:
        import nbclient  # noqa: F401
    except ImportError:
        raise NotAllowed(
            "recording notebooks needs nbclient, which is not installed",
            hint="pip install 'ipy-codeinterp[demo]'; or set IPY_CODEINTERP_RECORD=DIR and run the notebook yourself",
        ) from None
