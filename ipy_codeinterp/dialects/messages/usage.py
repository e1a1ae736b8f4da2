"""What a reply says it took: the tokens of all passes, cached ones counted with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipy_codeinterp.dialects.extension import FIELD
from ipy_codeinterp.execution import Usage


def usage_of(native: Mapping[str, Any]) -> Usage:
    """Usage from the provider's report, in which cached tokens stand beside the others; our gateway counts characters
    and says so.
    """
    read, written = _count(native, "cache_read_input_tokens"), _count(native, "cache_creation_input_tokens")
    fresh = _count(native, "input_tokens")
    details, ours = native.get("output_tokens_details"), native.get(FIELD)
    return Usage(
        None if fresh is None else fresh + (read or 0) + (written or 0),
        _count(native, "output_tokens"),
        estimated=isinstance(ours, Mapping) and ours.get("estimated") is True,
        native=dict(native),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=_count(details, "thinking_tokens") if isinstance(details, Mapping) else None,
    )


def _count(native: Mapping[str, Any], name: str) -> int | None:
    count = native.get(name)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
