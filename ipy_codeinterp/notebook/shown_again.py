"""`%interp show`: a Result of the journal under the cell that asks for it, as its own cell showed it."""

from __future__ import annotations

import argparse

from ipy_codeinterp import looking_back
from ipy_codeinterp.notebook.arguments import check_variable
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.store.history import Kept


def add_show(parser: argparse.ArgumentParser) -> None:
    """As in a shell, and what only a notebook can show."""
    looking_back.add_show(parser)
    parser.add_argument("--interactive", action="store_true", help="draw figures of plotly, altair and bokeh")


def show_again(desk: Desk, options: argparse.Namespace) -> None:
    """Its outputs, and with `--out` the Result in a variable. An error is shown, and fails nothing."""
    check_variable(options.out)
    desk.session.flush()
    kept = looking_back.find(desk.settings, options.id)
    put_again(desk, kept, interactive=options.interactive)
    if options.out:
        desk.shell.user_ns[options.out] = kept.result


def put_again(desk: Desk, kept: Kept, *, with_error: bool = True, interactive: bool = False) -> None:
    """All of its outputs, then how it was ended from outside; without the error where that is going to be raised."""
    result = kept.result
    author = result.offer if kept.execution.kind == "task" or not result.steps else ""
    facts, is_empty = {"id": result.id, "offer": result.offer}, True
    view = desk.view(facts=facts, author=author, interactive=interactive)
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
