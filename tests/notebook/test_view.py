"""The screen of one cell: what does not count any more is taken away."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from ipy_codeinterp.execution import Display, Restarted, Stream
from ipy_codeinterp.notebook.view import View

EVENTS = (
    Stream("stdout", "half a li"),
    Display({"text/plain": "old"}),
    Restarted("a@b gave up\x1b[2J"),
    Stream("stdout", "whole\n"),
)


@pytest.fixture(scope="module")
def shell() -> InteractiveShell:
    return InteractiveShell()


@pytest.mark.parametrize("deterministic", [True, False])
def test_begun_again(shell: InteractiveShell, deterministic: bool) -> None:
    """What an attempt had shown is cleared when another begins, and the reason is said, harmlessly."""
    cleared: list[Any] = []
    view = View(shell, deterministic=deterministic, place="p", facts={})
    shell.display_pub.clear_output = lambda wait=False: cleared.append(wait)  # type: ignore[method-assign]

    with capture_output() as captured:
        for event in EVENTS:
            view.show(event)
        view.finish()

    assert "\x1b" not in captured.stderr
    assert captured.stderr.startswith("begun again: a@b gave up")
    if deterministic:
        assert (captured.stdout, captured.outputs) == ("whole\n", [])
    else:
        assert cleared == [False]
        assert captured.stdout.endswith("whole\n")
