"""A checkpoint keeps what is done: a run goes on from there, however the last one ended, and from nothing else."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ipy_codeinterp import chunks
from ipy_codeinterp.chunks import RangeFailed, Report
from ipy_codeinterp.errors import GatewayLost, InvalidInput, StoreError

from .here import Here, raised, too_much

Run = Callable[..., Report]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("id\n" + "".join(f"{i}\n" for i in range(100)))
    return path


def run(session: Here, path: Path, folder: Path, code: str = "chunk['id'].tolist()", **how: Any) -> Report:
    how = {"rows": 10, "checkpoint": folder, **how}
    return asyncio.run(chunks.execute(session, code, path, **how))  # type: ignore[arg-type]


def ids(lists: Any) -> list[int]:
    return list(itertools.chain(*lists))


def fails_at(row: int) -> Any:
    return lambda ids: GatewayLost("gone", hint="again") if row in ids else None


def test_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    """What is done is not done again, and the report is that of an unbroken run (D47)."""
    first, second, unbroken = Here(tmp_path, fails_at(55)), Here(tmp_path), Here(tmp_path)

    with pytest.raises(GatewayLost) as caught:
        run(first, data, tmp_path / "kept")
    report = run(second, data, tmp_path / "kept")

    assert f"50 of 100 rows are done and kept in {tmp_path / 'kept'}" in caught.value.hint
    assert ids(first.ran) == list(range(50))
    assert ids(second.ran) == list(range(50, 100))
    assert (second.looks, report.resumed) == (0, 5)
    assert report.done == run(unbroken, data, tmp_path / "other").done


def test_finished(data: Path, tmp_path: Path) -> None:
    """The same again, when all is done, runs nothing and reports the same (D47)."""
    before, again = Here(tmp_path), Here(tmp_path)

    reports = [run(session, data, tmp_path / "kept") for session in (before, again)]

    assert reports[0].done == reports[1].done
    assert (again.asked, again.looks) == ([], 0)


def test_a_bad_row_keeps_the_others(data: Path, tmp_path: Path) -> None:
    """A range that failed at the minimum leaves what is done (D44, D47)."""
    bad = Here(tmp_path, lambda ids: raised() if 37 in ids else None)

    with pytest.raises(RangeFailed, match="row 37") as caught:
        run(bad, data, tmp_path / "kept")
    again = Here(tmp_path)
    report = run(again, data, tmp_path / "kept")

    assert caught.value.report.checkpoint == tmp_path / "kept"
    assert ids(again.ran) == list(range(37, 100))
    assert ids(report.values) == list(range(100))


@pytest.mark.parametrize("how", [{"rows": 7}, {"timeout": 9.0}, {"model": "gpt"}, {"concurrency": 3}, {"least": 2}])
def test_how_it_is_run_may_change(how: dict[str, Any], data: Path, tmp_path: Path) -> None:
    """More time, more memory, fewer rows at a time: what did not pass may pass then (D47)."""
    with pytest.raises(RangeFailed):
        run(Here(tmp_path, lambda ids: too_much() if 37 in ids else None), data, tmp_path / "kept")

    session = Here(tmp_path)
    report = run(session, data, tmp_path / "kept", **how)

    assert ids(report.values) == list(range(100))
    assert sorted(ids(session.ran)) == list(range(37, 100))


@pytest.mark.parametrize(
    ("code", "more", "how", "words"),
    [
        ("1", "", {}, "of other code"),
        ("chunk['id'].tolist()", "100\n", {}, "of other data"),
        ("chunk['id'].tolist()", "", {"dtypes": {"id": "str"}}, "read in another way"),
        ("chunk['id'].tolist()", "", {"separator": ";"}, "read in another way"),
        ("chunk['id'].tolist()", "", {"packages": ["polars"]}, "of other code"),
    ],
)
def test_of_something_else(code: str, more: str, how: dict[str, Any], words: str, data: Path, tmp_path: Path) -> None:
    """A checkpoint of other code or data is refused, and stays as it is (D47)."""
    run(Here(tmp_path), data, tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    data.write_text(data.read_text() + more)
    session = Here(tmp_path)

    with pytest.raises(InvalidInput, match=words):
        run(session, data, tmp_path / "kept", code, **how)

    assert session.executions == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before


def test_what_is_attached_counts(data: Path, tmp_path: Path) -> None:
    """Another content of an attached file is other code (D47)."""
    (tmp_path / "more.txt").write_text("1")
    run(Here(tmp_path), data, tmp_path / "kept", files=[tmp_path / "more.txt"])
    (tmp_path / "more.txt").write_text("2")

    with pytest.raises(InvalidInput, match="of other code"):
        run(Here(tmp_path), data, tmp_path / "kept", files=[tmp_path / "more.txt"])


def test_somebodys_folder(data: Path, tmp_path: Path) -> None:
    """A folder with other files in it is not made a checkpoint."""
    with pytest.raises(InvalidInput, match="it holds other files"):
        run(Here(tmp_path), data, tmp_path)


def test_an_unusable_folder(data: Path, tmp_path: Path) -> None:
    """Where no folder can be made, that is said before anything runs."""
    with pytest.raises(StoreError, match="cannot be used"):
        run(Here(tmp_path), data, data / "below")


def test_in_use(data: Path, tmp_path: Path) -> None:
    """Two runs do not share one: the second is refused while the first goes on, and may come after it."""
    refused: list[str] = []

    def meanwhile(ids: list[int]) -> None:
        if not refused:
            refused.append("")
            (tmp_path / "b").mkdir()
            with pytest.raises(InvalidInput, match="in use by another run"):
                run_in_thread(lambda: run(Here(tmp_path / "b"), data, tmp_path / "kept"))

    run(Here(tmp_path, meanwhile), data, tmp_path / "kept")

    assert run(Here(tmp_path), data, tmp_path / "kept").resumed == 10


def run_in_thread(work: Callable[[], object]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"start": 0, "stop": 10, "answer": "1"}',
        b'{"start": 9, "stop": 1}',
    ],
    ids=repr,
)
def test_a_damaged_file_is_not_done(content: bytes, data: Path, tmp_path: Path) -> None:
    """What a disk has lost is done again."""
    run(Here(tmp_path), data, tmp_path / "kept")
    (tmp_path / "kept" / "rows-000000000020-000000000030.json").write_bytes(content)
    session = Here(tmp_path)

    report = run(session, data, tmp_path / "kept")

    assert ids(session.ran) == list(range(20, 30))
    assert ids(report.values) == list(range(100))


def test_ranges_that_overlap(data: Path, tmp_path: Path) -> None:
    """No row is counted twice, whatever lies in the folder."""
    run(Here(tmp_path), data, tmp_path / "kept")
    told = json.dumps({"kind": "value", "value": [5, 6]})
    for start, stop in ((5, 7), (95, 105)):
        content = json.dumps({"start": start, "stop": stop, "answer": told})
        (tmp_path / "kept" / f"rows-{start:012}-{stop:012}.json").write_text(content)

    assert ids(run(Here(tmp_path), data, tmp_path / "kept").values) == list(range(100))


def test_a_damaged_description(data: Path, tmp_path: Path) -> None:
    """Where it cannot be known what it is of, it is refused."""
    run(Here(tmp_path), data, tmp_path / "kept")
    (tmp_path / "kept" / "about.json").write_text("{")

    with pytest.raises(InvalidInput, match="is damaged"):
        run(Here(tmp_path), data, tmp_path / "kept")


# --- kill -9 --------------------------------------------------------------------------------------

SCRIPT = """
import asyncio, json, sys
from pathlib import Path
from ipy_codeinterp import chunks
from ipy_codeinterp.chunks.cell import MIME
from ipy_codeinterp.execution import Display, Execution, Result, Step

data, folder, log = map(Path, sys.argv[1:])

class Slow:
    def execution(self, code, **how):
        return Execution(code)

    async def execute(self, execution, *, emit, **terms):
        rows = [int(line) for line in execution.files[0].path.read_text().splitlines()[1:]]
        is_look = "'code': None" in execution.body
        told = {"kind": "look", "value": [["id", "int64", False]]} if is_look else {"kind": "value", "value": rows}
        with log.open("a") as file:
            file.write(f"{'look' if is_look else rows[0]}\\n")
        await asyncio.sleep(0.002)
        step = Step("", outputs=(Display({MIME: json.dumps(told)}),), outcome="ok")
        return Result("r", (step,), "ok")

report = asyncio.run(chunks.execute(Slow(), "1", data, rows=5, checkpoint=folder, concurrency=2))
print(json.dumps([row for rows in report.values for row in rows]))
"""


@pytest.mark.slow
def test_kill_9(tmp_path: Path, clean_environment: dict[str, str]) -> None:
    """Killed at random moments and started again, it ends with every row once, and no range that was done ran again
    (D47)."""
    data, folder, log = tmp_path / "data.csv", tmp_path / "kept", tmp_path / "log"
    data.write_text("id\n" + "".join(f"{i}\n" for i in range(1000)))
    random, kills, said = Random(4), 0, b""

    for attempt in range(100):
        kept = {path.name for path in folder.glob("rows-*.json")}
        log.write_text("")
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, data, folder, log], env=clean_environment, stdout=subprocess.PIPE
        )
        while process.poll() is None and not log.read_text():
            time.sleep(0.001)  # until it works
        try:
            said, _ = process.communicate(timeout=random.uniform(0, 0.25) if attempt < 4 else None)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
        ran = [f"rows-{int(word):012}-{int(word) + 5:012}.json" for word in log.read_text().split() if word != "look"]
        assert not kept & set(ran)
        if process.returncode == 0:
            break

    assert kills >= 2
    assert json.loads(said) == list(range(1000))
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []
