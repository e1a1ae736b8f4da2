#!/usr/bin/env python3
"""What the report of a benchmark takes, of as many calls as the article made: seconds, and memory.

The floor is a plain loop that reads the same rows and adds them up. The last line is the ratio to it; exit 1 when a
bar is missed. Seconds are judged on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ipy_codeinterp.bench import plan as plans
from ipy_codeinterp.bench import rows as rows_
from ipy_codeinterp.bench import shown
from ipy_codeinterp.bench.plan import Plan, Question
from ipy_codeinterp.bench.report import report
from ipy_codeinterp.bench.rows import Row

CALLS = 47_000
OFFERS = ("gpt@a", "claude@b")
CATEGORIES = ("transformation", "statistics", "visualization", "algorithms", "numerics")
SECONDS = 10.0
MEMORY = 1 << 30  # bytes
MACHINE = dict.fromkeys(("system", "release", "architecture", "processor", "processors", "memory"))
ABOUT = {"run": "bench_1", "reported": "", "source": "live", "versions": {}, "offers": {}, "machine": MACHINE}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=CALLS, help=f"rows of the report (default: {CALLS:,})")
    parser.add_argument("--rounds", type=int, default=5, help="how often it is measured (default: 5)")
    given = parser.parse_args()
    plan, lines = made(given.calls)
    floors, reports = [], []
    for _ in range(given.rounds):
        floors.append(timed(lambda: added_up(lines)))
        reports.append(timed(lambda: worked_out(plan, lines)))
    floor, took = statistics.median(floors), statistics.median(reports)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(f"{len(lines):,} rows read and added up       {floor:6.2f} s")
    print(f"{len(lines):,} rows to a report, as JSON    {took:6.2f} s, bar {SECONDS:g}: {said(took <= SECONDS)}")
    print(f"memory of all of it, at most     {held >> 20:6} MB, bar {MEMORY >> 20}: {said(held <= MEMORY)}")
    print(f"{took / floor:.2f}")
    return int(took > SECONDS or held > MEMORY)


def made(calls: int) -> tuple[Plan, list[str]]:
    """A plan, and its rows as they are kept: log-normal latencies, and answers that are wrong now and then."""
    questions = tuple(Question(f"w{nth}", CATEGORIES[nth % 5], 0) for nth in range(25))
    plan = Plan("bench_1", OFFERS, questions, repeat=-(-calls // (len(OFFERS) * len(questions))))
    chance = random.Random(1)
    asked = [call for round_ in plans.rounds(plan) for call in round_][:calls]
    rows = (row(plan, call, chance) for call in asked)
    return plan, [json.dumps(rows_.values_of(each)) for each in rows]


def row(plan: Plan, call: plans.Call, chance: random.Random) -> Row:
    is_right = chance.random() < 0.95
    return Row(
        id=call.id,
        phase="measured",
        workload=call.question.workload,
        category=call.question.category,
        size=0,
        language="python",
        kind="code",
        seed=call.seed,
        offer=call.offer,
        repeat=call.repeat,
        outcome="ok",
        ok=True,
        right=is_right,
        why="" if is_right else "n: expected 2, got 0",
        verbatim=True,
        intended=None,
        began=chance.uniform(0, 3600),
        latency=chance.lognormvariate(0.8, 0.5),
        attempts=1,
        input_tokens=chance.randint(100, 900),
        output_tokens=chance.randint(100, 900),
        billed=Decimal(chance.randint(1000, 90000)) / 10**7,
        listed=None,
    )


def added_up(lines: list[str]) -> float:
    return sum(json.loads(line)[rows_.NAMES.index("latency")] for line in lines)


def worked_out(plan: Plan, lines: list[str]) -> int:
    """All that `bench` does when the last call has ended."""
    rows = [rows_.row_of(json.loads(line)) for line in lines]
    return len(shown.as_json(report(plan, rows, ABOUT)))


def timed(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began


def said(is_kept: bool) -> str:
    return "kept" if is_kept else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
