"""Anthropic's Files API: what was uploaded and what code left, by id, until room is needed.

Contents are kept in unlinked temporary files: they cost no memory and cannot outlive this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from aiohttp import BodyPartReader, web

from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import File
from ipy_codeinterp.sandbox.frames import file_name

MOST_UPLOAD = 100 << 20  # bytes of one file
MOST_KEPT = 1 << 30  # bytes of all: beyond that the oldest go
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A file and its content."""

    id: str
    name: str
    sha256: str
    size: int
    created: datetime
    downloadable: bool
    content: IO[bytes]

    def read(self) -> bytes:
        self.content.seek(0)
        return self.content.read()

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
    """The files of one gateway."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._size = 0

    def add(self, name: str, pieces: Iterator[bytes] | list[bytes], *, downloadable: bool) -> Kept:
        content, digest, size = tempfile.TemporaryFile(prefix="ipy-codeinterp-"), hashlib.sha256(), 0  # noqa: SIM115 - kept open
        for piece in pieces:
            content.write(piece)
            digest.update(piece)
            size += len(piece)
        content.flush()
        id = f"file_{secrets.token_hex(12)}"
        kept = Kept(id, name, digest.hexdigest(), size, datetime.now(UTC), downloadable, content)
        self._kept[id] = kept
        self._size += size
        while self._size > MOST_KEPT and len(self._kept) > 1:
            self.remove(next(iter(self._kept)))
        return kept

    def find(self, id: str) -> Kept:
        """Raises `Rejected` (404) for an id that is not here."""
        try:
            return self._kept[id]
        except KeyError:
            raise Rejected(f"file not found: {id[:80]}", status=404, param="file") from None

    def remove(self, id: str) -> None:
        kept = self.find(id)
        del self._kept[id]
        self._size -= kept.size
        kept.content.close()

    def all(self) -> list[Kept]:
        return list(self._kept.values())

    def close(self) -> None:
        for kept in self._kept.values():
            kept.content.close()
        self._kept.clear()


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
    kept = await asyncio.to_thread(request.app[FILES].add, name, pieces, downloadable=False)
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
