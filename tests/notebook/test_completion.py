"""Completion: on our lines what may stand there and nothing else, elsewhere nothing of ours; gone when unloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp import catalog, notebook
from ipy_codeinterp.batch import new_batch
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.notebook import completion, own_verbs
from ipy_codeinterp.notebook.arguments import FLAGS, verb_parser
from ipy_codeinterp.notebook.jobs import JobState
from ipy_codeinterp.settings import CHOICES
from ipy_codeinterp.store import batches, database, journal
from ipy_codeinterp.store.batches import Terms


def completed(shell: InteractiveShell, text: str) -> list[str]:
    """What Tab gives at the `|` in `text`, as a front end gets it: the line as it would be, up to the cursor."""
    before, _, after = text.partition("|")
    whole, cursor = before + after, len(before)
    line = before.rpartition("\n")[2]
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = list(shell.Completer.completions(whole, cursor))
    at = cursor - len(line)
    return [line[: each.start - at] + each.text for each in found]


def words(shell: InteractiveShell, text: str) -> list[str]:
    """The last words of those."""
    return [line.rpartition(" ")[2] for line in completed(shell, text)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%%interp --mo|\nx = 1", "%%interp --model"),
        ("%%time\n%%interp --cont|\nx", "%%interp --container"),
        ("%%interp --model cla|", "%%interp --model claude"),
        ("%%interp -m claude@anth|", "%%interp -m claude@anthropic"),
        ("%%interp --model=loc|", "%%interp --model=local"),
        ("%%interp -l py|", "%%interp -l python"),
        ("%%interp --policy fas|", "%%interp --policy fastest"),
        ("%%interp --container b --timeout 5 --netw|", "%%interp --container b --timeout 5 --network"),
        ("%interp pan|", "%interp panel"),
        ("x = 1\n%interp contai|", "%interp container"),
        ("%interp container res|", "%interp container restart"),
        ("%interp batch coll|", "%interp batch collect"),
        ("%interp models --pro|", "%interp models --probe"),
        ("%interp models ant|", "%interp models anthropic"),
        ("%interp enable ope|", "%interp enable openai"),
        ("%interp doctor openai gem|", "%interp doctor openai gemini"),
        ("%interp config budget_|", "%interp config budget_day"),
        ("%interp help where|", '%interp help "where it runs"'),
        ("%interp help --chun|", "%interp help --chunks"),
        ("%interp stats --by mod|", "%interp stats --by model"),
        ("%interp stats --by model,note|", "%interp stats --by model,notebook"),
    ],
)
def test_completed(shell: InteractiveShell, text: str, line: str) -> None:
    """Flags, verbs, actions, models, offers, languages, policies, providers, settings and topics are completed."""
    assert line in completed(shell, text)


def test_every_flag_and_verb(shell: InteractiveShell) -> None:
    """Whatever has a row is completed: flags of cells, verbs, and the flags of verbs."""
    assert set(words(shell, "%%interp --|")) == {name for names, _ in FLAGS for name in names if name.startswith("--")}
    assert set(words(shell, "%interp |")) == set(own_verbs.names())
    for name, verb in own_verbs.known.items():
        if name == own_verbs.HELP:
            continue  # there is help on flags: they are its topics
        flags = {flag for action in verb_parser(verb)._actions for flag in action.option_strings}
        assert set(words(shell, f"%interp {name} -|")) == flags
    assert set(words(shell, "%%interp --policy |")) == set(CHOICES["policy"])
    assert "claude@local" in words(shell, "%%interp --model claude@|")


def test_files(shell: InteractiveShell, tmp_path: Path) -> None:
    """After a flag that takes a path come files and folders, with spaces quoted, hidden ones only when asked for."""
    for name in ("data.csv", "my data.csv", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.csv").touch()

    assert set(completed(shell, "%%interp --attach |")) == {
        f"%%interp --attach {name}" for name in ("data.csv", "deep/", '"my data.csv"')
    }
    assert completed(shell, "%%interp --attach deep/|") == ["%%interp --attach deep/d.csv"]
    assert completed(shell, "%%interp --chunks .h|") == ["%%interp --chunks .hidden"]
    assert completed(shell, '%%interp --attach "my d|') == ['%%interp --attach "my data.csv"']
    assert completion.paths(None, "nowhere/") == []  # type: ignore[arg-type]


def test_variables(shell: InteractiveShell) -> None:
    """After `--out` come the user's own variables: no modules, functions, or names of IPython."""
    shell.run_cell("import os as system\ntable = 1\ntwo = 2\n_private = 3\ndef function(): pass\nclass Kind: pass")

    assert words(shell, "%%interp --out |") == ["table", "two"]


def test_names_of_this_session(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that a cell named, and what was put aside or kept lately, are completed."""
    desk: Any = shell.magics_manager.registry[notebook.NAME]._desk
    desk.ended(Execution("x", container="lab"))
    store = database.Database(desk.session.store, limit=1 << 30)
    aside = new_batch(Execution("1"), "local@local", Terms(), None)
    store.run(lambda connection: batches.put(connection, aside)).result()
    store.run(lambda connection: journal.insert(connection, Execution("1"), Result("run_1"))).result()
    store.close()

    assert words(shell, "%%interp --container |") == ["lab"]
    assert words(shell, "%interp container delete |") == ["lab"]
    assert words(shell, "%interp batch collect ba|") == [aside.id]
    states = (JobState("run_2", "ok", "local@local", "", 0.0, True), JobState("run_3", "running", "", "", 0.0, False))
    monkeypatch.setattr(desk.jobs, "states", lambda: states)
    assert completion.jobs(desk, "") == ["run_3", "run_2"]
    assert set(words(shell, "%interp wait |")) == {"run_2", "run_3"}
    assert set(words(shell, "%interp cancel |")) == {"run_2", "run_3", "all"}
    assert completion.runs(desk, "") == [aside.id, "run_1"]


@pytest.mark.parametrize(
    "text",
    [
        "%%interp\n--mod|",
        "%%interp --model claude\nimport o|",
        "%%interp\n%interp pan|",
        "%%time\n%interp pan|",
        "print('%%interp --mo|",
        "interpol|",
        "%%interp|",
        "--mo|",
    ],
)
def test_not_ours(shell: InteractiveShell, text: str) -> None:
    """A cell's body, other magics and Python are left to others."""
    before = text.partition("|")[0]
    line, column = before.count("\n"), len(before.rpartition("\n")[2])

    assert completion.where(text.replace("|", ""), line, column) is None
    assert "--model" not in words(shell, text)


def test_unloaded() -> None:
    """Loading twice asks once, and unloading leaves nothing behind."""
    shell = InteractiveShell()
    before = list(shell.Completer.custom_matchers)
    notebook.load(shell)
    notebook.load(shell)
    during = list(shell.Completer.custom_matchers)
    notebook.unload(shell)

    assert len(during) == len(before) + 1
    assert shell.Completer.custom_matchers == before


def test_nothing_is_asked(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    """No completion opens a socket or starts a process."""
    import socket
    import subprocess

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("completion asks nobody")

    monkeypatch.setattr(socket, "socket", never)
    monkeypatch.setattr(subprocess, "Popen", never)
    for flag in completion.VALUES:
        completed(shell, f"%%interp {flag} |")
    for name in own_verbs.names():
        completed(shell, f"%interp {name} |")


def test_large_folder(shell: InteractiveShell, tmp_path: Path) -> None:
    """Of a folder with very many files no more are read than anybody looks at."""
    for number in range(completion.MOST_PATHS + 50):
        os.close(os.open(tmp_path / f"f{number}", os.O_CREAT))

    assert len(completion.paths(None, "f")) == completion.MOST_PATHS  # type: ignore[arg-type]


def test_catalog_is_what_is_offered(shell: InteractiveShell) -> None:
    """Providers that can be enabled are those of the catalog, without this machine."""
    assert set(words(shell, "%interp enable |")) == set(catalog.providers()) - {"local"}
