"""Help and configuration: everything that can be said to the product is explained by it, with who said what."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from ipy_codeinterp import notebook
from ipy_codeinterp.errors import InterpError, NothingToRun
from ipy_codeinterp.notebook import own_verbs, topics
from ipy_codeinterp.notebook.arguments import FLAGS, BadUsage
from ipy_codeinterp.notebook.configured import NAMES, shown
from ipy_codeinterp.notebook.groups import GROUPS, group_of
from ipy_codeinterp.notebook.magics import AT_RELOAD, InterpMagics
from ipy_codeinterp.settings import Settings


def said(shell: InteractiveShell, line: str) -> str:
    with capture_output() as captured:
        shell.run_line_magic("interp", line)
    return str(captured.stdout)


def rows(shell: InteractiveShell, line: str = "config") -> dict[str, tuple[str, ...]]:
    table = [line.split() for line in said(shell, line).splitlines()[1:]]
    return {name: tuple(rest) for name, *rest in table}


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [names for names, _ in FLAGS], ids=lambda names: names[-1])
def test_group(names: tuple[str, ...]) -> None:
    """Every flag stands in a group."""
    assert group_of(names)


def test_no_flag_in_two_groups() -> None:
    """No flag stands in two groups."""
    flags = [flag for group in GROUPS.values() for flag in group]

    assert sorted(set(flags)) == sorted(flags)


def test_magic_help_is_grouped() -> None:
    """`%%interp?` shows the groups in their order, each with its flags."""
    text = str(InterpMagics.interp.__doc__)

    places = [text.index(f"{title}:") for title in GROUPS]
    assert places == sorted(places)
    order = ("every day:", "-m NAME, --model NAME", "data:", "--attach PATH  ", "rarely:", "--no-raise-error  ")
    assert sorted(order, key=lambda each: text.rindex(each)) == list(order)


@pytest.mark.parametrize("topic", topics.topics(own_verbs.known))
def test_topic(topic: str) -> None:
    """There is help on every group, verb, flag and setting."""
    assert topic.lstrip("-") in topics.said(topic, own_verbs.known)


def test_topics_are_all() -> None:
    """Nothing is left out, and a word that is several things is explained as each."""
    flags = {name for names, _ in FLAGS for name in names}

    assert {*GROUPS, *own_verbs.known, *flags, *NAMES} <= set(topics.topics(own_verbs.known))
    assert "`%interp stats --by label`" in topics.said("--label", own_verbs.known)
    assert "--settle" in topics.said("budget", own_verbs.known)
    assert "setting budget: USD that one session may spend" in topics.said("budget", own_verbs.known)


@pytest.mark.parametrize("name", [each.name for each in fields(Settings)])
def test_meaning(name: str) -> None:
    """Every setting says what it means."""
    assert len(topics.meanings()[name]) > 10


@pytest.mark.parametrize("name", own_verbs.names())
def test_help_of_a_verb(shell: InteractiveShell, name: str) -> None:
    """`--help` on every verb says its arguments, and does nothing else."""
    text = said(shell, f"{name} --help")

    assert text.startswith(f"usage: %interp {name}")
    assert said(shell, f"help {name}").startswith(text.rstrip())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("help modle", "no help on 'modle': did you mean model?"),
        ("config bugdet", "did you mean budget?"),
        ("panle", "unknown verb 'panle': did you mean panel?"),
        ("claude", "claude is a model, not a verb: write %%interp --model claude over a cell"),
        ("print(1)", "code goes into a cell under %%interp"),
        ("x = 5", "code goes into a cell under %%interp"),
        ("df.head()", "code goes into a cell under %%interp"),
        ("container lits", "did you mean list?"),
    ],
)
def test_mistake(shell: InteractiveShell, line: str, words: str) -> None:
    """A wrong word is answered with the nearest right one, code with where it goes."""
    with pytest.raises((BadUsage, InterpError)) as caught:
        shell.run_line_magic("interp", line)

    assert words in "".join(caught.value._render_traceback_())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("claude", "did you mean --model claude?"),
        ("claude@anthropic", "did you mean --model claude@anthropic?"),
        ("gpt-4.1", "did you mean --model gpt-4.1?"),
        ("x", "the variable x is sent with --in x"),
        ("print(1)", "code goes below this line"),
    ],
)
def test_word_on_the_line(shell: InteractiveShell, line: str, words: str) -> None:
    """A word without a flag on a cell's line is told what it could have been."""
    with pytest.raises(BadUsage) as caught:
        shell.run_cell_magic("interp", line, "print(1)")

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "error", "words"),
    [
        ("# a comment\n%%interp\nprint(1)", BadUsage, "has to be the first line of its cell"),
        ("import os\n%%interp --model claude\nprint(1)", BadUsage, "has to be the first line of its cell"),
        ("%%interp", NothingToRun, "write some code below the first line"),
        ("%%interp --model claude\n", NothingToRun, "write some code below the first line"),
        ("%%interp\n\n", NothingToRun, "write some code below the first line"),
        ("%%interp --modle claude\n", BadUsage, "did you mean --model?"),
    ],
)
def test_misplaced(shell: InteractiveShell, cell: str, error: type[Exception], words: str) -> None:
    """A comment above `%%interp`, and nothing below it, are real errors that say what to do."""
    with capture_output():
        result = shell.run_cell(cell)

    assert type(result.error_in_exec) is error
    assert words in "".join(result.error_in_exec._render_traceback_())


def test_terminal_waits_for_a_body(shell: InteractiveShell) -> None:
    """A terminal goes on reading below `%%interp`: its first line is no cell yet."""
    assert shell.check_complete("%%interp\n")[0] == "incomplete"
    assert shell.check_complete("%%interp\nprint(1)\n")[0] == "incomplete"


def test_nothing_is_left(tmp_path: Path) -> None:
    """What is told of misplaced cells is gone when unloaded."""
    shell = InteractiveShell()

    def hooks() -> tuple[list[Any], set[str], list[Any]]:
        lines = set(shell.magics_manager.magics["line"])
        return list(shell.input_transformers_cleanup), lines, list(shell.events.callbacks["post_run_cell"])

    before = hooks()
    notebook.load(shell)
    notebook.load(shell)
    notebook.unload(shell)

    assert hooks() == before


# --- configuration --------------------------------------------------------------------------------


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is listed with its value, and who said it: default, file, project, variable, config, %config."""
    user = tmp_path / "config" / "ipy-codeinterp" / "config.toml"
    user.parent.mkdir(parents=True)
    user.write_text('attempts = 3\nbase_url = "https://me:pass@host/v1"\n')
    project = tmp_path / "work" / "pyproject.toml"
    project.parent.mkdir()
    project.write_text("[tool.ipy_codeinterp]\nfigure_dpi = 99\n")
    monkeypatch.chdir(project.parent)
    monkeypatch.setenv("IPY_CODEINTERP_WARM", "never")
    monkeypatch.setenv("IPY_CODEINTERP_CACHE_DAYS", "7")
    shell = InteractiveShell(config=Config({"InterpMagics": {"timeout": 9.0}}))
    notebook.load(shell)
    try:
        shell.run_line_magic("config", "InterpMagics.fallback = 'gpt, local'")
        shell.run_line_magic("config", "InterpMagics.model = 'claude'")
        desk: Any = shell.magics_manager.registry[notebook.NAME]._desk
        desk.session.settings = desk.settings.changed(enabled=("openai",))
        found = rows(shell)
    finally:
        notebook.unload(shell)

    assert set(found) == set(NAMES)
    assert found["policy"] == ("pinned", "default", "yes")
    assert found["attempts"] == ("3", str(user))
    assert found["figure_dpi"] == ("99.0", str(project), "yes")
    assert found["cache_days"] == ("7.0", "IPY_CODEINTERP_CACHE_DAYS")
    assert found["timeout"] == ("9.0", "c.InterpMagics", "yes")
    assert found["fallback"] == ("gpt,", "local", "%config", "yes")
    assert found["model"] == ("claude", "%config", "yes")
    assert found["enabled"] == ("openai", "this", "session")
    assert found["base_url"][0] == "https://•••@host/v1"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "unset"), ((), "none"), (True, "yes"), (False, "no"), ((1, 2), "1, 2"), (0, "0")]
)
def test_shown(value: object, text: str) -> None:
    """Values are shown as one would write them."""
    assert shown(value) == text


def test_at_once(shell: InteractiveShell, caplog: pytest.LogCaptureFixture) -> None:
    """What %config can change changes the running session, and a wrong value is refused with what is right."""
    desk: Any = shell.magics_manager.registry[notebook.NAME]._desk
    changes = {"fallback": ("gpt",), "batches": "own", "budget_day": 5, "deadline": 9.0, "require": "local"}
    changes |= {"allow": ("local",), "unpriced": ("a@b",), "tool": "t", "base_url": "https://h/v1", "budget": 2}
    changes |= {"key_variable": "K", "plain_http": True}
    for name, value in changes.items():
        shell.run_line_magic("config", f"InterpMagics.{name} = {value!r}")
        assert getattr(desk.settings, name) == value
    shell.run_line_magic("config", "InterpMagics.require = 'never'")
    assert "require = 'never' is not one of its values: use one of: any" in caplog.text

    assert set(changes) | set(AT_RELOAD) <= set(InterpMagics.class_trait_names(config=True))
    assert {name for name, row in rows(shell).items() if row[-1] == "yes"} == set(desk.at_once)


def test_allow_is_never_wider(shell: InteractiveShell) -> None:
    """A notebook can narrow who may be asked, and not take that back."""
    desk: Any = shell.magics_manager.registry[notebook.NAME]._desk
    shell.run_line_magic("config", "InterpMagics.allow = ['local']")
    shell.run_line_magic("config", "InterpMagics.allow = ['local', 'openai']")

    assert desk.settings.allow == ("local",)


def test_lazy(tmp_path: Path) -> None:
    """As a lazy magic it is there without %load_ext, and loaded by its first use."""
    code = "print('ipy_codeinterp' in sys.modules)\nget_ipython().run_line_magic('interp', 'help --timeout')"
    lazy = "--MagicsManager.lazy_magics={'interp': 'ipy_codeinterp'}"
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", lazy, "-c", f"import sys\n{code}"]

    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)

    assert done.stdout.splitlines() == ["False", "  -t, --timeout S", "      seconds the code may run"], done.stderr
