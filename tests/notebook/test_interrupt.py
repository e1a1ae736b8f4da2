"""Interrupts of a real kernel: the first keeps what there is and says what it may cost, the second leaves at once."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from .kernel import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

SLOW = "%%interp\nprint('begun')\nimport time\ntime.sleep(60)"


def at_first_output(kernel: Kernel, cell: str, press: Any) -> Any:
    """The outputs of `cell`; `press` is called once something of it is to be seen."""
    pressed: list[bool] = []

    def note(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream" and not pressed:
            pressed.append(True)
            press()

    return kernel.end(kernel.begin(cell), on_message=note)


def test_the_first_keeps_what_there_is(kernel: Kernel) -> None:
    """What was printed stays, the line under it says what it has cost at most, and Run All stops."""
    outputs = at_first_output(kernel, SLOW, kernel.interrupt)

    assert outputs.status == "error"
    assert outputs.stream() == "begun\n"
    assert outputs.traceback == "KeyboardInterrupt: the run was stopped; what it had printed is kept"
    (footer,) = outputs.footers
    assert re.fullmatch(r"interp: local@local · [\d.]+ m?s( \(.*\))? · \$0\.00", footer)


def test_the_next_cell_runs(kernel: Kernel) -> None:
    """After an interrupt everything works as before, and nothing of the stopped cell runs on."""
    outputs = kernel.run("%%interp\nprint('next')")

    assert (outputs.stream(), outputs.status, len(outputs.footers)) == ("next\n", "ok", 1)


HANG = """
import asyncio, ipy_codeinterp.client.journal as journal
kept = journal.Journal._keep_part
async def slow(self, run, part):
    print("cleaning", flush=True)
    await asyncio.sleep(4)
    await kept(self, run, part)
    ended.append(part.outcome)
ended = []
journal.Journal._keep_part = slow
"""


def test_the_second_leaves_at_once(kernel: Kernel) -> None:
    """While the clean-up takes its time another interrupt ends the cell; the run is cancelled behind it."""
    kernel.run(HANG)
    try:
        pressed: list[float] = []

        def press() -> None:
            kernel.interrupt()
            time.sleep(0.3)  # two signals within a moment are one to ipykernel
            pressed.append(time.monotonic())
            kernel.interrupt()

        outputs = at_first_output(kernel, SLOW, press)
        took = time.monotonic() - pressed[0]

        assert outputs.status == "error"
        assert outputs.traceback == "KeyboardInterrupt: left at once; what ends the run goes on behind"
        assert outputs.footers == []
        behind = kernel.run("import time\nwhile not ended: time.sleep(0.05)\nprint(ended)")
        assert behind.stream().endswith("['cancelled']\n")
        assert took < 4  # what the clean-up takes
    finally:
        kernel.run("journal.Journal._keep_part = kept")
