"""The line that says what a cell waits for: late, few updates, and gone before anything else is to be seen."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.execution import CodeDelta, Display, Event, Notice, Partial, Phase, Result, Stream, TextDelta
from ipy_codeinterp.notebook.progress import Progress, is_alone


class Screen:
    """A shell that only notes what is published, cleared and said again, and when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[Any] = []
        self.display_pub = self
        self.ids: set[str] = set()

    def publish(self, data: Any, metadata: Any, *, transient: dict[str, str], update: bool) -> None:
        self.log.append((data["text/plain"], update))
        self.ids.add(transient["display_id"])

    def clear_output(self, wait: bool = False) -> None:
        self.log.append("clear")

    def progress(self, **how: Any) -> Progress:
        return Progress(self, self.log.append, clock=lambda: self.now, **how)  # type: ignore[arg-type]

    def idle(self, progress: Progress, *times: float) -> None:
        for self.now in times:
            progress.idle()


def test_a_quick_cell_shows_none() -> None:
    """Nothing is shown before half a second, and nothing is cleared that was not shown."""
    screen = Screen()
    progress = screen.progress()
    screen.idle(progress, 0.05, 0.49)
    progress.close()
    screen.idle(progress, 5.0)

    assert screen.log == []


def test_phase_and_time() -> None:
    """It says the phase and the time, in one display that is updated twice a second at most."""
    screen = Screen()
    progress = screen.progress()
    screen.idle(progress, 0.5, 0.6, 0.9)
    progress.note(Phase("queued"))
    screen.idle(progress, 1.0, 1.1)
    progress.note(Phase("asked"))
    screen.idle(progress, 1.5)
    progress.note(CodeDelta("x"))
    screen.idle(progress, 2.0)
    progress.note(Phase("running"))
    screen.idle(progress, 12.34)

    assert screen.log == [
        ("connecting, 0.5 s", False),
        ("queued by the limits, 1.0 s", True),
        ("waiting for the answer, 1.5 s", True),
        ("writing code, 2.0 s", True),
        ("running, 12.3 s", True),
    ]
    assert len(screen.ids) == 1


@pytest.mark.parametrize("event", [Stream("stdout", "x"), Display({"text/plain": "x"})])
def test_it_goes_before_the_first_output(event: Event) -> None:
    """The first output finds an empty cell, and no line comes after it."""
    screen = Screen()
    progress = screen.progress()
    screen.idle(progress, 1.0)
    progress.note(event)
    screen.idle(progress, 2.0, 3.0)
    progress.close()

    assert screen.log[1:] == ["clear"]


@pytest.mark.parametrize("event", [CodeDelta("x"), TextDelta("x")])
def test_what_a_model_writes_is_an_output_where_it_is_shown(event: Event) -> None:
    """Of a task the code is shown as it is written: the line goes then."""
    screen = Screen()
    progress = screen.progress(is_written=True)
    screen.idle(progress, 1.0)
    progress.note(event)

    assert screen.log[1:] == ["clear"]


def test_notices_stay() -> None:
    """What was said meanwhile is said again when the line is cleared, and the line comes back below it."""
    screen, notice = Screen(), Notice("code goes to example.com")
    progress = screen.progress()
    screen.idle(progress, 1.0)
    progress.note(notice)
    screen.idle(progress, 2.0)
    progress.note(Partial(Result("run_1")))
    progress.close()

    assert screen.log == [("connecting, 1.0 s", False), "clear", ("connecting, 2.0 s", False), "clear", notice]


@pytest.mark.parametrize(
    ("code", "alone"),
    [
        ("%%interp\nprint(1)", True),
        ("%%interp --model claude\nprint(1)", True),
        ("%%time\n%%interp\nprint(1)", False),
        ("print(1)\nget_ipython().run_cell_magic('interp', '', 'print(1)')", False),
        ("", False),
    ],
)
def test_alone(code: str, alone: bool) -> None:
    """Only where the whole cell is ours may it be cleared."""
    shell = InteractiveShell()
    shell.get_parent = lambda: {"content": {"code": code}}  # type: ignore[attr-defined]

    assert is_alone(shell) == alone
    shell.display_pub = CapturingDisplayPublisher()
    assert not is_alone(shell)


def test_a_terminal_is_never_cleared() -> None:
    """A shell without messages has no line."""
    assert not is_alone(InteractiveShell())
