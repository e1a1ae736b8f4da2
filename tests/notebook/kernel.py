"""A real kernel, driven over the Jupyter protocol: what each cell said, in order."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

TIMEOUT = 60.0


@dataclass
class Outputs:
    """What one cell produced."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    status: str = ""

    def stream(self, name: str = "stdout") -> str:
        return "".join(m["content"]["text"] for m in self._of("stream") if m["content"]["name"] == name)

    @property
    def displays(self) -> list[dict[str, Any]]:
        """Without the footer."""
        shown = self._of("display_data", "execute_result")
        return [m["content"] for m in shown if not is_footer(m)]

    @property
    def footers(self) -> list[str]:
        """Their text."""
        return [m["content"]["data"]["text/plain"] for m in self.messages if is_footer(m)]

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [m["content"] for m in self._of("update_display_data")]

    @property
    def error(self) -> dict[str, Any] | None:
        errors = self._of("error")
        return errors[-1]["content"] if errors else None

    @property
    def traceback(self) -> str:
        return "\n".join(self.error["traceback"]) if self.error else ""

    @property
    def kinds(self) -> list[str]:
        """Of all but the footer."""
        return [m["msg_type"] for m in self.messages if not is_footer(m)]

    def _of(self, *types: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["msg_type"] in types]


def is_footer(message: dict[str, Any]) -> bool:
    return "footer" in message["content"].get("metadata", {}).get("ipy_codeinterp", {})


class Kernel:
    """Start with `started()`; `run(code)` waits for the cell's end, `begin(code)` does not."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]

    def run(
        self, code: str, timeout: float = TIMEOUT, on_message: Callable[[dict[str, Any]], None] | None = None
    ) -> Outputs:
        return self.end(self.begin(code), timeout, on_message)

    def begin(self, code: str) -> str:
        return self.client.execute(code, store_history=True)

    def end(
        self, request: str, timeout: float = TIMEOUT, on_message: Callable[[dict[str, Any]], None] | None = None
    ) -> Outputs:
        """Collect until the cell is idle and replied to."""
        outputs, deadline = Outputs(), time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            if message["msg_type"] not in ("status", "execute_input"):
                outputs.messages.append(message)
                if on_message:
                    on_message(message)
        while True:
            reply = self.client.get_shell_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if reply["parent_header"].get("msg_id") == request:
                outputs.status = reply["content"]["status"]
                return outputs

    def interrupt(self) -> None:
        """As the toolbar does: SIGINT to the kernel's process group."""
        os.killpg(os.getpgid(self.pid), signal.SIGINT)


@contextlib.contextmanager
def started(environment: dict[str, str], folder: Path) -> Iterator[Kernel]:
    """A kernel of this Python in `folder`, ended at the end."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment, cwd=str(folder))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=TIMEOUT)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        with contextlib.suppress(RuntimeError):
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy(linger=0)


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`; zombies do not count."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found
