"""The replies that OpenAI's Responses keep, so that they can be asked for again; the oldest go when room is needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects.openai_errors import Invalid

MOST_ANSWERS = 1000
MOST_BYTES = 64 << 20  # of all
MOST_OF_ONE = 8 << 20  # larger ones are not kept


class Answers:
    """Those of one gateway, by id, as the bytes of their JSON."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def add(self, response: dict[str, Any]) -> None:
        said = json.dumps(response).encode()
        if len(said) > MOST_OF_ONE:
            return
        self._kept[response["id"]] = said
        self._size += len(said)
        while self._size > MOST_BYTES or len(self._kept) > MOST_ANSWERS:
            self._size -= len(self._kept.popitem(last=False)[1])

    def get(self, id: str) -> dict[str, Any] | None:
        said = self._kept.get(id)
        found: dict[str, Any] | None = json.loads(said) if said else None
        return found

    def find(self, id: str) -> dict[str, Any]:
        """Raises `Invalid` (404)."""
        found = self.get(id)
        if found is None:
            raise Invalid(f"Response with id '{id[:80]}' not found.", param="response_id", status=404)
        return found

    def remove(self, id: str) -> None:
        """Raises `Invalid` (404)."""
        self.find(id)
        self._size -= len(self._kept.pop(id))


ANSWERS = web.AppKey("answers", Answers)
