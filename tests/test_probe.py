"""The probe: what an interpreter answers is checked, kept with its date and shown as one table, on both faces."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp import catalog, languages, probe, settings
from ipy_codeinterp.errors import GatewayLost, NoIsolation, StoreError, UnknownName
from ipy_codeinterp.execution import NOT_ISOLATED, Error, Limit, Output, Result, Step, Stream
from ipy_codeinterp.languages import LANGUAGES
from ipy_codeinterp.notebook.arguments import BadUsage
from ipy_codeinterp.probe import Cell, Finding, Report
from ipy_codeinterp.session import Session

from .desks import BareDesk

CLAUDE = catalog.find("claude")
CELLS = tuple(probe.cells(CLAUDE))
NAMES = [name for cell in CELLS for _, name in cell.asks]
Answer = Callable[[Cell], Result]


def ended(*outputs: Output, outcome: Any = "ok", **more: Any) -> Result:
    return Result("r", (Step("", outputs=outputs),), outcome=outcome, **{"isolation": "bubblewrap", **more})


def printed(*lines: object, **more: Any) -> Result:
    return ended(Stream("stdout", "".join(f"{json.dumps(line)}\n" for line in lines)), **more)


def willing(cell: Cell) -> Result:
    """Everything is there, and every wall holds."""
    return printed(*([name, True, f"good {name}"] for _, name in cell.asks))


class FakeSession:
    """Of the shape of a Session: answers each cell of the probe."""

    is_replay = False

    def __init__(self, answer: Answer = willing) -> None:
        self.settings = settings.load()
        self.asked: list[tuple[str, str]] = []
        self._answer = answer

    def run(self, code: str, *, model: str, language: str, timeout: float, cache: bool) -> Result:
        assert not cache, "it is asked how it is now"
        self.asked.append((model, language))
        assert 0 < timeout <= catalog.find(model).timeout
        return self._answer(next(cell for cell in probe.cells(catalog.find(model)) if cell.code == code))


def examined(answer: Answer = willing) -> Report:
    return probe.examine(cast(Session, FakeSession(answer)), "claude")


def found(report: Report, name: str) -> Finding:
    return next(finding for finding in report.findings if finding.name == name)


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("Rscript", "node", "bash"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr(languages, "SYSTEM_PATH", str(tmp_path))


# --- what is asked --------------------------------------------------------------------------------


def test_every_language_is_asked() -> None:
    """Each language there is has a question in itself, and no name is asked twice."""
    asked = {cell.language: name for cell in CELLS for group, name in cell.asks if group == "languages"}
    assert asked == dict(zip(LANGUAGES, LANGUAGES, strict=True))
    assert len(set(NAMES)) == len(NAMES)
    assert {group for cell in CELLS for group, _ in cell.asks} == set(probe.GROUPS)


@pytest.mark.parametrize(
    "cell", [cell for cell in CELLS if cell.language == "python"], ids=lambda cell: cell.asks[0][0]
)
def test_code_is_whole(cell: Cell) -> None:
    """The code that runs inside is Python."""
    compile(cell.code, "cell", "exec")


def test_home_is_nobody_elses_business() -> None:
    """Only an interpreter on this machine is told what our home is called."""
    home = str(Path.home())
    here, elsewhere = ("".join(cell.code for cell in probe.cells(o)) for o in (CLAUDE, replace(CLAUDE, provider="x")))

    assert repr(home) in here
    assert repr(home) not in elsewhere


# --- what is answered -----------------------------------------------------------------------------


def test_report() -> None:
    """Every question has its answer, by group, with the offer, its limits, its isolation and the moment."""
    before = datetime.now(UTC)
    session = FakeSession()

    report = probe.examine(cast(Session, session), "claude")

    assert (report.offer, report.isolation, report.failed) == ("claude@local", "bubblewrap", False)
    assert before <= report.asked <= datetime.now(UTC)
    assert sorted(f.name for f in report.findings) == sorted([*NAMES, "time limit", "memory limit"])
    assert list(dict.fromkeys(f.group for f in report.findings)) == list(probe.GROUPS)
    assert found(report, "numpy") == Finding("packages", "numpy", True, "good numpy")
    assert found(report, "time limit").found.startswith("180 s")
    assert {model for model, _ in session.asked} == {"claude@local"}


WRONG: dict[str, list[object]] = {
    "nothing": [],
    "no list": [1, "numpy", None, {"name": "numpy"}],
    "too short": [["numpy", True]],
    "too long": [["numpy", True, "1", "2"]],
    "a number for a verdict": [["numpy", 1, "1"]],
    "a word for a verdict": [["numpy", "true", "1"]],
    "no text": [["numpy", True, 1], ["numpy", True, None], ["numpy", True, ["1"]]],
    "no name": [[None, True, "1"], [["numpy"], True, "1"]],
    "another's name": [["bash", True, "1"], ["time limit", True, "1"]],
}


@pytest.mark.parametrize("lines", WRONG.values(), ids=WRONG)
def test_wrong_answers(lines: list[object]) -> None:
    """What is not an answer is none, and nobody can answer for another or add to the table."""
    report = examined(lambda cell: printed(*lines) if ("packages", "numpy") in cell.asks else willing(cell))

    assert found(report, "numpy") == Finding("packages", "numpy", False, "no answer")
    assert found(report, "bash").found == "good bash"
    assert found(report, "time limit").ok is None


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 10_000, "\x00", "\ud800", "x" * (1 << 20)], ids=len)
def test_strange_text(text: str) -> None:
    """Text that cannot be read is passed over, and more than anybody needs is not read."""
    report = examined(lambda cell: ended(Stream("stdout", f"{text}\n")))

    assert {f.found for f in report.findings if f.name in NAMES} == {"no answer"}


def test_first_answer_counts() -> None:
    """Who answers twice is heard once, and a long answer is cut."""
    report = examined(
        lambda cell: printed(*([name, True, "x" * 9999] for _, name in cell.asks[:1]), ["numpy", True, "2"])
    )

    assert len(found(report, "python").found) == probe.MOST_FOUND
    assert found(examined(lambda _: printed(["bash", False, "1"], ["bash", True, "2"])), "bash").found == "1"


ENDINGS: dict[str, tuple[Result, bool, str]] = {
    "memory": (ended(outcome="limit", limit=Limit("memory", 1 << 30, "bytes")), True, "memory limit of 1024 MB"),
    "time": (ended(outcome="limit", limit=Limit("time", 120, "seconds")), False, "time limit of 120 seconds"),
    "crash": (ended(outcome="crashed"), False, "the interpreter died"),
    "raised": (ended(Error("ImportError", "no re"), outcome="error"), False, "ImportError: no re"),
}


@pytest.mark.parametrize(("result", "ok", "words"), ENDINGS.values(), ids=ENDINGS)
def test_bad_end(result: Result, ok: bool, words: str) -> None:
    """A cell that ends badly fails with its reason; to be stopped at the limit that was tried is to hold it."""
    finding = found(examined(lambda _: result), "memory")

    assert finding.ok is ok
    assert words in finding.found


def test_language_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is neither right nor wrong, says how to get it, and is not asked."""
    (tmp_path / "Rscript").unlink()
    session = FakeSession()

    report = probe.examine(cast(Session, session), "claude")

    for name in ("r", "dplyr"):
        assert found(report, name).ok is None
        assert "apt-get install r-base-core" in found(report, name).found
    assert "r" not in [language for _, language in session.asked]
    assert not report.failed


def raising(error: Exception) -> Answer:
    def answer(cell: Cell) -> Result:
        if cell.language == "node":
            raise error
        return willing(cell)

    return answer


def test_gateway_that_dies() -> None:
    """A run that was lost is a failure of what it asked, and of nothing else."""
    report = examined(raising(GatewayLost("the gateway died")))

    assert [f for f in report.findings if f.ok is False] == [Finding("languages", "node", False, "the gateway died")]
    assert report.failed


def test_no_isolation() -> None:
    """Where nothing is run there is nothing to report."""
    with pytest.raises(NoIsolation):
        examined(raising(NoIsolation("no", hint="do this")))


def test_unknown_name() -> None:
    """A name that nobody has is answered with the nearest one."""
    with pytest.raises(UnknownName) as caught:
        probe.examine(cast(Session, FakeSession()), "claud")

    assert caught.value.hint == "did you mean claude?"


# --- what is shown --------------------------------------------------------------------------------

REPORT = Report(
    "claude@local",
    datetime(2026, 11, 23, 21, 5, tzinfo=UTC),
    "bubblewrap",
    (
        Finding("languages", "python", True, "3.11.7"),
        Finding("languages", "r", None, "r is not installed"),
        Finding("walls", "write /usr", False, "files can be made in it"),
    ),
)


def test_text() -> None:
    """One table, with a heading for each group, and a mark for what holds and what does not."""
    assert probe.text(REPORT).splitlines() == [
        "claude@local, asked 2026-11-23 21:05 UTC, bubblewrap",
        "",
        "languages",
        "ok   python      3.11.7",
        "     r           r is not installed",
        "",
        "walls (ok: it holds)",
        "FAIL write /usr  files can be made in it",
    ]
    assert REPORT.failed


def test_not_isolated() -> None:
    """Without isolation walls are expected to fail, and the table says so plainly."""
    bare = replace(REPORT, isolation=NOT_ISOLATED)

    assert "expected to fail" in probe.text(bare).splitlines()[1]
    assert not bare.failed


@pytest.mark.parametrize(
    "words", ["\x1b[2J\x1b]0;t\x07", "a\nok   walls hold", "\u202egood", "\x1b[32mok\x1b[0m", "\x9b1A\r"]
)
def test_harmless(words: str) -> None:
    """What a stranger says stays in its row, and nothing of it is obeyed by a terminal."""
    report = examined(lambda cell: printed(*([name, False, words] for _, name in cell.asks)))
    shown = probe.text(replace(report, isolation=words))

    assert len(shown.splitlines()) == len(probe.text(examined()).splitlines())
    assert all(line.isprintable() for line in shown.splitlines())


# --- what is kept ---------------------------------------------------------------------------------


def test_kept(tmp_path: Path) -> None:
    """The last report of each offer is kept as it was, readable by its owner only, with nothing beside it."""
    later = replace(REPORT, asked=datetime.now(UTC), isolation=None)
    for report in (REPORT, later, replace(REPORT, offer="a/../b@x")):
        probe.keep(tmp_path, report)

    assert probe.latest(tmp_path, "claude@local") == later
    assert probe.latest(tmp_path, "a/../b@x") == replace(REPORT, offer="a/../b@x")
    assert probe.latest(tmp_path, "local@local") is None
    files = sorted((tmp_path / "probes").iterdir())
    assert [file.name for file in files] == ["a%2F..%2Fb@x.json", "claude@local.json"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


WHOLE = json.loads(probe.as_json(REPORT))
CORRUPT = {
    "empty": "",
    "cut": probe.as_json(REPORT)[:-20],
    "deep": "[" * 100_000,
    "a list": "[]",
    "no moment": json.dumps({**WHOLE, "asked": 5}),
    "a local time": json.dumps({**WHOLE, "asked": "2026-11-23T21:05:00"}),
    "a strange isolation": json.dumps({**WHOLE, "isolation": 1}),
    "no findings": json.dumps({**WHOLE, "findings": None}),
    "a strange finding": json.dumps({**WHOLE, "findings": [{**WHOLE["findings"][0], "ok": "yes"}]}),
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT)
def test_corrupt_file(tmp_path: Path, content: str) -> None:
    """A file that is no report is ignored, and replaced by the next."""
    probe.keep(tmp_path, REPORT)
    (tmp_path / "probes" / "claude@local.json").write_text(content)

    assert probe.latest(tmp_path, "claude@local") is None
    probe.keep(tmp_path, REPORT)
    assert probe.latest(tmp_path, "claude@local") == REPORT


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Nor is a file that is not UTF-8 a report."""
    probe.keep(tmp_path, REPORT)
    (tmp_path / "probes" / "claude@local.json").write_bytes(b"\xff")

    assert probe.latest(tmp_path, "claude@local") is None


def test_cannot_be_kept(tmp_path: Path) -> None:
    """A folder that cannot be written is said, with a way out."""
    (tmp_path / "probes").touch()

    with pytest.raises(StoreError) as caught:
        probe.keep(tmp_path, REPORT)
    assert "IPY_CODEINTERP_DATA_DIR" in caught.value.hint


def test_table(tmp_path: Path) -> None:
    """One row an interpreter, with the date of its last probe; one alone shows the whole of it."""
    probe.keep(tmp_path, REPORT)
    probe.keep(tmp_path, replace(REPORT, offer="gpt@local", isolation=NOT_ISOLATED))

    rows = probe.table(probe.interpreters(tmp_path)).splitlines()
    assert [row.split()[0] for row in rows] == ["NAME", *catalog.profiles()]
    assert rows[1].endswith("never (--probe)")
    shown = "claude claude@local 180 s 1024 MB python, r, node, bash 2026-11-23 21:05 UTC"
    assert " ".join(rows[2].split()) == shown
    assert rows[3].endswith("21:05 UTC, not isolated")
    assert probe.text(REPORT) in probe.table(probe.interpreters(tmp_path, "claude"))


def test_json(tmp_path: Path) -> None:
    """The same as JSON."""
    probe.keep(tmp_path, REPORT)

    known = json.loads(probe.as_json(probe.interpreters(tmp_path)))

    assert [each["name"] for each in known] == list(catalog.profiles())
    assert [each["probe"] for each in known] == [None, json.loads(probe.as_json(REPORT)), None]


# --- both faces -----------------------------------------------------------------------------------


def in_shell(line: str, session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(_: object) -> Iterator[FakeSession]:
        yield session

    monkeypatch.setattr("ipy_codeinterp.session.Session", opened)
    assert shell.main(["models", *line.split()]) == 0


def in_notebook(line: str, session: FakeSession, _: pytest.MonkeyPatch) -> None:
    BareDesk(session).perform(f"models {line}")


@pytest.mark.parametrize(
    "line", ["", "claude", "--json", "claude --json", "claude --probe", "--probe --json", "--json claude"]
)
def test_faces(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The notebook and the shell take the same words, say the same, and ask only when they are told to."""
    moment = SimpleNamespace(
        now=lambda _: REPORT.asked, fromisoformat=datetime.fromisoformat, isoformat=datetime.isoformat
    )
    monkeypatch.setattr(probe, "datetime", moment)
    said = []
    for face in (in_notebook, in_shell):
        session = FakeSession()
        face(line, session, monkeypatch)
        said.append((capsys.readouterr().out, bool(session.asked)))

    assert said[0] == said[1]
    assert said[0][1] is ("--probe" in line)
    offer = "claude@local" if "claude" in line else "local@local"
    assert (probe.latest(session.settings.data_dir, offer) is not None) is ("--probe" in line)


def test_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall that does not hold is an exit code of 1."""
    monkeypatch.setattr(probe, "examine", lambda *_: REPORT)

    assert shell.main(["models", "claude", "--probe"]) == shell.FAILED
    assert shell.main(["models", "claud"]) == shell.USAGE


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--prob", "%interp models: unrecognized arguments: --prob .it takes NAME, --probe, --json"),
        ("claude gpt", "unrecognized arguments: gpt"),
        ("-m claude", "unrecognized arguments: -m"),
    ],
)
def test_bad_usage(line: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that cannot be understood is said so, and nothing is asked."""
    session = FakeSession()

    with pytest.raises(BadUsage, match=words):
        in_notebook(line, session, monkeypatch)
    with pytest.raises(SystemExit):
        shell.main(["models", *line.split()])
    assert session.asked == []


# --- for real -------------------------------------------------------------------------------------


def really(name: str, tmp_path: Path, cache_dir: Path, isolation: str) -> Report:
    with Session(cache_dir=cache_dir, data_dir=tmp_path / "data", isolation=isolation) as session:
        return probe.examine(session, name)


@pytest.fixture
def real_languages(monkeypatch: pytest.MonkeyPatch, everything_is_installed: None) -> None:
    monkeypatch.undo()


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["local", "claude"])
@pytest.mark.usefixtures("real_languages")
def test_sandbox(name: str, tmp_path: Path, cache_dir: Path) -> None:
    """From inside, each wall of the sandbox holds."""
    report = really(name, tmp_path, cache_dir, "auto")

    assert [f for f in report.findings if f.group == "walls" and f.ok is not True] == []
    assert [f for f in report.findings if f.group == "languages" and f.ok is False] == []
    assert found(report, "python").ok is True
    assert found(report, "memory").ok is not False
    assert report.isolation == "bubblewrap"


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("real_languages")
def test_bare(tmp_path: Path, cache_dir: Path) -> None:
    """Without isolation walls fail, which is expected; nothing is left behind and nothing is sent."""
    report = really("claude", tmp_path, cache_dir, "bare")

    assert report.isolation == NOT_ISOLATED
    assert found(report, "see other processes").ok is False
    assert found(report, "read your home").ok is False
    assert not report.failed
    assert "expected to fail" in probe.text(report)
