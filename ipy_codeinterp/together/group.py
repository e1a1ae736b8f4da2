"""Cells that are run as one Execution, and what each of them has of the one Result."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from ipy_codeinterp import ids
from ipy_codeinterp.execution import Execution, File, Limit, Result, Step
from ipy_codeinterp.together.share import Share, added, shares
from ipy_codeinterp.together.split import Mark, Part, Splitter

STOPPED = ("limit", "crashed")


def may_join(execution: Execution) -> bool:
    """Whether a cell may run beside others: Python that starts from nothing but what its fields name."""
    is_alone = execution.after is not None or execution.kind != "code" or execution.language != "python"
    is_alone = is_alone or bool(execution.inputs or execution.get)  # a name is one cell's own
    return execution.repeatable and not is_alone


def flags(execution: Execution) -> Execution:
    """What cells must have in common to go together: all but the code."""
    return replace(execution, body="")


@dataclass(frozen=True, slots=True)
class Group:
    """`cells`, to be run together as `execution`. A cell may run for `seconds`; all of them may for its timeout."""

    cells: tuple[Execution, ...]
    execution: Execution
    seconds: float
    token: str

    @classmethod
    def of(cls, cells: Sequence[Execution], longest: float) -> Group:
        """`longest` is the seconds that the offer lets any execution run."""
        own, token = cells[0].timeout, secrets.token_hex(16)
        timeout = None if own is None else max(own, min(own * len(cells), longest))
        execution = replace(cells[0], body=body(token, [cell.body for cell in cells]), timeout=timeout)
        return cls(tuple(cells), execution, longest if own is None else own, token)

    def splitter(self) -> Splitter:
        return Splitter(self.token, len(self.cells))

    def shares(self, result: Result) -> list[Share]:
        """What each cell has of the cost of `result`, also one that it did nothing for."""
        return shares(result, [cell.body for cell in self.cells])

    def results(self, result: Result, parts: Sequence[Part]) -> dict[int, Result]:
        """By number, what came of each cell that ran to its end, and of the one that a wall or a crash stopped.

        Those that are not there did not run, or one cannot tell what is theirs: they are to be run again.
        """
        files = _Files(result, parts)
        own = self.shares(result)
        found: dict[int, Result] = {}
        for number, part in enumerate(parts):
            mark = part.ended
            if mark and files.has_all(number, mark):
                step = _step(self.cells[number], result, part, "ok" if mark.ok else "error", mark.exit_status)
                step = replace(step, files=files.of(number, mark))
                found[number] = _result(result, step, part.seconds, None, own[number])
        last = last_begun(parts)
        if last is not None and parts[last].ended is None and self._is_its_own(result, last, parts[last]):
            status = result.steps[-1].exit_status if result.steps else None
            step = _step(self.cells[last], result, parts[last], result.outcome, status)
            step = replace(step, files=files.of_stopped(last))
            found[last] = _result(result, step, None, result.limit, own[last])
        return found

    def _is_its_own(self, result: Result, number: int, part: Part) -> bool:
        """Whether it was this cell that hit the wall: the time of a group may have been used up by those before."""
        if result.outcome not in STOPPED or part.begun is None:
            return False
        limit = result.limit
        if limit is None or limit.name != "time" or number == 0:
            return True
        return limit.allowed - part.begun.at >= self.seconds


def last_begun(parts: Sequence[Part]) -> int | None:
    """The number of the last cell that began."""
    return next((number for number in range(len(parts) - 1, -1, -1) if parts[number].begun), None)


def body(token: str, codes: Sequence[str]) -> str:
    """The code that runs `codes`: what is inside, with its plan."""
    plan = {"token": token, "cells": list(codes)}
    return f"exec({_inside()!r}, {{'__name__': 'together', 'plan': {plan!r}, 'shell': get_ipython()}})"


@cache
def _inside() -> str:
    return (resources.files(__package__) / "inside.py").read_text("utf-8")


def _step(cell: Execution, result: Result, part: Part, outcome: str, status: int | None) -> Step:
    whole = result.steps[-1] if result.steps else None
    return Step(
        cell.body,
        cell.language,
        verbatim=whole.verbatim if whole else None,
        outputs=part.collector.outputs,
        outcome=outcome,  # type: ignore[arg-type]
        exit_status=status,
    )


def _result(result: Result, step: Step, seconds: float | None, limit: Limit | None, share: Share) -> Result:
    """`result` with the part of it that is one cell's."""
    timings = replace(result.timings, execution=result.timings.execution if seconds is None else seconds)
    return replace(
        result,
        id=ids.new("run"),
        parts=(step,),
        outcome=step.outcome,
        limit=limit,
        usage=share.usage,
        cost=share.cost,
        timings=timings,
        native={"together": result.id},  # whose own Result has what the provider said
    )


class _Files:
    """Whose the files of a group are: figures by their number, the rest by who says to have left them."""

    def __init__(self, result: Result, parts: Sequence[Part]) -> None:
        figures = sum(part.figures for part in parts)
        is_figure = [file.name == f"figure-{n}.png" for n, file in enumerate(result.files, 1)]
        count = min(figures, is_figure.index(False) if False in is_figure else len(is_figure))
        self._figures = result.files[:count]
        self._left = {file.name: file for file in result.files[count:]}
        self._parts = parts
        self._owner = {name: number for number, part in enumerate(parts) for name in (part.ended or Mark(0)).files}

    def has_all(self, number: int, mark: Mark) -> bool:
        """Whether what the cell left is what is there now: a later cell may have written over it."""
        sizes = {name: self._left[name].size for name in mark.files if name in self._left}
        is_same = all(size in (None, mark.files[name]) for name, size in sizes.items())
        return is_same and all(self._owner[name] == number for name in mark.files)

    def of(self, number: int, mark: Mark) -> tuple[File, ...]:
        return (*self._drawn(number), *(self._left[name] for name in mark.files if name in self._left))

    def of_stopped(self, number: int) -> tuple[File, ...]:
        """Whatever nobody else has left."""
        return (*self._drawn(number), *(file for name, file in self._left.items() if name not in self._owner))

    def _drawn(self, number: int) -> list[File]:
        first = sum(part.figures for part in self._parts[:number])
        own = self._figures[first : first + self._parts[number].figures]
        return [replace(file, name=f"figure-{n}.png") for n, file in enumerate(own, 1)]


__all__ = ["Group", "added", "flags", "last_begun", "may_join"]
