"""The runner of Python: one cell after another, as IPython would, until the channel closes.

Making a `Python` imports the scientific stack and warms it up; `serve()` may then be called in a fork of it.
"""

from __future__ import annotations

import ast
import contextlib
import faulthandler
import os
import select
import signal
import subprocess
import sys
import threading
from typing import Any

from . import charts, figures
from .channel import Channel, Interrupts
from .limits import limit_memory
from .outbox import Inbox, Outbox
from .screen import Screen, ScreenFile
from .shell import make_shell
from .variables import Variables

PRELOAD = ("numpy", "pandas", "matplotlib.pyplot")
IDLE = 0.02  # seconds without code, after which there is time to warm up
WARM_UP = """
import matplotlib.pyplot as plt; plt.plot([0, 1]); plt.show()
"""


class Python:
    """A warm interpreter, and the loop that runs cells in it."""

    def __init__(self) -> None:
        self._figures: tuple[str, float | None] = ("png", None)
        self._interrupts = Interrupts()
        self._channel = Channel(self._interrupts)
        self._screen = Screen(self._channel, self._interrupts)
        sys.stdout, sys.stderr = ScreenFile(self._screen, "stdout"), ScreenFile(self._screen, "stderr")
        sys.argv = [""]
        self._shell = make_shell(self._channel, self._screen)
        self._shell.colors = "neutral"  # readable on light and on dark
        self._preload()
        self._shell.user_module.__spec__ = None  # multiprocessing looks for it
        self._shell.user_ns["exit"] = self._shell.user_ns["quit"] = sys.exit
        self._inbox, self._outbox = Inbox(), Outbox(os.environ.get("OUTPUT_DIR"))
        self._variables = Variables(self._shell.user_ns)

    def _preload(self) -> None:
        """Run one of everything, so that the first cell is fast."""
        for name in PRELOAD:
            preload(name)
        charts.configure(self._shell)
        if "matplotlib" in sys.modules:
            self._shell.enable_matplotlib("inline")
            figures.configure(self._shell, *self._figures)
            self._shell.run_cell(WARM_UP, store_history=False)
        self._shell.run_cell("print(1)\n1/0", store_history=False)
        self._shell.reset(new_session=True)

    def serve(self, in_fd: int, out_fd: int) -> None:
        """Run what comes in until the channel closes."""
        self._channel.attach(in_fd, out_fd)
        self._screen.revive()
        self._interrupts.install()
        with contextlib.suppress(OSError, ValueError):
            faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)  # the host asks where the code is
        os.register_at_fork(before=self._screen.flush, after_in_child=self._screen.after_fork_in_child)
        os.register_at_fork(after_in_child=self._channel.after_fork_in_child)
        subprocess.Popen.__init__ = self._screen.flushed_before(subprocess.Popen.__init__)  # type: ignore[method-assign]
        os.system = self._screen.flushed_before(os.system)
        threading.Thread.start = self._screen.marked(threading.Thread.start)  # type: ignore[method-assign]
        sys.path.insert(0, "")  # modules attached beside the code are importable
        with contextlib.suppress(EOFError, OSError):
            self._serve()

    def _serve(self) -> None:
        self._channel.send("ready")
        if not select.select([self._channel.fileno()], [], [], IDLE)[0]:
            self._shell.run_cell("print(1)", store_history=False)  # nobody waits: touch what a first cell touches
        while True:
            head, body = self._channel.receive()
            if head["type"] == "file":
                self._inbox.take(head, body)
            elif head["type"] == "value":
                self._variables.take(head, body)
            else:
                self._run(head, body.decode("utf-8", "surrogatepass"))

    def _run(self, head: dict[str, Any], code: str) -> None:
        if head.get("parse") and not self._parses(code):
            self._channel.send("refused", run=head["run"])
            return
        limit_memory(head.get("memory"))
        self._set_figures(head.get("figure_format") or "png", head.get("figure_dpi"))
        self._outbox.changed()  # whatever lies there now is not this run's
        self._channel.run = head["run"]
        self._shell.errors_sent, self._shell.exit_status = 0, None
        status = self._execute(code)
        self._screen.flush()
        if self._channel.forked:  # the code forked, and this is its child at the end of the cell
            os._exit(self._exit_status(status))
        if status == "ok":
            self._variables.send(self._channel, head.get("get") or ())
        self._outbox.send(self._channel)
        self._channel.run = None
        self._screen.drop()
        self._channel.send("done", run=head["run"], status=status, exit_status=self._exit_status(status))

    def _set_figures(self, kind: str, dpi: float | None) -> None:
        """Only where it is another than before: the code may have settings of its own."""
        if (kind, dpi) != self._figures:
            self._figures = (kind, dpi)
            figures.configure(self._shell, kind, dpi)

    def _execute(self, code: str) -> str:
        success = False
        try:
            self._interrupts.running = True
            self._channel.send("begin", run=self._channel.run)
            if failure := self._inbox.failure():
                self._shell._showtraceback(OSError, failure, [f"attached file not written: {failure}"])
                return "error"
            if wrong := self._variables.bind():
                self._shell._showtraceback(type(wrong), wrong, [f"{type(wrong).__name__}: {wrong}"])
                return "error"
            success = bool(self._shell.run_cell(code, store_history=True).success)
            self._screen.flush()
        except KeyboardInterrupt as error:  # between IPython's own nets
            self._shell._showtraceback(KeyboardInterrupt, error, ["KeyboardInterrupt: "])
        finally:
            self._interrupts.running = False
        if self._shell.exit_status == 0 and not self._shell.errors_sent:
            return "ok"  # sys.exit(0) is a normal end
        return "ok" if success and not self._shell.errors_sent else "error"

    def _exit_status(self, status: str) -> int:
        return self._shell.exit_status or int(status != "ok")

    def _parses(self, code: str) -> bool:
        try:
            ast.parse(self._shell.transform_cell(code))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True


def preload(name: str) -> None:
    with contextlib.suppress(Exception):  # not installed, or broken: the code will see for itself
        __import__(name)
