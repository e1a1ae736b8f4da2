"""`history` and `show`, as a shell has them: one line a Result, and all of its outputs again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp import keys
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Execution, Stream
from ipy_codeinterp.notebook.arguments import parse_verb
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.verbs import VERBS

from .kept import fill, result


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return fill(tmp_path / "data")


def say(settings: Settings, name: str, *words: str) -> str:
    return VERBS[name].run(settings, parse_verb(VERBS[name], list(words)))


def test_history(settings: Settings) -> None:
    """Id, time, offer, outcome, cost and the first line of each; as JSON it says the same."""
    head, newest, failed, *_ = say(settings, "history").splitlines()

    assert head.split() == ["ID", "WHEN", "OFFER", "OUTCOME", "COST", "CODE"]
    assert newest.split()[0] == "run_c0ffee" and newest.endswith("claude@anthropic  ok       $0.2500     Draw it.")
    assert "<= $0.5000" in failed
    rows = json.loads(say(settings, "history", "--json", "--since", "1h", "--limit", "2"))
    assert [(row["id"], row["billed"]) for row in rows] == [("run_c0ffee", "0.25"), ("run_b3", None)]
    assert say(settings, "history", "--notebook", "draw.ipynb").count("\n") == 1
    with pytest.raises(InvalidInput, match="--limit 0"):
        say(settings, "history", "--limit", "0")


def test_history_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No terminal obeys a line of it, and no key is in it."""
    monkeypatch.setattr(keys, "_found", set())
    keys.remember("sk-secret-key")
    code = "\x1b]0;t\x07print('sk-secret-key')\nprint(2)"
    said = say(fill(tmp_path, ((Execution(code), result("run_1", code=code)),)), "history")

    assert "\x1b" not in said and "sk-secret-key" not in said and "print('•••')" in said


def test_show(settings: Settings) -> None:
    """All outputs again, errors with their traceback, of a task the code and the words."""
    assert say(settings, "show", "run_a1") == "1\n   a\n0  1"
    assert say(settings, "show", "run_b3").endswith("Traceback (most recent call last)\nValueError: no")
    assert say(settings, "show", "c0ff") == say(settings, "show") == "I draw.\nplot()\n<Figure>\nDone ```now```."
    assert say(settings, "show", "run_a2") == "run_a2 printed nothing"
    with pytest.raises(InvalidInput, match="no variables"):
        say(settings, "show", "--out", "x")
    with pytest.raises(UnknownName, match="run_q"):
        say(settings, "show", "run_q")


def test_show_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is known now is not shown, also where it was kept before."""
    monkeypatch.setattr(keys, "_found", set())
    keys.remember("sk-secret-key")
    settings = fill(tmp_path, ((Execution("x"), result("run_1", Stream("stdout", "sk-secret-key\x1b[2J\n"))),))

    assert say(settings, "show", "run_1") == "•••"


def test_in_a_shell(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The shell has the same verbs, and says what is wrong in two lines."""
    monkeypatch.setenv("IPY_CODEINTERP_DATA_DIR", str(settings.data_dir))

    assert shell.main(["export", "run_a1", "c0ff", str(tmp_path / "two.ipynb")]) == shell.OK
    assert capsys.readouterr().out == f"2 results in {tmp_path / 'two.ipynb'}\n"
    assert shell.main(["show", "run_a3"]) == shell.USAGE
    assert "did you mean run_b3?" in capsys.readouterr().err
