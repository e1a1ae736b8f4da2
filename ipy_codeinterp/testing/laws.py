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
from textwrap import dedent
from typing import Any, ClassVar, Protocol, TypeVar

from ipy_codeinterp.execution import Display, Error, Output, Stream
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.frames import Begun
from ipy_codeinterp.sandbox.job import ContainerGone, Event, Input, Job, Verdict
from ipy_codeinterp.sandbox.sources import Source

T = TypeVar("T")
AGAINST_HANGS = 60.0  # seconds that a run may take which should take none
SOON = 2.0  # seconds in which what should happen at once has happened
MEMORY = 256 << 20  # bytes that a run may take

ENDS = {
    "1": ("ok", 0),
    "1 / 0": ("error", 1),
    "import sys; sys.exit()": ("ok", 0),
    "import sys; sys.exit(3)": ("error", 3),
    "raise SystemExit('words')": ("error", 1),
}
STRANGE = {
    "import os; os.write(1, b'a\\xffb');": "a\ufffdb",
    "import os\nfor byte in 'ü€'.encode(): os.write(1, bytes([byte]))": "ü€",
    "print('a\\0b\\x1b[31m', end='')": "a\0b\x1b[31m",
    "print('x' * 500_000, end='')": "x" * 500_000,
}
# A signal that comes just before a long sleep begins does not end it: that is Python's, and no sandbox's.
SLEEPS = "import time\nkept = 42\nprint('on', flush=True)\nwhile True: time.sleep(0.01)"
COMPUTES = "kept = 43\nprint('on', flush=True)\nwhile True: pass"
SPEAKS = "kept = 44\nprint('x' * 3_000_000)\nprint('on')"  # more than is shown while it runs
DEAF = "print('on', flush=True)\nwhile True:\n try:\n  while True: pass\n except KeyboardInterrupt: pass"
HOG = f"kept = [b'x' * (8 << 20) for _ in range({3 * MEMORY >> 23})]"
TREE = f"import os, time\nos.fork(); os.fork()\nkept = b'x' * {MEMORY // 2}\ntime.sleep(5)"
LEAVE = """
    import os, tempfile
    left = 42
    os.environ["LEFT"] = "here"
    for folder in (".", tempfile.gettempdir()): open(os.path.join(folder, "left"), "w").close()"""
FIND = """
    import os, tempfile
    files = [os.path.join(folder, "left") for folder in (".", tempfile.gettempdir())]
    print("left" in globals(), "LEFT" in os.environ, *map(os.path.exists, files))"""


class Place(Protocol):
    """What the laws are about: it runs jobs one after the other and keeps state between them, as `Container` does."""

    @property
    def alive(self) -> bool:
        """Whether it can be used again."""

    def run(self, job: Job) -> AsyncGenerator[Event]:
        """What `job` tells, the verdict last; leaving early interrupts it. Raises `ContainerGone`."""

    async def close(self) -> None:
        """End it, and all that runs in it; more than once is once."""


Start = Callable[[], Coroutine[Any, Any, Place]]  # gives a place that nobody has used
Places = contextlib.AbstractAsyncContextManager[Start]


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
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        assert isinstance(self.events[-1], Verdict)
        return self.events[-1]

    @property
    def ending(self) -> str:
        """The outcome, and at a limit its name."""
        return f"limit: {self.verdict.limit.name}" if self.verdict.limit else self.verdict.outcome

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


class SandboxLaws:
    """The laws, one a test. Name the subclass `Test...`, so that pytest collects it.

    The laws of a class run on one event loop, and share a place that is made anew when it has died.
    """

    isolated = True  # whether code is kept from this machine: False skips what only walls can promise
    burst = 20  # places that are asked for at once
    _bench: ClassVar[Bench | None] = None

    def places(self) -> Places:
        """What starts places, for as long as the context is open."""
        raise NotImplementedError

    # --- what is said ---

    def test_output_is_in_order(self) -> None:
        """Prints, displays, bytes past sys.stdout and programs come in the order in which the code made them."""
        code = """
            import os, subprocess, sys
            print(1)
            display(2)
            os.write(1, b"3\\n")
            display(4)
            print(5, file=sys.stderr)
            subprocess.run(["echo", "6"], check=True)
            print(7)
            8"""
        assert self.run(code).said == ["1\n", "2", "3\n", "4", "5\n", "6\n7\n", "8"]

    def test_output_comes_while_the_code_runs(self) -> None:
        """Each printed line arrives long before the code ends."""
        place, code = self.shared, "import time\nprint('a')\nprint('b')\nprint('on')\nwhile True: time.sleep(0.01)"

        async def waited() -> float:
            started = time.monotonic()
            async with _underway(place, code, timeout=5.0):
                return time.monotonic() - started

        assert self.do(waited()) < SOON

    def test_streams_are_apart(self) -> None:
        """What is written to stderr does not mix with what is written to stdout."""
        ran = self.run("import os, sys\nprint('o')\nprint('e', file=sys.stderr, flush=True)\nos.write(2, b'2');")
        assert (ran.stdout, ran.stderr) == ("o\n", "e\n2")

    def test_the_last_expression_is_shown(self) -> None:
        """The last expression is shown rich and plain as the result, unless it is None or ends in a semicolon."""
        code = "class Rich:\n def __repr__(self): return 'plain'\n def _repr_html_(self): return '<b>rich</b>'\nRich()"
        (display,) = self.run(code).outputs
        assert isinstance(display, Display) and display.kind == "execute_result"
        assert (display.data["text/plain"], display.data["text/html"]) == ("plain", "<b>rich</b>")
        assert self.run("None").said == self.run("42;").said == []

    def test_strange_text_arrives(self) -> None:
        """Bytes that are no UTF-8, NUL, control characters and a huge line arrive and harm nothing around them."""
        for code, shown in STRANGE.items():
            ran = self.run(code)
            assert (ran.ending, ran.stdout) == ("ok", shown), code

    def test_much_output_is_capped(self) -> None:
        """Of too much text beginning and end are shown, and between them is said how many characters are not."""
        ran = self.run("print('begin')\nfor _ in range(20): print('x' * 999_999)\nprint('end')")
        size = len("begin\nend\n") + 20 * 1_000_000
        note = re.search(r"\n\[[^\n]*?([\d,]+) characters not shown[^\n]*\n", ran.stdout)
        assert ran.ending == "ok" and note
        assert ran.stdout.startswith("begin\nxxx") and ran.stdout.endswith("xxx\nend\n")
        assert len(ran.stdout) - len(note[0]) + int(note[1].replace(",", "")) == size
        assert len(ran.stdout) < size // 2

    # --- how it ends ---

    def test_a_run_begins_once_and_ends_once(self) -> None:
        """The first thing told is that the code has begun, the last is the verdict, and there is one of each."""
        for code in (*ENDS, SLEEPS):
            kinds = [type(event) for event in self.run(code, timeout=0.3).events]
            assert (kinds[0], kinds[-1]) == (Begun, Verdict), code
            assert kinds.count(Begun) == kinds.count(Verdict) == 1, code

    def test_an_error_is_told(self) -> None:
        """An exception has its name, message and traceback, comes after what was printed, and ends only its run."""
        ran = self.run("kept = 1\nprint('before')\nraise ValueError('words')")
        assert (ran.ending, ran.said, ran.verdict.alive) == ("error", ["before\n", "ValueError"], True)
        error = ran.outputs[-1]
        assert isinstance(error, Error) and error.evalue == "words"
        assert "raise ValueError" in re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        assert self.run("kept").said == ["1"]

    def test_an_exit_has_its_status(self) -> None:
        """The status is that of sys.exit, 1 for an exception and 0 for a normal end, and the place lives on."""
        for code, (outcome, status) in ENDS.items():
            verdict = self.run(code).verdict
            assert (verdict.outcome, verdict.exit_status, verdict.alive) == (outcome, status, True), code

    def test_what_is_no_code_is_refused(self) -> None:
        """With `must_parse` text that is no code is refused and nothing of it runs; without, it is a SyntaxError."""
        ran = self.run("refused = 1\nPlease compute this.", must_parse=True)
        assert (ran.ending, ran.verdict.refused, ran.said, ran.verdict.alive) == ("error", True, [], True)
        assert self.run("'refused' in globals()", must_parse=True).said == ["False"]
        ran = self.run("Please compute this.")
        assert (ran.ending, ran.verdict.refused, ran.said) == ("error", False, ["SyntaxError"])

    def test_a_dead_interpreter_is_a_crash(self) -> None:
        """An interpreter that dies is `crashed` with its status, its last words arrive, and the place is gone."""
        place = self.shared
        ran = self.run("import os\nprint('last', flush=True)\nos._exit(7)", place)
        assert (ran.ending, ran.verdict.exit_status, ran.stdout) == ("crashed", 7, "last\n")
        assert not ran.verdict.alive and not place.alive and self.is_gone(place)

    # --- state ---

    def test_state_is_kept(self) -> None:
        """Variables, files and environment variables of one run are there in the next."""
        self.run(LEAVE)
        assert self.run(FIND).stdout == "True True True True\n"

    def test_places_share_nothing(self) -> None:
        """Variables, files and environment variables of one place are not there in another."""
        self.run(LEAVE)
        assert self.run(FIND, self.other).stdout == "False False False False\n"

    def test_an_interrupt_keeps_state(self) -> None:
        """Leaving a run before its verdict stops the code at once, if it still runs, and keeps its variables."""
        place = self.shared

        async def interrupted(code: str) -> Ran:
            async with _underway(place, code):
                pass
            return await _ran(place, "kept")

        for code, kept in ((SLEEPS, "42"), (COMPUTES, "43"), (SPEAKS, "44")):
            ran = self.do(interrupted(code))
            assert ran.said == [kept] and ran.seconds < SOON, code

    def test_runs_of_one_place_take_turns(self) -> None:
        """Runs that are started at once in one place pass one after the other, in order."""
        codes = ["turns = []", *(f"turns.append({i})\nimport time\ntime.sleep(0.01)" for i in range(5)), "turns"]
        runs = self.do(_together(*(_ran(self.shared, code) for code in codes)))
        assert runs[-1].said == ["[0, 1, 2, 3, 4]"]

    def test_places_do_not_wait_for_each_other(self) -> None:
        """While code runs in one place, code in another begins and ends."""
        busy, free = self.other, self.shared

        async def meanwhile() -> Ran:
            async with _underway(busy, COMPUTES):
                return await _ran(free, "6 * 7", timeout=10.0)

        assert self.do(meanwhile()).said == ["42"]

    def test_a_burst_of_places(self) -> None:
        """Many places that are asked for at once all work, and no two draw the same random number or file name."""
        code = """
            import contextlib, os, random, tempfile, uuid
            print(random.random(), uuid.uuid4(), os.path.basename(tempfile.mkdtemp()))
            with contextlib.suppress(ImportError):
                import numpy
                print(numpy.random.random())"""
        runs = self.do(_together(*(self._ran_afresh(code) for _ in range(self.burst))))
        assert [ran.ending for ran in runs] == ["ok"] * self.burst
        draws = [word for ran in runs for word in ran.stdout.split()]
        assert len(draws) == len(set(draws)) >= 3 * self.burst

    # --- files ---

    def test_files_go_in(self) -> None:
        """Files of a job lie whole in the working folder under their names, and replace those of before."""
        for large in (secrets.token_bytes(9 << 20), b"small"):
            inputs = (Input("ü b.csv", b"1,2"), Input("empty", b""), Input("large", large))
            code = f"""
                import hashlib, os
                assert os.path.samefile(".", os.environ["INPUT_DIR"])
                for name in {[item.name for item in inputs]}:
                    print(hashlib.sha256(open(name, "rb").read()).hexdigest())"""
            hashes = [hashlib.sha256(item.data).hexdigest() for item in inputs]
            assert self.run(code, inputs=inputs).stdout.split() == hashes

    def test_files_come_out(self) -> None:
        """Regular files in $OUTPUT_DIR come back from the run that wrote them; links, pipes and folders never do."""
        code = """
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
        files = {file.name: file.data for file in self.run(code).verdict.files}
        assert files == {"a.bin": bytes(3 << 20), "ü b.txt": b"text", "empty": b""}
        assert self.run("1").verdict.files == ()

    # --- walls ---

    def test_processes_die_with_their_place(self) -> None:
        """What code has left running is gone when its place is closed, where there are walls a daemon too."""
        mark = f"3600.{secrets.randbelow(10**12):012}"
        start = f"import subprocess\nsubprocess.Popen(['sleep', '{mark}'], start_new_session={self.isolated})"
        place = self.other
        assert self.run(start, place).ending == "ok"
        self.do(place.close())
        assert _commands_with(mark) == [] and self.is_gone(place)

    def test_nothing_of_the_host_is_read(self) -> None:
        """A secret in our environment, in our home folder and in our folder of temporary files is not found inside."""
        self._needs_walls()
        with _planted() as (secret, files), contextlib.closing(Bench(self.places)) as bench:
            code = f"""
                import glob, os
                paths = [door + file for door in ["", *glob.glob("/proc/[0-9]*/root")] for file in {files}]
                for path in [*paths, *glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
                    try: print(open(path, "rb").read())
                    except OSError: pass
                print(dict(os.environ))"""
            ran = bench.do(_ran(bench.place("shared"), code))
        assert ran.ending == "ok" and secret not in ran.stdout

    def test_the_network_is_not_reached(self) -> None:
        """A listener on this machine's loopback cannot be reached."""
        self._needs_walls()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ran = self.run(f"import socket\nsocket.create_connection({listener.getsockname()}, timeout=3)")
            assert ran.ending == "error" and select.select([listener], [], [], 0)[0] == []

    # --- limits: they come last, because not every place outlives them ---

    def test_a_time_limit_is_kept(self) -> None:
        """Code is stopped at its time limit and not seconds later, whatever it does; what it had said arrives."""
        for code in (SLEEPS, COMPUTES, DEAF):
            ran = self.run(code, timeout=0.3)
            assert (ran.verdict.outcome, ran.ending, ran.stdout) == ("limit", "limit: time", "on\n"), code
            assert ran.verdict.limit and ran.verdict.limit.allowed == 0.3
            assert ran.seconds < 0.3 + SOON, code

    def test_a_memory_limit_is_kept(self) -> None:
        """Code that takes too much memory, alone or as a tree of processes, is stopped at its memory limit."""
        for code in (HOG, TREE):
            ran = self.run(code)
            assert (ran.verdict.outcome, ran.ending) == ("limit", "limit: memory"), code
            assert ran.verdict.limit and ran.verdict.limit.allowed == MEMORY

    # --- what the laws are made of ---

    def run(self, code: str, place: Place | None = None, **job: Any) -> Ran:
        """Run `code` to its end, in the shared place unless one is given."""
        return self.do(_ran(place or self.shared, code, **job))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.bench.do(work)

    @property
    def shared(self) -> Place:
        return self.bench.place("shared")

    @property
    def other(self) -> Place:
        """A second one."""
        return self.bench.place("other")

    async def _ran_afresh(self, code: str) -> Ran:
        place = await self.bench.start()
        try:
            return await _ran(place, code)
        finally:
            await place.close()

    def is_gone(self, place: Place) -> bool:
        try:
            self.run("1", place)
        except ContainerGone:
            return True
        return False

    def _needs_walls(self) -> None:
        if not self.isolated:
            raise unittest.SkipTest("not isolated, and does not claim to be")

    @property
    def bench(self) -> Bench:
        kind = type(self)
        kind._bench = kind._bench or Bench(self.places)
        return kind._bench

    @classmethod
    def teardown_class(cls) -> None:
        bench, cls._bench = cls._bench, None
        if bench:
            bench.close()


class Bench:
    """An event loop that outlives a test, what starts places on it, and those that laws share."""

    def __init__(self, places: Callable[[], Places]) -> None:
        self._runner = asyncio.Runner()
        self._open = contextlib.AsyncExitStack()
        self._places: dict[str, Place] = {}
        self.start = self.do(self._opened(places))

    async def _opened(self, places: Callable[[], Places]) -> Start:
        return await self._open.enter_async_context(places())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def place(self, name: str) -> Place:
        """One that lives, whatever the last law did to it."""
        if name not in self._places or not self._places[name].alive:
            self._end(name)
            self._places[name] = self.do(self.start())
        return self._places[name]

    def _end(self, name: str) -> None:
        if place := self._places.pop(name, None):
            self.do(place.close())

    def close(self) -> None:
        with self._runner:
            for name in list(self._places):
                self._end(name)
            self.do(self._open.aclose())


async def _ran(place: Place, code: str, **job: Any) -> Ran:
    """Run `code` to its end."""
    job = {"timeout": AGAINST_HANGS, "memory": MEMORY, **job}
    started = time.monotonic()
    events = [event async for event in place.run(Job(dedent(code), **job))]
    return Ran(events, time.monotonic() - started)


@contextlib.asynccontextmanager
async def _underway(place: Place, code: str, timeout: float = AGAINST_HANGS) -> AsyncIterator[None]:
    """Entered when `code` has said `on`; leaving interrupts it."""
    said = ""
    async with contextlib.aclosing(place.run(Job(code, timeout=timeout))) as events:
        while "on\n" not in said:
            event = await anext(events)
            said += event.text if isinstance(event, Stream) else ""
        yield


async def _together(*runs: Coroutine[Any, Any, Ran]) -> list[Ran]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run) for run in runs]
    return [task.result() for task in tasks]


@contextlib.contextmanager
def _planted() -> Iterator[tuple[str, list[str]]]:
    """A secret, and the files it lies in while it is in our environment too."""
    name, secret = f"SANDBOX_LAWS_{secrets.token_hex(4)}", secrets.token_hex(16)
    files = [folder / name for folder in (Path.home(), Path(tempfile.gettempdir()))]
    with contextlib.ExitStack() as stack:
        stack.callback(os.environ.pop, name)
        os.environ[name] = secret
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
