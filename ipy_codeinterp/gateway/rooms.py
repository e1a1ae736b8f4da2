"""OpenAI's containers: what they are called, what they may have, and which files belong to each.

A container is a promise until code runs in it: only then does it take one of the sandbox's. It has expired when that
one is no more, and what the sandbox forgot cannot come back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects.openai_errors import Invalid
from ipy_codeinterp.dialects.responses.requested import Room
from ipy_codeinterp.gateway.files import Files, Kept
from ipy_codeinterp.sandbox.mounts import INPUT, OUTPUT
from ipy_codeinterp.sandbox.pool import Pool

MINUTES = 20  # that one may be idle, unless it is to be less
MOST_CONTAINERS = 1000
MOST_FILES = 1000  # of one


@dataclass(frozen=True, slots=True)
class RoomFile:
    """A file of a container: what a user laid into it, or what code left there."""

    id: str
    kept: Kept
    source: str

    @property
    def path(self) -> str:
        return f"{INPUT if self.source == 'user' else OUTPUT}/{self.kept.name}"

    def as_json(self, container: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "container.file",
            "bytes": self.kept.size,
            "container_id": container,
            "created_at": int(self.kept.created.timestamp()),
            "path": self.path,
            "source": self.source,
        }


@dataclass(slots=True)
class Container:
    """One of them. `to_lay` are the files that the next run finds beside it; times are in seconds since 1970."""

    id: str
    name: str
    room: Room
    minutes: int
    created: float
    used: float
    begun: bool = False
    busy: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    files: dict[str, RoomFile] = field(default_factory=dict)
    to_lay: list[str] = field(default_factory=list)

    def add(self, kept: Kept, source: str) -> RoomFile:
        file = RoomFile(f"cfile_{secrets.token_hex(12)}", kept, source)
        self.files[file.id] = file
        while len(self.files) > MOST_FILES:
            del self.files[next(iter(self.files))]
        if source == "user":
            self.to_lay.append(file.id)
        return file

    def find(self, id: str) -> RoomFile:
        """Raises `Invalid` (404)."""
        if id not in self.files:
            raise Invalid(f"File '{id[:80]}' not found.", param="file_id", status=404)
        return self.files[id]

    def laying(self) -> list[RoomFile]:
        return [self.files[id] for id in self.to_lay if id in self.files]

    def as_json(self, *, expired: bool) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "container",
            "created_at": int(self.created),
            "status": "expired" if expired else "running",
            "expires_after": {"anchor": "last_active_at", "minutes": self.minutes},
            "last_active_at": int(self.used),
            "memory_limit": self.room.memory_limit or "1g",
            "name": self.name,
            "network_policy": {"type": "disabled"},
        }


class Containers:
    """Those of one gateway, the oldest first; beyond MOST_CONTAINERS the oldest are forgotten."""

    def __init__(self, files: Files) -> None:
        self._all: OrderedDict[str, Container] = OrderedDict()
        self._files = files

    def make(self, name: str, room: Room, minutes: int = MINUTES) -> Container:
        """Raises `Rejected` (404) for a file that is not there."""
        files = [self._files.find(id) for id in room.file_ids]
        now = time.time()
        container = Container(f"cntr_{secrets.token_hex(16)}", name, room, minutes, now, now)
        for file in files:
            container.add(file, "user")
        self._all[container.id] = container
        while len(self._all) > MOST_CONTAINERS:
            self._all.popitem(last=False)
        return container

    def all(self) -> list[Container]:
        return list(self._all.values())

    def find(self, id: str) -> Container:
        """Raises `Invalid` (404)."""
        if id not in self._all:
            raise Invalid(f"Container with id '{id[:80]}' not found.", status=404, code="container_not_found")
        return self._all[id]

    def live(self, id: str, pool: Pool) -> Container:
        """The container, if something can still be done with it, which counts as use. Raises `Invalid`."""
        container = self.find(id)
        if self.has_expired(container, pool):
            raise Invalid("Container is expired.", param="container", code="container_expired")
        container.used = time.time()
        return container

    def has_expired(self, container: Container, pool: Pool | None) -> bool:
        """Whether it was idle too long, or what runs its code is no more. `pool` is None where none is there yet."""
        idle = time.time() - container.used > container.minutes * 60 and not container.busy
        if idle and pool and pool.find(container.id):
            pool.forget(container.id, f"it was idle for {container.minutes} minutes")
        return idle or (container.begun and (pool is None or pool.find(container.id) is None))

    def remove(self, id: str) -> None:
        self._all.pop(id, None)


CONTAINERS = web.AppKey("containers", Containers)
