"""Loading, unloading, and living beside other people's code, through kernels of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .kernel import Kernel, descendants, started

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

LOOKS = 20

HELD = """
import contextlib, gc, json, os, threading
gc.collect()
held = [thread.name for thread in threading.enumerate()]
for fd in os.listdir("/proc/self/fd"):
    with contextlib.suppress(FileNotFoundError):  # the one that listed
        held.append(os.readlink("/proc/self/fd/" + fd).split(":[")[0])
print(json.dumps(held))"""


def test_unloading_leaves_nothing_behind(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """No thread, process, descriptor or magic stays, and loading again works.

    The first round is not counted: the kernel itself opens things as it goes, and connections to it come late.
    """
    with started(clean_environment, tmp_path) as kernel:
        _load_run_unload(kernel)
        before = _held(kernel)

        _load_run_unload(kernel)

        assert descendants(kernel.pid) == []
        assert _stays(kernel, before) == Counter()
        assert "not found" in kernel.run("%%interp\nprint(3)").stream("stderr")


def _load_run_unload(kernel: Kernel) -> None:
    kernel.run("%load_ext ipy_codeinterp")
    assert kernel.run("%%interp\nprint(1)").stream() == "1\n"
    assert descendants(kernel.pid)
    kernel.run("%interp panel")
    kernel.run("%reload_ext ipy_codeinterp")
    assert kernel.run("%%interp\nprint(2)").stream() == "2\n"
    kernel.run("%unload_ext ipy_codeinterp")


def _held(kernel: Kernel) -> Counter[str]:
    """How many of each kind of descriptor, and of each thread."""
    return Counter(json.loads(kernel.run(HELD).stream()))


def _stays(kernel: Kernel, before: Counter[str]) -> Counter[str]:
    """What is there beyond `before`, and still there at a later look: a database in use opens its folder in passing."""
    more = _held(kernel) - before
    for _ in range(LOOKS):
        if not more:
            break
        more &= _held(kernel) - before
    return more


LOAD = "%load_ext ipy_codeinterp"
SCRIPT = "import asyncio\nasync def main():\n    await asyncio.sleep(0.01)\n    print('done')\nasyncio.run(main())"


@pytest.mark.parametrize("package", ["nest_asyncio", "nest_asyncio2"])
@pytest.mark.parametrize("first", ["applied", "loaded"])
def test_run_all_works_beside_nested_loops(
    clean_environment: dict[str, str], tmp_path: Path, package: str, first: str
) -> None:
    """Five queued cells each run exactly once, in order, whoever's nested loops the user applies, before or after."""
    apply = f"import {package}\n{package}.apply()"
    with started(clean_environment, tmp_path) as kernel:
        kernel.run("\n".join([apply, LOAD] if first == "applied" else [LOAD, apply]))
        assert run_five(kernel) == [f"{list(range(i + 1))}\n" for i in range(5)]
        assert "done" in kernel.run(SCRIPT).stream()


def test_a_pasted_script(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """`asyncio.run(...)` in a cell completes with the bridge `nest`; without it the error is followed by its name."""
    with started(clean_environment, tmp_path) as kernel:
        kernel.run(LOAD)
        without = kernel.run(SCRIPT)
        kernel.run("%config InterpMagics.bridge = 'nest'")
        nested = kernel.run(SCRIPT)
        cell = kernel.run("%%interp\nprint('on')")
        kernel.run("%unload_ext ipy_codeinterp")
        other = kernel.run("raise RuntimeError('cannot be called from a running event loop')")

    assert without.error and without.error["ename"] == "RuntimeError"
    assert "%config InterpMagics.bridge = 'nest'" in without.stream("stderr")
    assert (nested.status, nested.stream()) == ("ok", "done\n")
    assert cell.stream() == "on\n"
    assert other.stream("stderr") == ""


def test_run_all_over_the_nest_bridge(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """Five queued cells each run exactly once, in order, where our own nested loops are applied."""
    with started(clean_environment, tmp_path) as kernel:
        kernel.run(f"{LOAD}\n%config InterpMagics.bridge = 'nest'")
        assert run_five(kernel) == [f"{list(range(i + 1))}\n" for i in range(5)]


def run_five(kernel: Kernel) -> list[str]:
    """What five cells print that are asked for at once: each adds itself to what ran before."""
    cells = [f"%%interp --container c\nran = [*globals().get('ran', []), {i}]\nprint(ran)" for i in range(5)]
    requests = [kernel.begin(cell) for cell in cells]
    return [kernel.end(request).stream() for request in requests]


def test_the_nest_bridge_keeps_the_users_tasks_running(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """With `bridge = "nest"` a background task goes on while a cell runs; without it, it waits."""
    with started(clean_environment, tmp_path) as kernel:
        kernel.run(
            "%load_ext ipy_codeinterp\nimport asyncio\nticks = []\n"
            "async def tick():\n    while True:\n        ticks.append(1)\n        await asyncio.sleep(0.02)\n"
            "task = asyncio.create_task(tick())"
        )
        kernel.run("%%interp\nprint('warm')")

        for bridge, keeps_running in (("thread", False), ("nest", True)):
            kernel.run(f"%config InterpMagics.bridge = {bridge!r}")
            outputs = kernel.run(
                "before = len(ticks)\nget_ipython().run_cell_magic('interp', '', 'import time; time.sleep(1)')\n"
                "print(len(ticks) - before > 5)"
            )
            assert outputs.stream() == f"{keeps_running}\n"


@contextlib.contextmanager
def counting_listener() -> Iterator[tuple[str, list[bytes]]]:
    """A TCP listener that notes whoever comes."""
    seen: list[bytes] = []
    ready, stop = threading.Event(), threading.Event()
    address: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(note, "127.0.0.1", 0, family=socket.AF_INET) as server:
            address.append("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1])  # noqa: UP031
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield address[0], seen
    finally:
        stop.set()
        thread.join()


def test_a_key_in_the_environment_changes_nothing(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """With a key and a base URL of a vendor set, `claude` still runs here, and nothing leaves."""
    with counting_listener() as (url, seen):
        keys = {"ANTHROPIC_API_KEY": "sk-ant-any", "ANTHROPIC_BASE_URL": url, "OPENAI_API_KEY": "sk-any"}
        with started({**clean_environment, **keys}, tmp_path) as kernel:
            kernel.run("%load_ext ipy_codeinterp")
            outputs = kernel.run("%%interp --model claude --out r\nimport os\nprint(sorted(os.environ))")
            offer = kernel.run("print(r.offer)")

    assert "ANTHROPIC" not in outputs.stream()
    assert offer.stream() == "claude@local\n"
    assert seen == []


def test_the_journal_on_a_full_disk_costs_a_notice(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """Where results cannot be kept the cell says so and runs all the same."""
    tiny = {**clean_environment, "IPY_CODEINTERP_DATA_DIR": "/dev/null/nowhere"}
    with started(tiny, tmp_path) as kernel:
        kernel.run("%load_ext ipy_codeinterp")
        outputs = kernel.run("%%interp\nprint('fine')")

    assert outputs.stream() == "fine\n"
    assert outputs.status == "ok"
    assert "results are not being kept" in outputs.stream("stderr")


def test_a_wrong_setting_is_named_at_load(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """An environment variable that is no setting is an error with the nearest one."""
    with started({**clean_environment, "IPY_CODEINTERP_MODLE": "x"}, tmp_path) as kernel:
        outputs: Any = kernel.run("%load_ext ipy_codeinterp")

    assert outputs.status == "error"
    assert "IPY_CODEINTERP_MODEL" in outputs.traceback
