"""No growth: after many runs of every kind, this process and the one inside that served them hold what they held.

CODEINTERP_GROWTH=all runs ten times as many.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ipy_codeinterp.sandbox.cgroup import PREFIX
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.scratch import Scratch

from .wing import AGAINST_HANGS, Wing, gather

TIMES = 10 if os.environ.get("CODEINTERP_GROWTH") == "all" else 1
FRESH_RUNS, CELLS = 1_000 * TIMES, 100 * TIMES
MOST_RSS = 10.0  # MB more than after the first tenth
KEPT = 0.01  # MB of each cell that IPython keeps in its container: what was typed, what came out, sources of errors
SETTLES = 10.0  # seconds that what was ended may take to be gone
SOON = 0.3  # seconds after which an endless run is interrupted

pytestmark = [pytest.mark.sandbox, pytest.mark.slow, pytest.mark.timeout(600 * TIMES)]

MARK = "left-by-test-growth"
ENDLESS = ("while True: pass", "limit")
PLOT = ("import matplotlib.pyplot as plt\nplt.plot([0, 1]);", "ok")
KINDS = [
    ("print(1)", "ok"),
    ("1 / 0", "error"),
    ("import pandas as pd\npd.DataFrame({'a': range(1000)})", "ok"),
    ("import subprocess\nsubprocess.run('true')\nleft = subprocess.Popen('true')", "ok"),
    (f"import os\nfor d in (os.environ['OUTPUT_DIR'], '/tmp'): open(d + '/{MARK}', 'w').write('a')", "ok"),
    ("import sys\nsys.exit(3)", "error"),
]
LAST_KINDS = [  # these end their container, or should not outlive it
    ("import os\nos._exit(3)", "crashed"),
    ("import subprocess\nleft = subprocess.Popen(['sleep', '600'])", "ok"),
]


@pytest.fixture
def folders(scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where files could be left: the cache, and a folder of our own for temporary files, since /tmp is others' too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return [scratch.root, tmp_path]


def test_fresh_runs_leave_nothing(
    wing: Wing, folders: list[Path], record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Fresh runs of every kind leave no descriptor, process, mount or file, and no memory here nor in the zygote."""
    first = wing.fresh()
    zygote = process_of(first).parent()
    wing.end(first)
    assert zygote

    def fresh_run(number: int) -> None:
        container = wing.fresh()
        try:
            run(wing, container, number, [*KINDS, *LAST_KINDS])
        finally:
            wing.end(container)

    proof = no_growth(Scale(wing, zygote, folders), fresh_run, FRESH_RUNS)
    record_testsuite_property("proof", f"{FRESH_RUNS:,} fresh runs: {proof} in the zygote")


def test_cells_leave_nothing(
    wing: Wing, folders: list[Path], record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Cells of every kind leave no descriptor, process, mount or file, and no memory but what IPython keeps of each."""
    container = wing.fresh()
    scale = Scale(wing, process_of(container), folders)
    proof = no_growth(scale, lambda number: run(wing, container, number, KINDS), CELLS, KEPT)
    wing.end(container)
    record_testsuite_property("proof", f"{CELLS:,} cells of one container: {proof} in the container")


def process_of(container: Container) -> psutil.Process:
    return psutil.Process(container._child.pid)


def run(wing: Wing, container: Container, number: int, kinds: list[tuple[str, str]]) -> None:
    """All kinds in turn, every 20th a plot; each 100th is stopped at its time limit or because nobody listens."""
    if number % 200 == 199:
        wing.do(left_early(container))
        return
    code, outcome = ENDLESS if number % 100 == 99 else PLOT if number % 20 == 0 else kinds[number % len(kinds)]
    timeout = SOON if (code, outcome) == ENDLESS else AGAINST_HANGS
    assert (code, wing.run(code, container=container, timeout=timeout).outcome) == (code, outcome)


async def left_early(container: Container) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SOON):
            await gather(container, ENDLESS[0])


# --- what is held -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What this process holds, and the one inside that is watched."""

    descriptors: int
    descriptors_inside: int
    processes: int  # zombies too
    mounts: int
    mounts_inside: int
    files: int
    control_groups: int
    tasks: int  # of asyncio


class Scale:
    """Weighs this process and `inside`: the zygote, or a container that is used again and again."""

    def __init__(self, wing: Wing, inside: psutil.Process, folders: list[Path]) -> None:
        self._wing = wing
        self._here = psutil.Process()
        self._inside = inside
        self._folders = folders

    def held(self) -> Held:
        return Held(
            descriptors=self._here.num_fds(),
            descriptors_inside=self._inside.num_fds(),
            processes=len(self._here.children(recursive=True)),
            mounts=mounts_of(self._here),
            mounts_inside=mounts_of(self._inside),
            files=sum(1 for folder in self._folders for _ in folder.rglob("*")) + len(list(Path("/tmp").glob(MARK))),
            control_groups=sum(1 for _ in Path("/sys/fs/cgroup").rglob(f"{PREFIX}-{self._here.pid}-*")),
            tasks=self._wing.do(count_tasks()),
        )

    def settled(self, wanted: Held | None = None) -> Held:
        """What is held once it is as `wanted`, or when the time for that is over."""
        deadline = time.monotonic() + (SETTLES if wanted else 1)
        while (held := self.held()) != wanted and time.monotonic() < deadline:
            self._wing.do(asyncio.sleep(0.1))
        return held

    def rss(self) -> tuple[float, float]:
        """Resident memory in MB, here and inside."""
        gc.collect()
        return self._here.memory_info().rss / 2**20, self._inside.memory_info().rss / 2**20


async def count_tasks() -> int:
    return len(asyncio.all_tasks())


def mounts_of(process: psutil.Process) -> int:
    return len(Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines())


def no_growth(scale: Scale, run: Callable[[int], None], times: int, kept: float = 0) -> str:
    """Run many times; what is held must be what was held after the first tenth. Returns the proof in words.

    In memory that is so but for `MOST_RSS`, and inside for what may be `kept` of each run.
    """
    for number in range(times // 10):
        run(number)
    before, rss = scale.settled(), scale.rss()
    for number in range(times // 10, times):
        run(number)
    assert scale.settled(before) == before
    here, inside = (after - earlier for after, earlier in zip(scale.rss(), rss, strict=True))
    assert here <= MOST_RSS
    assert inside <= MOST_RSS + kept * times
    return f"+0 descriptors, processes, mounts, files, control groups; {here:+.1f} MB here, {inside:+.1f} MB"
