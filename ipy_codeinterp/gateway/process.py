"""The embedded gateway: a child process of the session, started early, asked for its address when first needed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.settings import Settings

START_TIMEOUT = 30.0
STOP_TIMEOUT = 3.0
PF_EXITING = 0x4  # Linux's flag of a process on its way out
PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")  # keys of providers live in the environment: it stays here


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway listens, and its token."""

    base_url: str
    token: str


class GatewayProcess:
    """`start()` returns at once; `address()` waits, and starts another when the last one died. Any thread may call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None
        self._address: Address | None = None

    def start(self) -> None:
        with self._lock:
            self._start()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None and not _is_exiting(self._process.pid)

    @property
    def known_address(self) -> Address | None:
        """The address, where nothing has to be waited for."""
        return self._address if self.is_alive else None

    def address(self) -> Address:
        """Raises `SandboxError` with the gateway's last words when it does not start."""
        with self._lock:
            if not self.is_alive:
                self._reap()
                self._start()
            if self._address is None:
                self._address = self._read_address()
            return self._address

    def close(self) -> None:
        """End it and wait for it; it takes its sandboxes along."""
        with self._lock:
            if self._process and self.is_alive:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_TIMEOUT)
            self._reap()

    def _start(self) -> None:
        if self._process:
            return
        self._words = tempfile.TemporaryFile(prefix="ipy-codeinterp-")  # noqa: SIM115 - the process writes to it
        owner = os.pidfd_open(os.getpid())
        try:
            self._process = subprocess.Popen(
                _command(self._settings, owner),
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._words,
                pass_fds=[owner],
                start_new_session=True,  # an interrupt of the notebook must not reach it
                cwd="/",
            )
        finally:
            os.close(owner)

    def _read_address(self) -> Address:
        assert self._process is not None
        assert self._process.stdout is not None
        line, end = b"", time.monotonic() + START_TIMEOUT
        fd = self._process.stdout.fileno()
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([fd], [], [], max(end - time.monotonic(), 0))
            piece = os.read(fd, 4096) if readable else b""
            if not piece:
                raise SandboxError(f"the local gateway did not start: {self._last_words()}")
            line += piece
        said = json.loads(line)
        return Address(said["base_url"], said["token"])

    def _last_words(self) -> str:
        assert self._words is not None
        self._words.seek(0)
        lines = self._words.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:500] if lines else f"no answer after {START_TIMEOUT:.0f} s"

    def _reap(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
        if self._words:
            self._words.close()
        self._process = self._words = self._address = None


def _is_exiting(pid: int) -> bool:
    """A process that is killed loses its sockets a moment before it can be waited for."""
    try:
        return bool(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[6]) & PF_EXITING)
    except OSError:
        return True


def _command(settings: Settings, owner: int) -> list[str]:
    # -P: a `json.py` beside the notebook must not be imported by a process that is trusted
    command = [sys.executable, "-P", "-m", "ipy_codeinterp", "gateway", "--json", "--owner-fd", str(owner)]
    command += ["--isolation", settings.isolation, "--cache-dir", str(settings.cache_dir.absolute())]
    command += [arg for place in settings.mounts for arg in ("--allow-mount", str(place))]
    command += ["--allow-network"] if settings.network else []
    command += ["--home", os.environ["HOME"]] if os.environ.get("HOME") else []  # to keep it out of the sandbox
    return command + (["--python", str(settings.python.absolute())] if settings.python else [])
