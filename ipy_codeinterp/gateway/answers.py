"""The replies that OpenAI's Responses keep, with the input of each; the oldest go when room is needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects.openai_errors import Invalid

MOST_ANSWERS = 1000
MOST_BYTES = 64 << 20  # of all
MOST_OF_ONE = 8 << 20  # larger ones are not kept


@dataclass(frozen=True, slots=True)
class _Kept:
    """A reply, and the items of the input that it answers, each as the bytes of its JSON."""

    response: bytes = field(repr=False)
    items: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.response) + len(self.items)


class Answers:
    """Those of one gateway, by id."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0

    def add(self, response: Mapping[str, Any], items: Sequence[Mapping[str, Any]] = ()) -> None:
        kept = _Kept(json.dumps(response).encode(), json.dumps(items).encode())
        if kept.size > MOST_OF_ONE:
            return
        self._kept[response["id"]] = kept
        self._size += kept.size
        while self._size > MOST_BYTES or len(self._kept) > MOST_ANSWERS:
            self._size -= self._kept.popitem(last=False)[1].size

    def get(self, id: str) -> dict[str, Any] | None:
        kept = self._kept.get(id)
        found: dict[str, Any] | None = json.loads(kept.response) if kept else None
        return found

    def find(self, id: str) -> dict[str, Any]:
        """Raises `Invalid` (404)."""
        found = self.get(id)
        if found is None:
            raise Invalid(f"Response with id '{id[:80]}' not found.", param="response_id", status=404)
        return found

    def items_of(self, id: str) -> list[dict[str, Any]]:
        """The input of a reply, in its order. Raises `Invalid` (404)."""
        self.find(id)
        items: list[dict[str, Any]] = json.loads(self._kept[id].items)
        return items

    def remove(self, id: str) -> None:
        """Raises `Invalid` (404)."""
        self.find(id)
        self._size -= self._kept.pop(id).size


ANSWERS = web.AppKey("answers", Answers)
