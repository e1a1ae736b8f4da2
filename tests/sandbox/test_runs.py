"""What comes out of a run: everything the code said, in order, and a verdict that only the host gives."""

from __future__ import annotations

import ast
import asyncio
import base64
import hashlib
import os
import re
import signal
from pathlib import Path

import pytest

from ipy_codeinterp.execution import Clear, Display, Stream, Update
from ipy_codeinterp.sandbox.capped import MOST_PRODUCED
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.job import ContainerGone, Input, Job
from ipy_codeinterp.sandbox.limits import describe_exit

from .wing import MEMORY, Ran, Wing, gather

pytestmark = pytest.mark.sandbox

PNG = b"\x89PNG\r\n\x1a\n"


# --- what is said, and in which order ---------------------------------------------------------------


def test_prints_and_displays_keep_their_order(wing: Wing) -> None:
    """Prints, errors and displays come in the order the code made them."""
    ran = wing.run("import sys\nprint(1)\ndisplay(2)\nprint(3, file=sys.stderr)\nprint(4)\ndisplay(5)\nprint(6)\n7")
    assert ran.said == ["1\n", "2", "3\n", "4\n", "5", "6\n", "7"]
    assert (ran.stdout, ran.stderr) == ("1\n4\n6\n", "3\n")


def test_descriptors_keep_their_order(wing: Wing) -> None:
    """What is written past sys.stdout keeps its place among displays, large ones too, every time."""
    code = """
    import os
    for i in range(40):
        os.write(1, b'%d ' % i)
        display({'text/plain': str(i), 'a/b': i * 9999 * 'x'}, raw=True)"""
    for _ in range(3):
        assert wing.run(code).said == [word for i in range(40) for word in (f"{i} ", f"{i}")]


@pytest.mark.parametrize(
    "start", ["subprocess.run(['echo', 'b'])", "os.system('echo b')", "get_ipython().system('echo b')"]
)
def test_programs_keep_their_order(wing: Wing, start: str) -> None:
    """What a program prints comes after what was printed before it, and before what comes later."""
    ran = wing.run(f"import os, subprocess\nprint('a')\n{start};\ndisplay(1)\n{start};\nprint('c')\ndisplay(2)")
    assert ran.said == ["a\nb\n", "1", "b\nc\n", "2"]


def test_the_last_expression_is_shown(wing: Wing) -> None:
    """The last expression is the result, unless it is None or ends in a semicolon."""
    assert [e.kind for e in wing.run("6 * 7").outputs if isinstance(e, Display)] == ["execute_result"]
    assert wing.run("6 * 7").said == ["42"]
    assert wing.run("None").said == wing.run("6 * 7;").said == []
    assert wing.run("_ + _").said == ["84"]


def test_figures_need_no_show(wing: Wing) -> None:
    """Each open figure is shown as a PNG at the end, once."""
    ran = wing.run("import matplotlib.pyplot as plt\nfor i in (1, 2):\n plt.figure()\n plt.plot([0, i])\nprint('end')")
    figures = [o for o in ran.outputs if isinstance(o, Display) and "image/png" in o.data]
    assert [base64.b64decode(figure.data["image/png"])[:8] for figure in figures] == [PNG, PNG]
    assert wing.run("1;").said == []


def test_updates_and_clears_are_events(wing: Wing) -> None:
    """An updated display and a cleared output are told as such, with the id and the wish to wait."""
    code = """
    from IPython.display import clear_output
    display(1, display_id="d").update(2)
    clear_output(wait=True)
    print(3)"""
    events = wing.run(code).events
    assert [e.display_id for e in events if isinstance(e, (Display, Update))] == ["d", "d"]
    assert [e.data for e in events if isinstance(e, Update)] == [{"text/plain": "2"}]
    assert [e.wait for e in events if isinstance(e, Clear)] == [True]
    assert wing.run(code).said == ["3\n"]


def test_values_of_any_kind_travel(wing: Wing) -> None:
    """Text, bytes and JSON of a bundle arrive as nbformat has them; NaN becomes null."""
    ran = wing.run(
        "display({'text/plain': 'ü', 'image/png': b'\\x89', 'application/json': {'a': [1, float('nan')]}}, raw=True)"
    )
    (display,) = ran.outputs
    assert isinstance(display, Display)
    assert display.data == {"text/plain": "ü", "image/png": "iQ==", "application/json": {"a": [1, None]}}


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("import sys\nsys.stdout.buffer.write(b'a\\xffb');", "a\ufffdb"),
        ("import os\nos.write(1, b'a\\xffb');", "a\ufffdb"),
        ("import os\nfor b in 'ü€'.encode(): os.write(1, bytes([b]))", "ü€"),
        ("print('a\\ud800b', end='')", "a?b"),
        ("import sys\nsys.stdout.write('')\nprint(end='')", ""),
        ("print('a\\0b\\x1b[31m', end='')", "a\0b\x1b[31m"),
    ],
)
def test_strange_text_arrives(wing: Wing, code: str, shown: str) -> None:
    """Bytes that are no UTF-8, lone surrogates and control characters neither end the run nor lose what is around."""
    ran = wing.run(code)
    assert (ran.outcome, ran.stdout) == ("ok", shown)


def test_what_is_printed_is_not_kept_twice(wing: Wing, fresh: Container) -> None:
    """Printing costs the interpreter no memory: what was sent is forgotten."""
    memory = "int(open('/proc/self/statm').read().split()[1]) * 4096 >> 20"
    before = int(wing.run(memory, container=fresh).said[0])
    wing.run("for _ in range(100): print('x' * 1_000_000)", container=fresh)
    assert int(wing.run(memory, container=fresh).said[0]) - before < 30


# --- how it ends ------------------------------------------------------------------------------------


def test_an_exception_is_an_error(wing: Wing) -> None:
    """Code that raises ends as an error with the traceback, and what it printed before."""
    ran = wing.run("print('before')\n1 / 0")
    assert (ran.outcome, ran.verdict.exit_status, ran.said) == ("error", 1, ["before\n", "ZeroDivisionError"])
    assert ran.error and "1 / 0" in re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(ran.error.traceback))


@pytest.mark.parametrize("code", ["x = 'a\0b'", "def", "x = (", "'\ud800' if", "\ufeff if"])
def test_text_that_is_no_code_is_a_syntax_error(wing: Wing, code: str) -> None:
    """NUL bytes, surrogates and half a statement are errors of the code, and the interpreter lives on."""
    ran = wing.run(code)
    assert ran.outcome == "error"
    assert ran.error and ran.error.ename in ("SyntaxError", "UnicodeEncodeError", "_IncompleteInputError")
    assert wing.run("'next'").said == ["'next'"]


@pytest.mark.parametrize(
    ("end", "outcome", "status"),
    [("sys.exit()", "ok", 0), ("sys.exit(0)", "ok", 0), ("exit(3)", "error", 3), ("sys.exit('words')", "error", 1)],
)
def test_an_exit_has_its_code(wing: Wing, end: str, outcome: str, status: int) -> None:
    """SystemExit ends the run with its code and leaves the container."""
    ran = wing.run(f"import sys\nkept = 1\n{end}\nprint('never')")
    assert (ran.outcome, ran.verdict.exit_status, ran.stdout, ran.verdict.alive) == (outcome, status, "", True)
    assert wing.run("kept").said == ["1"]


@pytest.mark.parametrize(
    ("end", "status"),
    [("ctypes.string_at(0)", -signal.SIGSEGV), ("os._exit(7)", 7), ("os.abort()", -signal.SIGSEGV)],
)
def test_a_dead_interpreter_is_a_crash(wing: Wing, end: str, status: int) -> None:
    """A dead interpreter is `crashed` with its status, its last words arrive, and the next run works."""
    ran = wing.run(f"import ctypes, os\nprint('first', flush=True)\nos.write(2, b'last')\n{end}")
    assert (ran.outcome, ran.verdict.exit_status, ran.verdict.alive) == ("crashed", status, False)
    assert (ran.stdout, ran.stderr) == ("first\n", "last")
    assert wing.run("'next'").said == ["'next'"]


def test_a_status_in_words() -> None:
    """The end of a process is told by the signal's name or by its status."""
    assert describe_exit(-11) == "killed by SIGSEGV"
    assert describe_exit(7) == "exit status 7"


def test_killed_from_outside_is_a_crash(wing: Wing, fresh: Container) -> None:
    """A runner that somebody else kills is a crash, while it runs and while it waits."""
    runner = newest_descendant(fresh)

    async def killed() -> Ran:
        run = asyncio.create_task(gather(fresh, "print('on', flush=True)\nimport time\ntime.sleep(600)"))
        while not inside_sleep(runner):
            await asyncio.sleep(0.01)
        os.kill(runner, signal.SIGKILL)
        return await run

    ran = wing.do(killed())
    assert (ran.outcome, ran.verdict.exit_status, ran.stdout) == ("crashed", -signal.SIGKILL, "on\n")
    with pytest.raises(ContainerGone):
        wing.run("1", container=fresh)


def newest_descendant(container: Container) -> int:
    """The runner behind bwrap and its init."""
    pid = container._child.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[-1])
    return pid


def inside_sleep(pid: int) -> bool:
    return (
        "nanosleep" in Path(f"/proc/{pid}/wchan").read_text() or Path(f"/proc/{pid}/syscall").read_text()[:3] == "230"
    )


# --- limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["print('x' * 999_999)", "os.write(1, b'x' * 999_999 + b'\\n');"])
def test_much_output_is_capped(wing: Wing, write: str) -> None:
    """Of 200 MB beginning and end are shown, a line between says exactly how much is not, and all is ok."""
    ran = wing.run(f"import os\nos.write(1, b'begin\\n')\nfor _ in range(200): {write}\nprint('end')")
    assert ran.outcome == "ok"
    assert ran.stdout.startswith("begin\nxxx") and ran.stdout.endswith("xxx\nend\n")
    note = next(line for line in ran.stdout.splitlines() if "characters not shown" in line)
    missing = int(note.split()[1].replace(",", ""))
    assert len(ran.stdout) - len(f"\n{note}\n") + missing == len("begin\nend\n") + 200 * 1_000_000
    assert len(ran.stdout) < 2 << 20


@pytest.mark.slow
def test_endless_output_ends_the_run(wing: Wing, fresh: Container) -> None:
    """A run that produces more than a gigabyte is ended at its output limit."""
    ran = wing.run("import os\nwhile True: os.write(1, b'x' * 65536)", container=fresh)
    assert (ran.outcome, ran.limit, ran.verdict.alive) == ("limit", "output", False)
    assert ran.verdict.limit and ran.verdict.limit.reached and ran.verdict.limit.reached > MOST_PRODUCED


@pytest.mark.parametrize("code", ["print('x' * 10_000_000)", "raise ValueError('x' * 10_000_000)"])
def test_one_large_text_is_cut(wing: Wing, code: str) -> None:
    """One print, or one message, of 10 MB is shown in part and does not end the interpreter."""
    ran = wing.run(code)
    assert ran.verdict.alive
    assert sum(len(e.text) for e in ran.events if isinstance(e, Stream)) < 2 << 20
    assert not ran.error or len(ran.error.evalue) < 1 << 16


def test_a_display_too_large_is_named(wing: Wing) -> None:
    """A display beyond 64 MB is not shown, a line says so, and the run goes on."""
    ran = wing.run("display({'text/html': 'x' * (65 << 20)}, raw=True)\nprint('on')")
    assert ran.said == ["[display not shown: 65 MB are too large]\n", "on\n"]
    assert ran.outcome == "ok"


@pytest.mark.parametrize(
    "wait", ["time.sleep(600)", "while True: pass", "await asyncio.sleep(600)", "input = [x for x in iter(int, 1)]"]
)
def test_a_time_limit_keeps_the_variables(wing: Wing, wait: str) -> None:
    """Code that yields to the interrupt at its time limit leaves its variables and what it had printed."""
    ran = wing.run(f"import asyncio, time\nkept = 42\nprint('begun')\n{wait}", timeout=0.3)
    assert (ran.outcome, ran.limit, ran.verdict.alive, ran.stdout) == ("limit", "time", True, "begun\n")
    assert wing.run("await asyncio.sleep(0)\nkept").said == ["42"]


def test_clean_up_at_the_time_limit_is_shown(wing: Wing) -> None:
    """What code prints on its way out at the time limit is not lost."""
    ran = wing.run("import time\ntry: time.sleep(600)\nfinally: print('cleaned up')", timeout=0.2)
    assert (ran.limit, ran.said) == ("time", ["cleaned up\n"])


STUBBORN = "import time\nwhile True:\n try: time.sleep(600)\n except KeyboardInterrupt: pass"
DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
STOPPED = "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"


@pytest.mark.parametrize("code", [STUBBORN, DEAF, STOPPED])
def test_stubborn_code_is_killed_at_the_time_limit(wing: Wing, code: str) -> None:
    """Code that catches or ignores the interrupt, or has stopped itself, is killed; the next run works."""
    ran = wing.run(code, timeout=0.2)
    assert (ran.outcome, ran.limit, ran.verdict.alive) == ("limit", "time", False)
    assert wing.run("'next'").said == ["'next'"]


def test_a_memory_limit_keeps_the_container(wing: Wing) -> None:
    """Objects or arrays beyond the allowed memory hit the memory limit, and the variables stay."""
    for code in ("kept = 1\nb = bytearray(2 << 30)", "import numpy as np\nnp.ones(1 << 28)"):
        ran = wing.run(code)
        assert (ran.outcome, ran.limit, ran.verdict.alive) == ("limit", "memory", True)
        assert ran.verdict.limit and ran.verdict.limit.allowed == MEMORY
    assert wing.run("kept").said == ["1"]


# --- what code may do -------------------------------------------------------------------------------


def test_await_at_the_top(wing: Wing) -> None:
    """Top-level await works, and so does asyncio.run in a cell without."""
    assert wing.run("import asyncio\nasync def f():\n await asyncio.sleep(0)\n return 'a'\nawait f()").said == ["'a'"]
    assert wing.run("asyncio.run(f())").said == ["'a'"]


def test_a_pool_of_forked_workers(wing: Wing) -> None:
    """A pool of forked processes computes, and each line that they print arrives whole."""
    code = """
    import multiprocessing
    def square(x):
        print("worker", x)
        return x * x
    with multiprocessing.get_context("fork").Pool(3) as pool:
        squares = pool.map(square, range(30), chunksize=1)
    squares == [x * x for x in range(30)]"""
    ran = wing.run(code)
    assert sorted(ran.stdout.splitlines()) == sorted(f"worker {x}" for x in range(30))
    assert ran.said[-1] == "True"


def test_a_fork_that_runs_on_is_not_a_second_interpreter(wing: Wing) -> None:
    """A child that comes to the end of the cell ends there; its prints arrive, and the next run is the parent's."""
    ran = wing.run(
        "import os\nparent = os.getpid()\nif os.fork():\n os.wait()\n print('parent')\nelse:\n print('child')"
    )
    assert (ran.outcome, ran.said) == ("ok", ["child\nparent\n"])
    assert wing.run("os.getpid() == parent").said == ["True"]


def test_programs_left_behind_end_with_the_container(wing: Wing, fresh: Container) -> None:
    """A daemon that was started in a session of its own is gone when the container is closed."""
    mark = f"600.{os.getpid()}"
    code = f"""
    import subprocess
    left = subprocess.Popen(["sleep", "{mark}"], start_new_session=True)
    while b"sleep" not in open(f"/proc/{{left.pid}}/cmdline", "rb").read(): pass"""
    assert wing.run(code, container=fresh).outcome == "ok"
    assert programs(mark)
    wing.end(fresh)
    assert not programs(mark)


def programs(mark: str) -> list[str]:
    """Living processes with `mark` in their command line."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in lines if f"sleep {mark}" in line]


def test_output_after_the_end_is_nobodys(wing: Wing, fresh: Container) -> None:
    """What threads and processes left behind say between two runs does not turn up in the next one."""
    code = """
    import os, threading, time
    def late():
        while not os.path.exists("/tmp/go"): time.sleep(0.001)
        print("late thread")
        os.write(1, b"late bytes")
        os.rename("/tmp/go", "/tmp/gone")
    threading.Thread(target=late).start()
    threading.Timer(0.05, open, ("/tmp/go", "w")).start()"""
    assert wing.run(code, container=fresh).said == []
    wing.do(fresh._child.stdout.readable())
    assert wing.run("while not os.path.exists('/tmp/gone'): pass\n'next'", container=fresh).said == ["'next'"]


# --- files ------------------------------------------------------------------------------------------


def test_inputs_by_name(wing: Wing, fresh: Container) -> None:
    """Files of a job lie in the working folder under their names, whole, and replace those of before."""
    large = os.urandom(9 << 20)
    inputs = (Input("ü b.csv", b"1,2"), Input("empty", b""), Input("large", large))
    code = """
    import hashlib, os
    assert os.getcwd() == os.environ["INPUT_DIR"]
    {name: hashlib.sha256(open(name, "rb").read()).hexdigest() for name in sorted(os.listdir())}"""
    hashes = {i.name: hashlib.sha256(i.data).hexdigest() for i in sorted(inputs, key=lambda i: i.name)}
    assert ast.literal_eval(wing.run(code, container=fresh, inputs=inputs).said[0]) == hashes
    assert wing.run("open('ü b.csv').read()", container=fresh, inputs=(Input("ü b.csv", b"3"),)).said == ["'3'"]


def test_files_left_come_back(wing: Wing) -> None:
    """Regular files in $OUTPUT_DIR come back when a run has changed them; links, pipes and folders do not."""
    code = """
    import os
    os.chdir(os.environ["OUTPUT_DIR"])
    open("a.bin", "wb").write(bytes(3 << 20))
    open("ü b.txt", "w").write("text")
    open("empty", "w").close()
    os.symlink("/etc/passwd", "link"), os.mkfifo("fifo"), os.mkdir("folder")
    open("folder/inner", "w").close()
    os.chdir(os.environ["INPUT_DIR"])"""
    assert wing.run(code).files == {"a.bin": bytes(3 << 20), "ü b.txt": b"text", "empty": b""}
    assert wing.run("open('/tmp/output/empty', 'w').write('now');").files == {"empty": b"now"}
    assert wing.run("1").files == {}


def test_large_cells(wing: Wing, fresh: Container) -> None:
    """A cell of 20 MB runs, half of it a comment and half a text."""
    assert wing.run(f"# {'x' * 10_000_000}\nlen('{'x' * 10_000_000}')", container=fresh).said == ["10000000"]


# --- cancelling -------------------------------------------------------------------------------------


def test_a_cancelled_run_keeps_the_variables(wing: Wing) -> None:
    """A run that is cancelled in the middle is interrupted; the container keeps its variables for the next run."""

    async def cancelled() -> None:
        code = "import time\nn = 0\nprint('on', flush=True)\nwhile True:\n n += 1\n time.sleep(0.001)"
        async for event in wing_container.run(Job(code)):
            if isinstance(event, Stream):
                return

    wing_container = wing.shared
    wing.do(cancelled())
    first, second = wing.run("n"), wing.run("n")
    assert first.outcome == "ok" and int(first.said[0]) >= 0
    assert first.said == second.said


def test_runs_of_one_container_wait_for_each_other(wing: Wing) -> None:
    """Runs that are started at once in one container pass in order, one at a time."""
    container = wing.shared

    async def together() -> list[Ran]:
        codes = ["l = []", *(f"l.append({i})\nimport time\ntime.sleep(0.01)" for i in range(5)), "l"]
        return await asyncio.gather(*(gather(container, code) for code in codes))

    assert wing.do(together())[-1].said == ["[0, 1, 2, 3, 4]"]


def test_a_stopped_reader_stops_the_program(wing: Wing, fresh: Container) -> None:
    """While nobody takes what it prints, a program waits instead of filling the host's memory."""

    async def slowly() -> int:
        events = fresh.run(Job("import os\nfor i in range(4000): os.write(1, b'x' * 65536)", timeout=60))
        async for event in events:
            if isinstance(event, Stream):
                break
        taken = None
        while taken != (taken := written(newest_descendant(fresh))):
            await asyncio.sleep(0.1)
        await events.aclose()
        return taken or 0

    assert wing.do(slowly()) < 100 << 20


def written(pid: int) -> int:
    """How many bytes the process has written so far."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])


# --- forged words -----------------------------------------------------------------------------------

FORGE = """
import json, os, struct, time
def say(data): os.write(4, data)
def frame(body=b"", **head):
    text = json.dumps(head).encode()
    say(struct.pack("!II", len(text), len(body)) + text + body)
"""


@pytest.mark.parametrize(
    "forged",
    [
        "say(b'garbage' * 1000)",
        "say(struct.pack('!II', 10, 2**32 - 1))",
        "frame(b'x', type='file', run=1, name='../../etc/passwd', more=False)",
        "os.closerange(0, 100)",
    ],
)
def test_forged_frames_end_only_their_own_run(wing: Wing, forged: str) -> None:
    """Bytes that are no frame, and a channel that is closed, crash the run that did it; the next run works."""
    ran = wing.run(f"{FORGE}\n{forged}\ntime.sleep(600)")
    assert (ran.outcome, ran.verdict.alive, ran.files) == ("crashed", False, {})
    assert wing.run("'next'").said == ["'next'"]


def test_half_a_frame_waits_for_the_time_limit(wing: Wing) -> None:
    """A frame that is announced and never comes ends with the run's time, not later."""
    ran = wing.run(f"{FORGE}\nsay(struct.pack('!II', 100, 100))\ntime.sleep(600)", timeout=0.3)
    assert (ran.outcome, ran.limit) == ("limit", "time")
    assert wing.run("'next'").said == ["'next'"]


def test_a_forged_end_is_believed_for_its_own_run_only(wing: Wing, fresh: Container) -> None:
    """Code that pretends to have ended has ended; a next run that cannot begin ends with its time."""
    forged = "[frame(type='done', run=n, status='ok', exit_status=300) for n in (None, 0, 7, 1)]"
    ran = wing.run(f"{FORGE}\n{forged}\nwhile True: pass", container=fresh)
    assert (ran.outcome, ran.verdict.exit_status) == ("ok", 300 % 256)
    following = wing.run(f"# {'x' * 2_000_000}\n1", container=fresh, timeout=0.5)
    assert (following.outcome, following.limit, following.verdict.alive) == ("limit", "time", False)
