"""Exports: whole, readable by what reads such files, and harmless to open."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import nbformat
import pytest

from ipy_codeinterp import exports, keys, looking_back
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Display, Error, Execution, Result, Step, Stream, Text
from ipy_codeinterp.exports.as_markdown import fenced
from ipy_codeinterp.exports.as_notebook import line_of
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import journal
from ipy_codeinterp.store.history import Kept

from .kept import ASKED, fill, png, result

KEY = "sk-never-to-be-seen-1234"
HOSTILE = result(
    "run_bad",
    Stream("stdout", "\x1b]0;title\x07text ``` <script>alert(1)</script>\n"),
    Display({"text/html": "<script>alert(1)</script><b onclick='x()'>b</b>", "text/plain": f"\x1b[2J{KEY}"}),
    Display({"application/javascript": "alert(1)", "text/plain": "js"}),
    Display({"image/png": png(), "text/plain": "f"}, {"image/png": {"alt": "](javascript:alert(1)) <img src=x>"}}),
    Error("E\x1b]8;;http://x\x07", KEY, ("\x1b[31mred\x1b[0m", KEY)),
    code="print('\x1b]0;t\x07')",
    outcome="error",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return fill(tmp_path / "data")


def kept(settings: Settings, *ids: str) -> list[Kept]:
    return looking_back.find_all(settings, ids)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Kept]:
    """What a sandbox sent that would like to run here, with a key in it."""
    monkeypatch.setattr(keys, "_found", set())
    keys.remember(KEY)
    return looking_back.find_all(fill(tmp_path / "data", ((Execution("print()"), HOSTILE),)), ["run_bad"])


def test_notebook(settings: Settings, tmp_path: Path) -> None:
    """A notebook that nbformat accepts: a cell that asks for the same, with its outputs."""
    path = tmp_path / "all.ipynb"
    exports.write(kept(settings, "run_a1", "run_b3", "c0ffee", "run_a1"), path)

    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    load, one, failed, asked = found.cells
    assert load.source == "%load_ext ipy_codeinterp"
    assert one.source == "%%interp\n# one\nprint(1)"
    assert [output.output_type for output in one.outputs] == ["stream", "execute_result"]
    assert failed.outputs[-1].ename == "ValueError" and failed.metadata.ipy_codeinterp.outcome == "error"
    assert asked.source == "%%interp --model claude@anthropic --ask\nDraw it."
    assert [next(iter(output.data)) for output in asked.outputs] == [
        "text/plain",
        "text/plain",
        "text/plain",
        "text/plain",
    ]
    assert "image/png" in asked.outputs[2].data


def test_code(settings: Settings, tmp_path: Path) -> None:
    """A file of code holds what ran, in one language; its name says which."""
    exports.write(kept(settings, "run_a1", "c0ffee"), tmp_path / "all.py")
    exports.write(kept(settings, "run_a2"), tmp_path / "one.r")

    text = (tmp_path / "all.py").read_text()
    compile(text, "all.py", "exec")
    assert "# run_c0ffee: claude@anthropic" in text and "# Draw it.\nplot()" in text
    assert (tmp_path / "one.r").read_text().endswith("x <- 1\n")
    with pytest.raises(InvalidInput, match="run_a2 is r, not python"):
        exports.write(kept(settings, "run_a2"), tmp_path / "two.py")


def test_markdown(settings: Settings, tmp_path: Path) -> None:
    """Markdown holds code, text and figures; a fence in the words ends nothing."""
    exports.write(kept(settings, "run_a1", "run_b3", "c0ffee"), tmp_path / "all.md")

    text = (tmp_path / "all.md").read_text()
    assert "```python\n# one\nprint(1)\n```" in text and "```text\n1\n```" in text
    assert "ValueError: no" in text
    assert f"![a black (x) square](data:image/png;base64,{png()})" in text
    assert "````text\nDone ```now```.\n````" in text


def test_json(settings: Settings, tmp_path: Path) -> None:
    """JSON holds everything: the Result can be made of it again."""
    exports.write(kept(settings, "c0ffee"), tmp_path / "one.json")

    (found,) = json.loads((tmp_path / "one.json").read_text())
    assert journal.result_of(found["result"]) == ASKED
    assert found["execution"]["body"] == "Draw it."


def test_harmless(hostile: list[Kept], tmp_path: Path) -> None:
    """Nothing runs in an opened export, no terminal obeys it, and no key is in it."""
    for suffix in (".ipynb", ".md", ".json", ".py"):
        exports.write(hostile, tmp_path / f"bad{suffix}")
        text = (tmp_path / f"bad{suffix}").read_text()
        assert KEY not in text and "\x1b" not in text, suffix
    shown = nbformat.read(tmp_path / "bad.ipynb", as_version=4).cells[1].outputs
    assert "<script" not in json.dumps([output.get("data", {}) for output in shown])
    assert "onclick" not in json.dumps(shown)
    assert not any("application/javascript" in output.get("data", {}) for output in shown)
    assert "](javascript" not in (tmp_path / "bad.md").read_text()


@pytest.mark.parametrize("said", ["a", "```", "~~~\n````\n`", "", "\x1b[31mred\x1b[0m"])
def test_fence(said: str) -> None:
    """What is in a fence never ends it."""
    first, *inside, last = fenced(said, "text").splitlines()

    assert first == f"{last}text" and not any(line.startswith(last) for line in inside)


def test_no_overwrite(settings: Settings, tmp_path: Path) -> None:
    """A file that is there stays as it is, unless that is wanted; no other file is left beside it."""
    path = tmp_path / "one.md"
    path.write_text("mine")
    path.chmod(0o600)
    with pytest.raises(InvalidInput, match="is there already") as caught:
        exports.write(kept(settings, "run_a1"), path)
    assert "--force" in caught.value.hint and path.read_text() == "mine"

    exports.write(kept(settings, "run_a1"), path, force=True)

    assert "run_a1" in path.read_text()
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["one.md"]
    assert stat.S_ISREG(path.stat().st_mode)


@pytest.mark.parametrize(("name", "words"), [("all.docx", "is none of"), ("no/such/folder/a.md", "cannot be written")])
def test_a_mistake(settings: Settings, tmp_path: Path, name: str, words: str) -> None:
    """A name that says no format, or lies nowhere, is said in a line."""
    with pytest.raises(InvalidInput, match=words):
        exports.write(kept(settings, "run_a1"), tmp_path / name)


def test_line() -> None:
    """The first line of an exported cell asks for what was asked."""
    asked = Execution(
        "x", language="r", model="gpt", container="a b", timeout=5.0, network=True, packages=("polars>=1",)
    )

    assert (
        line_of(asked) == "%%interp --model gpt --container 'a b' --timeout 5 --language r --with 'polars>=1' --network"
    )


def test_nothing_ran(tmp_path: Path) -> None:
    """A Result without a step is exported with what was to run, and what was said instead."""
    words = Result("run_x", parts=(Text("I will not."),), outcome="ok", provider="test", model="m")
    (found,) = looking_back.find_all(fill(tmp_path / "data", ((Execution("1 + 1"), words),)), [None])

    exports.write([found], tmp_path / "a.md")

    assert "```python\n1 + 1\n```" in (tmp_path / "a.md").read_text()
    assert "I will not." in (tmp_path / "a.md").read_text()
    assert isinstance(found.result.parts[0], Text) and not any(isinstance(part, Step) for part in found.result.parts)
