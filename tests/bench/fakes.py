"""A session that takes the time that it is told to, and answers as it is told: for laws of time on a virtual clock."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ipy_codeinterp.bench import plan as plans
from ipy_codeinterp.bench.loop import Bench
from ipy_codeinterp.bench.plan import Plan
from ipy_codeinterp.bench.report import Report, report
from ipy_codeinterp.bench.rows import Run
from ipy_codeinterp.bench.workload import Case
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Cost, Execution, Result, Step, Stream, Timings, Usage
from ipy_codeinterp.store.tried import Spent

ABOUT: dict[str, Any] = {"source": "live", "run": "bench_1", "reported": "", "versions": {}, "offers": {}}
MACHINE = dict.fromkeys(("system", "release", "architecture", "processor", "processors", "memory"), "")


@dataclass(frozen=True, slots=True)
class Does:
    """What comes of a call: after `seconds`, the right answer or not, for `billed` USD; or an error."""

    seconds: float = 1.0
    right: bool = True
    billed: Decimal | None = Decimal("0.01")
    tokens: tuple[int, int] = (10, 5)
    error: InterpError | None = None


Script = Callable[[str, int], Does]  # of an offer, and how many it was asked before


@dataclass
class Asked:
    """A session by its shape, as far as a benchmark asks of one."""

    script: Script
    worst: Decimal | None = Decimal("0.02")
    is_replay: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    held: int = 0
    most_at_once: int = 0

    def execution(self, body: str, **how: Any) -> Execution:
        return Execution(body, model=how["model"], language=how["language"])

    async def execute(self, execution: Execution, *, id: str, **terms: Any) -> Result:
        assert (terms["cache"], terms["aside"], terms["bound"]) == (False, False, True)
        offer = execution.model or ""
        number = self.counts[offer] = self.counts.get(offer, -1) + 1
        self.ids.append(id)
        does = self.script(offer, number)
        self.held += 1
        self.most_at_once = max(self.held, self.most_at_once)
        try:
            await asyncio.sleep(does.seconds)
        finally:
            self.held -= 1
        if does.error:
            raise does.error
        said = execution.body if does.right else '{"n": -1}'
        step = Step(execution.body, verbatim=True, outputs=(Stream("stdout", said),), outcome="ok")
        return Result(
            id,
            (step,),
            "ok",
            usage=Usage(*does.tokens),
            cost=Cost(does.billed, does.billed),
            timings=Timings(total=does.seconds),
        )

    def spent(self, id: str, begun: datetime) -> Spent:
        return Spent(1, Decimal("0.005"))

    def kept(self, id: str) -> Result | None:
        return None

    def at_most(self, execution: Execution) -> Decimal | None:
        return self.worst


def cases(count: int, category: str = "numerics") -> tuple[plans.Question, ...]:
    """So many different ones; each prints itself, which is its answer."""
    made = [
        Case(f"w{n}", category, 0, 0, "python", "code", json.dumps({"n": n}), answer={"n": n}) for n in range(count)
    ]
    return plans.of_cases(made)


def planned(folder: Path, *offers: str, count: int = 5, **how: Any) -> Run:
    """A run of those offers on `count` cases."""
    return Run.begun(folder, Plan("bench_1", offers, cases(count), **how))


async def measure(session: Asked, run: Run) -> tuple[Bench, Report]:
    """All of it, on the clock of the running loop, and its report."""
    clock = asyncio.get_running_loop().time
    with run:
        bench = Bench(session, run, plans.asker({}), clock=clock)  # type: ignore[arg-type]
        await bench.all()
    return bench, reported(run, bench.stopped)


def reported(run: Run, stopped: str = "", about: Mapping[str, Any] = ABOUT) -> Report:
    return report(run.plan, run.rows.values(), {**about, "machine": MACHINE}, stopped)


def lognormal(p50: float, p99: float, right: float, seed: int) -> Script:
    """Latencies with these percentiles, and that share of right answers."""
    chance, spread = random.Random(seed), math.log(p99 / p50) / 2.3263
    return lambda offer, number: Does(p50 * math.exp(chance.gauss(0, spread)), chance.random() < right)
