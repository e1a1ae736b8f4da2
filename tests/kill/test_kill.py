"""kill -9, forks and interrupts at the worst moments: nothing survives that should not, and the next cell works."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from ipy_codeinterp.errors import GatewayLost
from ipy_codeinterp.execution import Event, Notice, Stream
from ipy_codeinterp.session import Session
from tests.notebook.kernel import Kernel, descendants, started

pytestmark = pytest.mark.sandbox

AGAINST_HANGS = 30.0
BUSY = "print('on')\nwhile True: pass"


class Watch:
    """`pid` and every process below it as it is now; `survivors()` waits for their ends and says who did not come."""

    def __init__(self, pid: int, without: int = 0) -> None:
        self.pids = [one for one in (pid, *descendants(pid)) if one != without]
        self._ends = []
        for one in self.pids:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                self._ends.append((one, os.pidfd_open(one)))

    def survivors(self) -> list[str]:
        deadline = time.monotonic() + AGAINST_HANGS
        left = []
        for pid, end in self._ends:
            readable, _, _ = select.select([end], [], [], max(deadline - time.monotonic(), 0))
            os.close(end)
            if not readable:
                left.append(command(pid))
        return left


def command(pid: int) -> str:
    """Empty for a process that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def gateways() -> list[int]:
    """Those that sessions of this process have started."""
    return [
        pid
        for pid in descendants(os.getpid())
        if "ipy_codeinterp gateway" in command(pid) and "--owner-fd" in command(pid)
    ]


def kill_gateway() -> None:
    (pid,) = gateways()
    os.kill(pid, signal.SIGKILL)


def at_first_word(act: Callable[[], None]) -> Callable[[Event], None]:
    """A `show` that acts once, when the code has said something."""
    todo = [act]
    return lambda event: todo.pop()() if isinstance(event, Stream) and todo else None


@pytest.fixture(scope="module")
def session(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(cache_dir=cache_dir, data_dir=tmp_path_factory.mktemp("data")) as session:
        yield session


# --- the kernel -------------------------------------------------------------------------------------


WORKER = """
import multiprocessing, signal, time
def idle(ready):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready.set()
    time.sleep(600)
fork = multiprocessing.get_context("fork")
ready = fork.Event()
worker = fork.Process(target=idle, args=(ready,))
worker.start()
ready.wait()
print(worker.pid)
"""


@pytest.fixture
def kernel(clean_environment: dict[str, str], tmp_path: Path) -> Iterator[Kernel]:
    """A kernel with the extension loaded and a container called `kept`."""
    with started(clean_environment, tmp_path) as kernel:
        kernel.run("%load_ext ipy_codeinterp")
        assert kernel.run("%%interp --container kept\nimport time\nbeat = 0\nprint('warm')").stream() == "warm\n"
        yield kernel


@pytest.fixture
def worker(kernel: Kernel) -> Iterator[int]:
    """A process that the user's code has forked from the kernel, deaf to interrupts, and that outlives it."""
    pid = int(kernel.run(WORKER).stream())
    yield pid
    os.kill(pid, signal.SIGKILL)


def wait_for_word(kernel: Kernel) -> None:
    """Until the running cell has said something."""
    while kernel.client.get_iopub_msg(timeout=AGAINST_HANGS)["msg_type"] != "stream":
        pass


@pytest.mark.kernel
def test_a_killed_kernel_leaves_nothing(kernel: Kernel) -> None:
    """kill -9 of the kernel in the middle of a cell ends its gateway and every sandbox."""
    kernel.begin(f"%%interp\n{BUSY}")
    wait_for_word(kernel)
    watch = Watch(kernel.pid)
    assert len(watch.pids) >= 5  # the kernel, the gateway, and of a container bwrap, its init and the runner
    os.kill(kernel.pid, signal.SIGKILL)
    assert watch.survivors() == []


@pytest.mark.kernel
@pytest.mark.parametrize("busy", [False, True])
def test_a_forked_worker_keeps_nothing_alive(kernel: Kernel, worker: int, busy: bool) -> None:
    """A worker that user code has forked, and that outlives the killed kernel, keeps neither gateway nor sandbox."""
    if busy:
        kernel.begin(f"%%interp --container kept\n{BUSY}")
        wait_for_word(kernel)
    watch = Watch(kernel.pid, without=worker)
    os.kill(kernel.pid, signal.SIGKILL)
    assert watch.survivors() == []
    assert "ipykernel" in command(worker)


@pytest.mark.kernel
def test_an_interrupt_ends_the_run_beside_a_forked_worker(kernel: Kernel, worker: int) -> None:
    """The toolbar's interrupt really ends the sandboxed code, though a worker holds copies of our sockets."""
    beating = "while True:\n    beat += 1\n    time.sleep(0.001)\n    if beat == 5: print('on')"
    request = kernel.begin(f"%%interp --container kept\n{beating}")
    wait_for_word(kernel)
    kernel.interrupt()
    interrupted = kernel.end(request)
    assert interrupted.error and interrupted.error["ename"] == "KeyboardInterrupt"
    first, second = (kernel.run("%%interp --container kept\nprint(beat)").stream() for _ in range(2))
    assert int(first) >= 5 and first == second
    assert "ipykernel" in command(worker)


# --- the gateway ------------------------------------------------------------------------------------


def test_a_killed_gateway_is_a_typed_error(session: Session) -> None:
    """kill -9 of the gateway under a run raises GatewayLost naming lost containers; the next run has another one."""
    session.run("kept = 1", container="a")
    watch = Watch(*gateways())
    with pytest.raises(GatewayLost) as lost:
        session.run(BUSY, show=at_first_word(kill_gateway))
    assert lost.value.transient and "lost containers: a" in lost.value.hint
    assert watch.survivors() == []
    events: list[Event] = []
    result = session.run("kept", container="a", show=events.append)
    assert result.error and result.error.ename == "NameError"
    assert [e.text.partition(";")[2] for e in events if isinstance(e, Notice)] == [" lost containers: a"]


def test_a_gateway_killed_between_runs_is_replaced(session: Session) -> None:
    """When the gateway is killed between runs, the next run has another one and says which containers are lost."""
    session.run("kept = 1", container="c")
    watch = Watch(*gateways())
    kill_gateway()
    assert watch.survivors() == []
    events: list[Event] = []
    assert session.run("print('on')", show=events.append).stdout == "on\n"
    assert [e.text.rpartition(" ")[2] for e in events if isinstance(e, Notice)] == ["c"]


def test_a_killed_runner_is_a_crash(session: Session) -> None:
    """kill -9 of the interpreter in a container is `crashed`; the container is made anew, with a notice."""
    session.run("import ctypes\nctypes.CDLL(None).prctl(15, b'victim')", container="d")

    def kill() -> None:
        (victim,) = (p for p in descendants(os.getpid()) if Path(f"/proc/{p}/comm").read_text() == "victim\n")
        os.kill(victim, signal.SIGKILL)

    result = session.run(BUSY, container="d", show=at_first_word(kill))
    assert (result.outcome, result.stdout, result.steps[-1].exit_status) == ("crashed", "on\n", 128 + signal.SIGKILL)
    events: list[Event] = []
    assert session.run("print(1)", container="d", show=events.append).ok
    assert any(isinstance(e, Notice) and "killed by SIGKILL" in e.text for e in events)


def zygote() -> int:
    """The process that forks the containers: below bubblewrap, its init, and the one that waits for it."""
    (gateway,) = gateways()
    (bwrap,) = children(gateway)
    (init,) = children(bwrap)
    (waiting,) = children(init)
    return children(waiting)[0]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_zygote_is_replaced(session: Session) -> None:
    """kill -9 of the zygote ends what it forked, as crashes; the next run has another, containers are made anew."""
    session.run("kept = 1", container="e")
    watch = Watch(zygote())

    def kill() -> None:
        os.kill(zygote(), signal.SIGKILL)

    result = session.run(BUSY, show=at_first_word(kill))
    assert result.outcome == "crashed"
    assert watch.survivors() == []
    assert session.run("print('next')").stdout == "next\n"
    events: list[Event] = []
    assert session.run("print(1)", container="e", show=events.append).ok
    assert any(isinstance(e, Notice) and "'e' is new" in e.text for e in events)


ROUNDS = 20


def test_whatever_is_killed_whenever(session: Session) -> None:
    """kill -9 of any process of ours at any moment: the run ends, the next one works, nothing is left behind."""
    random = Random(3)
    for _ in range(ROUNDS):
        assert session.run("print('next')").stdout == "next\n"
        (gateway,) = gateways()
        victims = [gateway, *descendants(gateway)]
        watch, victim = Watch(gateway), random.choice(victims)
        timer = threading.Timer(random.random() * 0.1, suppress_gone(os.kill), (victim, signal.SIGKILL))
        timer.start()
        with contextlib.suppress(GatewayLost):
            result = session.run("import time\nfor i in range(20): print(i); time.sleep(0.01)")
            assert result.outcome in ("ok", "crashed"), result
        timer.join()
        if victim == gateway:
            assert watch.survivors() == []
    assert session.run("print('next')").stdout == "next\n"


def suppress_gone(act: Callable[..., None]) -> Callable[..., None]:
    def acted(*arguments: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            act(*arguments)

    return acted


# --- forks ------------------------------------------------------------------------------------------

FORKS = """
import os, sys
from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.execution import Stream
from ipy_codeinterp.session import Session

def fork(session, leave):
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        session.run("kept", container="c")
    except SandboxError as error:
        leave(7 if "forked" in str(error) else 8)
    leave(9)

def show(event):
    if isinstance(event, Stream):
        print("in a run", fork(session, os._exit), flush=True)

with Session(data_dir=sys.argv[1], cache_dir=sys.argv[2]) as session:
    print(session.run("kept = 41\\nprint('on')", container="c", show=show).outcome, flush=True)
    print("between runs", fork(session, sys.exit), flush=True)  # through every atexit
    print(session.run("print(kept + 1)", container="c").stdout, end="")
print("closed")
"""


def test_a_forked_child_gets_an_error_and_breaks_nothing(
    tmp_path: Path, cache_dir: Path, clean_environment: dict[str, str]
) -> None:
    """A process forked from one with an open Session may not use it, and whatever it does the parent's runs go on."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path), str(cache_dir)]
    ran = subprocess.run(command, env=clean_environment, capture_output=True, text=True, timeout=AGAINST_HANGS)
    assert ran.stdout == "in a run 7\nok\nbetween runs 7\n42\nclosed\n"
    assert ran.returncode == 0 and "Traceback" not in ran.stderr


# --- closing ----------------------------------------------------------------------------------------


def holds() -> tuple[list[str], list[str], list[int]]:
    """What this process holds: descriptors by kind, threads, gateways."""
    links = (os.readlink(path) for path in Path("/proc/self/fd").iterdir() if os.path.lexists(path))
    kinds = sorted(link.partition("[")[0].partition(":")[0] for link in links)
    return kinds, sorted(t.name for t in threading.enumerate()), gateways()


def test_closing_leaves_nothing(tmp_path: Path, cache_dir: Path) -> None:
    """Opening, using and closing sessions, from code with and without an event loop, leaves all as it was."""

    async def used() -> None:
        async with Session(data_dir=tmp_path, cache_dir=cache_dir) as session:
            assert (await session.execute("1")).ok

    def round() -> None:
        asyncio.run(used())
        with Session(data_dir=tmp_path, cache_dir=cache_dir) as session:
            assert session.run("print(1)", container="c").ok

    asyncio.run(used())  # imports open files of their own
    gc.collect()  # what earlier tests left to the collector is not ours
    before = holds()
    round()
    assert holds() == before
