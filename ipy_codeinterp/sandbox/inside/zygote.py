"""The trusted process that forks a child for each run: warm once, copied many times.

It runs nothing of the user's, holds no secret and does no network. What it is told comes over the control socket, one
packet each: a request with the four descriptors of the child's channel and pipes. It answers with the child's pidfd,
and later with the exit status. Code, data and outputs never pass through here: its memory is copied into every child.

    host -> zygote   {id, language, memory} + descriptors [in, out, stdout, stderr]
    zygote -> host   {ready: [language]} · {id} + [pidfd] · {id, error} · {id, status}
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import tempfile
from typing import Any

from . import start, walls
from .plan import Plan
from .python import Python, preload

IN, OUT, PROC = 3, 4, 5  # descriptors of a child: its channel, and until it is shut in the zygote's /proc
FIRST_UNUSED, MOST_DESCRIPTORS = 100, 1 << 16
MOST_REQUEST = 1 << 16
HUGE, MADV_COLLAPSE = 2 << 20, 25
QUIET = 500  # milliseconds without a request, after which there is time to import one more
PRELOAD_LATER = ("scipy.stats", "seaborn", "sklearn.linear_model")  # nobody waits for these


class Zygote:
    """Serves the control socket until the host closes it."""

    def __init__(self, control: socket.socket, plan: Plan) -> None:
        self._control = control
        self._plan = plan
        self._python = Python()
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._children: dict[int, tuple[int, int]] = {}  # by pidfd: the id of the request and the pid
        self._poll = select.poll()
        self._poll.register(control.fileno(), select.POLLIN)

    def serve(self) -> None:
        self._freeze()
        self._send({"ready": True})
        later = list(PRELOAD_LATER)
        while True:
            ready = self._poll.poll(QUIET if later else None)
            if not ready:
                preload(later.pop(0))
                self._freeze()
            for fd, _ in ready:
                if fd != self._control.fileno():
                    self._reap(fd)
                elif not self._take():
                    return

    def _freeze(self) -> None:
        gc.collect()
        gc.freeze()  # else the first collection of each child copies all of this
        collapse()

    def _take(self) -> bool:
        packet, fds, _, _ = socket.recv_fds(self._control, MOST_REQUEST, 4)
        if not packet:
            return False
        request = json.loads(packet)
        try:
            pidfd = self._fork(request, fds)
            self._send({"id": request["id"]}, [pidfd])
        except OSError as error:
            self._send({"id": request["id"], "error": str(error)})
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, request: dict[str, Any], fds: list[int]) -> int:
        pid = walls.fork_into_pid_namespace(self._own_pids)
        if pid == 0:
            self._be_child(request, fds)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (request["id"], pid)
        self._poll.register(pidfd, select.POLLIN)
        return pidfd

    def _reap(self, pidfd: int) -> None:
        id, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._send({"id": id, "status": status})

    def _send(self, packet: dict[str, Any], fds: list[int] | None = None) -> None:
        socket.send_fds(self._control, [json.dumps(packet).encode()], fds or [])

    # --- in the child ---

    def _be_child(self, request: dict[str, Any], fds: list[int]) -> None:
        """Never comes back."""
        status = 1
        try:
            proc = self._keep_only(fds)
            forget_randomness()
            walls.enter(self._plan, proc)
            self._run(request["language"], request["memory"])
            status = 0
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)

    def _keep_only(self, fds: list[int]) -> int:
        """The channel becomes 3 and 4, the pipes 1 and 2, the way to our /proc 5 (returned); no more is open."""
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_UNUSED) for fd in (*fds, proc)]
        for source, target in zip(high, (IN, OUT, 1, 2, PROC), strict=True):
            os.dup2(source, target, inheritable=target in (1, 2))
        os.closerange(PROC + 1, MOST_DESCRIPTORS)
        return PROC

    def _run(self, language: str, memory: int | None) -> None:
        if language == "python":
            self._python.serve(IN, OUT)
        elif language in start.HERE_RUN:
            start.become(language, (IN, OUT), memory)
        else:
            be_init(language, memory)


def be_init(language: str, memory: int | None) -> None:
    """Start the program and stay the first process: a program that is one itself would ignore most signals."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        start.become(language, (IN, OUT), memory)
    os.closerange(IN, OUT + 1)
    signal.signal(signal.SIGINT, lambda *_: os.killpg(pid, signal.SIGINT))
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def collapse() -> None:
    """Put our memory into huge pages, where the kernel can: the table that a fork copies is then the shortest."""
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        spans = [line.split()[0].split("-") for line in maps if line.split()[1] == "rw-p" and len(line.split()) == 5]
        for start, end in ((int(start, 16), int(end, 16)) for start, end in spans):
            first, last = -(-start // HUGE) * HUGE, end // HUGE * HUGE
            if last > first:
                walls.libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_COLLAPSE)


def forget_randomness() -> None:
    """What a fork would share with its siblings, and should not."""
    tempfile._name_sequence = None  # type: ignore[attr-defined]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "multiprocessing.process" in sys.modules:
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)


def main(control: str, plan: str, uid: str = "") -> None:
    if uid:
        walls.leave_root(int(uid))
    os.umask(0o022)
    walls.own_namespaces()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Zygote(socket.socket(fileno=int(control)), Plan.read(plan)).serve()
