"""Hostile output is inert on every way to the screen: live, final, in the background, replayed, from the journal."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output

from ipy_codeinterp import Session, notebook
from ipy_codeinterp.execution import Display, Error, Event, Execution, Result, Step, Stream, Text
from ipy_codeinterp.notebook.canvas import Canvas
from ipy_codeinterp.notebook.place import Place
from ipy_codeinterp.store import database, journal
from ipy_codeinterp.store.recording import Recording

EVIL = "evil.example"
MARKUP = (
    f"<b>kept</b><img src=https://{EVIL}/pixel.png onerror=alert(1)><script src=https://{EVIL}/x.js></script>"
    f"<form action=https://{EVIL}><input name=a autofocus onfocus=alert(1)></form><a href='javascript:alert(1)'>x</a>"
    f"<iframe src='data:text/html,<script>alert(1)</script>'></iframe><p style='background:url(https://{EVIL})'>y</p>"
    f"<meta http-equiv=refresh content='0;url=https://{EVIL}'>"
)
OUTPUTS = (
    Display({"text/html": f"<style>@import 'https://{EVIL}/x.css'; b {{ background: url(//{EVIL}) }}</style>{MARKUP}"}),
    Display({"text/html": MARKUP, "text/plain": "a table"}, {"text/html": {"isolated": MARKUP}, "evil": MARKUP}),
    Display({"image/svg+xml": f"<svg onload='alert(1)'><image href='https://{EVIL}'/></svg>"}),
    Display({"application/javascript": "alert(1)", "text/markdown": f"![x](https://{EVIL})<script>alert(1)</script>"}),
    Display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, MARKUP: MARKUP}),
    Display({"text/latex": f"$\\href{{javascript:alert(1)}}{{\\includegraphics{{https://{EVIL}}}}}$"}),
    Stream("stdout", f"{MARKUP}\x1b]8;;https://{EVIL}\x1b\\link\x1b]8;;\x1b\\\x1b[2J\n"),
    Error(f"Evil{MARKUP}", MARKUP, (f"Traceback {MARKUP}", "\x1b]0;title\x07")),
)
WORDS = f"the model says {MARKUP}"
TASK = Execution("do it", kind="task", model="local")
CELL = Execution("print(1)", model="local")


def result(id: str) -> Result:
    step = Step(f"print('{MARKUP}')", outputs=OUTPUTS, outcome="error")
    return Result(id, (Text(WORDS), step), "error", provider="local", model="local")


def desk_of(shell: InteractiveShell) -> Any:
    return shell.magics_manager.registry[notebook.NAME]._desk  # type: ignore[attr-defined]


def live(shell: InteractiveShell) -> None:
    view = desk_of(shell).view(author="claude@anthropic")
    for event in OUTPUTS:
        view.show(event)
    view.finish()


def final(shell: InteractiveShell) -> None:
    shell.run_line_magic("config", "InterpMagics.render = 'deterministic'")
    live(shell)


def in_the_background(shell: InteractiveShell) -> None:
    canvas = Canvas("claude@anthropic")
    for event in OUTPUTS:
        canvas.feed(event)
    canvas.close()
    Place(shell, deterministic=True).write(canvas.bundle(MARKUP, canvas.seen()), final=True)


def replayed(shell: InteractiveShell) -> None:
    desk = desk_of(shell)
    recording = Recording(Path("kept"))
    for execution in (CELL, TASK):
        recording.keep(execution, result("run_1"), {})
    with Session(replay=Path("kept"), warm="never") as session:
        for execution in (CELL, TASK):
            view = desk.view(author="claude@anthropic" if execution.kind == "task" else "")
            session.run(execution, show=view.show)
            view.finish()


def journaled(shell: InteractiveShell) -> None:
    store = database.Database(desk_of(shell).session.store, limit=1 << 30)
    for id, execution in (("run_cell", CELL), ("run_task", TASK)):
        store.run(partial(journal.insert, execution=execution, result=result(id))).result()
    store.close()
    for id in ("run_cell", "run_task"):
        shell.run_line_magic("interp", f"show {id}")


# What a browser would act on, were it in markup that is shown as markup.
LIVE_MARKUP = re.compile(
    r"<\s*(?:script|form|input|iframe|style|meta|link|object|embed|base)\b|\bon\w+\s*=|javascript:|data:text/html"
    rf"|url\s*\(|@import|(?:src|href|action)\s*=\s*['\"]?\s*(?:https?:)?//|https?://{EVIL}",
    re.IGNORECASE,
)


@pytest.mark.parametrize("way", [live, final, in_the_background, replayed, journaled])
def test_inert(
    shell: InteractiveShell, way: Callable[[InteractiveShell], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is published runs, loads, sends or leads anywhere; what is harmless of it is still there."""
    published = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", published)
    with capture_output() as captured:
        way(shell)

    shown = [RichOutput(output["data"], output["metadata"]) for output in published.outputs]
    assert shown and "\x1b]" not in captured.stdout + captured.stderr
    for output in shown:
        assert set(output.data) <= {"text/plain", "text/html", "image/png", "image/jpeg"}
        assert LIVE_MARKUP.search(tags_of(output.data.get("text/html", ""))) is None
        assert EVIL not in repr(output.metadata) and "<" not in repr(output.metadata)
    assert any("<b>kept</b>" in output.data.get("text/html", "") for output in shown)


def tags_of(markup: str) -> str:
    """What of it is markup: text between tags is only read, and an image that is data says what it is by its start."""
    tags = re.findall(r"<[^>]*>", markup)
    return html.unescape(re.sub(r"data:image/(?:svg\+xml|png|jpeg);base64,[\w+/=]*", "", "".join(tags)))


def test_the_ways_would_show_it() -> None:
    """Unsanitised, the same would be found: the test sees what it looks for."""
    events: tuple[Event, ...] = OUTPUTS
    raw = [str(event.data.get("text/html", "")) for event in events if isinstance(event, Display)]

    assert {found.lower().strip("< ") for found in LIVE_MARKUP.findall(tags_of("".join(raw)))} >= {"script", "form"}
