"""An image as a vendor sends it, as a Display: called what its first bytes say it is, not what its sender does."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from ipy_codeinterp.dialects.lifting import DataUrl
from ipy_codeinterp.execution import Display

MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
MOST_HEAD = 500  # characters of a `data:` URL before its data
_START = 16  # characters of base64: twelve bytes
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_UNKNOWN = Display({"text/plain": "[an image in no format that is known here]"})


def from_base64(text: str) -> Display:
    """The image in `text`; a line that says so where it is none. Only its beginning is decoded: it may be large."""
    mime = _mime_of(text[:_START]) if len(text) % 4 == 0 and _BASE64.fullmatch(text) else None
    return Display({mime: text}) if mime else _UNKNOWN


def from_url(url: str) -> Display:
    """The image in a `data:` URL. One that lies elsewhere is named and not fetched: its sender chose the place."""
    if url[:5].lower() != "data:":
        return Display({"text/plain": f"[an image at {url[:2000]}]"})
    comma = url.find(",", 0, MOST_HEAD)
    if not url[: max(comma, 0)].lower().endswith(";base64"):
        return _UNKNOWN
    return from_base64(url.data if isinstance(url, DataUrl) else url[comma + 1 :])


def _mime_of(head: str) -> str | None:
    try:
        start = base64.b64decode(head)
    except (binascii.Error, ValueError):
        return None
    return next((mime for magic, mime in MAGIC.items() if start.startswith(magic)), None)
