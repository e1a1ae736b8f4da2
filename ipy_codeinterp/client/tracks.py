"""What the router knows of offers: their tracks in the ledger, read once for all who ask within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.store.database import reading
from ipy_codeinterp.store.tracks import Track, track

AGE = 1.0  # seconds: of the last two hundred calls, those of one second more change little


class Tracks:
    """Of the ledger at `path`, for one event loop. Nothing is known where it cannot be read."""

    def __init__(self, path: Path, *, age: float = AGE, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._age = age
        self._clock = clock
        self._known: dict[str, tuple[float, Track]] = {}  # by offer, with when it was read
        self._lock = asyncio.Lock()

    async def __call__(self, offers: Sequence[Offer]) -> dict[str, Track]:
        """By offer, those that are known."""
        if self._old(offers):
            async with self._lock:  # who comes while it is read needs not read it again
                if old := self._old(offers):
                    now = self._clock()
                    found = await asyncio.to_thread(self._read, old)
                    self._known |= {name: (now, each) for name, each in found.items()}
        names = map(str, offers)
        return {name: self._known[name][1] for name in names if name in self._known}

    def _old(self, offers: Sequence[Offer]) -> list[Offer]:
        """Those that were not read lately."""
        since = self._clock() - self._age
        return [offer for offer in offers if self._known.get(str(offer), (since, None))[0] <= since]

    def _read(self, offers: Iterable[Offer]) -> dict[str, Track]:
        try:
            with reading(self._path) as connection:
                return {str(o): track(connection, o.provider, o.model) for o in offers} if connection else {}
        except StoreError:
            return {}
