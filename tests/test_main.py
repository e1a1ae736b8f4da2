"""The shell's face: its grammar, what it prints, and what its exit codes mean."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp.errors import InvalidInput, NoIsolation
from ipy_codeinterp.execution import Clear, Display, Error, Event, Limit, Notice, Phase, Result, Stream

SESSION = "ipy_codeinterp.session.Session"


class FakeSession:
    """Of the shape of a Session: shows `events`, and ends in `result` or raises it."""

    events: tuple[Event, ...] = ()
    result: Result | BaseException = Result("run_1", outcome="ok")

    def __init__(self, **settings: Any) -> None:
        said.settings = settings

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        said.closed = True

    def run(self, code: str, *, show: Any, **how: Any) -> Result:
        said.code, said.how = code, how
        for event in self.events:
            show(event)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


said = SimpleNamespace()


@pytest.fixture
def code(tmp_path: Path) -> str:
    path = tmp_path / "code.py"
    path.write_text("print('é')", encoding="utf-8")
    return str(path)


def ends_in(monkeypatch: pytest.MonkeyPatch, result: Result | BaseException, *events: Event) -> None:
    fake = type("Fake", (FakeSession,), {"result": result, "events": events})
    monkeypatch.setattr(SESSION, fake)


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        pytest.param(Result("r", outcome="ok"), 0, "", id="ok"),
        pytest.param(Result("r", outcome="error"), 1, "", id="raised"),
        pytest.param(InvalidInput("no", hint="do this"), 2, "InvalidInput: no\ndo this\n", id="usage"),
        pytest.param(NoIsolation("no", hint="do this"), 3, "NoIsolation: no\ndo this\n", id="no isolation"),
        pytest.param(
            Result("r", outcome="limit", limit=Limit("time", 2.0, "seconds")),
            4,
            "limit of 2 seconds",
            id="limit",
        ),
        pytest.param(Result("r", outcome="crashed"), 4, "the interpreter died", id="crash"),
        pytest.param(KeyboardInterrupt(), 130, "", id="interrupt"),
    ],
)
def test_exit_code(
    code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: Any, status: int, words: str
) -> None:
    """The exit code tells how it ended, and words on stderr say what to do."""
    ends_in(monkeypatch, result)

    assert shell.main(["run", code]) == status
    out, err = capsys.readouterr()
    assert (out, bool(err)) == ("", bool(words))
    assert words in err
    assert said.closed


def test_what_is_asked(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code and flags arrive as they were given."""
    ends_in(monkeypatch, Result("r", outcome="ok"))
    flags = ["-m", "claude", "-t", "5", "--attach", "a", "--attach", "b", "--isolation", "bare"]
    flags += ["-l", "r", "--mount", "/data", "--with", "polars>=1", "--network"]

    shell.main(["run", code, *flags])

    assert said.code == "print('é')"
    assert said.settings == {"isolation": "bare"}
    assert said.how == {
        "model": "claude",
        "language": "r",
        "timeout": 5.0,
        "files": ["a", "b"],
        "mounts": ["/data"],
        "packages": ["polars>=1"],
        "network": True,
    }


@pytest.mark.parametrize(
    ("name", "language"), [("a.py", "python"), ("a.R", "r"), ("b.mjs", "node"), ("c.sh", "bash"), ("d", "python")]
)
def test_the_language_is_in_the_name(name: str, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is run without `--language` is in the language of its suffix, Python where it says none."""
    ends_in(monkeypatch, Result("r", outcome="ok"))
    (tmp_path / name).write_text("x")
    shell.main(["run", str(tmp_path / name)])
    assert said.how["language"] == language


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of - is standard input, and settings that nobody named are left alone."""
    ends_in(monkeypatch, Result("r", outcome="ok"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("print('é')".encode())))

    assert shell.main(["run", "-"]) == 0
    assert (said.code, said.settings) == ("print('é')", {})


def test_outputs(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Outputs are shown as text, without colours or other controls where nobody sees them."""
    events = (
        Phase("running"),
        Stream("stdout", "\x1b[31mred\x1b[0m\x1b]0;title\x07\n"),
        Clear(),
        Display({"text/plain": "<Figure>", "image/png": "aGk="}),
        Display({"text/html": "<b>"}),
        Stream("stderr", "warn\n"),
        Error("ValueError", "no", ("Traceback", "\x1b[31mValueError\x1b[0m: no")),
        Notice("container 'a' is new"),
    )
    ends_in(monkeypatch, Result("r", outcome="error"), *events)

    assert shell.main(["run", code]) == 1

    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["red", "<Figure>"]
    assert err == "warn\nTraceback\nValueError: no\ncontainer 'a' is new\n"


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        pytest.param(None, [], "cannot be read", id="no file"),
        pytest.param(b"\xff", [], "is not UTF-8", id="not text"),
        pytest.param(b"# nothing\n", [], "nothing to run", id="blank"),
        pytest.param(b"x", ["-m", "claud"], "did you mean claude?", id="model"),
        pytest.param(b"x", ["-m", "claude@anthropic"], "nothing was sent", id="not allowed"),
        pytest.param(b"x", ["-t", "-1"], "use a positive number", id="time"),
        pytest.param(b"x", ["--attach", "nowhere.csv"], "there is no file nowhere.csv", id="attachment"),
    ],
)
def test_cannot_be_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, flags: list[str], words: str
) -> None:
    """What cannot be run is said in two lines on stderr, and ends with 2."""
    path = tmp_path / "code.py"
    if content is not None:
        path.write_bytes(content)

    assert shell.main(["run", str(path), *flags]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 2


def test_wrong_setting(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable of the environment that is no setting is usage too."""
    monkeypatch.setenv("IPY_CODEINTERP_TIMEOUT", "soon")

    assert shell.main(["run", code]) == 2
    assert "IPY_CODEINTERP_TIMEOUT = 'soon'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "fly",
        "run",
        "run a b",
        "run a --model",
        "run a --mod claude",
        "run a --timeout soon",
        "run a --isolation none",
        "gateway --port x",
        "doctor --fix",
    ],
)
def test_bad_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that cannot be understood ends with 2, and nothing is abbreviated."""
    with pytest.raises(SystemExit) as caught:
        shell.main(line.split())

    assert caught.value.code == 2
    assert "usage: ipy-codeinterp" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["--help", "run --help", "gateway --help", "doctor --help"])
def test_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb says what it takes."""
    with pytest.raises(SystemExit) as caught:
        shell.main(line.split())

    assert caught.value.code == 0
    assert "usage: ipy-codeinterp" in capsys.readouterr().out


def test_help_names_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of `run` says what each exit code means."""
    with pytest.raises(SystemExit):
        shell.main(["run", "--help"])

    said = " ".join(capsys.readouterr().out.split())
    assert "0 ok, 1 the code raised, 2 usage, 3 no isolation on this machine, 4 limit or crash" in said


def test_gateway_options() -> None:
    """What the session says to its gateway is understood."""
    line = "gateway --json --owner-fd 5 --isolation bare --cache-dir /c --python /p --port 80"

    options = shell.parser().parse_args(line.split())

    assert (options.json, options.owner_fd, options.isolation, options.port) == (True, 5, "bare", 80)
    assert (options.cache_dir, options.python) == (Path("/c"), Path("/p"))
    assert not options.allow_network and shell.parser().parse_args(["gateway", "--allow-network"]).allow_network
