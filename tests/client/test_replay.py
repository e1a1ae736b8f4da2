"""Recording and replaying: what was recorded is told again, for nothing, and a miss says what is near."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.replay import Record, Recorder, replay
from ipy_codeinterp.errors import BadRecording, InvalidInput, Overloaded, ReplayMiss
from ipy_codeinterp.execution import (
    NOT_ISOLATED,
    Cost,
    Display,
    Error,
    Event,
    Execution,
    File,
    Result,
    Step,
    Stream,
)
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store.recording import Recording

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_first_cell.ipynb"
LEFT = b"1,2\n"
FIGURE = Display({"image/png": "aGk=", "text/plain": "<Figure>"})


@dataclass
class Provider:
    """What follows in the chain: runs what it is given, remembers it, and counts in its containers."""

    ran: list[Execution] = field(default_factory=list)
    failures: int = 0

    async def __call__(self, run: Run) -> Result:
        if self.failures:
            self.failures -= 1
            raise Overloaded("come back later")
        await asyncio.sleep(0)
        self.ran.append(run.execution)
        outputs = (Stream("stdout", f"{len(self.ran)}: {run.execution.body}\n"), FIGURE, Error("ValueError", "no"))
        file = File("a.csv", hashlib.sha256(LEFT).hexdigest(), len(LEFT), id="file_1")
        for output in outputs:
            await run.emit(output)
        step = Step(run.execution.body, outputs=outputs, outcome="error", files=(file,))
        return run.result("error", parts=(step,), cost=Cost(Decimal("0.01")), isolation="bubblewrap")

    async def download(self, id: str) -> bytes:
        assert id == "file_1"
        return LEFT


@dataclass
class Deck:
    """A recorder at a provider, and what was shown."""

    recorder: Recorder
    provider: Provider = field(default_factory=Provider)
    shown: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = Record(self.recorder, self.provider.download)

    async def run(self, code: str = "x", **how: Any) -> Result:
        return await self.record(Run(Execution(code, **how), catalog.find("claude"), self.emit), self.provider)

    async def emit(self, event: Event) -> None:
        self.shown.append(event)

    @property
    def bodies(self) -> list[str]:
        return [execution.body for execution in self.provider.ran]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "it.recording"


def deck(folder: Path, *, only_missing: bool = False) -> Deck:
    return Deck(Recorder(Recording(folder), only_missing))


def recorded(folder: Path, *executions: Execution) -> None:
    """Record these, one after the other."""

    async def main() -> None:
        made = deck(folder)
        for execution in executions:
            await made.record(Run(execution, catalog.find("claude"), made.emit), made.provider)

    asyncio.run(main())


# --- recording ------------------------------------------------------------------------------------


def test_kept_before_told(folder: Path) -> None:
    """When a run returns it can be replayed: the same Result, the same outputs shown, its files' content beside it."""

    async def main() -> None:
        made = deck(folder)
        result = await made.run("print(1)")
        recording, shown = Recording.existing(folder), []

        async def emit(event: Event) -> None:
            shown.append(event)

        replayed = await replay(recording, Execution("print(1)"), emit)

        assert replayed == replace(result, source="replay", native={})
        assert shown[1:] == made.shown
        assert recording.content(replayed.files[0]) == LEFT

    asyncio.run(main())


def test_a_failed_call_is_not_recorded(folder: Path) -> None:
    """A call that brought no Result leaves nothing, and what follows it is recorded as if it had not been."""

    async def main() -> None:
        made = deck(folder)
        made.provider.failures = 1
        with pytest.raises(Overloaded):
            await made.run("x = 1", container="mine")
        assert not folder.exists()
        await made.run("x = 1", container="mine")
        await made.run("x", container="mine")

        recording = Recording.existing(folder)
        for code in ("x = 1", "x"):
            assert (await replay(recording, Execution(code, container="mine"), made.emit)).steps[0].code == code

    asyncio.run(main())


def test_a_container_is_recorded_in_order(folder: Path) -> None:
    """Runs of one container that are asked for at once are recorded in the order they were asked for."""

    async def main() -> None:
        made = deck(folder)
        codes = [f"x = {i}" for i in range(5)]
        await asyncio.gather(*[made.run(code, container="mine") for code in codes])

        recording = Recording.existing(folder)
        for code in codes:
            await replay(recording, Execution(code, container="mine"), made.emit)

    asyncio.run(main())


def test_only_missing(folder: Path) -> None:
    """With `only_missing` what is recorded is replayed, and only what is not is made."""
    recorded(folder, Execution("a"), Execution("b"))

    async def main() -> None:
        made = deck(folder, only_missing=True)
        results = [await made.run(code) for code in ("a", "c", "b", "a")]
        assert [result.source for result in results] == ["replay", "live", "replay", "live"]
        assert made.bodies == ["c", "a"]
        assert len(Recording.existing(folder).entries) == 4

    asyncio.run(main())


def test_only_missing_in_a_container(folder: Path) -> None:
    """A missing run in a container finds the state of the runs before it, which are made again, once and unseen."""
    recorded(folder, Execution("x = 1", container="mine"), Execution("y = 2", container="mine"))

    async def main() -> None:
        made = deck(folder, only_missing=True)
        sources = [(await made.run(code, container="mine")).source for code in ("x = 1", "y = 2", "x + y", "x - y")]
        assert sources == ["replay", "replay", "live", "live"]
        assert made.bodies == ["x = 1", "y = 2", "x + y", "x - y"]
        said = [event.text for event in made.shown if isinstance(event, Stream)]
        assert said == ["1: x = 1\n", "2: y = 2\n", "3: x + y\n", "4: x - y\n"]

    asyncio.run(main())


# --- replaying ------------------------------------------------------------------------------------


@pytest.fixture
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPY_CODEINTERP_REPLAY", str(folder))


def test_a_session_that_replays(folder: Path, tmp_path: Path, environment: None) -> None:
    """D11: a replay needs no gateway and no store, keeps the recorded cost and charges nothing."""
    asked = Execution("print(1)", model="claude")
    recorded(folder, asked)
    shown: list[Event] = []

    with Session() as session:
        session.start()
        result = session.run("print(1)", model="claude", show=shown.append)

        assert (result.source, result.cost.billed, result.outcome) == ("replay", Decimal("0.01"), "error")
        assert [event for event in shown if isinstance(event, (Stream, Display, Error))] == list(result.outputs)
        assert asyncio.run(session.fetch(result.files[0])) == LEFT
        assert session.meter.totals.all.calls == 0
        assert session._gateway._process is None
        assert session.containers() == []
        session.end_container("mine")
    assert not (tmp_path / "data").exists()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("ipy-codeinterp")] == []


def test_a_name_that_has_moved(folder: Path, environment: None) -> None:
    """A recorded cell is replayed also where its model's name means nothing here any more."""
    recorded(folder, replace(Execution("x"), model="claude@anthropic"))

    with Session() as session:
        assert session.origin(Execution("x", model="claude@anthropic")) == {"offer": "claude@local"}
        assert session.run("x", model="claude@anthropic").source == "replay"


def test_not_isolated_then(folder: Path, environment: None) -> None:
    """Outputs of a recorded run say that it was not isolated, however this session isolates."""
    bare = Result("run_1", outcome="ok", provider="local", model="claude", isolation=NOT_ISOLATED)
    Recording(folder).keep(Execution("x"), bare, {})

    with Session() as session:
        assert session.origin(Execution("x")) == {"offer": "claude@local", "isolation": NOT_ISOLATED}
    with Session(replay=None, isolation="bare") as session:
        assert session.origin(Execution("x", model="claude"))["isolation"] == NOT_ISOLATED
    with Session(replay=None) as session:
        assert session.origin(Execution("x", model="claude")) == {"offer": "claude@local"}


def test_nothing_to_replay(folder: Path, environment: None) -> None:
    """A session whose recording is not there says so at once."""
    with pytest.raises(BadRecording):
        Session()


def test_record_and_replay() -> None:
    """Recording what is replayed is refused."""
    with pytest.raises(InvalidInput, match="both set"):
        Settings().changed(record="a", replay="b")


def test_health_is_asked_live() -> None:
    """D53: settings for questions of health serve nothing from what is kept or recorded."""
    live = Settings(cache="always", replay=Path("a")).live

    assert (live.cache, live.record, live.replay) == ("off", None, None)


# --- misses ---------------------------------------------------------------------------------------


def miss(folder: Path, *asked: Execution) -> ReplayMiss:
    """What the last of these is answered with."""
    recording = Recording(folder)

    async def emit(event: Event) -> None:
        pass

    async def main() -> None:
        for execution in asked:
            await replay(recording, execution, emit)

    with pytest.raises(ReplayMiss) as caught:
        asyncio.run(main())
    return caught.value


def test_miss_of_another_cell(folder: Path) -> None:
    """A miss names the cell, the nearest recording, the lines that differ, and how to record it."""
    recorded(folder, Execution("import os"), Execution("import math\n\nmath.sqrt(2)\n"))

    error = miss(folder, Execution("\nimport math\n\nmath.sqrt(3)\n"))

    assert "'import math' was not recorded in" in str(error)
    assert "nearest: 'import math' in runs/" in error.hint
    assert "\n-math.sqrt(2)\n+math.sqrt(3)\n" in error.hint
    assert "ipy-codeinterp record NOTEBOOK --missing" in error.hint
    assert error._render_traceback_()[0].startswith("ReplayMiss (the recording): 'import math'")


def test_miss_by_a_field(folder: Path) -> None:
    """Where only a field differs, the miss says which, with both values, and shows no code."""
    recorded(folder, Execution("x", model="claude", timeout=5.0), Execution("y"))

    error = miss(folder, Execution("x", model="gpt", files=(File("a.csv", "00", 1),)))

    assert "model: recorded with 'claude', asked with 'gpt'" in error.hint
    assert "timeout: recorded with 5.0, asked with none" in error.hint
    assert "a.csv" in error.hint
    assert "\n-" not in error.hint


def test_miss_once_more(folder: Path) -> None:
    """A cell that is run more often than it was recorded is a miss that says so."""
    recorded(folder, Execution("x"))

    assert "recorded 1 time, and is asked for once more" in miss(folder, Execution("x"), Execution("x")).hint


def test_miss_after_other_cells(folder: Path) -> None:
    """A cell in a container whose earlier cells differ is a miss that says so."""
    recorded(folder, Execution("x = 1", container="mine"), Execution("x", container="mine"))

    assert "what ran before it in container 'mine'" in miss(folder, Execution("x", container="mine")).hint


def test_miss_of_everything(folder: Path) -> None:
    """A miss in an empty recording says that it is empty; a long line is cut."""
    error = miss(folder, Execution("y" * 1000))

    assert "the recording is empty" in error.hint
    assert len(str(error).partition(" was not")[0]) < 100


def test_miss_among_many(folder: Path) -> None:
    """Misses stay readable and quick with many large cells: the difference is cut."""
    bodies = ["\n".join(f"line_{i}_{j} = {j}" for j in range(400)) for i in range(30)]
    recorded(folder, *map(Execution, bodies))

    hint = miss(folder, Execution(bodies[7].replace(" = ", " == "))).hint

    assert len(hint.splitlines()) < 20
    assert "line_7_0 = 0" in hint


# --- whole notebooks ------------------------------------------------------------------------------


@contextlib.contextmanager
def nothing_can_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No program is found, and the sandbox's Python is none."""
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "/nowhere")
        patched.setenv("IPY_CODEINTERP_PYTHON", "/nowhere/python")
        patched.setenv("IPY_CODEINTERP_DATA_DIR", "/proc/nowhere")
        yield


def outputs_of(path: Path) -> list[Any]:
    """Of every cell but the panel's: a replay makes no calls, and that is what it shows. What it took is no output."""
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    outputs = [cell["outputs"] for cell in cells if "%interp panel" not in cell["source"]]
    for output in itertools.chain(*outputs):
        output.get("metadata", {}).get("ipy_codeinterp", {}).pop("footer", None)
    return outputs


@pytest.mark.kernel
@pytest.mark.sandbox
@pytest.mark.slow
def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook that was recorded gives the same outputs where nothing can run; without the recording it fails."""
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    notebook = Path(shutil.copy(NOTEBOOK, tmp_path / "first.ipynb"))
    assert shell.main(["record", str(notebook), "--all"]) == shell.OK, capsys.readouterr()
    live = outputs_of(notebook)
    told = capsys.readouterr().out
    entries = Recording.existing(tmp_path / "first.recording").entries
    assert len(entries) >= 3
    assert f"{len(entries)} runs recorded, 0 runs replayed" in told

    with nothing_can_run(monkeypatch):
        assert shell.main(["record", str(notebook), "--outputs-only"]) == shell.OK, capsys.readouterr()
        assert outputs_of(notebook) == live
        assert f"0 runs recorded, {len(entries)} runs replayed" in capsys.readouterr().out
        assert shell.main(["record", str(notebook), "--missing", "--to", str(tmp_path / "no")]) == shell.FAILED
        assert outputs_of(notebook) == live
