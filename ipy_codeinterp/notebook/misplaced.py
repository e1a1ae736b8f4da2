"""What IPython would say of a `%%interp` that stands where no cell magic can be, said so that it helps.

Its own answers are printed, not raised, and so a runner such as nbval passes them by. And what it would do to a body
that is not its own: that one goes on as it was typed.
"""

from __future__ import annotations

from IPython.core.inputtransformer2 import cell_magic, leading_empty_lines
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.notebook.arguments import BadUsage

NAME = "%interp"  # below other lines IPython reads `%%interp` as a line magic of this name


def below_the_first_line(line: str) -> None:
    """There is something above it: a comment, an import."""
    raise BadUsage("%%interp has to be the first line of its cell: move what is above it below, or to a cell before")


def with_a_body(lines: list[str]) -> list[str]:
    """A cell of `%%interp` alone gets an empty line, so that we are asked: then `NothingToRun` says what is missing."""
    is_alone = len(lines) == 1 and lines[0].split()[:1] == ["%%interp"]
    return [lines[0].rstrip("\n") + "\n", "\n"] if is_alone else lines


with_a_body.has_side_effects = True  # type: ignore[attr-defined] # a terminal must not take the first line for a cell


def as_it_is(lines: list[str]) -> list[str]:
    """A body is out of reach before what looks like prompts, or like indentation alone, is taken out of its lines."""
    is_ours = len(lines) > 1 and lines[0].split()[:1] == ["%%interp"]
    return list(cell_magic(lines)) if is_ours else lines


as_it_is.has_side_effects = True  # type: ignore[attr-defined] # a terminal looks at the cell, not at what it becomes


def begin(shell: InteractiveShell) -> None:
    shell.magics_manager.magics["line"][NAME] = below_the_first_line
    cleanup = shell.input_transformers_cleanup
    cleanup.insert(cleanup.index(leading_empty_lines) + 1 if leading_empty_lines in cleanup else 0, as_it_is)
    cleanup.append(with_a_body)


def end(shell: InteractiveShell) -> None:
    shell.magics_manager.magics["line"].pop(NAME, None)
    for each in (as_it_is, with_a_body):
        if each in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.remove(each)
