"""A recording: what was kept comes back whole, in files that can be committed, and nothing else is ever read."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.errors import BadRecording, StoreError
from ipy_codeinterp.execution import (
    Cost,
    Display,
    Error,
    Execution,
    File,
    Limit,
    Result,
    Step,
    Stream,
    Text,
    Timings,
    Usage,
)
from ipy_codeinterp.store import packing
from ipy_codeinterp.store.recording import FORMAT, Recording

PICTURE = bytes(range(256)) * 40
LEFT = b"1,2\n"
OUTPUTS = (
    Stream("stdout", "a\N{SNOWMAN}\ud800\0\r\nb\n\n"),
    Stream("stderr", "long line\n" * 1000),
    Display({"image/png": base64.b64encode(PICTURE).decode(), "text/plain": "<Figure>"}, {"a": 1}, "display_data", "d"),
    Display({"application/json": {"$lines": ["a"], "$artifact": "../../secret", "deep": [{"$pairs": 1}]}}),
    Error("ValueError", "no", ("Traceback", "ValueError: no")),
)
LEFT_FILE = File("a.csv", hashlib.sha256(LEFT).hexdigest(), len(LEFT), path=Path("/here/a.csv"), id="file_1")
FULL = Result(
    "run_1",
    parts=(
        Text("I run it.\nNow."),
        Step("print(1)\nx", "python", True, OUTPUTS, "limit", "reported", 1, (LEFT_FILE,)),
    ),
    outcome="limit",
    limit=Limit("time", 2.0, "seconds", 2.1),
    usage=Usage(10, 20, True, {"input_tokens": 10}),
    cost=Cost(Decimal("0.10"), Decimal("0.000000001"), True, "claude, 2026-01-01"),
    timings=Timings(first_byte=0.1, total=1 / 3),
    attempts=2,
    request_ids=("req_1",),
    provider="local",
    model="claude-1",
    isolation="bubblewrap",
    native={"id": "msg_1", "container": {"expires_at": "2026-01-01T00:00:00Z"}},
)
ASKED = Execution("print(1)\nx", model="claude", files=(File("b.csv", "00", 2, path=Path("/here/b.csv")),))


def again(recording: Recording) -> Recording:
    """The same folder, as another session finds it."""
    return Recording.existing(recording.folder)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path / "it.recording")


def keep(recording: Recording, execution: Execution, result: Result = FULL, left: bytes = LEFT) -> None:
    recording.keep(execution, result, {hashlib.sha256(left).hexdigest(): left})


def words(recording: Recording, execution: Execution) -> str | None:
    """What the next recorded run of `execution` printed."""
    entry = recording.take(execution)
    return recording.result(entry).stdout if entry else None


def printed(text: str) -> Result:
    return Result("run_1", parts=(Step("x", outputs=(Stream("stdout", text),)),), outcome="ok")


# --- what comes back ------------------------------------------------------------------------------


def test_there_and_back(recording: Recording) -> None:
    """A Result comes back with outputs, usage, cost and timings as they were, and says that it is a replay."""
    keep(recording, ASKED)

    found = again(recording)
    entry = found.take(ASKED)

    assert entry is not None
    result = found.result(entry)
    assert result == replace(FULL, source="replay", native={})
    assert found.content(result.files[0]) == LEFT
    assert (entry.offer, entry.isolation) == ("claude-1@local", "bubblewrap")


def test_every_time(recording: Recording) -> None:
    """Equal executions that were recorded n times come back in their order, n times and no more."""
    for text in ("1", "2", "3"):
        keep(recording, Execution("x"), printed(text))

    found = again(recording)

    assert [words(found, Execution("x")) for _ in range(4)] == ["1", "2", "3", None]


def test_recorded_anew(recording: Recording) -> None:
    """Another session that records into the folder replaces what was recorded of the same executions."""
    keep(recording, Execution("x"), printed("old"))
    keep(again(recording), Execution("x"), printed("new"))

    found = again(recording)

    assert [words(found, Execution("x")) for _ in range(2)] == ["new", None]


def test_a_container_is_a_chain(recording: Recording) -> None:
    """A run in a container is what ran there before it: the same cell after other cells is another one."""
    first, second = Execution("x = 1", container="mine"), Execution("x", container="mine")
    keep(recording, first, printed("set"))
    keep(recording, second, printed("1"))
    keep(recording, second, printed("still 1"))

    found = again(recording)
    assert words(found, second) is None
    assert [words(found, asked) for asked in (first, second, second)] == ["set", "1", "still 1"]


def test_an_ended_container_begins_again(recording: Recording) -> None:
    """Where a container was ended, the chain begins anew, on both sides."""
    asked = Execution("x", container="mine")
    keep(recording, asked, printed("1"))
    recording.ended("mine")
    keep(recording, asked, printed("2"))

    found = again(recording)
    assert words(found, asked) == "1"
    found.ended("mine")
    assert words(found, asked) == "2"


def test_what_the_cell_wrote(recording: Recording) -> None:
    """A run is found by the name that the cell wrote, whichever offer that meant then; the recording says which."""
    keep(recording, ASKED)

    head = json.loads((recording.folder / "recording.json").read_text())

    assert head == {"format": FORMAT, "offers": {"claude": "claude-1@local"}}
    assert again(recording).peek(replace(ASKED, model="gpt")) is None
    assert again(recording).peek(ASKED) is not None


def test_unused(recording: Recording) -> None:
    """The entries nobody asked for are known; looking at one is not asking."""
    for code in ("a", "b", "c"):
        keep(recording, Execution(code))
    assert recording.unused == ()

    found = again(recording)
    found.peek(Execution("a"))
    found.take(Execution("b"))

    assert sorted(entry.asked["body"] for entry in found.unused) == ["a", "c"]
    assert (found.used, found.made, recording.made) == (1, 0, 3)


# --- what lies there ------------------------------------------------------------------------------


def files_of(recording: Recording) -> dict[str, bytes]:
    return {
        str(path.relative_to(recording.folder)): path.read_bytes()
        for path in recording.folder.rglob("*")
        if path.is_file()
    }


def test_files(recording: Recording) -> None:
    """One JSON file a run, named by its key; what is long lies beside it as bytes, once."""
    keep(recording, ASKED)
    keep(recording, ASKED)

    found = files_of(recording)
    key = recording.address(ASKED)

    artifacts = {name.partition("/")[2]: content for name, content in found.items() if name.startswith("artifacts/")}
    assert {name for name in found if not name.startswith("artifacts/")} == {
        "recording.json",
        f"runs/{key}-1.json",
        f"runs/{key}-2.json",
    }
    assert key == ASKED.key
    assert set(artifacts.values()) == {PICTURE, LEFT, b"long line\n" * 1000}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in artifacts.items())


def test_nothing_of_this_machine(recording: Recording) -> None:
    """No path of this machine, no id of a gateway and no time of day is in a recording."""
    keep(recording, replace(ASKED, mounts=("/here/data",)))

    everything = b"".join(files_of(recording).values())

    assert not any(word in everything for word in (b"/here", b"file_1", b"expires_at", b"msg_1"))


def test_mounted_elsewhere(recording: Recording) -> None:
    """A folder that lies elsewhere on another machine is the same to a recording."""
    keep(recording, Execution("x", mounts=("/here/data",)))

    assert again(recording).peek(Execution("x", mounts=("/there/data",))) is not None
    assert again(recording).peek(Execution("x", mounts=("/there/other",))) is None


def test_reads_well_in_a_diff(recording: Recording) -> None:
    """The same content is the same bytes, and a line of code or output is a line of the file."""
    keep(recording, ASKED)
    before = files_of(recording)
    keep(again(recording), ASKED)

    run = next(content.decode() for name, content in before.items() if name.startswith("runs/"))
    assert files_of(recording) == before
    assert '"print(1)\\n"' in [line.strip().rstrip(",") for line in run.splitlines()]
    assert json.dumps(json.loads(run), indent=1, sort_keys=True) + "\n" == run


def test_cut_off_while_writing(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is a StoreError that names the folder, and leaves what was there."""
    keep(recording, Execution("x"), printed("old"))
    before = files_of(recording)

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        keep(again(recording), Execution("x"), printed("new"))
    monkeypatch.undo()

    assert str(recording.folder) in str(caught.value)
    assert files_of(recording) == before


# --- what cannot be read --------------------------------------------------------------------------


def test_not_there(tmp_path: Path) -> None:
    """A folder without a recording says so, and how one is made."""
    with pytest.raises(BadRecording, match="there is no recording") as caught:
        Recording.existing(tmp_path)
    assert "ipy-codeinterp record" in caught.value.hint


def test_newer(recording: Recording) -> None:
    """A recording of a newer format is refused, and left as it is."""
    keep(recording, ASKED)
    (recording.folder / "recording.json").write_text(json.dumps({"format": FORMAT + 1}))

    with pytest.raises(BadRecording, match="newer version"):
        again(recording)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"asked": {}, "result": {}}', "\xff"])
def test_damaged(recording: Recording, text: str) -> None:
    """A damaged file is named when the recording is opened."""
    keep(recording, ASKED)
    (run,) = (recording.folder / "runs").iterdir()
    run.write_text(text, "latin-1")

    with pytest.raises(BadRecording) as caught:
        again(recording)
    assert run.name in str(caught.value)


def test_artifact_lost(recording: Recording) -> None:
    """A run whose artifact was not committed is named when it is asked for."""
    keep(recording, ASKED)
    for artifact in (recording.folder / "artifacts").iterdir():
        artifact.unlink()
    found = again(recording)
    entry = found.take(ASKED)

    assert entry is not None
    with pytest.raises(BadRecording, match=entry.name):
        found.result(entry)
    with pytest.raises(BadRecording):
        found.content(LEFT_FILE)


def test_what_is_no_run_is_let_be(recording: Recording) -> None:
    """Files of other names in the folder are somebody else's."""
    keep(recording, ASKED)
    (recording.folder / "runs" / "notes.json").write_text("hello")
    (recording.folder / "README.md").write_text("hello")

    assert len(again(recording).entries) == 1


# --- packing --------------------------------------------------------------------------------------

VALUES: list[Any] = [
    None,
    1.5,
    "",
    "one line\n",
    "two\nlines",
    "\r\n\x85\u2028\n",
    "a" * 5000,
    "\ud800" * 5000,
    "aGk=" * 2000,
    base64.b64encode(PICTURE).decode(),
    base64.encodebytes(PICTURE).decode(),
    {"$lines": ["a"]},
    {"$artifact": "../x", "$as": "text"},
    {"a": [{"$pairs": [["a", "b\nc"]]}]},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_packing(value: Any) -> None:
    """Whatever JSON holds comes back as it was, also where it looks like one of our forms."""
    kept: dict[str, bytes] = {}

    def keep_it(artifact: packing.Artifact) -> None:
        kept[artifact.sha256] = b"".join(artifact.pieces())

    packed = json.loads(json.dumps(packing.packed(value, keep_it)))

    assert packing.unpacked(packed, lambda sha256, form: packing.text_of(io.BytesIO(kept[sha256]), form)) == value


@pytest.mark.parametrize(
    "form",
    [
        {"$artifact": "../../secret", "$as": "text"},
        {"$artifact": "0" * 63, "$as": "text"},
        {"$artifact": 1},
        {"$lines": "a"},
        {"$else": 1},
    ],
    ids=str,
)
def test_no_form(form: dict[str, Any]) -> None:
    """What is none of our forms is refused, and no file is read for it."""

    def read(sha256: str, form: str) -> str:
        raise AssertionError("nothing may be read")

    with pytest.raises(ValueError, match="not a form"):
        packing.unpacked(form, read)
