"""Whether two Results say the same: in how they ended, what they printed, the value at the end, and the figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ipy_codeinterp.compare.pictures import Likeness, likeness
from ipy_codeinterp.execution import Display, Result

Agreement = Likeness | Literal["none"]  # none: neither has any
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")  # of an object in memory: it says nothing of its value


@dataclass(frozen=True, slots=True)
class Agreements:
    """Of one Result with another: `same`, for figures also `alike` (other pixels, the same look), `differs`, `none`."""

    outcome: Agreement = "none"  # none: one of them does not say
    stdout: Agreement = "none"
    value: Agreement = "none"
    figures: Agreement = "none"

    @property
    def agree(self) -> bool:
        """Whether nothing differs."""
        return "differs" not in (self.outcome, self.stdout, self.value, self.figures)


def agreements(one: Result, other: Result) -> Agreements:
    """The other's with the one's."""
    printed = [_ADDRESS.sub("0x", result.stdout).rstrip() for result in (one, other)]
    return Agreements(
        outcome=_of(*map(ending, (one, other))) if "unknown" not in (one.outcome, other.outcome) else "none",
        stdout=_of(*printed),
        value=_of(*(value(result) or "" for result in (one, other))),
        figures=_of_figures(list(figures(one)), list(figures(other))),
    )


def ending(result: Result) -> str:
    """How it ended, with the kind of error where there is one."""
    return f"{result.outcome} {result.error.ename if result.error else ''}"


def value(result: Result) -> str | None:
    """The last expression, in words; None where the code ends with none."""
    found = [output for output in result.outputs if isinstance(output, Display) and output.kind == "execute_result"]
    said = found[-1].data.get("text/plain") if found else None
    return _ADDRESS.sub("0x", said) if isinstance(said, str) else None


def figures(result: Result) -> Iterator[tuple[str, str]]:
    """Each as the type of its image, and the image."""
    for display in result.images:
        mime = next(mime for mime in display.data if mime.startswith("image/"))
        yield mime, str(display.data[mime])


def _of(one: str, other: str) -> Agreement:
    return "none" if not one and not other else "same" if one == other else "differs"


def _of_figures(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> Agreement:
    if not one and not other:
        return "none"
    if [mime for mime, _ in one] != [mime for mime, _ in other]:
        return "differs"
    found = [_likeness(mime, first, second) for (mime, first), (_, second) in zip(one, other, strict=True)]
    return "differs" if "differs" in found else "alike" if "alike" in found else "same"


def _likeness(mime: str, one: str, other: str) -> Likeness:
    if mime == "image/png":
        return likeness(one, other)
    return "same" if one == other else "differs"
