"""The memory of a whole tree of processes: what goes over is ended by the host, and told for what it was."""

from __future__ import annotations

import pytest

from ipy_codeinterp.sandbox.cgroup import Cgroups
from ipy_codeinterp.sandbox.container import Container

from .wing import Wing

pytestmark = pytest.mark.sandbox

LIMIT = 512 << 20
# Times the limit: what a tree may reach before it is ended. Without a control group that depends on how busy this
# machine is.
MOST = 1.35 if Cgroups.find() else 4.0

HOG = "kept = []\nwhile True:\n    kept.append(bytearray(8 << 20))"
AT_ONCE = "x = 1\nb = bytearray(3 << 30)"
TREE = """
import os, time
for _ in range(3): os.fork()
kept = []
while True:
    kept.append(b"x" * (1 << 20))
    time.sleep(0.001)"""
SHARED = """
import mmap
m = mmap.mmap(-1, 2 << 30)
for at in range(0, 2 << 30, 4096): m[at] = 1"""
LET_GO = """
import mmap, time
m = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 1 << 20):
    for page in range(at, at + (1 << 20), 4096): m[page] = 1
    m.madvise(mmap.MADV_DONTNEED)"""
HANDED_OVER = """
import mmap, os, time
m = mmap.mmap(-1, 1 << 30)
if os.fork() == 0:
    for at in range(0, 1 << 30, 4096): m[at] = 1
    os._exit(0)
os.wait(); time.sleep(60)"""
PROGRAMS = """
import subprocess, sys
hog = "import time; b = bytearray(150 << 20); time.sleep(60)"
for p in [subprocess.Popen([sys.executable, "-c", hog]) for _ in range(5)]: p.wait()"""


@pytest.mark.parametrize(
    "code",
    [HOG, AT_ONCE, TREE, SHARED, LET_GO, HANDED_OVER, PROGRAMS],
    ids=["hog", "at once", "tree", "shared", "let go", "handed over", "programs"],
)
def test_too_much_memory(wing: Wing, code: str) -> None:
    """However it is taken, the verdict is `memory`, the peak is near the limit, and the next run works."""
    ran = wing.run(code, container=(container := wing.fresh()), memory=LIMIT)
    wing.end(container)
    assert (ran.outcome, ran.limit) == ("limit", "memory")
    limit = ran.verdict.limit
    assert limit and limit.allowed == LIMIT and limit.reached is not None and limit.reached <= MOST * LIMIT
    assert wing.run("'next'").said == ["'next'"]


def test_the_line_is_told(wing: Wing, fresh: Container) -> None:
    """The line that asked for too much is named when Python could still tell it, also when the host ended it."""
    ran = wing.run(HOG, container=fresh, memory=LIMIT)
    assert ran.verdict.limit and ran.verdict.limit.line == 3
    container = wing.fresh()
    ran = wing.run(SHARED, container=container, memory=LIMIT)
    wing.end(container)
    assert ran.verdict.limit and ran.verdict.limit.line in (3, 4, None)
    assert "most recent call first" not in ran.stderr


def test_a_limit_leaves_room_for_itself(wing: Wing, fresh: Container) -> None:
    """Nearly all of the limit can be used, by one process and by several together; modules do not count."""
    ran = wing.run("b = bytearray(450 << 20); len(b) >> 20", container=fresh, memory=LIMIT)
    assert ran.said == ["450"]
    workers = "import multiprocessing as m\nwith m.get_context('fork').Pool(8) as p: print(sum(p.map(abs, range(8))))"
    container = wing.fresh()
    assert wing.run(workers, container=container, memory=256 << 20).said == ["28\n"]
    wing.end(container)


def test_fork_bomb_is_the_processes_limit(wing: Wing, fresh: Container) -> None:
    """More processes than allowed is the `processes` limit, and the container is usable again."""
    code = "import os, time\nfor _ in range(500):\n    if os.fork() == 0: time.sleep(60)"
    ran = wing.run(code, container=fresh, timeout=30)
    assert (ran.outcome, ran.limit) == ("limit", "processes")
    assert ran.verdict.limit and ran.verdict.limit.line == 3


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("open('/tmp/f', 'wb').write(bytes(255 << 20)); open('/tmp/g', 'wb').write(bytes(9 << 20))", "disk"),
        ("f = open('/tmp/f', 'wb'); f.truncate(1 << 40)", "file size"),
        ("kept = [open('/dev/null') for _ in range(5000)]", "open files"),
        ("open('/dev/shm/f', 'wb').write(bytes(65 << 20))", "disk"),
    ],
)
def test_other_limits(wing: Wing, fresh: Container, code: str, limit: str) -> None:
    """Disk, file size and open files have limits too, and are named when they are hit."""
    ran = wing.run(code, container=fresh)
    assert (ran.outcome, ran.limit) == ("limit", limit)
