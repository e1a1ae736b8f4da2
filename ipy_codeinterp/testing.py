"""The laws of a sandbox, as tests: subclass `SandboxLaws`, give it `places()`, and pytest collects the rest."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import select
import socket
import tempfile
import time
import unittest
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from ipy_codeinterp.execution import Display, Error, Output, Stream
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.frames import Begun
from ipy_codeinterp.sandbox.job import ContainerGone, Event, Input, Job, Verdict
from ipy_codeinterp.sandbox.sources import Source

T = TypeVar("T")
AGAINST_HANGS = 60.0  # seconds that a run may take which should take none
LATE = 2.0  # seconds after its time limit at which a run has ended too late
MEMORY = 256 << 20  # bytes that a run may take


class Place(Protocol):
    """What the laws are about: it runs one job after another, and keeps state between them. `Container` is one."""

    @property
    def alive(self) -> bool:
        """Whether it can be used again."""

    def run(self, job: Job) -> AsyncGenerator[Event]:
        """Run `job` after those that came before it; leaving early interrupts it. Raises `ContainerGone`."""

    async def close(self) -> None:
        """End it with all that runs in it."""


Start = Callable[[], Coroutine[Any, Any, Place]]  # a place that nobody has used


@contextlib.asynccontextmanager
async def places_of(source: Source) -> AsyncIterator[Start]:
    """The containers of `source`, which is closed at the end."""

    async def start() -> Place:
        return Container(await source.start("python", None))

    try:
        yield start
    finally:
        await source.close()


@dataclass(frozen=True)
class Ran:
    """What one run told, in order, and how many seconds it took."""

    events: Sequence[Event]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        assert isinstance(self.events[-1], Verdict)
        return self.events[-1]

    @property
    def ending(self) -> str:
        """The name of the limit, else the outcome."""
        return self.verdict.limit.name if self.verdict.limit else self.verdict.outcome

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What a notebook would hold at the end."""
        return Collector(e for e in self.events if not isinstance(e, (Begun, Verdict))).outputs

    @property
    def said(self) -> list[str]:
        """The outputs in short: streams by their text, displays by their plain text, errors by their name."""
        return [_short(output) for output in self.outputs]

    @property
    def stdout(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Stream) and e.name == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Stream) and e.name == "stderr")


def _short(output: Output) -> str:
    match output:
        case Stream():
            return output.text
        case Display():
            return str(output.data["text/plain"])
        case Error():
            return output.ename


# --- code that the laws run -------------------------------------------------------------------------

IN_ORDER = """
import os, subprocess, sys
print(1)
display(2)
print(3, file=sys.stderr)
os.write(1, b"4\\n")
display(5)
subprocess.run(["echo", "6"])
print(7)
8"""
RICH = """
class Rich:
    def __repr__(self): return "plain"
    def _repr_html_(self): return "<b>rich</b>"
Rich()"""
STRANGE = {
    "import os\nos.write(1, b'a\\xffb');": "a\ufffdb",
    "import os\nfor byte in 'ü€'.encode(): os.write(1, bytes([byte]))": "ü€",
    "print('a\\0b\\x1b[31m', end='')": "a\0b\x1b[31m",
    "print('x' * 500_000, end='')": "x" * 500_000,
}
MUCH = "print('begin')\nfor _ in range(20): print('x' * 999_999)\nprint('end')"
MUCH_SIZE = len("begin\nend\n") + 20 * 1_000_000
EXITS = {
    "1": ("ok", 0),
    "1 / 0": ("error", 1),
    "import sys\nsys.exit()": ("ok", 0),
    "import sys\nsys.exit(3)": ("error", 3),
    "raise SystemExit('words')": ("error", 1),
}
WAIT = "import time\nkept = 42\nprint('on')\ntime.sleep(600)"
BUSY = "kept = 43\nprint('on')\nwhile True: pass"
STUBBORN = "print('on')\nwhile True:\n    try:\n        while True: pass\n    except KeyboardInterrupt: pass"
HOG = f"kept = [b'x' * (8 << 20) for _ in range({3 * MEMORY >> 23})]"
TREE = f"""
import os, time
for _ in range(2): os.fork()
kept = b"x" * {MEMORY // 2}
time.sleep(5)"""
LEAVE = """
import os, tempfile
left = 42
os.environ["LEFT"] = "here"
open("left", "w").close()
open(os.path.join(tempfile.gettempdir(), "left"), "w").close()"""
FIND = """
import os, tempfile
found = [os.path.join(folder, "left") for folder in (".", tempfile.gettempdir())]
print("left" in globals(), "LEFT" in os.environ, *map(os.path.exists, found))"""
DRAW = """
import contextlib, os, random, tempfile, uuid
print(random.random(), uuid.uuid4(), os.path.basename(tempfile.mkdtemp()))
with contextlib.suppress(ImportError):
    import numpy
    print(numpy.random.random())"""
READ_INPUTS = """
import hashlib, os
assert os.path.samefile(".", os.environ["INPUT_DIR"])
print(*(hashlib.sha256(open(name, "rb").read()).hexdigest() for name in {names}))"""
LEAVE_FILES = """
import os, pathlib
folder = pathlib.Path(os.environ["OUTPUT_DIR"])
(folder / "a.bin").write_bytes(bytes(3 << 20))
(folder / "ü b.txt").write_text("text")
(folder / "empty").touch()
(folder / "link").symlink_to("a.bin")
(folder / "link out").symlink_to("/etc/passwd")
(folder / "folder").mkdir()
(folder / "folder" / "inner").touch()
os.mkfifo(folder / "fifo")"""
LEAVE_PROGRAM = """
import subprocess
left = subprocess.Popen(["sleep", "{mark}"], start_new_session={daemon})"""
LOOK_AROUND = """
import glob, os
doors = ["", *glob.glob("/proc/[0-9]*/root")]
paths = [door + file for door in doors for file in {files}]
for path in [*paths, *glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
    try: print(open(path, "rb").read())
    except OSError: pass
print(dict(os.environ))"""


class SandboxLaws:
    """The laws, one a test. Name the subclass `Test...`, so that pytest collects it, and give it `places()`.

    One event loop runs all laws of a class. Those that leave no trace share a place, which is made anew when it died.
    """

    isolated = True  # whether code is kept from this machine: False skips what only walls can promise
    burst = 20  # places that are asked for at once
    _bench: ClassVar[Bench | None] = None

    def places(self) -> contextlib.AbstractAsyncContextManager[Start]:
        """What starts a place, for as long as the context is open."""
        raise NotImplementedError

    # --- what is said -------------------------------------------------------------------------------

    def test_output_is_in_order(self) -> None:
        """Prints, displays, bytes past sys.stdout and programs come in the order in which the code made them."""
        assert self.run(IN_ORDER.replace("\nsubprocess", "\n_ = subprocess")).said == [
            *("1\n", "2", "3\n", "4\n", "5", "6\n7\n", "8")
        ]

    def test_output_comes_while_the_code_runs(self) -> None:
        """What is printed arrives long before the code ends."""

        async def waited() -> float:
            started = time.monotonic()
            async with underway(self.shared, WAIT, timeout=10.0):
                return time.monotonic() - started

        assert self.do(waited()) < 5.0

    def test_streams_are_apart(self) -> None:
        """What is written to stderr is not mixed into stdout."""
        ran = self.run("import os, sys\nprint('o')\nprint('e', file=sys.stderr)\nos.write(2, b'2')\nprint('O')")
        assert (ran.stdout, ran.stderr) == ("o\nO\n", "e\n2")

    def test_the_last_expression_is_shown(self) -> None:
        """The last expression is shown rich and plain as the result, unless it is None or ends in a semicolon."""
        (display,) = self.run(RICH).outputs
        assert isinstance(display, Display) and display.kind == "execute_result"
        assert (display.data["text/plain"], display.data["text/html"]) == ("plain", "<b>rich</b>")
        assert self.run("None").said == self.run("42;").said == []

    def test_strange_text_arrives(self) -> None:
        """Bytes that are no UTF-8, NUL, control characters and a huge line arrive and lose nothing around them."""
        for code, shown in STRANGE.items():
            ran = self.run(code)
            assert (ran.ending, ran.stdout) == ("ok", shown), code

    def test_much_output_is_capped(self) -> None:
        """Of too much text beginning and end are shown, and between them how many characters are not."""
        ran = self.run(MUCH)
        note = re.search(r"\n\[[^\n]*?([\d,]+) characters not shown[^\n]*\n", ran.stdout)
        assert ran.ending == "ok" and note
        assert ran.stdout.startswith("begin\nxxx") and ran.stdout.endswith("xxx\nend\n")
        assert len(ran.stdout) - len(note[0]) + int(note[1].replace(",", "")) == MUCH_SIZE
        assert len(ran.stdout) < MUCH_SIZE // 2

    # --- how it ends --------------------------------------------------------------------------------

    def test_a_run_begins_once_and_ends_once(self) -> None:
        """The first thing told is that the code has begun, the last one is the verdict, and there is one of each."""
        for code in (*EXITS, BUSY):
            kinds = [type(event) for event in self.run(code, timeout=0.3).events]
            assert (kinds[0], kinds[-1]) == (Begun, Verdict), code
            assert kinds.count(Begun) == kinds.count(Verdict) == 1, code

    def test_an_error_is_told(self) -> None:
        """An exception has its name, message and traceback, comes after what was printed, and ends nothing else."""
        ran = self.run("kept = 1\nprint('before')\nraise ValueError('words')")
        assert (ran.ending, ran.said, ran.verdict.alive) == ("error", ["before\n", "ValueError"], True)
        error = ran.outputs[-1]
        assert isinstance(error, Error) and error.evalue == "words"
        assert "raise ValueError" in re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        assert self.run("kept").said == ["1"]

    def test_an_exit_has_its_status(self) -> None:
        """The status is that of sys.exit, 1 for an exception and 0 for a normal end, and the place lives on."""
        for code, (outcome, status) in EXITS.items():
            verdict = self.run(code).verdict
            assert (verdict.outcome, verdict.exit_status, verdict.alive) == (outcome, status, True), code

    def test_what_is_no_code_is_refused(self) -> None:
        """With `must_parse` text that is no code is refused and nothing of it runs; without, it is a SyntaxError."""
        ran = self.run("refused = 1\nPlease compute this for me.", must_parse=True)
        assert (ran.ending, ran.verdict.refused, ran.said, ran.verdict.alive) == ("error", True, [], True)
        assert self.run("'refused' in globals()", must_parse=True).said == ["False"]
        ran = self.run("Please compute this for me.")
        assert (ran.ending, ran.verdict.refused, ran.said) == ("error", False, ["SyntaxError"])

    def test_a_dead_interpreter_is_a_crash(self) -> None:
        """An interpreter that dies is `crashed` with its status, its last words arrive, and the place is gone."""
        with self.fresh() as place:
            ran = self.run("import os\nprint('last', flush=True)\nos._exit(7)", place)
            assert (ran.ending, ran.verdict.exit_status, ran.stdout) == ("crashed", 7, "last\n")
            assert not ran.verdict.alive and not place.alive
            assert self.is_gone(place)

    # --- limits -------------------------------------------------------------------------------------

    def test_a_time_limit_is_kept(self) -> None:
        """Code is stopped at its time limit, not seconds later, whatever it does; its prints until then arrive."""
        for code in (WAIT, BUSY, STUBBORN):
            ran = self.run(code, timeout=0.3)
            assert (ran.verdict.outcome, ran.ending, ran.stdout) == ("limit", "time", "on\n"), code
            assert ran.verdict.limit and ran.verdict.limit.allowed == 0.3
            assert ran.seconds < 0.3 + LATE, code

    def test_a_memory_limit_is_kept(self) -> None:
        """Code that takes too much memory is stopped at its memory limit, and the next run works."""
        self._takes_too_much(HOG)

    def test_a_memory_limit_holds_for_a_tree(self) -> None:
        """Processes that take too much only together are stopped at the memory limit as well."""
        self._takes_too_much(TREE)

    def _takes_too_much(self, code: str) -> None:
        ran = self.run(code)
        assert (ran.verdict.outcome, ran.ending) == ("limit", "memory")
        assert ran.verdict.limit and ran.verdict.limit.allowed == MEMORY
        assert self.run("'next'").said == ["'next'"]

    # --- state --------------------------------------------------------------------------------------

    def test_state_is_kept(self) -> None:
        """What one run makes, the next one in the same place has."""
        self.run(LEAVE)
        assert self.run(FIND).stdout == "True True True True\n"

    def test_an_interrupt_keeps_state(self) -> None:
        """Leaving a run early stops the code at once and keeps its variables."""

        async def interrupted(code: str) -> Ran:
            async with underway(place, code):
                pass
            return await gather(place, "kept")

        place = self.shared
        for code, kept in ((WAIT, "42"), (BUSY, "43")):
            ran = self.do(interrupted(code))
            assert ran.said == [kept] and ran.seconds < LATE, code

    def test_runs_of_one_place_take_turns(self) -> None:
        """Runs that are started at once in one place pass one after the other, in order."""
        place = self.shared
        codes = ["turns = []", *(f"turns.append({i})\nimport time\ntime.sleep(0.01)" for i in range(5)), "turns"]

        async def together() -> list[Ran]:
            return await asyncio.gather(*(gather(place, code) for code in codes))

        assert self.do(together())[-1].said == ["[0, 1, 2, 3, 4]"]

    def test_places_share_nothing(self) -> None:
        """Variables, files and environment variables of one place are not there in the next."""
        self.run(LEAVE)
        with self.fresh() as place:
            assert self.run(FIND, place).stdout == "False False False False\n"

    def test_places_do_not_wait_for_each_other(self) -> None:
        """While code runs in one place, code in another begins and ends."""
        shared = self.shared
        with self.fresh() as busy:

            async def meanwhile() -> Ran:
                async with underway(busy, BUSY):
                    return await gather(shared, "6 * 7", timeout=10.0)

            assert self.do(meanwhile()).said == ["42"]

    def test_a_burst_of_places(self) -> None:
        """Many places at once all work, and no two of them draw the same random number or temporary name."""

        async def drawn(start: Start) -> Ran:
            async with opened(start) as place:
                return await gather(place, DRAW)

        async def burst() -> list[Ran]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(drawn(self.bench.start)) for _ in range(self.burst)]
            return [task.result() for task in tasks]

        runs = self.do(burst())
        assert [ran.ending for ran in runs] == ["ok"] * self.burst
        draws = [word for ran in runs for word in ran.stdout.split()]
        assert len(draws) >= 3 * self.burst and len(set(draws)) == len(draws)

    # --- files --------------------------------------------------------------------------------------

    def test_files_go_in(self) -> None:
        """Files of a job lie whole in the working folder under their names, and replace those of before."""
        for large in (secrets.token_bytes(9 << 20), b"small"):
            inputs = (Input("ü b.csv", b"1,2"), Input("empty", b""), Input("large", large))
            ran = self.run(READ_INPUTS.format(names=[item.name for item in inputs]), inputs=inputs)
            assert ran.stdout.split() == [hashlib.sha256(item.data).hexdigest() for item in inputs]

    def test_files_come_out(self) -> None:
        """Regular files in $OUTPUT_DIR come back from the run that wrote them; links, pipes and folders never do."""
        files = {file.name: file.data for file in self.run(LEAVE_FILES).verdict.files}
        assert files == {"a.bin": bytes(3 << 20), "ü b.txt": b"text", "empty": b""}
        assert self.run("1").verdict.files == ()

    # --- walls --------------------------------------------------------------------------------------

    def test_processes_die_with_their_place(self) -> None:
        """What code has left running is gone when its place is closed, a daemon too where there are walls."""
        mark = f"3600.{secrets.randbelow(10**12):012}"
        with self.fresh() as place:
            assert self.run(LEAVE_PROGRAM.format(mark=mark, daemon=self.isolated), place).ending == "ok"
        assert not _commands_with(mark)
        assert self.is_gone(place)

    def test_nothing_of_the_host_is_read(self) -> None:
        """A secret in our environment, in our home folder and in /tmp is found nowhere inside."""
        self._needs_walls()
        with _planted() as (secret, files):
            ran = self.do(self._ran_in_new_house(LOOK_AROUND.format(files=files)))
        assert ran.ending == "ok" and secret not in ran.stdout

    def test_the_network_is_not_reached(self) -> None:
        """A listener on this machine's loopback cannot be reached."""
        self._needs_walls()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ran = self.run(f"import socket\nsocket.create_connection({listener.getsockname()}, timeout=3)")
            assert ran.ending == "error"
            assert select.select([listener], [], [], 0)[0] == []

    def _needs_walls(self) -> None:
        if not self.isolated:
            raise unittest.SkipTest("not isolated, and does not claim to be")

    async def _ran_in_new_house(self, code: str) -> Ran:
        """What was started before the secret was there cannot have seen it."""
        async with self.places() as start, opened(start) as place:
            return await gather(place, code)

    # --- what the laws are made of ------------------------------------------------------------------

    def run(self, code: str, place: Place | None = None, **job: Any) -> Ran:
        """Run `code` to its end, in the shared place unless one is given."""
        return self.do(gather(place or self.shared, code, **job))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.bench.do(work)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Place]:
        """A place of one's own, closed at the end."""
        place = self.do(self.bench.start())
        try:
            yield place
        finally:
            self.do(place.close())

    def is_gone(self, place: Place) -> bool:
        try:
            self.run("1", place)
        except ContainerGone:
            return True
        return False

    @property
    def shared(self) -> Place:
        return self.bench.shared()

    @property
    def bench(self) -> Bench:
        kind = type(self)
        if kind._bench is None:
            kind._bench = Bench(self.places)
        return kind._bench

    @classmethod
    def teardown_class(cls) -> None:
        if cls._bench is not None:
            cls._bench.close()
            cls._bench = None


class Bench:
    """An event loop that outlives a test, the open places on it, and one of them to share."""

    def __init__(self, places: Callable[[], contextlib.AbstractAsyncContextManager[Start]]) -> None:
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._shared: Place | None = None
        self.start = self.do(self._open(places))

    async def _open(self, places: Callable[[], contextlib.AbstractAsyncContextManager[Start]]) -> Start:
        return await self._stack.enter_async_context(places())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def shared(self) -> Place:
        """Alive, whatever the last law did to it."""
        if self._shared and not self._shared.alive:
            self.do(self._shared.close())
            self._shared = None
        self._shared = self._shared or self.do(self.start())
        return self._shared

    def close(self) -> None:
        try:
            if self._shared:
                self.do(self._shared.close())
            self.do(self._stack.aclose())
        finally:
            self._runner.close()


async def gather(place: Place, code: str, **job: Any) -> Ran:
    """Run `code` to its end."""
    started = time.monotonic()
    events = [event async for event in place.run(Job(code, **{"timeout": AGAINST_HANGS, "memory": MEMORY, **job}))]
    return Ran(events, time.monotonic() - started)


@contextlib.asynccontextmanager
async def underway(place: Place, code: str, timeout: float = AGAINST_HANGS) -> AsyncIterator[None]:
    """Entered when `code` has said its first words; leaving interrupts it."""
    async with contextlib.aclosing(place.run(Job(code, timeout=timeout))) as events:
        async for event in events:
            if isinstance(event, Stream):
                break
        yield


@contextlib.asynccontextmanager
async def opened(start: Start) -> AsyncIterator[Place]:
    place = await start()
    try:
        yield place
    finally:
        await place.close()


@contextlib.contextmanager
def _planted() -> Iterator[tuple[str, list[str]]]:
    """A secret, and the files it lies in while it is in our environment too."""
    name, secret = f"SANDBOX_LAWS_{secrets.token_hex(4)}", secrets.token_hex(16)
    files = [Path.home() / name, Path(tempfile.gettempdir()) / name]
    with contextlib.ExitStack() as stack:
        os.environ[name] = secret
        stack.callback(os.environ.pop, name)
        for file in files:
            stack.callback(file.unlink, missing_ok=True)
            file.write_text(secret)
            file.chmod(0o644)
        yield secret, [str(file) for file in files]


def _commands_with(mark: str) -> list[bytes]:
    """Command lines of this machine's processes that hold `mark`."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    return [line for line in lines if mark.encode() in line]
