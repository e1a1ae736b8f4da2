"""The engine over as many executions as the article made: nothing grows, nothing is lost, no call looks at all others.

CODEINTERP_GROWTH=all makes 47,000; else it is a tenth.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipy_codeinterp.catalog import Limits
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import Cost, Execution, Result
from ipy_codeinterp.session import Session
from ipy_codeinterp.store import journal, ledger, limits
from ipy_codeinterp.store.database import connect
from ipy_codeinterp.store.ledger import Attempt, Origin
from ipy_codeinterp.store.tracks import track
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider

from .test_engine import At, rows, settings_in, settled

TIMES = 10 if os.environ.get("CODEINTERP_GROWTH") == "all" else 1
CALLS = 4_700 * TIMES
REPEATED = 10  # every so many-th asks what was asked before
REFUSED = 97  # every so many-th request is
MOST_RSS = 10.0  # MB more than after the first tenth
FILLED = 1_000  # calls after which the caches of SQLite and of the allocator are full: the first tenth, if it has them
CONCURRENCY = 50
POOL = min(32, (os.cpu_count() or 1) + 4)  # the most threads of a loop's own pool
SETTLES = 10.0  # seconds that what was ended may take to be gone
AMPLE = Limits(concurrency=100, requests=1_000_000_000, tokens=1_000_000_000_000)
PLENTY = Decimal(1_000_000)  # USD


# --- the provider, in a process of its own: it remembers every request ----------------------------


async def serve() -> None:
    """Say where it listens; when nobody wants more, what came, what was billed, and to how many."""

    def script(number: int, body: Any) -> Reply | Fail:
        return Fail(400, "invalid_request_error") if number % REFUSED == REFUSED - 1 else Reply()

    async with ScriptedProvider(script) as provider:
        provider.offer()
        say(provider.endpoint().base_url)
        await asyncio.to_thread(sys.stdin.read)
        ids = len({each.attempt_id for each in provider.bill})
        say(json.dumps({"requests": len(provider.requests), "billed": str(provider.billed), "ids": ids}))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Where it listens, and what ends it and gives its last word."""
    program = "import asyncio; from tests.test_soak_engine import serve; asyncio.run(serve())"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as server:
        assert server.stdin and server.stdout
        try:
            yield server.stdout.readline().strip(), lambda: dict(json.loads(server.communicate()[0]))
        finally:
            server.kill()


# --- what is held ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What this process holds; what comes and goes up to a bound (connections, a pool's threads) is not compared."""

    descriptors: int  # without sockets
    tasks: int  # of asyncio
    sockets: int = field(compare=False)
    threads: int = field(compare=False)

    def is_within(self, earlier: Held) -> bool:
        """Whether what comes and goes is within its bounds."""
        return self.sockets <= earlier.sockets + CONCURRENCY and self.threads <= earlier.threads + POOL


def target_of(descriptor: Path) -> str:
    """What it stands for; empty where it was closed meanwhile."""
    with contextlib.suppress(OSError):
        return os.readlink(descriptor)
    return ""


def held() -> Held:
    targets = list(filter(None, map(target_of, Path("/proc/self/fd").iterdir())))
    sockets = sum(target.startswith("socket:") for target in targets)
    return Held(len(targets) - sockets, len(asyncio.all_tasks()), sockets, psutil.Process().num_threads())


async def settled_as(wanted: Held) -> Held:
    """What is held once it is as `wanted`, or when the time for that is over."""
    deadline = asyncio.get_running_loop().time() + SETTLES
    while (now := held()) != wanted and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    return now


def rss() -> float:
    """Resident memory in MB."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.slow
@pytest.mark.timeout(300 * TIMES)
def test_nothing_grows_and_nothing_is_lost(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """After the first tenth of 47,000 calls memory, descriptors and tasks stay; the ledger equals the bill."""
    with serving() as (url, ended):
        grown, counts = asyncio.run(soak(tmp_path, url))
        bill = ended()
    attempts = rows(tmp_path)
    live = [row for row in attempts if row["source"] == "live"]
    assert grown <= MOST_RSS
    assert settled(tmp_path) == Decimal(bill["billed"]) > 0
    assert len(live) == bill["requests"]
    assert sum(row["billed"] > 0 for row in live) == bill["ids"]
    assert counts == {"results": CALLS - bill["requests"] // REFUSED, "refused": bill["requests"] // REFUSED}
    assert {row["state"] for row in attempts} == {"settled"} and not sum(row["held"] for row in attempts)
    assert len(attempts) - len(live) >= CALLS // REPEATED - CONCURRENCY
    record_testsuite_property("proof", f"{CALLS:,} calls: {grown:+.1f} MB, +0 descriptors; the ledger equals the bill")


async def soak(folder: Path, url: str) -> tuple[float, dict[str, int]]:
    """MB more than after the first tenth, and how many Results and refusals there were."""
    counts = {"results": 0, "refused": 0}
    first: tuple[float, Held] | None = None
    async with Session(policies(folder), providers=[provider_at(url)]) as session:
        for part in range(10):
            codes = (code(number) for number in range(part * CALLS // 10, (part + 1) * CALLS // 10))
            async for _, outcome in session.map(codes, concurrency=CONCURRENCY, model="claude@scripted"):
                assert isinstance(outcome, Result | Rejected)
                counts["results" if isinstance(outcome, Result) else "refused"] += 1
            session.flush()
            await asyncio.sleep(0.01)
            if first is None and (part + 1) * CALLS // 10 >= FILLED:
                first = rss(), held()
        assert first
        before, was_held = first
        now_held = await settled_as(was_held)
        assert now_held == was_held and now_held.is_within(was_held)
        return rss() - before, counts


def code(number: int) -> str:
    return "print('again')" if number % REPEATED == 0 else f"print({number})"


def policies(folder: Path) -> Any:
    """Every one that there is, and none in the way."""
    ways = {"policy": "cheapest", "fallback": ("other@scripted",)}
    return settings_in(folder, cache="auto", budget=PLENTY, budget_day=PLENTY, deadline=600.0, **ways)


def provider_at(url: str) -> At:
    at, prices = At(url), ScriptedProvider()
    at.offers = {name: prices.offer(name, limits=AMPLE) for name in ("claude", "other")}
    return at


# --- what a call costs does not depend on how many there were -------------------------------------


def test_no_call_reads_a_whole_table(tmp_path: Path) -> None:
    """Whatever a call asks the store is found by an index: the millionth costs what the first did."""
    with contextlib.closing(connect(tmp_path / "store.sqlite", limit=1 << 30)) as connection:
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        store_of_a_call(connection)
        connection.set_trace_callback(None)
        assert len(asked) >= 10
        assert [said for statement in asked for said in scans(connection, statement)] == []


def store_of_a_call(connection: sqlite3.Connection) -> None:
    """Everything that one call reads and writes."""
    attempt = Attempt("att_1", "run_1", "scripted", "claude", datetime.now(UTC), Origin("ses_1"), Decimal("0.01"))
    journal.find(connection, "run_1")
    journal.find_answer(connection, "key", "claude@scripted", datetime.now(UTC))
    track(connection, "scripted", "claude")
    limits.change(connection, "scripted", "claude", 60.0, lambda row, now: None)
    ledger.reserve(connection, attempt, dict.fromkeys(attempt.scopes, PLENTY))
    ledger.settle(connection, attempt.settled(outcome="ok", cost=Cost(Decimal("0.001"))))
    journal.insert(connection, Execution("print(1)"), Result("run_1", outcome="ok"))


def scans(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The steps of its plan that look at every row of a table."""
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    return [f"{step}: {statement}" for step in steps if step.startswith("SCAN") and "CONSTANT" not in step]
