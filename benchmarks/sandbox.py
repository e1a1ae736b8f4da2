#!/usr/bin/env python3
"""What the local sandbox costs, each figure beside a floor that was measured in the same run, against its bar.

Figures are medians of interleaved rounds: the floor, the figure, the floor, ... A first output is counted from handing
the code over to its first byte here, a whole run to its verdict. A figure without a bar is told, not judged. The last
line sums up; exit 1 when a bar is missed. As root and as an ordinary user, on Linux with bubblewrap.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from ipy_codeinterp.errors import NoIsolation
from ipy_codeinterp.execution import Display, Error, Event, Result, Stream
from ipy_codeinterp.sandbox import environment, isolation, memory, sources
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.isolation import Bubblewrap
from ipy_codeinterp.sandbox.job import Input, Job, Verdict
from ipy_codeinterp.sandbox.mounts import INSIDE
from ipy_codeinterp.sandbox.pool import SIZE, Pool
from ipy_codeinterp.sandbox.scratch import Scratch
from ipy_codeinterp.sandbox.sources import Source
from ipy_codeinterp.sandbox.zygote import Zygote
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings

MEMORY = 1 << 30  # of one run
AGAINST_HANGS = 60.0  # seconds
WALL_LIMIT = 0.5  # seconds
GONE_TIMEOUT = 10.0  # seconds that a gateway has to end by itself
MOST_SLOW_ROUNDS = 5  # of what takes a second
QUIET_LOOKS, QUIET_EVERY, QUIET_TIMEOUT = 10, 0.02, 30.0  # seconds
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
MB = 1 << 20

PASS = [sys.executable, "-c", "pass"]
IMPORTS = [sys.executable, "-c", "import IPython, numpy, pandas, matplotlib.pyplot"]
FRESH_PLOT = """
import io, matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])
plt.savefig(io.BytesIO(), format="png", bbox_inches="tight")
"""
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"
PRINTS = {"python": "print(1)", "r": "cat(1)", "node": "console.log(1)", "bash": "echo 1"}
STUBBORN = """
import os, signal, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
for spins in (True, False, False):
    if os.fork() == 0:
        os.setsid()
        while spins: pass
        while True: time.sleep(1)
while True: pass
"""
TRIVIAL_SERVER = """
from aiohttp import web
async def answer(request):
    return web.json_response(await request.json())
app = web.Application()
app.router.add_post("/", answer)
web.run_app(app, host="127.0.0.1", port=0, print=lambda text: print(text, flush=True), access_log=None)
"""
MIXED = (
    Job("print(1)"),
    Job("1/0"),
    Job("import sys; sys.exit(3)"),
    Job("import os; os._exit(7)"),
    Job("import ctypes; ctypes.string_at(0)"),
    Job("while True: pass", timeout=0.1),
    Job("print('x' * 5_000_000)"),
    Job("x = bytearray(2 << 30)"),
    Job("import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"),
    Job("import os\nfor _ in range(5):\n    if os.fork() == 0: os._exit(0)"),
    Job("open('/tmp/output/a', 'wb').write(bytes(100_000))"),
    Job("print(len(open('a.csv').read()))", inputs=(Input("a.csv", bytes(100_000)),)),
    Job("import pandas as pd; pd.DataFrame({'a': range(9)}).describe()"),
    Job(PLOT),
)


class NotMeasured(Exception):
    """There is nothing to measure here; the message says why. No bar is missed by it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `bar` is of the ratio to `floor`, or of `value` where there is none; `least` turns it round."""

    measure: str
    value: float | None
    floor: float | None = None
    bar: float | None = None
    unit: str = "ms"
    least: bool = False
    note: str = ""
    failed: bool = False

    @property
    def ratio(self) -> float | None:
        return None if self.value is None or self.floor is None else self.value / self.floor

    @property
    def ok(self) -> bool | None:
        """Whether the bar is kept; None where there is nothing to judge."""
        reached = self.value if self.floor is None else self.ratio
        if self.failed or self.bar is None or reached is None:
            return False if self.failed else None
        return reached >= self.bar if self.least else reached <= self.bar


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measure needs: how often, where, and in which sandbox."""

    rounds: int
    quick: bool
    mixed: int
    folder: Path
    variables: dict[str, str]
    isolation: Bubblewrap

    @property
    def slow_rounds(self) -> int:
        return min(self.rounds, 3 if self.quick else MOST_SLOW_ROUNDS)

    def samples(self, each: int) -> int:
        """Samples of all rounds together, `each` in one."""
        return self.rounds * (max(each // 4, 1) if self.quick else each)


@dataclass(frozen=True, slots=True)
class Wing:
    """The sandbox without a gateway."""

    bench: Bench
    source: Source
    pool: Pool


# --- figures --------------------------------------------------------------------------------------


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The smallest value that at least 99 % do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


def elapsed(started: float) -> float:
    """Milliseconds since then."""
    return (time.perf_counter() - started) * 1000


def process(bench: Bench, command: list[str]) -> float:
    """How long a program takes from its start to its end."""
    started = time.perf_counter()
    subprocess.run(command, env=bench.variables, cwd=bench.folder, stdin=subprocess.DEVNULL, check=True)
    return elapsed(started)


async def interleaved(rounds: int, *measures: Callable[[], float | Awaitable[float]]) -> list[list[float]]:
    """The values of each measure, taken in turn. What one leaves running has settled before the next."""
    values: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for kept, measure in zip(values, measures, strict=True):
            value = measure()
            kept.append(value if isinstance(value, float) else await value)
    return values


def pids_below(root: int) -> list[int]:
    return memory.tree(root)[1:]


def cpu_of(pids: Sequence[int]) -> tuple[float, float]:
    """Milliseconds of processor time that these took, and that children they have waited for took.

    The kernel adds what a child took, and all that child had waited for, to whoever waits for it. A namespace reaps
    everything in it before its first process can be waited for, so nothing is lost with it.
    """
    own = reaped = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            own, reaped = own + int(fields[11]) + int(fields[12]), reaped + int(fields[13]) + int(fields[14])
    return own * TICK * 1000, reaped * TICK * 1000


def state_of(pid: int) -> str:
    """As the kernel has it: R runs or would like to, Z is a zombie; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


async def quiet() -> None:
    """Wait until nothing that we started computes any more: a zygote goes on importing after it is ready."""
    end, looks = time.monotonic() + QUIET_TIMEOUT, 0
    while looks < QUIET_LOOKS and time.monotonic() < end:
        idle = all(state_of(pid) not in ("R", "D") for pid in pids_below(os.getpid()))
        looks = looks + 1 if idle else 0
        await asyncio.sleep(QUIET_EVERY)


# --- runs in the wing -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened_wing(bench: Bench, size: int = SIZE) -> AsyncIterator[Wing]:
    """A warm pool whose zygote has nothing more to do."""
    source = sources.of(bench.isolation)
    pool = Pool(source, size=size)
    try:
        pool.open()
        wing = Wing(bench, source, pool)
        await one_shot(wing)
        await quiet()
        yield wing
    finally:
        await pool.close()


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of one run, and what came of it."""

    first: float
    whole: float
    verdict: Verdict


async def timed(container: Container, job: Job, started: float) -> Took:
    """Run `job` to its end. Raises RuntimeError when it showed nothing."""
    first = verdict = None
    async for event in container.run(job):
        if first is None and isinstance(event, (Stream, Display, Error)):
            first = elapsed(started)
        if isinstance(event, Verdict):
            verdict = event
    if first is None or verdict is None or verdict.outcome != "ok":
        raise RuntimeError(f"the run ended with {verdict and verdict.outcome}")
    return Took(first, elapsed(started), verdict)


def job(code: str = PRINTS["python"]) -> Job:
    return Job(code, timeout=AGAINST_HANGS, memory=MEMORY)


async def one_shot(wing: Wing, code: str = PRINTS["python"]) -> Took:
    """A container from the pool, used once and ended behind our back."""
    started = time.perf_counter()
    container = await wing.pool.fresh(memory=MEMORY)
    try:
        return await timed(container, job(code), started)
    finally:
        wing.pool.end(container)


async def refilled(wing: Wing) -> None:
    """Wait until containers wait again and those that ended are gone."""
    await asyncio.sleep(0.005)
    await until(lambda: wing.pool.warm >= 2 and not wing.pool._closings)
    await asyncio.sleep(0.005)


async def until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0.002)


async def settled_one_shot(wing: Wing, code: str = PRINTS["python"]) -> Took:
    took = await one_shot(wing, code)
    await refilled(wing)
    return took


async def measure_print(wing: Wing) -> list[Row]:
    """One print where containers wait, and time passes between one and the next."""
    taken: list[Took] = []
    floors: list[float] = []
    for _ in range(wing.bench.samples(25)):
        floors.append(process(wing.bench, PASS))
        taken.append(await settled_one_shot(wing))
    floor, first = median(floors), [took.first for took in taken]
    return [
        Row("python -c pass, p50", floor),
        Row("python -c pass, p99 (the machine's own noise)", p99(floors), floor),
        Row("pre-forked print, first output, p50", median(first), floor, 0.75),
        Row("pre-forked print, first output, p99", p99(first), floor, 2.5),
        Row("pre-forked print, whole run, p50", median([took.whole for took in taken]), floor),
    ]


async def measure_back_to_back(wing: Wing) -> list[Row]:
    """One client without a pause: containers are forked while others run. Judged by the whole run."""
    taken: list[Took] = []
    floors: list[float] = []
    for _ in range(wing.bench.rounds):
        floors += [process(wing.bench, PASS) for _ in range(5)]
        taken += [await one_shot(wing) for _ in range(wing.bench.samples(40) // wing.bench.rounds)]
        await refilled(wing)
    floor, whole = median(floors), [took.whole for took in taken]
    return [
        Row("back-to-back prints, first output, p50", median([took.first for took in taken]), floor),
        Row("back-to-back prints, whole run, p50", median(whole), floor, 1.0),
        Row("back-to-back prints, whole run, p99", p99(whole), floor, 4.0),
    ]


async def started_print(wing: Wing, language: str, started: float) -> tuple[Container, Took]:
    """A container of its own from its start to the end of its first run; the caller closes it."""
    container = Container(await wing.source.start(language, MEMORY), MEMORY)
    try:
        return container, await timed(container, job(PRINTS[language]), started)
    except BaseException:
        await container.close()
        raise


async def measure_on_demand(wing: Wing) -> list[Row]:
    """One print where nothing waits."""

    async def on_demand() -> float:
        container, took = await started_print(wing, "python", time.perf_counter())
        await container.close()
        return took.first

    floors, firsts = await interleaved(wing.bench.samples(10), lambda: process(wing.bench, PASS), on_demand)
    return [Row("forked on demand, first output, p50", median(firsts), median(floors), 2.0)]


async def measure_session(wing: Wing) -> list[Row]:
    """Print after print in one container."""
    container, _ = await started_print(wing, "python", 0)

    async def following() -> float:
        return (await timed(container, job(), time.perf_counter())).first

    try:
        floors, firsts = await interleaved(wing.bench.samples(10), lambda: process(wing.bench, PASS), following)
    finally:
        await container.close()
    return [Row("same container, next print, p50", median(firsts), median(floors), 0.15)]


async def measure_plot(wing: Wing) -> list[Row]:
    """A figure as PNG."""

    async def plot() -> float:
        return (await settled_one_shot(wing, PLOT)).first

    fresh = [sys.executable, "-c", FRESH_PLOT]
    process(wing.bench, fresh)  # writes the font list
    floors, firsts = await interleaved(wing.bench.slow_rounds, lambda: process(wing.bench, fresh), plot)
    return [Row("pre-forked plot to PNG, over a fresh Python's", median(firsts), median(floors), 0.5)]


# --- processor time, rate, memory -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds of processor time: of children of the zygote, of the zygote and what is around it, and of us."""

    children: float
    zygote: float
    host: float

    @classmethod
    def now(cls, zygote: int) -> Spent:
        around = [pid for pid in pids_below(os.getpid()) if zygote in memory.tree(pid)]
        own, reaped = cpu_of([zygote])
        living, _ = cpu_of(pids_below(zygote))
        outside, _ = cpu_of([pid for pid in around if pid != zygote])
        return cls(reaped + living, own + outside, time.process_time() * 1000)

    def since(self, before: Spent, runs: int) -> Spent:
        """For each of `runs`."""
        pairs = zip(asdict(self).values(), asdict(before).values(), strict=True)
        return Spent(*((after - start) / runs for after, start in pairs))


async def zygote_of(wing: Wing) -> int:
    """The process that forks the containers of this wing."""
    child = await wing.source.start("python", None)
    try:
        return parent_of(child.pid)
    finally:
        child.kill()
        await child.closed()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def measure_cpu(wing: Wing) -> list[Row]:
    """Processor time of a one-shot, from the fork until it is reaped."""
    zygote = await zygote_of(wing)
    runs = wing.bench.samples(40) // wing.bench.rounds
    floors: list[float] = []
    spent: list[Spent] = []
    for _ in range(wing.bench.rounds):
        floors.append(cpu_of_passes(wing.bench, runs))
        before = Spent.now(zygote)
        await client(wing, runs)
        await refilled(wing)
        spent.append(Spent.now(zygote).since(before, runs))
    floor = median(floors)
    return [
        Row("CPU of a one-shot", median([s.children + s.zygote + s.host for s in spent]), floor, 3.0),
        *(
            Row(f"  of it in the {name}", median([getattr(s, field) for s in spent]), floor)
            for field, name in (("children", "child"), ("zygote", "zygote"), ("host", "host"))
        ),
    ]


def cpu_of_passes(bench: Bench, runs: int) -> float:
    """Of `python -c pass`, by what the kernel adds to us for children we have waited for."""
    before = sum(os.times()[2:4])
    for _ in range(runs):
        process(bench, PASS)
    return (sum(os.times()[2:4]) - before) / runs * 1000


async def measure_throughput(wing: Wing) -> list[Row]:
    """Two clients at once, against programs and against ipykernels that are used once, also by two clients."""
    runs = wing.bench.samples(50) // wing.bench.rounds
    bases, ours, kernels = [], [], []
    for i in range(wing.bench.rounds):
        bases.append(1000 / median([process(wing.bench, PASS) for _ in range(5)]))
        started = time.perf_counter()
        await asyncio.gather(*(client(wing, runs) for _ in range(2)))
        await refilled(wing)
        ours.append(2 * runs * 1000 / elapsed(started))
        if i < wing.bench.slow_rounds:
            kernels.append(await asyncio.to_thread(kernel_rate, wing.bench))
    return [
        Row("two clients, against runs in base time", median(ours), median(bases), 1.0, unit="/s", least=True),
        Row("two clients, against single-use ipykernels", median(ours), median(kernels), 20.0, unit="/s", least=True),
    ]


async def client(wing: Wing, runs: int) -> None:
    for _ in range(runs):
        await one_shot(wing)


def kernel_rate(bench: Bench) -> float:
    """Single-use ipykernels in a second."""

    def single_use(_: int) -> None:
        with kernel(bench) as connected:
            cell(connected, "print(1)")

    started = time.perf_counter()
    with ThreadPoolExecutor(2) as two:
        list(two.map(single_use, range(2)))
    return 2000 / elapsed(started)


async def measure_memory(wing: Wing) -> list[Row]:
    """What a container holds for itself alone, while it waits and after it was used."""
    containers = [Container(await wing.source.start("python", None)) for _ in range(5)]
    try:
        await asyncio.sleep(0.2)
        pids = [container._child.pid for container in containers]
        rows = [
            Row("private dirty memory of a pooled child", median([private(pid) for pid in pids]), bar=6.0, unit="MB"),
            Row("  and its page tables", median([status_of(pid, "VmPTE") for pid in pids]), unit="MB"),
        ]
        for name, code in (("a print", PRINTS["python"]), ("a plot", PLOT)):
            for container in containers:
                await timed(container, job(code), 0)
            rows.append(Row(f"  of an idle container after {name}", median([*map(private, pids)]), unit="MB"))
    finally:
        await asyncio.gather(*(container.close() for container in containers))
    return rows


def private(pid: int) -> float:
    return memory._fields(f"/proc/{pid}/smaps_rollup")["Private_Dirty"] / MB


def status_of(pid: int, name: str) -> float:
    return memory._fields(f"/proc/{pid}/status")[name] / MB


# --- starts, languages, ends ----------------------------------------------------------------------


async def measure_zygote(wing: Wing) -> list[Row]:
    """A zygote from nothing until it can fork."""

    async def start() -> float:
        started = time.perf_counter()
        zygote = await Zygote.start(wing.bench.isolation)
        taken = elapsed(started)
        await zygote.close()
        return taken

    process(wing.bench, IMPORTS)
    floors, taken = await interleaved(wing.bench.slow_rounds, lambda: process(wing.bench, IMPORTS), start)
    return [Row("zygote ready, over the plain imports", median(taken), median(floors), 2.0)]


async def measure_r(wing: Wing) -> list[Row]:
    """R is slow to start: one waits when it has been used."""
    cold, first, following, floor = await program(wing, "r", "r.R")
    return [
        Row("R cold, first output", cold, floor),
        Row("R pre-warmed, first output", first, floor, 5.0),
        Row("R, next cell", following, floor),
    ]


async def measure_node(wing: Wing) -> list[Row]:
    """Node.js starts when it is asked for."""
    cold, first, following, floor = await program(wing, "node", "node.mjs")
    return [
        Row("Node cold, first output", cold, floor, 9.0),
        Row("Node pre-warmed, first output", first, floor, 1.0),
        Row("Node, next cell", following, floor),
    ]


async def program(wing: Wing, language: str, runner: str) -> tuple[float, float, float, float]:
    """Medians of: started for the run, already waiting, the cell after that, `python -c pass`."""
    if not (INSIDE / runner).exists():
        raise NotMeasured(f"there is no {runner} yet")

    async def cold() -> float:
        container, took = await started_print(wing, language, time.perf_counter())
        await container.close()
        return took.first

    async def waiting() -> float:
        container = Container(await wing.source.start(language, MEMORY), MEMORY)
        try:
            first = await timed(container, job(PRINTS[language]), time.perf_counter())
            nexts.append((await timed(container, job(PRINTS[language]), time.perf_counter())).first)
        finally:
            await container.close()
        return first.first

    nexts: list[float] = []
    try:
        await cold()
        floors, colds, firsts = await interleaved(
            wing.bench.slow_rounds, lambda: process(wing.bench, PASS), cold, waiting
        )
    except Exception as error:
        raise NotMeasured(f"{type(error).__name__}: {error}") from error
    return median(colds), median(firsts), median(nexts), median(floors)


async def measure_deadline(wing: Wing) -> list[Row]:
    """A loop that ignores every signal, with children in sessions of their own."""
    ends = [await stubborn(wing) for _ in range(wing.bench.slow_rounds)]
    late, gone = ([each[i] for each in ends] for i in (0, 1))
    return [
        Row("verdict after the wall limit", median(late), bar=250.0),
        Row("  the latest", max(late)),
        Row("whole tree gone after the wall limit", median(gone), bar=500.0),
        Row("  the latest", max(gone)),
    ]


async def stubborn(wing: Wing) -> tuple[float, float]:
    """Milliseconds after the limit at which the verdict came, and nothing of the tree was left, zombies included."""
    container = await wing.pool.fresh(memory=MEMORY)
    looking = asyncio.create_task(tree_later(container._child.pid, WALL_LIMIT / 2))
    started = time.perf_counter()
    async for _ in container.run(Job(STUBBORN, timeout=WALL_LIMIT, memory=MEMORY)):
        pass
    late = elapsed(started) - WALL_LIMIT * 1000
    wing.pool.end(container)
    pids = await looking
    if len(pids) < 4:
        raise RuntimeError(f"only {len(pids)} processes were seen")
    await until(lambda: not any(map(state_of, pids)))
    gone = elapsed(started) - WALL_LIMIT * 1000
    await refilled(wing)
    return late, gone


async def tree_later(root: int, seconds: float) -> list[int]:
    await asyncio.sleep(seconds)
    return memory.tree(root)


# --- nothing is left behind -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """What we and the sandbox below us hold."""

    descriptors: int
    processes: int
    zombies: int
    resident: float

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        pids = pids_below(os.getpid())
        zombies = sum(state_of(pid) == "Z" for pid in pids)
        return cls(len(os.listdir("/proc/self/fd")), len(pids), zombies, status_of(os.getpid(), "VmRSS"))


async def measure_mixed(bench: Bench) -> list[Row]:
    """Runs that end in every way there is, two at a time, in a pool of fixed size."""
    async with opened_wing(bench, size=2) as wing:
        await mixed(wing, 4 * len(MIXED))
        before = Held.now()
        started = time.perf_counter()
        await mixed(wing, bench.mixed)
        rate = bench.mixed * 1000 / elapsed(started)
        after = Held.now()
    runs = f"{bench.mixed} mixed runs"
    return [
        Row(f"{runs}: descriptors more", after.descriptors - before.descriptors, bar=0.0, unit=""),
        Row(f"{runs}: processes more", after.processes - before.processes, bar=0.0, unit=""),
        Row(f"{runs}: zombies", after.zombies, bar=0.0, unit=""),
        Row(f"{runs}: host memory more", after.resident - before.resident, bar=10.0, unit="MB"),
        Row(f"{runs}: executions", rate, unit="/s"),
    ]


async def mixed(wing: Wing, runs: int) -> None:
    todo = iter(range(runs))

    async def work() -> None:
        for number in todo:
            await one_of_many(wing, number)

    await asyncio.gather(work(), work())
    await refilled(wing)
    await quiet()


async def one_of_many(wing: Wing, number: int) -> None:
    """One container: a run of the list, and now and then one that is left early, or one more, or bash."""
    wanted = MIXED[number % len(MIXED)]
    language = "bash" if number % 20 == 19 else "python"
    container = await wing.pool.fresh(language, MEMORY)
    try:
        if language == "bash":
            wanted = job("sleep 60 & echo 1" if number % 40 == 19 else "echo 1; exit 3")
        elif number % 10 == 9:
            await left_early(container)
            return
        elif number % 5 == 4:
            await ended(container, job("x = 1"))
        limits: dict[str, Any] = {"timeout": wanted.timeout or AGAINST_HANGS, "memory": MEMORY}
        await ended(container, Job(wanted.code, inputs=wanted.inputs, **limits))
    finally:
        wing.pool.end(container)


async def ended(container: Container, wanted: Job) -> None:
    """Run it to whatever end."""
    async for _ in container.run(wanted):
        pass


async def left_early(container: Container) -> None:
    async with contextlib.aclosing(container.run(job("while True: pass"))) as events:
        await anext(events)


# --- the whole road: session, client, HTTP, gateway -----------------------------------------------


@contextlib.asynccontextmanager
async def opened_road(bench: Bench) -> AsyncIterator[Session]:
    """A session whose gateway is warm."""
    settings = Settings(data_dir=bench.folder / "data", cache_dir=bench.folder / "cache")
    session = Session(settings)
    try:
        session.run("print(1)")
        await quiet()
        yield session
    finally:
        session.close()


@contextlib.asynccontextmanager
async def round_trips(bench: Bench) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """The floor of the road: JSON to a trivial server in another process and back, over a connection that is kept."""
    with trivial_server(bench) as address:
        async with aiohttp.ClientSession() as http:

            async def round_trip() -> float:
                started = time.perf_counter()
                async with http.post(address, json={"code": "print(1)"}) as response:
                    await response.json()
                return elapsed(started)

            await round_trip()
            yield round_trip


@contextlib.contextmanager
def trivial_server(bench: Bench) -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-c", TRIVIAL_SERVER]
    with subprocess.Popen(
        command, env=bench.variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        try:
            assert server.stdout is not None
            yield next(word for word in server.stdout.readline().decode().split() if word.startswith("http"))
        finally:
            server.kill()


def run_over_road(session: Session, container: str | None) -> tuple[float, float]:
    """Milliseconds to the first output and to the Result."""
    firsts: list[float] = []
    started = time.perf_counter()

    def show(event: Event) -> None:
        if isinstance(event, Stream):
            firsts.append(elapsed(started))

    result: Result = session.run("print(1)", container=container, show=show)
    whole = elapsed(started)
    if result.outcome != "ok":
        raise RuntimeError(f"the run ended with {result.outcome}")
    return firsts[0], whole


async def measure_road(bench: Bench) -> list[Row]:
    """A print from a script, fresh and in a container; judged by the whole call."""
    passes, trips = [], []
    fresh: list[tuple[float, float]] = []
    kept: list[tuple[float, float]] = []
    async with opened_road(bench) as session, round_trips(bench) as round_trip:
        run_over_road(session, "mine")
        for _ in range(bench.samples(12)):
            passes.append(process(bench, PASS))
            for taken, container in ((fresh, None), (kept, "mine")):
                trips.append(await round_trip())
                taken.append(run_over_road(session, container))
                await asyncio.sleep(0.05)  # the pool is filled again
    base, trip = median(passes), median(trips)
    fresh_first, fresh_whole = (median(each) for each in zip(*fresh, strict=True))
    kept_first, kept_whole = (median(each) for each in zip(*kept, strict=True))
    return [
        Row("bare aiohttp round trip", trip),
        Row("road, fresh print, over python -c pass", fresh_whole, base, 0.75),
        Row("road, fresh print, over a round trip", fresh_whole, trip, 5.0),
        Row("  its first output", fresh_first, trip),
        Row("road, next print in a container, over a round trip", kept_whole, trip, 3.0),
        Row("  its first output", kept_first, trip),
    ]


# --- through a real kernel ------------------------------------------------------------------------


@contextlib.contextmanager
def kernel(bench: Bench) -> Iterator[BlockingKernelClient]:
    """An ipykernel and a client of it."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        env=bench.variables, cwd=str(bench.folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    connected = manager.blocking_client()
    try:
        connected.start_channels()
        yield connected
    finally:
        pid = int(getattr(manager.provisioner, "pid", None) or 0)
        below = pids_below(pid)  # a gateway notices by itself that its notebook is gone
        connected.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy(linger=0)
        end = time.monotonic() + GONE_TIMEOUT
        while any(state_of(pid) not in ("", "Z") for pid in below) and time.monotonic() < end:
            time.sleep(0.02)


def cell(connected: BlockingKernelClient, code: str) -> float:
    """How long a cell takes until the kernel has replied."""
    started = time.perf_counter()
    request = connected.execute(code)
    while (reply := connected.get_shell_msg(timeout=AGAINST_HANGS))["parent_header"].get("msg_id") != request:
        pass
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"the cell ended with {reply['content'].get('evalue')}")
    return elapsed(started)


async def measure_kernel(bench: Bench) -> list[Row]:
    """The same print as a cell of a notebook, with the extension and without."""
    cells = ("print(1)", "%%interp\nprint(1)", "%%interp --container mine\nprint(1)")
    with kernel(bench) as connected:
        cell(connected, "%load_ext ipy_codeinterp")
        for code in cells:
            cell(connected, code)
        await quiet()
        values: list[list[float]] = [[] for _ in cells]
        for _ in range(bench.samples(12)):
            for kept, code in zip(values, cells, strict=True):
                kept.append(cell(connected, code))
                await asyncio.sleep(0.05)  # the pool is filled again
    bare, fresh, kept_container = map(median, values)
    return [
        Row("kernel, a bare cell", bare),
        Row("kernel, %%interp fresh, over a bare cell", fresh, bare),
        Row("kernel, %%interp --container, over a bare cell", kept_container, bare, 1.5),
    ]


# --- all of them ----------------------------------------------------------------------------------

IN_WING: dict[str, Callable[[Wing], Awaitable[list[Row]]]] = {
    "print": measure_print,
    "back-to-back": measure_back_to_back,
    "on-demand": measure_on_demand,
    "session": measure_session,
    "cpu": measure_cpu,
    "throughput": measure_throughput,
    "plot": measure_plot,
    "zygote": measure_zygote,
    "memory": measure_memory,
    "r": measure_r,
    "node": measure_node,
    "deadline": measure_deadline,
}
BY_ITSELF: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "mixed": measure_mixed,
    "road": measure_road,
    "kernel": measure_kernel,
}
NAMES = [*IN_WING, *BY_ITSELF]


async def measured(name: str, measuring: Awaitable[list[Row]]) -> list[Row]:
    """The rows of one measure, or one that says why there are none."""
    try:
        return await measuring
    except NotMeasured as why:
        return [Row(name, None, note=in_short(f"not measured: {why}"))]
    except Exception as error:
        return [Row(name, None, note=in_short(f"failed: {type(error).__name__}: {error}"), failed=True)]


def in_short(text: str) -> str:
    return " ".join(text.split())[:200]


async def measure(bench: Bench, wanted: Sequence[str]) -> AsyncGenerator[Row, None]:
    """Every row of the `wanted` measures, as they come."""
    in_wing = [name for name in wanted if name in IN_WING]
    if in_wing:
        async with opened_wing(bench) as wing:
            for name in in_wing:
                for row in await measured(name, IN_WING[name](wing)):
                    yield row
    for name in wanted:
        if name in BY_ITSELF:
            for row in await measured(name, BY_ITSELF[name](bench)):
                yield row


def line_of(row: Row) -> str:
    """As the table has it."""
    bar = "" if row.bar is None else f"{'>=' if row.least else '<='} {row.bar:g}{'' if row.floor else ' ' + row.unit}"
    verdict = row.note or {True: "ok", False: "MISS", None: ""}[row.ok]
    figures = (f"{number(row.value, row.unit):>12} {number(row.floor, row.unit):>12}", f"{number(row.ratio):>8}")
    return f"{row.measure:<52} {' '.join(figures)}  {bar:<10} {verdict}".rstrip()


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    return f"{value:.{0 if value == int(value) and abs(value) < 1000 and not unit else 2}f} {unit}".rstrip()


HEADER = f"{'measure':<52} {'value':>12} {'floor':>12} {'ratio':>8}  {'bar':<10}"


async def show(bench: Bench, options: argparse.Namespace, wanted: Sequence[str]) -> list[Row]:
    """Print the rows as they come, or keep them for the JSON."""
    rows = []
    if not options.json:
        print(HEADER, flush=True)
    async with contextlib.aclosing(measure(bench, wanted)) as coming:
        async for row in coming:
            rows.append(row)
            if not options.json:
                print(line_of(row), flush=True)
    return rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="how often each is measured (default: 8; 5 when quick)")
    parser.add_argument("--quick", action="store_true", help="fewer samples and rounds: under a minute, p99 is a guess")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--skip-kernel", action="store_true", help="without the measure through a real kernel")
    parser.add_argument("--mixed", type=int, metavar="N", help="how many mixed runs (default: 200; 60 when quick)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON at the end")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.quick else 8)
    options.mixed = options.mixed or (60 if options.quick else 200)
    return options


def prepared(options: argparse.Namespace, folder: Path) -> Bench:
    """The sandbox found and its caches filled, in a home of its own. Raises `NoIsolation`."""
    home = folder / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    variables = kept | {
        "HOME": str(home),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPY_CODEINTERP_CACHE_DIR": str(folder / "cache"),
        "IPY_CODEINTERP_DATA_DIR": str(folder / "data"),
    }
    found = isolation.find("auto", environment.find(), Scratch(folder / "cache"))
    if not (isinstance(found, Bubblewrap) and found.forks):
        raise NoIsolation("no zygote can fork here, there is nothing to judge", hint="see ipy-codeinterp doctor")
    isolation.fill_caches(found)
    return Bench(options.rounds, options.quick, options.mixed, folder, variables, found)


def interrupt(*_: object) -> None:
    """At once, also where asyncio would wait for the end of a blocking call; the clean-up is not interrupted again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    options = parsed()
    signal.signal(signal.SIGINT, interrupt)
    wanted = [name for name in options.only or NAMES if not (name == "kernel" and options.skip_kernel)]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ipy-codeinterp-") as folder:
        try:
            bench = prepared(options, Path(folder))
            rows = asyncio.run(show(bench, options, wanted))
        except NoIsolation as error:
            print(f"{error}: {error.hint}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    missed = [row.measure.strip() for row in rows if row.ok is False]
    if options.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio, "ok": row.ok} for row in rows], indent=1))
    else:
        judged = sum(row.ok is not None for row in rows)
        end = f"missed: {'; '.join(missed)}" if missed else "none missed"
        print(f"{len(rows)} figures, {judged} bars in {time.monotonic() - started:.0f} s, {end}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
