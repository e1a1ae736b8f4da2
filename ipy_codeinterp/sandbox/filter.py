"""Where the system call filter for this machine lies; `scripts/seccomp` makes it, `inside/filter.py` installs it."""

from __future__ import annotations

import platform
from pathlib import Path

SHIPPED = Path(__file__).with_name("seccomp")


def path() -> Path | None:
    """The filter as raw BPF, or None where there is none for this kind of machine."""
    file = SHIPPED / f"{platform.machine()}.bpf"
    return file if file.exists() else None
