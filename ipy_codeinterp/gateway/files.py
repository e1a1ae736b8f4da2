"""Anthropic's Files API: what was uploaded and what code left, by id, until room is needed.

Contents are kept in unlinked temporary files: they cost no memory and cannot outlive this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import secrets
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import BodyPartReader, web

from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import File
from ipy_codeinterp.sandbox.frames import file_name

MOST_UPLOAD = 100 << 20  # bytes of one file
MOST_KEPT = 1 << 30  # bytes of all: beyond that the oldest go
MOST_FILES = 10_000
SPOOL_SIZE = 64 << 20  # bytes: a fuller one takes no more, and goes with the last file in it
PIECE = 1 << 20


class Spool:
    """An unlinked temporary file that holds many: a descriptor for each would soon be one too many."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="ipy-codeinterp-")  # noqa: SIM115 - closed with its last content
        self.size = 0
        self.contents = 0

    def append(self, pieces: Iterable[bytes]) -> int:
        """Where the content begins."""
        start = self.size
        for piece in pieces:
            self._file.write(piece)
            self.size += len(piece)
        self._file.flush()
        self.contents += 1
        return start

    def read(self, start: int, size: int) -> bytes:
        content = bytearray()
        while len(content) < size and (
            piece := os.pread(self._file.fileno(), size - len(content), start + len(content))
        ):
            content += piece
        return bytes(content)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Kept:
    """A file, and where its content is."""

    id: str
    name: str
    sha256: str
    size: int
    created: datetime
    downloadable: bool
    spool: Spool
    start: int

    def read(self) -> bytes:
        return self.spool.read(self.start, self.size)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "file",
            "filename": self.name,
            "mime_type": mimetypes.guess_type(self.name)[0] or "application/octet-stream",
            "size_bytes": self.size,
            "created_at": self.created.isoformat().replace("+00:00", "Z"),
            "downloadable": self.downloadable,
        }


class Files:
    """The files of one gateway; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._size = 0
        self._spool: Spool | None = None
        self._lock = threading.Lock()  # uploads are written on threads

    def add(self, name: str, data: bytes, *, downloadable: bool) -> Kept:
        with self._lock:
            spool = self._spool_for_more()
            start = spool.append([data])
            id, digest = f"file_{secrets.token_hex(12)}", hashlib.sha256(data).hexdigest()
            kept = Kept(id, name, digest, len(data), datetime.now(UTC), downloadable, spool, start)
            self._kept[id] = kept
            self._size += kept.size
            while (self._size > MOST_KEPT or len(self._kept) > MOST_FILES) and len(self._kept) > 1:
                self._remove(next(iter(self._kept)))
        return kept

    def find(self, id: str) -> Kept:
        """Raises `Rejected` (404) for an id that is not here."""
        try:
            return self._kept[id]
        except KeyError:
            raise Rejected(f"file not found: {id[:80]}", status=404, param="file") from None

    def remove(self, id: str) -> None:
        self.find(id)
        with self._lock:
            self._remove(id)

    def all(self) -> list[Kept]:
        return list(self._kept.values())

    def close(self) -> None:
        for spool in {kept.spool for kept in self._kept.values()}:
            spool.close()
        self._kept.clear()

    def _spool_for_more(self) -> Spool:
        if self._spool is None or self._spool.size > SPOOL_SIZE:
            self._spool = Spool()
        return self._spool

    def _remove(self, id: str) -> None:
        kept = self._kept.pop(id)
        self._size -= kept.size
        kept.spool.contents -= 1
        if not kept.spool.contents:
            kept.spool.close()
            self._spool = None if self._spool is kept.spool else self._spool


FILES = web.AppKey("files", Files)


def as_file(kept: Kept) -> File:
    return File(kept.name, kept.sha256, kept.size, id=kept.id)


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/files", upload)
    app.router.add_get("/v1/files", list_all)
    app.router.add_get("/v1/files/{id}", metadata)
    app.router.add_get("/v1/files/{id}/content", download)
    app.router.add_delete("/v1/files/{id}", delete)


async def upload(request: web.Request) -> web.Response:
    part = await _file_part(request)
    pieces, size = [], 0
    while piece := await part.read_chunk(PIECE):
        size += len(piece)
        if size > MOST_UPLOAD:
            raise Rejected(f"file: larger than {MOST_UPLOAD >> 20} MB", status=413)
        pieces.append(bytes(piece))
    try:
        name = file_name(part.filename or "")
    except ValueError as error:
        raise Rejected(f"file: {error}") from None
    kept = await asyncio.to_thread(request.app[FILES].add, name, b"".join(pieces), downloadable=False)
    return web.json_response(kept.as_json())


async def _file_part(request: web.Request) -> BodyPartReader:
    with suppress(ValueError, AssertionError):
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                return part
    raise Rejected("file: a multipart field of that name is required")


async def list_all(request: web.Request) -> web.Response:
    found = [kept.as_json() for kept in reversed(request.app[FILES].all())]
    return web.json_response({"data": found, "has_more": False, "next_page": None})


async def metadata(request: web.Request) -> web.Response:
    return web.json_response(_named(request).as_json())


async def download(request: web.Request) -> web.Response:
    kept = _named(request)
    if not kept.downloadable:
        raise Rejected(f"file {kept.id} was uploaded: only files that code made can be downloaded")
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    content = await asyncio.to_thread(kept.read)
    return web.Response(body=content, content_type="application/octet-stream", headers=headers)


async def delete(request: web.Request) -> web.Response:
    id = _named(request).id
    request.app[FILES].remove(id)
    return web.json_response({"id": id, "type": "file_deleted"})


def _named(request: web.Request) -> Kept:
    return request.app[FILES].find(request.match_info["id"])
