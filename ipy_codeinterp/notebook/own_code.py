"""`%interp code`: what a model wrote, as the next cell, so that it is one's own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from ipy_codeinterp import looking_back
from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.exports.as_code import code_of
from ipy_codeinterp.exports.as_notebook import line_of
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.store.history import Kept


def add_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="of which Result (default: the last --ask, or the last)")


def next_cell(desk: Desk, options: argparse.Namespace) -> str | None:
    """Puts the code into the next cell; where no front end does that, it is printed."""
    desk.session.flush()
    last = None if options.id else desk.last_task  # a replay has no other journal
    kept = last or looking_back.find(desk.settings, options.id)
    text = cell_of(kept)
    if not desk.makes_cells:
        return safe_text(text)
    desk.shell.set_next_input(text)
    return None


def cell_of(kept: Kept) -> str:
    """A cell that runs the code again, here: with the files and the language of the task. Raises `InvalidInput`."""
    code = "\n\n".join(part.strip("\n") for part in _pieces(kept))
    if not code.strip():
        hint = "show ID shows what it said instead"
        raise InvalidInput(f"there is no code in {kept.result.id}", hint=hint)
    return f"{line_of(_here(kept))}\n{code}"


def _here(kept: Kept) -> Execution:
    """As code for this machine; a container's variables are where it is."""
    return replace(kept.execution, kind="code", model=None, container=None, expect=None, execute=True, after=None)


def _pieces(kept: Kept) -> Sequence[str]:
    """What ran well, in its order: later code may need what earlier code made. Of code that only was shown, that."""
    ran = kept.result.steps
    if ran:
        return [step.code for step in ran if step.outcome in ("ok", "unknown")] or [ran[-1].code]
    shown = [block.content for block in prompt.blocks(kept.result.text)]
    return shown or (code_of(kept) if kept.execution.kind == "code" else [])
