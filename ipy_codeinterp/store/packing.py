"""JSON that reads well in a diff: texts of many lines as lists, what is long in files of its own, by content.

Three forms stand for what plain JSON would say otherwise; everything else stays what it is:

    {"$lines": [...]}                        a text of more than one line
    {"$artifact": sha256, "$as": "base64"}   a long text; its file holds what the base64 stands for ("text": itself)
    {"$pairs": [[name, value], ...]}         an object that has a name with a dollar of its own
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

LONG = 4096  # characters
SHA256 = re.compile(r"[0-9a-f]{64}")

Keep = Callable[[bytes], str]  # keeps an artifact, and says its sha256
Read = Callable[[str], bytes]  # the way back


def packed(value: Any, keep: Keep) -> Any:
    """`value` (of JSON) in the forms above; `keep` is given what is long."""
    if isinstance(value, str):
        return _packed_text(value, keep)
    if isinstance(value, Mapping):
        pairs = [(name, packed(inner, keep)) for name, inner in value.items()]
        return {"$pairs": [list(pair) for pair in pairs]} if any(n.startswith("$") for n in value) else dict(pairs)
    if isinstance(value, (list, tuple)):
        return [packed(inner, keep) for inner in value]
    return value


def unpacked(value: Any, read: Read) -> Any:
    """The way back. Raises `ValueError` for a form that is none, so that no file is read that was never kept."""
    if isinstance(value, list):
        return [unpacked(inner, read) for inner in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$lines": [*lines]}:
            return "".join(lines)
        case {"$artifact": str(sha256), "$as": str(form)} if SHA256.fullmatch(sha256):
            content = read(sha256)
            return base64.b64encode(content).decode() if form == "base64" else content.decode("utf-8", "surrogatepass")
        case {"$pairs": [*pairs]}:
            return {str(name): unpacked(inner, read) for name, inner in pairs}
    if any(name.startswith("$") for name in value):
        raise ValueError(f"not a form of a recording: {sorted(value)}")
    return {name: unpacked(inner, read) for name, inner in value.items()}


def _packed_text(text: str, keep: Keep) -> Any:
    if len(text) > LONG:
        content = _of_base64(text)
        if content is not None:
            return {"$artifact": keep(content), "$as": "base64"}
        return {"$artifact": keep(text.encode("utf-8", "surrogatepass")), "$as": "text"}
    if "\n" in text[:-1]:
        return {"$lines": text.splitlines(keepends=True)}
    return text


def _of_base64(text: str) -> bytes | None:
    """What `text` stands for, where encoding that gives `text` again to the letter."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if base64.b64encode(content).decode() == text else None
