"""A long day in one notebook: hundreds of cells and jobs under an open panel, and nothing grows but the journal.

CODEINTERP_GROWTH=all runs 500 cells and 100 jobs; else it is about a tenth.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from .kernel import Kernel, descendants, started

ROUNDS = 50 if os.environ.get("CODEINTERP_GROWTH") == "all" else 6
FIRST = max(ROUNDS // 10, 2)  # rounds after which everything is warm, and it is weighed
MOST_RSS = 10.0  # MB more than then
MOST_UPDATE = 2000  # bytes of a message with which the panel changes
# What comes and goes, up to a bound: kept connections, a pool's threads, containers that are made ahead.
BOUNDS = {"sockets": 16, "threads": min(32, (os.cpu_count() or 1) + 4), "processes": 4, "descriptors_below": 4 * 6}
LOOKS = 40  # until what is let go of is gone

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox, pytest.mark.slow, pytest.mark.timeout(20 * ROUNDS + 100)]

CELLS = [
    "%%interp\nprint(6 * 7)",
    "%%interp\n6 * 7",
    "%%interp --no-raise-error\n1 / 0",
    "%%interp\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 9]);",
    "%%interp\nimport pandas as pd\npd.DataFrame({'n': range(50)})",
    "%%interp --container kept\nx = globals().get('x', 0) + 1\nprint(x)",
    "%%interp --out result\nprint('a' * 10_000)",
    "%%interp --in sent --get back\nback = [2 * each for each in sent]",
    "%%interp --model claude,gpt\nprint(1)",
    "%%interp\nshown = display(1, display_id=True)\nfor i in range(20): shown.update(i)",
]
JOBS = [
    "%%interp --bg\nprint('behind')\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);",
    "%%interp --bg --no-raise-error\nprint('fails')\n1 / 0",
]

BEGIN = """
import asyncio, contextlib, gc, json, os, threading
%load_ext ipy_codeinterp
%interp panel
sent = list(range(100))
_desk = get_ipython().magics_manager.registry["InterpMagics"]._desk
"""
HELD = """
from ipywidgets.widgets import widget as _widget
async def _count(): return len(asyncio.all_tasks())
gc.collect()
_targets = []
for _fd in os.listdir("/proc/self/fd"):
    with contextlib.suppress(FileNotFoundError):  # the one that listed
        _targets.append(os.readlink("/proc/self/fd/" + _fd))
print(json.dumps({
    "descriptors": sum(not target.startswith("socket:") for target in _targets),
    "sockets": sum(target.startswith("socket:") for target in _targets),
    "threads": threading.active_count(),
    "tasks": _desk.session.in_background(_count()).result(30),
    "widgets": len(_widget._instances),
    "comms": len(get_ipython().kernel.comm_manager.comms),
    "kept": sum(job.kept is not None for job in _desk.jobs._jobs.values()),
}))"""


@dataclass(frozen=True)
class Held:
    """What the kernel holds, and the gateway below it."""

    descriptors: int  # without sockets
    sockets: int
    threads: int
    tasks: int  # of asyncio, on the session's loop
    widgets: int
    comms: int
    kept: int  # Results of jobs that only memory has
    descriptors_below: int  # of the gateway
    processes: int


class Day:
    """A notebook with its panel open."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.here = psutil.Process(kernel.pid)
        self.updates: list[int] = []  # bytes of each
        self.run(BEGIN)
        self.run(CELLS[0])
        (self.gateway,) = self.here.children()

    def run(self, cell: str) -> str:
        outputs = self.kernel.run(cell, on_message=self.note)
        assert outputs.status == "ok", outputs.traceback
        return outputs.stream()

    def note(self, message: dict[str, Any]) -> None:
        """How long a message is that changes the panel."""
        if "interp-panel" in str(message["content"].get("data", {}).get("state", {}).get("value", "")):
            parts = (message[part] for part in ("header", "parent_header", "metadata", "content"))
            self.updates.append(sum(len(json.dumps(each, ensure_ascii=False, default=str).encode()) for each in parts))

    def go_on(self, rounds: int) -> None:
        for _ in range(rounds):
            for cell in [*JOBS, *CELLS]:
                self.run(cell)
        self.run("%interp wait")

    def held(self) -> Held:
        inside = json.loads(self.run(HELD))
        return Held(**inside, descriptors_below=self.gateway.num_fds(), processes=len(descendants(self.kernel.pid)))

    def rss(self) -> tuple[float, float]:
        """Resident memory in MB, of the kernel and of the gateway."""
        return self.here.memory_info().rss / 2**20, self.gateway.memory_info().rss / 2**20

    def stays(self, before: Held) -> dict[str, int]:
        """What there is beyond `before` and the bounds, and still at the last look."""
        more: dict[str, int] = {}
        for _ in range(LOOKS):
            now, was = asdict(self.held()), asdict(before)
            more = {name: now[name] - was[name] for name in was if now[name] - was[name] > BOUNDS.get(name, 0)}
            if not more:
                break
        return more


def test_nothing_grows_but_the_journal(
    clean_environment: dict[str, str],
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """After the first tenth descriptors, threads, tasks, widgets, processes and memory stay; each update is short."""
    own = {"JPY_SESSION_NAME": "notebook.ipynb", "IPY_CODEINTERP_DATA_DIR": str(tmp_path / "data")}
    environment = {**clean_environment, **own}
    with started(environment, tmp_path) as kernel:
        day = Day(kernel)
        day.go_on(FIRST)
        before, rss = day.held(), day.rss()
        day.go_on(ROUNDS - FIRST)
        assert day.stays(before) == {}
        here, below = (after - earlier for after, earlier in zip(day.rss(), rss, strict=True))

        assert here <= MOST_RSS and below <= MOST_RSS
        assert len(day.updates) > ROUNDS and max(day.updates) < MOST_UPDATE
        kept = len(json.loads(day.run("%interp history --json --limit 1000000")))
        assert kept == ROUNDS * (len(JOBS) + len(CELLS) + 1) + 1  # a comparison is two
    counts = f"{ROUNDS * len(CELLS):,} cells, {ROUNDS * len(JOBS):,} jobs and an open panel in a kernel"
    record_testsuite_property(
        "proof",
        f"{counts}: +0 descriptors, threads, tasks, widgets, processes; {here:+.1f} MB here, {below:+.1f} MB in the "
        f"gateway; an update of the panel is at most {max(day.updates):,} bytes",
    )
