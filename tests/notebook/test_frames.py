"""`--interactive` in a notebook: frames where they are asked for, words where outputs are compared or nothing draws."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp import notebook
from ipy_codeinterp.execution import Display, Execution, Result, Step
from ipy_codeinterp.interactive import found
from ipy_codeinterp.notebook import libraries
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.shown_again import put_again
from ipy_codeinterp.store.history import Kept
from ipy_codeinterp.verbs import SANITIZER

FIGURE = {"application/vnd.plotly.v1+json": {"data": [{"type": "bar"}], "layout": {"title": {"text": "Sales"}}}}
CHART = {"application/vnd.vegalite.v5+json": {"mark": "bar", "title": "Bars"}}
WORDS = "plotly figure: Sales. 1 bar"


def published(shell: InteractiveShell, act: Callable[[Desk], None]) -> dict[str, Any]:
    """What a front end gets of `act`, where somebody looks at it."""
    desk = shell.magics_manager.registry[notebook.NAME]._desk  # type: ignore[attr-defined]
    captured = CapturingDisplayPublisher()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST")  # else outputs are those that nbval compares
        patch.setattr(shell, "display_pub", captured)
        act(desk)
    (output,) = captured.outputs
    return dict(output["data"])


def shown(shell: InteractiveShell, bundle: dict[str, Any] = FIGURE, **how: Any) -> dict[str, Any]:
    """What a front end gets of a bundle."""

    def show(desk: Desk) -> None:
        view = desk.view(**how)
        view.show(Display(bundle))
        view.finish()

    return published(shell, show)


def test_the_flag_and_the_setting_draw(shell: InteractiveShell) -> None:
    """A figure is words without either, and a frame below its words with one of them."""
    assert set(shown(shell)) == {"text/plain"}
    drawn = shown(shell, interactive=True)
    assert drawn["text/plain"] == WORDS
    assert re.findall(r"<(\w+)", drawn["text/html"]) == ["div", "iframe"] and f">{WORDS}</div>" in drawn["text/html"]
    shell.run_line_magic("config", "InterpMagics.interactive = True")
    assert shown(shell) == drawn


def test_other_outputs_are_as_ever(shell: InteractiveShell) -> None:
    """The flag lets no other script through: HTML stays sanitised, JavaScript is dropped."""
    evil = {"text/html": "<b>x</b><script>alert(1)</script>", "application/javascript": "alert(1)"}
    assert shown(shell, evil, interactive=True) == shown(shell, evil)
    assert "<script" not in shown(shell, evil, interactive=True)["text/html"]


def test_deterministic_outputs_are_those_of_a_saved_notebook_without_its_frames(shell: InteractiveShell) -> None:
    """Where outputs are compared there is no frame, and the sanitizer takes it out of what was saved."""
    live = shown(shell, interactive=True)
    shell.run_line_magic("config", "InterpMagics.render = 'deterministic'")
    final = shown(shell, interactive=True)
    assert "<iframe" not in final["text/html"] and WORDS in final["text/html"]

    rules = configparser.RawConfigParser()
    rules.read(SANITIZER)
    for name in rules.sections():
        live = {mime: re.sub(rules[name]["regex"], rules[name]["replace"], text) for mime, text in live.items()}
    assert live == final


@pytest.mark.parametrize(
    ("bundle", "package"), [(FIGURE, "plotly"), (CHART, "vl-convert-python")], ids=["plotly", "altair"]
)
def test_a_missing_package_is_named(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, bundle: dict[str, Any], package: str
) -> None:
    """Where nothing beside the notebook can draw it, the figure is its words, and what to install."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in ("plotly", "vl_convert"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    libraries._plotly.cache_clear()
    libraries._vega.cache_clear()
    data = shown(shell, bundle, interactive=True)
    assert set(data) == {"text/plain"}
    assert (
        data["text/plain"].endswith(("Sales. 1 bar", "Bars. 1 bar"))
        and f"%pip install {package}]" in data["text/plain"]
    )


def test_a_kept_result_is_drawn_again(shell: InteractiveShell) -> None:
    """`%interp show ID --interactive` draws what was only words when it ran."""
    step = Step("fig", outputs=(Display(FIGURE),), outcome="ok")
    kept = Kept(datetime.now(UTC), Execution("fig"), Result("run_1", (step,), "ok", provider="local", model="local"))
    assert "<iframe" in published(shell, lambda desk: put_again(desk, kept, interactive=True))["text/html"]


@pytest.mark.parametrize("line", ["--interactive --bg", "--batch --interactive"])
def test_only_with_a_cell_that_shows(shell: InteractiveShell, line: str) -> None:
    """A job's place is drawn anew all the time, and what is put aside shows nothing: the flag says what does."""
    with pytest.raises(Exception, match="%interp show ID --interactive"):
        shell.run_cell_magic("interp", line, "1")


@pytest.mark.parametrize("major", [5, 6, 99])
def test_vega_lite_has_a_library_for_every_version(major: int) -> None:
    """A version that is not there is drawn by the newest."""
    figure = found({f"application/vnd.vegalite.v{major}+json": {"mark": "bar"}})
    assert figure is not None
    assert len(libraries.library(figure).packed) > 100_000


def test_libraries_are_here() -> None:
    """What this package finds are the libraries' own files."""
    for package, name in (("plotly", libraries._PLOTLY), *(("bokeh", name) for name in libraries._BOKEH)):
        assert len(libraries._text(package, name)) > 100_000
