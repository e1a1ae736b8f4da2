"""The Files APIs: what was uploaded and what code left, by id, until room is needed.

Anthropic and OpenAI have theirs at the same path; a request is answered in the shape of the vendor it was written for.

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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects.openai_errors import Invalid, missing, wrong_value
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import File
from ipy_codeinterp.gateway import shapes
from ipy_codeinterp.gateway.forms import read_form

MOST_UPLOAD = 100 << 20  # bytes of one file
MOST_KEPT = 1 << 30  # bytes of all: beyond that the oldest go
MOST_FILES = 10_000
SPOOL_SIZE = 64 << 20  # bytes: a fuller one takes no more, and goes with the last file in it
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MOST_DIGITS = 9
LEAST_LIFE = 3600  # seconds, of a file that is to expire
MOST_LIFE_OPENAI = 30 * 24 * 3600
MOST_LIFE_ANTHROPIC = 90 * 24 * 3600


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
    purpose: str = "user_data"  # as OpenAI has it
    expires: datetime | None = None

    @property
    def is_expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)

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

    def as_openai(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": int(self.created.timestamp()),
            "expires_at": int(self.expires.timestamp()) if self.expires else None,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """The files of one gateway; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._size = 0
        self._spool: Spool | None = None
        self._lock = threading.Lock()  # uploads are written on threads

    def add(
        self,
        name: str,
        data: bytes,
        *,
        downloadable: bool,
        prefix: str = "file_",
        purpose: str = "user_data",
        expires: datetime | None = None,
    ) -> Kept:
        with self._lock:
            spool = self._spool_for_more()
            start = spool.append([data])
            id, digest = f"{prefix}{secrets.token_hex(12)}", hashlib.sha256(data).hexdigest()
            kept = Kept(id, name, digest, len(data), datetime.now(UTC), downloadable, spool, start, purpose, expires)
            self._kept[id] = kept
            self._size += kept.size
            while (self._size > MOST_KEPT or len(self._kept) > MOST_FILES) and len(self._kept) > 1:
                self._remove(next(iter(self._kept)))
        return kept

    def find(self, id: str) -> Kept:
        """Raises `Rejected` (404) for an id that is not here."""
        kept = self._kept.get(id)
        if kept is None or kept.is_expired:
            raise Rejected(f"file not found: {id[:80]}", status=404, param="file")
        return kept

    def remove(self, id: str) -> None:
        self.find(id)
        with self._lock:
            self._remove(id)

    def all(self) -> list[Kept]:
        return [kept for kept in self._kept.values() if not kept.is_expired]

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
    form = await read_form(request, MOST_UPLOAD)
    add = request.app[FILES].add
    if shapes.is_anthropic(request):
        expires = _expiry(form.fields.get("expires_in_seconds"), MOST_LIFE_ANTHROPIC, "expires_in_seconds")
        kept = await asyncio.to_thread(add, form.name, form.data, downloadable=False, expires=expires)
        return web.json_response(kept.as_json())
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise missing("purpose")
    if purpose not in PURPOSES:
        raise wrong_value("purpose", purpose, PURPOSES)
    expires = _expiry(form.fields.get("expires_after[seconds]"), MOST_LIFE_OPENAI, "expires_after[seconds]")
    about: dict[str, Any] = {"downloadable": True, "prefix": "file-", "purpose": purpose, "expires": expires}
    return web.json_response((await asyncio.to_thread(add, form.name, form.data, **about)).as_openai())


def _expiry(said: str | None, most: int, param: str) -> datetime | None:
    if said is None:
        return None
    if not said.isdecimal() or len(said) > MOST_DIGITS or not LEAST_LIFE <= int(said) <= most:
        raise Invalid(f"{param}: {LEAST_LIFE} to {most} seconds", param=param, code="invalid_value")
    return datetime.now(UTC) + timedelta(seconds=int(said))


async def list_all(request: web.Request) -> web.Response:
    kept = list(reversed(request.app[FILES].all()))
    if shapes.is_anthropic(request):
        return web.json_response({"data": [each.as_json() for each in kept], "has_more": False, "next_page": None})
    purpose = request.query.get("purpose")
    found = [each.as_openai() for each in kept if purpose in (None, each.purpose)]
    return web.json_response(shapes.page(found, request.query, MOST_FILES, MOST_FILES))


async def metadata(request: web.Request) -> web.Response:
    kept = _named(request)
    return web.json_response(kept.as_json() if shapes.is_anthropic(request) else kept.as_openai())


async def download(request: web.Request) -> web.Response:
    kept = _named(request)
    if not kept.downloadable and shapes.is_anthropic(request):
        raise Rejected(f"file {kept.id} was uploaded: only files that code made can be downloaded")
    return await content_of(kept)


async def content_of(kept: Kept) -> web.Response:
    """The bytes, as something that no browser shows."""
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    content = await asyncio.to_thread(kept.read)
    return web.Response(body=content, content_type="application/octet-stream", headers=headers)


async def delete(request: web.Request) -> web.Response:
    id = _named(request).id
    request.app[FILES].remove(id)
    if shapes.is_anthropic(request):
        return web.json_response({"id": id, "type": "file_deleted"})
    return web.json_response({"id": id, "object": "file", "deleted": True})


def _named(request: web.Request) -> Kept:
    return request.app[FILES].find(request.match_info["id"])
