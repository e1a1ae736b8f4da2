"""Tasks in a notebook: one goes on from the last, with what its code has left, unless the cell begins anew."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime

from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.store.history import Kept

GOES_ON = "goes on from the last --ask; --new begins anew"


def going_on(desk: Desk, execution: Execution, options: argparse.Namespace) -> Execution:
    """The same task, after the last one where that was asked of the same model, in the same language and container.

    Where the cell names no model, the last one's is meant.
    """
    last = desk.last_task
    if last is None or options.new or not (desk.session.is_replay or desk.session.is_kept(last.result.id)):
        return execution
    asked = execution if options.model else replace(execution, model=last.execution.model)
    same = ("model", "language", "container")
    if any(getattr(asked, name) != getattr(last.execution, name) for name in same):
        return execution
    desk.remark(GOES_ON)
    return replace(asked, after=last.result.id)


def remember(desk: Desk, execution: Execution, result: Result) -> None:
    """This is what the next one goes on from."""
    desk.last_task = Kept(datetime.now(UTC), execution, result)
