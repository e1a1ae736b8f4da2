"""A benchmark that is killed, again and again: it ends with the rows of one that was not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ipy_codeinterp.bench import running
from ipy_codeinterp.bench.rows import Row, Run, values_of
from ipy_codeinterp.session import Session
from ipy_codeinterp.store import journal
from ipy_codeinterp.testing import Reply, ScriptedProvider
from tests.bench.fakes import cases
from tests.test_engine import At, settings_in

KILLS = 10
OFFER = "claude@scripted"
WORK = """
import asyncio, sys
from pathlib import Path
from tests.bench.test_kill import measure
asyncio.run(measure(Path(sys.argv[1]), sys.argv[2]))
"""


async def measure(folder: Path, url: str) -> Run:
    """Begin, or go on with, the one run of that folder."""
    async with Session(settings_in(folder), providers=[At(url)]) as session:
        if (folder / "bench").exists():
            run = running.found(folder)
        else:
            plan = running.planned(session, [OFFER], cases(20), repeat=6, concurrency=4, warm_up=0)
            run = running.begun(session, replace(plan, id="bench_1"))
        await running.go(session, run)
        return run


def served() -> ScriptedProvider:
    """Wrong at every seventh question, whenever and however often it is asked."""

    def script(number: int, body: object) -> Reply:
        wrong = any(f'"n": {n}}}' in str(body) for n in (3, 10, 17))
        return Reply(stdout='{"n": -1}' if wrong else None, delay=0.03)

    return ScriptedProvider(script)


def what_came(run: Run) -> list[list[object]]:
    """Timings aside, and what a call cost where a kill made it two."""
    rows = sorted(run.rows.values(), key=lambda row: row.id)
    return [values_of(_timeless(row)) for row in rows]


def _timeless(row: Row) -> Row:
    return replace(row, began=0.0, latency=0.0, attempts=1)


@pytest.mark.slow
def test_killed_ten_times(tmp_path: Path) -> None:
    """Killed ten times it ends with the rows of an uninterrupted run, none missing, none twice; and every row's id is
    that of an attempt in the ledger, and of a Result in the journal."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    with served() as provider:
        url = provider.endpoint().base_url
        expected = asyncio.run(measure(whole, url))
        chance = random.Random(1)
        for _ in range(KILLS):
            kill_once(killed, url, chance.randint(1, 9))
        assert len(running.found(killed).rows) < len(expected.rows)
        found = asyncio.run(measure(killed, url))
    assert what_came(found) == what_came(expected)
    with sqlite3.connect(killed / "store.sqlite") as connection:
        attempts = {id for (id,) in connection.execute("SELECT result_id FROM attempts")}
        assert set(found.rows) <= attempts
        assert all(journal.has(connection, id) for id in found.rows)
    connection.close()


def kill_once(folder: Path, url: str, more: int) -> None:
    """When so many rows more are there."""
    rows = folder / "bench" / "bench_1" / "rows.jsonl"
    wanted = _lines(rows) + more
    command = [sys.executable, "-c", WORK, str(folder), url]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and _lines(rows) < wanted:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_result_without_its_row(tmp_path: Path) -> None:
    """What a kill left in the journal, and not among the rows, is not asked and paid for again."""
    with served() as provider:
        url = provider.endpoint().base_url
        run = asyncio.run(measure(tmp_path, url))
        before, asked = what_came(run), len(provider.requests)
        rows = run.folder / "rows.jsonl"
        rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:40]))
        again = asyncio.run(measure(tmp_path, url))
        assert len(provider.requests) == asked
    assert what_came(again) == before
