"""`%%timeit` over a cell elsewhere would buy it as often as timing takes: it is refused before the first run."""

from __future__ import annotations

import sys
from types import FrameType

from ipy_codeinterp.execution import Execution
from ipy_codeinterp.notebook.arguments import BadUsage
from ipy_codeinterp.notebook.desk import Desk

TIMED = "<magic-timeit>"  # what IPython calls the code that it times


def check(desk: Desk, execution: Execution, named: list[str]) -> None:
    """Raises `BadUsage` where `%%timeit` runs this and an offer of it is billed; on this machine it may."""
    if desk.session.is_replay or not is_timed():
        return
    names: list[str | None] = [*named] or [execution.model]
    for offer in map(desk.session.offer, names):
        if not offer.is_local:
            raise BadUsage(
                f"%%timeit would run this cell at {offer} again and again, and each run may be billed:"
                " nothing was sent. --repeat N runs it N times, and says how long each took and what it cost;"
                " %%time runs it once"
            )


def is_timed() -> bool:
    """Whether who called us, however far away, is what `%%timeit` repeats."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != TIMED:
        frame = frame.f_back
    return frame is not None
