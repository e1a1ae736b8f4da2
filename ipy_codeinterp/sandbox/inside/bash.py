"""The runner of bash: one shell that keeps its variables, functions and folder, fed with one script after another.

What bash prints goes to descriptors 1 and 2, which the host reads; this process only starts it and tells of its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any

from .channel import Channel, Interrupts
from .limits import limit_memory
from .outbox import Inbox, Outbox

# An interactive bash, since only that one goes on after an interrupt, reads these lines from a pipe. It would greet us
# on stderr, which is therefore opened late; `exit` would say so, and `!` mean history.
GREETING = """exec 2>&{stderr} {stderr}>&-; set +H +o history; exit() {{ builtin exit "$@" 2>/dev/null; }}
"""
RUN = """. {script} </dev/null {answers}>&-
printf '%d\\n' "$?" >&{answers}
"""


class Bash:
    """A loop that runs scripts in one bash, which is started anew when a script has ended it."""

    def __init__(self) -> None:
        self._channel = Channel(Interrupts())
        self._inbox, self._outbox = Inbox(), Outbox(os.environ.get("OUTPUT_DIR"))
        self._script = os.path.join(os.environ.get("TMPDIR", "/tmp"), ".cell")
        self._shell: subprocess.Popen[bytes] | None = None
        self._hear = self._answers = -1

    def serve(self, in_fd: int, out_fd: int) -> None:
        """Run what comes in until the channel closes."""
        self._channel.attach(in_fd, out_fd)
        signal.signal(signal.SIGINT, self._interrupt)
        self._channel.send("ready")
        with contextlib.suppress(EOFError, OSError):
            while True:
                head, body = self._channel.receive()
                if head["type"] == "file":
                    self._inbox.take(head, body)
                else:
                    self._run(head, body)

    def _start(self) -> None:
        self._hear, self._answers = os.pipe()
        stderr = os.dup(2)
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PS1": "", "PS2": ""},
            pass_fds=(self._answers, stderr),
            start_new_session=True,
        )
        self._tell(GREETING.format(stderr=stderr))
        os.close(stderr)
        os.close(self._answers)

    def _tell(self, commands: str) -> None:
        assert self._shell and self._shell.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended: that is heard
            self._shell.stdin.write(commands.encode())

    def _interrupt(self, *_: object) -> None:
        if self._channel.run is not None and self._shell:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._shell.pid, signal.SIGINT)

    def _run(self, head: dict[str, Any], code: bytes) -> None:
        if head.get("parse") and subprocess.run(["bash", "-n"], input=code, capture_output=True).returncode:
            self._channel.send("refused", run=head["run"])
            return
        limit_memory(head.get("memory"))
        self._outbox.changed()
        self._channel.run = head["run"]
        self._channel.send("begin", run=head["run"])
        status = self._execute(code)
        self._outbox.send(self._channel)
        if status:
            self._channel.output("error", ename="ExitStatus", evalue=str(status), traceback=[f"exit status {status}"])
        self._channel.run = None
        said = "error" if status else "ok"
        self._channel.send("done", run=head["run"], status=said, exit_status=status)

    def _execute(self, code: bytes) -> int:
        if failure := self._inbox.failure():
            os.write(2, f"attached file not written: {failure}\n".encode())
            return 1
        if self._shell is None:
            self._start()
        with open(self._script, "wb") as file:
            file.write(code)
        self._tell(RUN.format(script=self._script, answers=self._answers))
        answer = os.read(self._hear, 16)
        if answer:
            return int(answer)
        return self._ended()

    def _ended(self) -> int:
        """The script said `exit`, or was interrupted: the next one gets a new shell."""
        assert self._shell and self._shell.stdin
        self._shell.stdin.close()
        os.close(self._hear)
        status = self._shell.wait()
        self._shell = None
        return status if status >= 0 else 128 - status
