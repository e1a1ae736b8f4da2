"""What a benchmark asks: a Workload makes Cases, and an oracle that shares no code with them knows the answers.

A program prints its answer as one line of JSON, an object of names and values; anything before that line is its own
affair. So the same question can be asked as code and in words, in any language, of any interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ipy_codeinterp.execution import Kind

Answer = Mapping[str, Any]
Write = Callable[[int, int], str]  # of a size and a seed: code, or words


@dataclass(frozen=True, slots=True)
class Case:
    """One question: a workload at one size, from one seed, in one language and kind.

    `body` is code, or for a task the words; `expect` is what a task is to print. `answer` is what the oracle says, None
    where nobody knows it: then only whether it ran can be told. Numbers may be off by `tolerance`, relative to their
    size. `figures` is how many have to be shown, and `needs` is text that has to be in the code that ran.
    """

    workload: str
    category: str
    size: int
    seed: int
    language: str
    kind: Kind
    body: str
    expect: str | None = None
    answer: Answer | None = None
    tolerance: float = 1e-9
    figures: int = 0
    needs: str = ""
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of work. `sizes` grow; the first is the quick one. `code` has a writer for each language.

    `words` tells the task, `expect` what is to be printed, and `answer(size, seed)` is the oracle: it is asked for each
    size and seed, and shares no code, and where it can no method, with what is asked.
    """

    name: str
    category: str
    title: str
    sizes: tuple[int, ...]
    code: Mapping[str, Write]
    words: Write
    expect: str
    answer: Callable[[int, int], Answer]
    tolerance: float = 1e-9
    figures: int = 0
    needs: str = ""

    def case(self, size: int, seed: int, language: str = "python", kind: Kind = "code") -> Case:
        """The question at that size, with its answer: the oracle works now."""
        body = self.code[language](size, seed) if kind == "code" else self.words(size, seed)
        return Case(
            workload=self.name,
            category=self.category,
            size=size,
            seed=seed,
            language=language,
            kind=kind,
            body=body,
            expect=self.expect if kind == "task" else None,
            answer=self.answer(size, seed),
            tolerance=self.tolerance,
            figures=self.figures,
            needs=self.needs if kind == "task" else "",
        )
