"""Many small cells in fewer turns: `Session.map(..., together=N)` runs up to N as one Execution, with a Result each.

Cells of a group have name-spaces of their own, and share an interpreter: modules, files and the process are common, so
nothing isolates them from each other. `group` makes one Execution of several and several Results of one, `inside` runs
them there, `split` finds where each ends, `share` divides what it cost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Any

from ipy_codeinterp.bridge import Emit
from ipy_codeinterp.errors import InterpError, InvalidInput
from ipy_codeinterp.execution import Event, Execution, Result
from ipy_codeinterp.many import Progress, run_all
from ipy_codeinterp.together.group import Group, flags, last_begun, may_join
from ipy_codeinterp.together.share import Share, added

Outcome = Result | InterpError


@dataclass(frozen=True, slots=True)
class Ways:
    """What a session does for its cells.

    `asked` makes an Execution of what was given; `execute` runs a cell on `terms`, `turn` a group of them: it must not
    be put aside, for nobody would tell its cells apart later. `keep` writes into the journal what came of a cell that
    ran in a group, `longest` is the seconds that whoever runs it lets it run, and `one_by_one` says of the error that
    a turn ended with whether its cells should be run alone: else it is the error of each. All raise `InterpError`.
    """

    asked: Callable[[Any], Awaitable[Execution]]
    execute: Callable[..., Awaitable[Result]]
    turn: Callable[..., Awaitable[Result]]
    keep: Callable[[Execution, Result], Awaitable[None]]
    longest: Callable[[Execution], float]
    one_by_one: Callable[[InterpError], bool]
    terms: Mapping[str, Any] = field(default_factory=dict)


async def run_together(
    ways: Ways,
    codes: Iterable[Any],
    size: int,
    *,
    concurrency: int,
    ordered: bool = False,
    raise_errors: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> AsyncGenerator[tuple[int, Outcome]]:
    """As `many.run_all`, with `codes` taken `size` at a time; what of those may go together is one Execution.

    At most `concurrency` Executions run at a time. Raises `InvalidInput` where `size` is no number of cells.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InvalidInput(f"together = {size!r}", hint="use a whole number, 1 or more")
    tally = _Tally(len(codes) if isinstance(codes, Sized) else None)

    async def start(batch: list[Any]) -> list[Outcome]:
        tally.running += len(batch)
        try:
            return await _Batch(ways).run(batch)
        finally:
            tally.running -= len(batch)

    batches = run_all(start, _batches(codes, size), concurrency=concurrency, ordered=ordered)
    async with contextlib.aclosing(batches) as ended:
        async for number, outcomes in ended:
            assert isinstance(outcomes, list), "errors are in their places"
            for index, outcome in enumerate(outcomes, number * size):
                if raise_errors and isinstance(outcome, InterpError):
                    raise outcome
                tally.add(outcome)
                if progress:
                    progress(tally.progress())
                yield index, outcome


def _batches(codes: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(codes)
    while batch := list(islice(rest, size)):
        yield batch


class _Tally:
    """How far it is, in cells."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = self._failed = 0
        self._began = time.monotonic()
        self.running = 0

    def add(self, outcome: Outcome) -> None:
        self._done += 1
        self._failed += isinstance(outcome, InterpError)

    def progress(self) -> Progress:
        return Progress(self._done, self._failed, self.running, self._total, time.monotonic() - self._began)


class _Batch:
    """Some cells, and what came of each; one Execution of theirs runs at a time."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._cells: dict[int, Execution] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._paid: dict[int, Share] = {}  # by cells that run again: what they have of attempts before

    async def run(self, codes: Sequence[Any]) -> list[Outcome]:
        groups: dict[Execution, list[int]] = {}
        alone: list[int] = []
        for number, code in enumerate(codes):
            try:
                self._cells[number] = await self._ways.asked(code)
            except InterpError as error:
                self._outcomes[number] = error
                continue
            cell = self._cells[number]
            (groups.setdefault(flags(cell), []) if may_join(cell) else alone).append(number)
        for numbers in groups.values():
            alone += await self._together(numbers)
        for number in alone:
            await self._alone(number)
        return [self._outcomes[number] for number in range(len(codes))]

    async def _together(self, numbers: list[int]) -> list[int]:
        """Run these, in as many groups as it takes; returns those that must run alone."""
        alone: list[int] = []
        while len(numbers) > 1:
            after = await self._one_group(numbers)
            alone += [number for number in numbers if number not in self._outcomes and number not in after]
            if len(after) == len(numbers):  # nobody was seen to run: whoever answers does not do it our way
                break
            numbers = after
        return [*alone, *numbers]

    async def _one_group(self, numbers: list[int]) -> list[int]:
        """Run these as one Execution; returns those that had not had their turn when it ended."""
        group = Group.of([self._cells[number] for number in numbers], self._ways.longest(self._cells[numbers[0]]))
        splitter = group.splitter()
        show: Emit = self._ways.terms.get("emit") or _ignore

        async def emit(event: Event) -> None:
            for each in splitter.feed(event):
                await show(each)

        try:
            terms = {**self._terms(numbers), "emit": emit, "cache": False}  # a group is never asked for twice
            result = await self._ways.turn(group.execution, **terms)
        except InterpError as error:
            if self._ways.one_by_one(error):
                return numbers
            self._outcomes |= dict.fromkeys(numbers, error)
            return []
        for output in result.outputs if splitter.is_empty else ():  # whoever does not stream says it all at the end
            await emit(output)
        for each in splitter.finish():
            await show(each)
        for index, found in group.results(result, splitter.parts).items():
            await self._have(numbers[index], found)
        for number, share in zip(numbers, group.shares(result), strict=True):
            if number not in self._outcomes:
                self._paid[number] = self._paid[number] + share if number in self._paid else share
        last = last_begun(splitter.parts)
        return numbers if last is None else numbers[last + 1 :]

    async def _have(self, number: int, result: Result) -> None:
        """What came of a cell in a group; `after` tells the journal that it did not begin from nothing."""
        paid = self._paid.pop(number, None)
        self._outcomes[number] = found = added(result, paid) if paid else result
        await self._ways.keep(_after(self._cells[number], result), found)

    async def _alone(self, number: int) -> None:
        paid = self._paid.pop(number, None)
        try:
            result = await self._ways.execute(self._cells[number], **self._terms([number], paid))
        except InterpError as error:
            self._outcomes[number] = error
            return
        if paid:
            result = added(result, paid)
            await self._ways.keep(self._cells[number], result)
        self._outcomes[number] = result

    def _terms(self, numbers: list[int], paid: Share | None = None) -> dict[str, Any]:
        """Those of one Execution: each cell may cost what it may alone, with what it took before."""
        terms = dict(self._ways.terms)
        most: Decimal | None = terms.get("max_cost")
        if most is not None:
            known = [paid] if paid else [share for number in numbers if (share := self._paid.get(number))]
            spent = sum((share.cost.billed or Decimal(0) for share in known), Decimal(0))
            terms["max_cost"] = max(most * len(numbers) - spent, Decimal(0))
        return terms


def _after(cell: Execution, result: Result) -> Execution:
    return replace(cell, after=str(result.native["together"]))


async def _ignore(_: Event) -> None:
    pass
