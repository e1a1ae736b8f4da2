"""What a model is told of what was asked before: the tasks, the code that ran, what it printed; the newest last.

In words, so that any model of any format can go on from it, also where nothing but the journal is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ipy_codeinterp.dialects.prompt import fenced, fenced_text
from ipy_codeinterp.execution import Execution, Result, Step

MOST = 16_000  # characters of all that went before: the newest counts
MOST_PIECE = 4_000  # of one text in it, of which the middle is left out

HEAD = "This goes on from what was asked before. The variables of that code may still be there; do not count on it."
NOW = "Now this is asked:"


def told(links: Sequence[tuple[Execution, Result]]) -> str:
    """`links` are those before, the newest first; empty where there are none."""
    kept: list[str] = []
    for execution, result in links:
        said = "\n\n".join(_link(execution, result))
        if kept and sum(map(len, kept)) + len(said) > MOST:
            break
        kept.append(said)
    return "\n\n".join([HEAD, *reversed(kept), NOW, ""]) if kept else ""


def _link(execution: Execution, result: Result) -> Iterator[str]:
    yield f"Asked:\n{fenced_text(_cut(execution.body.strip()))}"
    for part in result.parts:
        if isinstance(part, Step):
            yield f"Code that ran:\n{fenced(_cut(part.code), part.language)}"
        elif part.text.strip():
            yield f"Said:\n{fenced_text(_cut(part.text.strip()))}"
    if result.stdout.strip():
        yield f"It printed:\n{fenced_text(_cut(result.stdout.strip()))}"
    if result.error:
        yield f"It failed:\n{fenced_text(_cut(f'{result.error.ename}: {result.error.evalue}'))}"


def _cut(text: str) -> str:
    half = MOST_PIECE // 2
    return text if len(text) <= MOST_PIECE else f"{text[:half]}\n...\n{text[-half:]}"
