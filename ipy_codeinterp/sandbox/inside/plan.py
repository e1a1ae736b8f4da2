"""What the host wants every child of a zygote to get."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child and all it starts may use. Bytes, except for what is counted."""

    tmp: int
    shm: int
    tmp_files: int
    processes: int
    open_files: int
    file_size: int
    watches: int  # of inotify; like the next three, what the kernel counts for all containers of a user together
    terminals: int
    signals: int  # waiting, and timers
    messages: int  # bytes in message queues


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits, the filter of system calls, and the binds and links that an empty /tmp is furnished with."""

    limits: Limits
    program: bytes | None
    binds: dict[str, str]
    links: dict[str, str]

    @classmethod
    def read(cls, text: str) -> Plan:
        said = json.loads(text)
        program = Path(said["program"]).read_bytes() if said["program"] else None
        return cls(Limits(**said["limits"]), program, said["binds"], said["links"])
