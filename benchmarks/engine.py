#!/usr/bin/env python3
"""What the client's engine costs, each figure beside a floor that was measured in the same run, against its bar.

The provider is a process of its own; processor time is this process's, user and system, of all its threads. Figures
are medians of interleaved rounds: the floor, the figure, the floor, ... A figure without a bar is told, not judged. The
last line is the ratio of a call through every policy to a bare one; exit 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from ipy_codeinterp.catalog import Limits, Offer
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.client.limit import Limit
from ipy_codeinterp.dialects import messages
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.execution import Cost, Event, Execution, Result, Usage
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import ledger
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Origin
from ipy_codeinterp.store.meter import Meter
from ipy_codeinterp.testing import ScriptedProvider

CONCURRENCY = 50
IDENTICAL = 1000  # calls in flight
SOAKED = 47_000  # attempts in the ledger, when the panel asks
AMPLE = Limits(concurrency=100, requests=1_000_000_000, tokens=1_000_000_000_000)
PLENTY = Decimal(1_000_000)  # USD: a budget that is looked at and never reached
MODEL, PROVIDER = "claude", "scripted"
MOST_TOKENS = 8192

SERVER = """
import asyncio, json, sys
from aiohttp import web
from ipy_codeinterp.testing import ScriptedProvider

CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "claude"}
CHOICES = [{"role": "assistant", "content": ""}, *({"content": "print"} for _ in range(6)), {}]

async def chat(request):  # the other format, with as many events as a reply of the first has
    await request.json()
    events = [CHUNK | {"choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in CHOICES]
    said = "".join(f"data: {json.dumps(each)}\\n\\n" for each in events) + "data: [DONE]\\n\\n"
    return web.Response(text=said, content_type="text/event-stream")

async def main():
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ScriptedProvider() as provider:
        provider.offer()
        print(json.dumps([provider.endpoint().base_url, "http://127.0.0.1:%d" % runner.addresses[0][1]]), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `bar` is the most that the ratio to `floor` may be, or `value` where there is none."""

    name: str
    value: float
    unit: str = "us"
    floor: float | None = None
    bar: float | None = None

    @property
    def judged(self) -> float:
        return self.value if self.floor is None else self.value / self.floor

    @property
    def ok(self) -> bool:
        return self.bar is None or self.judged <= self.bar

    def __str__(self) -> str:
        ratio = "" if self.floor is None else f"{self.judged:7.2f} times"
        bar = "" if self.bar is None else f"bar {self.bar:g}: {'kept' if self.ok else 'MISSED'}"
        return f"{self.name:<52}{self.value:10.1f} {self.unit:<3}{ratio:>14}  {bar}".rstrip()


@dataclass(frozen=True, slots=True)
class Bench:
    """How often each is measured: `rounds`, of `calls` each."""

    rounds: int
    calls: int
    soaked: int
    folder: Path


@dataclass(frozen=True, slots=True)
class At:
    """A provider in another process: what it offers, and where it listens. Both offers are the same service."""

    url: str
    offers: dict[str, Offer]
    name: str = PROVIDER

    def endpoint(self) -> Endpoint:
        return Endpoint(self.url, PROVIDER, lambda: True, ours=False)


def main() -> int:
    given = arguments()
    rounds, calls, soaked = (3, 100, 4_700) if given.quick else (given.rounds, 300, SOAKED)
    rows: list[Row] = []
    for name in [given.only] if given.only else MEASURES:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(MEASURES[name](Bench(rounds, calls, soaked, Path(folder))))
        print(*found, sep="\n", flush=True)
        rows += found
    missed = sum(not row.ok for row in rows)
    print(f"{missed} of {sum(row.bar is not None for row in rows)} bars missed")
    judged = [row for row in rows if row.bar is not None]
    print(f"{judged[0].judged:.2f}")
    return int(missed > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--quick", action="store_true", help="3 short rounds: to see that it works")
    parser.add_argument("--only", choices=tuple(MEASURES), metavar="NAME", help=f"one of {', '.join(MEASURES)}")
    return parser.parse_args()


# --- processor time of a call ---------------------------------------------------------------------


async def measure_cpu(bench: Bench) -> list[Row]:
    """A call through every policy beside a bare one, and beside other clients that are installed here."""
    with serving() as (url, chat_url):
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            session = await stack.enter_async_context(every_policy(bench.folder, url))
            ways: dict[str, Callable[[list[str]], Awaitable[None]]] = {
                "raw aiohttp": lambda codes: at_once(lambda code: bare(http, url, code), codes),
                "every policy": lambda codes: through(session, codes),
            }
            for name, make in OTHERS.items():
                if importlib.util.find_spec(name):
                    ways[name] = await stack.enter_async_context(make(url, chat_url))
            taken = await interleaved(bench, ways)
    floor = taken.pop("raw aiohttp")
    row = Row("client through every policy, processor time a call", taken.pop("every policy"), floor=floor, bar=2.0)
    return [
        row,
        Row("raw aiohttp", floor),
        *(Row(f"{name}, the same calls", each, floor=floor) for name, each in taken.items()),
    ]


async def interleaved(bench: Bench, ways: dict[str, Callable[[list[str]], Awaitable[None]]]) -> dict[str, float]:
    """Microseconds of processor time a call, each way in turn; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(bench.rounds + 1):
        for name, way in ways.items():
            codes = [f"print({n})  # {name}, {number}" for n in range(bench.calls)]
            before = time.process_time()
            await way(codes)
            taken[name].append((time.process_time() - before) / bench.calls * 1e6)
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


@contextlib.contextmanager
def serving() -> Iterator[list[str]]:
    """A provider in another process; where it listens for Messages, and where for chat completions."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout and server.stdin
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.stdin.close()


def every_policy(folder: Path, url: str) -> Session:
    """A session with limits, budgets, cache, a deadline and a choice between two offers: none of them is in the way."""
    source = ScriptedProvider()
    offers = {name: source.offer(name, limits=AMPLE) for name in (MODEL, "other")}
    known = Settings(
        data_dir=folder,
        warm="never",
        cache="auto",
        budget=PLENTY,
        budget_day=PLENTY,
        deadline=600.0,
        policy="cheapest",
        fallback=(f"other@{PROVIDER}",),
    )
    return Session(known, providers=[At(url, offers)])


async def through(session: Session, codes: list[str]) -> None:
    """All of them, until the ledger has them."""
    async for _, result in session.map(codes, concurrency=CONCURRENCY, model=f"{MODEL}@{PROVIDER}", raise_errors=True):
        assert isinstance(result, Result) and result.ok
    await asyncio.to_thread(session.flush)


async def at_once(call: Callable[[str], Awaitable[None]], codes: list[str]) -> None:
    """All of them, so many at a time."""
    room = asyncio.Semaphore(CONCURRENCY)

    async def one(code: str) -> None:
        async with room:
            await call(code)

    await asyncio.gather(*map(one, codes))


async def bare(http: aiohttp.ClientSession, url: str, code: str) -> None:
    """The same request as ours, its reply read to the end and parsed."""
    headers = {"Authorization": f"Bearer {PROVIDER}", "Content-Type": "application/json"}
    async with http.post(f"{url}/v1/messages", data=json.dumps(request_of(code)).encode(), headers=headers) as response:
        for line in (await response.read()).split(b"\n"):
            if line.startswith(b"data: "):
                json.loads(line[6:])


def request_of(code: str) -> dict[str, Any]:
    return messages.encode_request(Ask(Execution(code), MODEL, MOST_TOKENS))


@contextlib.asynccontextmanager
async def anthropic_sdk(url: str, chat_url: str) -> AsyncIterator[Callable[[list[str]], Awaitable[None]]]:
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(api_key=PROVIDER, base_url=url, max_retries=0) as client:

        async def call(code: str) -> None:
            async for _ in await client.messages.create(**request_of(code)):
                pass

        yield lambda codes: at_once(call, codes)


@contextlib.asynccontextmanager
async def openai_sdk(url: str, chat_url: str) -> AsyncIterator[Callable[[list[str]], Awaitable[None]]]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key=PROVIDER, base_url=f"{chat_url}/v1", max_retries=0) as client:

        async def call(code: str) -> None:
            said: Any = [{"role": "user", "content": code}]
            async for _ in await client.chat.completions.create(model=MODEL, messages=said, stream=True):
                pass

        yield lambda codes: at_once(call, codes)


@contextlib.asynccontextmanager
async def litellm(url: str, chat_url: str) -> AsyncIterator[Callable[[list[str]], Awaitable[None]]]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network when it is imported
    from litellm import acompletion

    async def call(code: str) -> None:
        said = [{"role": "user", "content": code}]
        where = {"api_base": f"{chat_url}/v1", "api_key": PROVIDER, "num_retries": 0}
        async for _ in await acompletion(model=f"openai/{MODEL}", messages=said, stream=True, **where):
            pass

    yield lambda codes: at_once(call, codes)


OTHERS = {"anthropic": anthropic_sdk, "openai": openai_sdk, "litellm": litellm}


# --- time of one step -----------------------------------------------------------------------------


async def measure_limiter(bench: Bench) -> list[Row]:
    """From the limiter's door to the handler when there is room, beside one empty transaction."""
    with closing(Database(bench.folder / "store.sqlite", limit=1 << 26)) as store:
        limit = Limit(store)

        async def acquire() -> float:
            started, arrived = time.perf_counter(), 0.0

            async def reply(run: Run) -> Result:
                nonlocal arrived
                arrived = time.perf_counter()
                return run.result("ok", usage=Usage(10, 10))

            await limit(Run(Execution("x"), Offer(MODEL, PROVIDER, 60.0, 1 << 30, limits=AMPLE), ignore), reply)
            return arrived - started

        floor, figure = await timed(bench, lambda: empty(store), acquire, settled=lambda: empty(store))
        await limit.close()
    return [Row("limiter acquire, when there is room", figure, floor=floor, bar=4.0), Row("empty transaction", floor)]


async def measure_ledger(bench: Bench) -> list[Row]:
    """An attempt reserved and settled, each kept, beside two transactions of one row each."""
    with closing(Database(bench.folder / "store.sqlite", limit=1 << 26)) as store:
        await kept(
            store, lambda connection: connection.execute("CREATE TABLE plain (id TEXT PRIMARY KEY, amount INTEGER)")
        )
        number = 0

        async def plain() -> float:
            nonlocal number
            number += 1
            started, row = time.perf_counter(), (f"row_{number}",)
            await kept(store, lambda connection: connection.execute("INSERT INTO plain VALUES (?, 0)", row))
            await kept(store, lambda connection: connection.execute("UPDATE plain SET amount = 1 WHERE id = ?", row))
            return time.perf_counter() - started

        async def write() -> float:
            nonlocal number
            number += 1
            attempt = attempted(number)
            ended = attempt.settled(outcome="ok", seconds=0.1, usage=Usage(10, 10), cost=Cost(Decimal("0.001")))
            budgets = dict.fromkeys(attempt.scopes, PLENTY)
            started = time.perf_counter()
            await kept(store, lambda connection: ledger.reserve(connection, attempt, budgets))
            await kept(store, lambda connection: ledger.settle(connection, ended))
            return time.perf_counter() - started

        floor, figure = await timed(bench, plain, write)
    return [Row("ledger, reserved and settled", figure, floor=floor, bar=4.0), Row("a row inserted and updated", floor)]


async def measure_hit(bench: Bench) -> list[Row]:
    """A call that is answered from the cache, end to end, beside one empty transaction."""
    async with ScriptedProvider() as provider:
        provider.offer(limits=AMPLE)
        known = Settings(data_dir=bench.folder / "hit", warm="never", cache="auto", budget=PLENTY)
        with closing(Database(bench.folder / "store.sqlite", limit=1 << 26)) as store:
            async with Session(known, providers=[provider]) as session:

                async def hit() -> float:
                    started = time.perf_counter()
                    result = await session.execute("print(1)", model=f"{MODEL}@{PROVIDER}")
                    took = time.perf_counter() - started
                    assert result.source != "live" or len(provider.requests) == 1
                    return took

                await hit()
                await asyncio.sleep(1.1)  # until it can only be the cache that answers
                floor, figure = await timed(bench, lambda: empty(store), hit, settled=lambda: empty(store))
    return [
        Row("cache hit, end to end", figure / 1000, unit="ms", bar=1.0),
        Row("cache hit, beside an empty transaction", figure, floor=floor),
    ]


async def measure_identical(bench: Bench) -> list[Row]:
    """Equal calls in flight together are one request."""
    async with ScriptedProvider() as provider:
        provider.offer(limits=AMPLE)
        known = Settings(data_dir=bench.folder, warm="never", cache="auto", budget=PLENTY)
        async with Session(known, providers=[provider]) as session:
            same = (session.execute("print(1)", model=f"{MODEL}@{PROVIDER}") for _ in range(IDENTICAL))
            results = await asyncio.gather(*same)
    assert all(result.stdout == "print(1)" for result in results)
    return [Row(f"requests made by {IDENTICAL:,} identical calls in flight", len(provider.requests), unit="", bar=1)]


async def measure_panel(bench: Bench) -> list[Row]:
    """What the panel shows and what a budget asks, when the ledger has as many attempts as the soak makes."""
    meter = Meter()
    with closing(Database(bench.folder / "store.sqlite", limit=1 << 30)) as store:
        await kept(store, lambda connection: [note(connection, meter, n) for n in range(bench.soaked)])
        scope = attempted(0).scopes[0]

        async def totals() -> float:
            started = time.perf_counter()
            assert meter.totals.all.calls == bench.soaked
            return time.perf_counter() - started

        async def asked() -> float:
            started = time.perf_counter()
            assert (await kept(store, lambda connection: ledger.balance(connection, scope))).spent > 0
            return time.perf_counter() - started

        shown, query = await timed(bench, totals, asked)
    after = f"after {bench.soaked:,} attempts"
    return [
        Row(f"the panel's sums {after}", shown / 1000, unit="ms", bar=5.0),
        Row(f"the ledger's balance {after}", query / 1000, unit="ms", bar=5.0),
    ]


def note(connection: Any, meter: Meter, number: int) -> None:
    attempt = attempted(number)
    ledger.reserve(connection, attempt)
    ended = attempt.settled(outcome="ok", seconds=number % 97 / 10, cost=Cost(Decimal("0.001"), Decimal("0.001")))
    ledger.settle(connection, ended)
    meter.add(ended)


def attempted(number: int) -> Attempt:
    origin = Origin("ses_benchmark")
    return Attempt(f"att_{number}", f"run_{number}", PROVIDER, MODEL, datetime.now(UTC), origin, Decimal("0.01"))


async def timed(
    bench: Bench,
    floor: Callable[[], Awaitable[float]],
    figure: Callable[[], Awaitable[float]],
    settled: Callable[[], Awaitable[object]] | None = None,
) -> tuple[float, float]:
    """Microseconds: the medians of both, taken in turn; before each, what was left to do is `settled`."""

    async def one(measure: Callable[[], Awaitable[float]]) -> float:
        taken = []
        for _ in range(bench.calls):
            if settled:
                await settled()
            taken.append(await measure())
        return statistics.median(taken) * 1e6

    pairs = [(await one(floor), await one(figure)) for _ in range(bench.rounds + 1)][1:]
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


async def empty(store: Database) -> float:
    started = time.perf_counter()
    await kept(store, lambda connection: connection.execute("SELECT 1").fetchone())
    return time.perf_counter() - started


async def kept(store: Database, work: Callable[[Any], Any]) -> Any:
    return await asyncio.wrap_future(store.run(work))


async def ignore(_: Event) -> None:
    pass


MEASURES: dict[str, Callable[[Bench], Any]] = {
    "cpu": measure_cpu,
    "limiter": measure_limiter,
    "ledger": measure_ledger,
    "hit": measure_hit,
    "identical": measure_identical,
    "panel": measure_panel,
}


if __name__ == "__main__":
    sys.exit(main())
