"""One piece of code at several offers: what each made of it, how long it took, for how much, and whether they agree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ipy_codeinterp.catalog import LOCAL
from ipy_codeinterp.compare.agreement import Agreements, agreements
from ipy_codeinterp.errors import InterpError, InvalidInput
from ipy_codeinterp.execution import Display, Event, Execution, Result, Update
from ipy_codeinterp.many import Progress
from ipy_codeinterp.store.latencies import Latencies
from ipy_codeinterp.store.stats import LEAST_FOR

__all__ = ["MOST_RUNS", "Comparison", "Side", "check", "run"]

EVERY = 0.1  # seconds between two words of how far it is
MOST_RUNS = 1000  # of one comparison: more is a benchmark's business
PLACE = "compare"  # the display that says how far it is
Made = Result | InterpError


@dataclass(frozen=True, slots=True)
class Side:
    """What came of all runs at one offer, in their order; `agreement` has each run's with the comparison's reference.

    A run that could not be made has its error in the place of a Result, and None for its agreement.
    """

    offer: str
    runs: tuple[Made, ...]
    agreement: tuple[Agreements | None, ...] = ()

    @property
    def is_local(self) -> bool:
        return self.offer.endswith(f"@{LOCAL}")

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(made for made in self.runs if isinstance(made, Result))

    @property
    def result(self) -> Result | None:
        """What came of the first run that gave a Result."""
        return self.results[0] if self.results else None

    @property
    def error(self) -> InterpError | None:
        """Why there is none, where there is none."""
        return next((made for made in self.runs if isinstance(made, InterpError)), None) if not self.results else None

    @property
    def outcome(self) -> str:
        """Of the first run: as the Result's, or the kind of error."""
        first = self.runs[0]
        return first.outcome if isinstance(first, Result) else type(first).__name__

    @property
    def ok(self) -> int:
        """Runs that did not fail; whoever does not say how it went has not failed."""
        return sum(result.ok is not False for result in self.results)

    @property
    def agreeing(self) -> int:
        """Runs of which nothing differs from the reference."""
        return sum(each is not None and each.agree for each in self.agreement)

    @property
    def tokens(self) -> int | None:
        """Of all runs, in and out; None where one did not say."""
        counts = [count for r in self.results for count in (r.usage.input_tokens, r.usage.output_tokens)]
        return None if None in counts or not counts else sum(count or 0 for count in counts)

    @property
    def cost(self) -> Decimal | None:
        """USD of all runs; None where one is unknown."""
        billed = [result.cost.billed for result in self.results]
        return None if None in billed or len(billed) < len(self.runs) else sum(map(Decimal, billed), Decimal(0))  # type: ignore[arg-type]

    def percentile(self, percent: int) -> float | None:
        """Seconds; None where there are too few runs to bound it."""
        times = [result.timings.total for result in self.results if result.timings.total is not None]
        if len(times) < LEAST_FOR[percent]:
            return None
        latencies = Latencies()
        for seconds in times:
            latencies.add(seconds)
        return latencies.percentile(percent)

    @property
    def seconds(self) -> float | None:
        """Of the first run."""
        return self.result.timings.total if self.result else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`sides` as they were named. The reference, with which all are compared, is the first Result there is."""

    execution: Execution
    sides: tuple[Side, ...]
    repeat: int = 1

    @property
    def results(self) -> Mapping[str, Result]:
        """By offer: what came of the first run that gave one."""
        return {side.offer: side.result for side in self.sides if side.result is not None}

    @property
    def reference(self) -> Side | None:
        return next((side for side in self.sides if side.result), None)

    @property
    def failed(self) -> bool:
        """Whether nobody's runs went well."""
        return not any(side.ok for side in self.sides)

    @property
    def agree(self) -> bool:
        """Whether every run of every side gave a Result, and none differs from the reference."""
        return all(side.agreeing == len(side.runs) for side in self.sides)

    def __getitem__(self, offer: str) -> Result:
        """The Result of an offer, written as in the table."""
        return self.results[offer]

    def __repr__(self) -> str:
        from ipy_codeinterp.compare.report import text

        return text(self)


Execute = Callable[[Execution], Awaitable[Result]]
Emit = Callable[[Event], Awaitable[None]]


async def ignore(_: Event) -> None:
    """Whoever wants no events."""


def check(names: Sequence[str], offers: Mapping[str, str], execution: Execution, repeat: int) -> None:
    """Raises `InvalidInput` for what cannot be compared; `offers` are by the `names` that ask for them."""
    if execution.container is not None:
        hint = "compare code that starts fresh, without --container"
        raise InvalidInput("a container belongs to one offer", hint=hint)
    if not names or repeat < 1 or repeat * len(names) > MOST_RUNS:
        raise InvalidInput(f"{repeat} times {len(names)} runs", hint=f"1 to {MOST_RUNS} runs together")
    if len(set(offers.values())) < len(names):
        raise InvalidInput(
            f"{', '.join(names)} name one offer twice: {', '.join(offers.values())}",
            hint="name others, or --repeat N for several runs of one",
        )


async def run(
    execute: Execute,
    execution: Execution,
    offers: Mapping[str, str],
    repeat: int = 1,
    emit: Emit = ignore,
) -> Comparison:
    """Run it at all of `offers` at once, `repeat` times in turn: no round begins before the last one has ended.

    One that cannot be run gives its error in the Result's place, and stops no other.
    """
    made: dict[str, list[Made]] = {name: [] for name in offers}
    counts, told_at = Progress(total=repeat * len(offers)), -EVERY

    async def one(name: str) -> None:
        nonlocal counts
        try:
            came: Made = await execute(replace(execution, model=name))
        except InterpError as error:
            came = error
        made[name].append(came)
        failed = counts.failed + isinstance(came, InterpError)
        counts = replace(counts, done=counts.done + 1, failed=failed, running=counts.running - 1)
        await tell()

    async def tell() -> None:
        nonlocal told_at
        if (now := time.monotonic()) - told_at < EVERY:
            return
        told_at = now
        data = {"text/plain": str(counts)}
        await emit(Update(PLACE, data) if counts.done else Display(data, display_id=PLACE))

    for round_ in range(repeat):
        counts = replace(counts, running=len(offers))
        if round_ == 0:
            await tell()
        async with asyncio.TaskGroup() as group:
            for name in offers:
                group.create_task(one(name))
    return await asyncio.to_thread(_compared, execution, offers, made, repeat)


def _compared(
    execution: Execution, offers: Mapping[str, str], made: Mapping[str, Sequence[Made]], repeat: int
) -> Comparison:
    """With what each run has in common with the first: figures take a while."""
    first = next((each for runs in made.values() for each in runs if isinstance(each, Result)), None)
    sides = []
    for name, runs in made.items():
        agreed = (agreements(first, each) if first and isinstance(each, Result) else None for each in runs)
        side = Side(offers[name], tuple(runs), tuple(agreed))
        sides.append(replace(side, offer=side.result.offer) if side.result else side)  # a replay knows it better
    return Comparison(execution, tuple(sides), repeat)
