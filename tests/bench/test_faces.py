"""The benchmark as a user meets it: in a shell, from Python, over and over, recorded and replayed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import bench
from ipy_codeinterp.__main__ import FAILED, OK, USAGE, main
from ipy_codeinterp.bench import shown
from ipy_codeinterp.bench.report import Report
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.session import Session
from ipy_codeinterp.testing import Reply, ScriptedProvider
from tests.bench.fakes import cases
from tests.test_engine import settings_in

SMALL = ["bench", "--model", "local,claude,gpt", "--work", "sieve,regression", "--repeat", "2"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPY_CODEINTERP_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.sandbox
def test_in_a_shell(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command measures the profiles of this machine: every answer is right, they are said to be one interpreter,
    no difference is found; the report is written, shown again, and no worse than itself."""
    saved = [str(home / f"r.{form}") for form in ("json", "html", "md", "csv", "txt")]
    words = [word for path in saved for word in ("--save", path)]
    assert main([*SMALL, "--expect", "success >= 100 %", *words]) == OK
    said = capsys.readouterr()
    assert said.out.startswith("local@local, claude@local, gpt@local: profiles of one sandbox")
    assert "no difference found" in said.out and "differs\n" not in said.out
    assert "done" in said.err
    report = json.loads(Path(saved[0]).read_text())
    assert [each["success"]["count"] for each in report["figures"][:3]] == [4, 4, 4]
    assert main(["bench", "report"]) == OK
    assert (
        capsys.readouterr().out.strip() == said.out.partition("\nwritten: ")[0].partition("\n\nThresholds")[0].strip()
    )
    assert main(["bench", "runs"]) == OK
    assert "12 of 12" in capsys.readouterr().out
    assert main(["bench", "diff", saved[0], saved[0]]) == OK
    assert "no regression found" in capsys.readouterr().out
    assert main(["bench", "report", saved[0], "--expect", "p50 <= 1 ms"]) == FAILED


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "clude"], "claude"),
        (["--work", "seive"], "sieve"),
        (["--language", "cobol"], "known"),
        (["--expect", "speed > 1"], "known"),
        (["--repeat", "-1"], "repeat"),
        (["--until", "soon"], "5%"),
        (["--idle", "a,b"], "1,10,60"),
        (["--resume", "bench_x"], "begin one"),
        (["report", "nothing.json"], "report.json"),
        (["diff", "one"], "2 names"),
        (["mesure"], "unknown action"),
        (["--cells", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_words(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """Whatever cannot be measured is refused before anything runs, with what to write instead."""
    assert main(["bench", *words]) == USAGE
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_workloads(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What can be measured is listed, with its sizes and languages."""
    assert main(["bench", "workloads"]) == OK
    out = capsys.readouterr().out
    assert all(name in out for name in ("sieve", "regression", "transformation", "numerics", "1,000,000"))


async def measured(folder: Path, provider: ScriptedProvider, **how: Any) -> Report:
    async with Session(settings_in(folder), providers=[provider]) as session:
        return await bench.run(session, models=["claude@scripted"], work=_own(5), repeat=3, **how)


def _own(count: int) -> list[bench.Case]:
    return [question.case for question in cases(count) if question.case]


def test_from_python(tmp_path: Path) -> None:
    """`bench.run` gives the report; cost and tokens are the bill's, and the ledger has a call for each row."""

    async def main() -> tuple[Report, ScriptedProvider]:
        async with ScriptedProvider() as provider:
            provider.offer()
            return await measured(tmp_path, provider, concurrency=4), provider

    report, provider = asyncio.run(main())
    assert len(report.measured) == 15
    assert sum(row.billed or 0 for row in report.rows) == provider.billed > 0
    figures = report.of("claude@scripted")
    assert figures is not None and figures.success.count == 15


def test_unknown_words_of_a_plan(tmp_path: Path) -> None:
    """A word that no plan has is refused with the nearest one."""
    with Session(settings_in(tmp_path)) as session, pytest.raises(UnknownName, match="repaet") as raised:
        session.through(lambda _: bench.run(session, models=["local"], work=["sieve"], repaet=3))
    assert "repeat" in raised.value.hint


def test_one_offer_twice(tmp_path: Path) -> None:
    """Two names of one offer are no comparison."""
    with Session(settings_in(tmp_path)) as session, pytest.raises(InvalidInput, match="one offer twice"):
        session.through(lambda _: bench.run(session, models=["claude", "claude@local"], work=["sieve"]))


def test_replayed(tmp_path: Path) -> None:
    """A recorded benchmark needs nobody: two replays give one report, provenance aside, with what was measured then."""

    async def record() -> Report:
        async with ScriptedProvider(otherwise=Reply(delay=0.01)) as provider:
            provider.offer()
            settings = replace(settings_in(tmp_path / "live"), record=tmp_path / "rec")
            async with Session(settings, providers=[provider]) as session:
                return await bench.run(session, models=["claude@scripted"], work=_own(5), repeat=3, concurrency=1)

    async def replay(name: str) -> Report:
        settings = replace(settings_in(tmp_path / name), replay=tmp_path / "rec")
        async with Session(settings) as session:
            return await bench.run(session, models=["claude@scripted"], work=_own(5), repeat=3)

    live = asyncio.run(record())
    texts = [shown.as_json(asyncio.run(replay(name))) for name in ("one", "two", "one")]
    reports = [{name: value for name, value in json.loads(text).items() if name != "provenance"} for text in texts]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["figures"][0]["success"]["count"] == 15
    assert [row.billed for row in live.measured] == [row.billed for row in _read(tmp_path, texts[0]).measured]


def _read(folder: Path, text: str) -> Report:
    (folder / "report.json").write_text(text)
    return shown.read(folder / "report.json")
