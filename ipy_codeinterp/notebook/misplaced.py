"""What IPython would say of a `%%interp` that stands where no cell magic can be, said so that it helps.

Its own answers are printed, not raised, and so a runner such as nbval passes them by.
"""

from __future__ import annotations

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


def begin(shell: InteractiveShell) -> None:
    shell.magics_manager.magics["line"][NAME] = below_the_first_line
    shell.input_transformers_cleanup.append(with_a_body)


def end(shell: InteractiveShell) -> None:
    shell.magics_manager.magics["line"].pop(NAME, None)
    if with_a_body in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(with_a_body)
