"""The limit that each process has on what it allocates, so that it hears of it before the host must end the tree."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def limit_memory(size: int | None) -> None:
    """Let this process, and each that it starts, allocate `size` bytes more than it has. Never raised again."""
    if size:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most == resource.RLIM_INFINITY:
            size += allocated()
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def allocated() -> int:
    """Bytes that this process could write to: the interpreter with all it has imported."""
    words = Path("/proc/self/status").read_text().partition("VmData:")[2].split()
    return int(words[0]) << 10
