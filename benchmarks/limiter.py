#!/usr/bin/env python3
"""How long a run takes from the limiter's door to its handler when there is room, beside one empty transaction.

Medians of interleaved rounds. The last line is the ratio; exit 1 when it is over the bar.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from ipy_codeinterp.catalog import Limits, Offer
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.limit import Limit
from ipy_codeinterp.execution import Event, Execution, Result, Usage
from ipy_codeinterp.store import limits
from ipy_codeinterp.store.database import Database

BAR = 4.0
AMPLE = Limits(concurrency=100, requests=1_000_000_000, tokens=1_000_000_000_000)
OFFER = Offer("model", "provider", 60.0, 1 << 30, limits=AMPLE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured (default: 9)")
    parser.add_argument("--passes", type=int, default=200, help="how many passes a round has (default: 200)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, closing(Database(Path(home) / "store.sqlite", limit=1 << 26)) as store:
        store.run(make_table).result()
        floor, figure = asyncio.run(measure(store, given.rounds, given.passes))
    print(f"empty transaction    {floor * 1e6:7.0f} us")
    print(f"to the handler       {figure * 1e6:7.0f} us (bar {BAR:g} times)")
    print(f"{figure / floor:.2f}")
    return int(figure / floor > BAR)


def make_table(connection: object) -> None:
    connection.execute(limits.SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))  # type: ignore[attr-defined]


async def measure(store: Database, rounds: int, passes: int) -> tuple[float, float]:
    """Seconds of one transaction, and of one way to the handler."""
    limit = Limit(store)

    async def empty() -> float:
        await asyncio.wrap_future(store.run(lambda connection: connection.execute("SELECT 1").fetchone()))
        return time.perf_counter()

    async def through() -> float:
        arrived: list[float] = []

        async def reply(run: Run) -> Result:
            arrived.append(time.perf_counter())
            return run.result("ok", usage=Usage(10, 10))

        await limit(Run(Execution("x"), OFFER, ignore), reply)
        return arrived[0]

    async def timed(work: Callable[[], Awaitable[float]]) -> float:
        took = []
        for _ in range(passes):
            await empty()  # what was settled before is written
            started = time.perf_counter()
            took.append(await work() - started)
        return statistics.median(took)

    pairs = [(await timed(empty), await timed(through)) for _ in range(rounds + 1)][1:]
    await limit.close()
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


async def ignore(_: Event) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
