"""The programs of the workloads, as files that also run by themselves: their first line says the size and the seed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from ipy_codeinterp.bench.workload import Write

SUFFIXES = {"python": "py", "r": "R", "node": "js"}
FIRST_LINES = {
    "python": "n, seed = {size}, {seed}",
    "r": "n <- {size}; seed <- {seed}",
    "node": "const n = {size}, seed = {seed};",
}


def code(name: str, *languages: str) -> Mapping[str, Write]:
    """The writers of the program called so, by language."""
    return {language: _writer(name, language) for language in languages}


def _writer(name: str, language: str) -> Write:
    def write(size: int, seed: int) -> str:
        first = FIRST_LINES[language].replace("{size}", str(size)).replace("{seed}", str(seed))
        return f"{first}\n{_rest(f'{name}.{SUFFIXES[language]}')}"

    return write


@cache
def _rest(file: str) -> str:
    """All but the first line."""
    text = (resources.files(__package__) / "programs" / file).read_text("utf-8")
    return text.partition("\n")[2]
