"""Multipart bodies: one file, and a few short fields beside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.sandbox.frames import file_name

MOST_FIELD = 4096  # bytes of a field
MOST_PARTS = 20
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body: its file, and the fields beside it."""

    name: str
    data: bytes = field(repr=False)
    fields: Mapping[str, str]


async def read_form(request: web.Request, most: int) -> Form:
    """Raises `Rejected` for a body without a file, one of more than `most` bytes, or one that may not be called so."""
    name, data, seen = None, b"", 0
    fields: dict[str, str] = {}
    with suppress(ValueError, AssertionError, HttpProcessingError):  # what is garbled ends the form
        async for part in await request.multipart():
            if (seen := seen + 1) > MOST_PARTS:
                raise Rejected(f"a form of at most {MOST_PARTS} parts is read")
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file":
                name, data = part.filename or "", await _content(part, most)
            else:
                fields[part.name or ""] = (await _content(part, MOST_FIELD)).decode("utf-8", "replace")
    if name is None:
        raise Rejected("file: a multipart field of that name is required", param="file")
    try:
        return Form(file_name(name), data, fields)
    except ValueError as error:
        raise Rejected(f"file: {error}", param="file") from None


async def _content(part: BodyPartReader, most: int) -> bytes:
    pieces, size = [], 0
    while piece := await part.read_chunk(PIECE):
        size += len(piece)
        if size > most:
            raise Rejected(f"{part.name}: larger than {most} bytes", status=413)
        pieces.append(bytes(piece))
    return b"".join(pieces)
