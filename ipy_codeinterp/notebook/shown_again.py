"""`%interp show`: a Result of the journal under the cell that asks for it, as its own cell showed it."""

from __future__ import annotations

import argparse

from ipy_codeinterp import looking_back
from ipy_codeinterp.notebook.arguments import check_variable
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.store.history import Kept


def show_again(desk: Desk, options: argparse.Namespace) -> None:
    """Its outputs, and with `--out` the Result in a variable. An error is shown, and fails nothing."""
    check_variable(options.out)
    desk.session.flush()
    kept = looking_back.find(desk.settings, options.id)
    put_again(desk, kept)
    if options.out:
        desk.shell.user_ns[options.out] = kept.result


def put_again(desk: Desk, kept: Kept, *, with_error: bool = True) -> None:
    """All of its outputs, then how it was ended from outside; without the error where that is going to be raised."""
    result = kept.result
    author = result.offer if kept.execution.kind == "task" or not result.steps else ""
    view, is_empty = desk.view(facts={"id": result.id, "offer": result.offer}, author=author), True
    try:
        for event in looking_back.again(kept, with_error=with_error):
            view.show(event)
            is_empty = False
    finally:
        view.finish()
    if result.ending and with_error:
        desk.remark(result.ending)
    elif is_empty and not result.error:
        desk.remark("it showed nothing; %interp history lists what else there is")
