"""What is told while a run goes on: the events that come, without secrets, also where one is cut between two pieces."""

from __future__ import annotations

from ipy_codeinterp.client.chain import Emit
from ipy_codeinterp.execution import CodeDelta, Event, Phase, Restarted, Stream, TextDelta
from ipy_codeinterp.shield import MaskFilter, masked_event

Piece = Stream | CodeDelta | TextDelta


class Told:
    """An `Emit` around another: what may be the beginning of a secret comes with the next piece, or at `close()`."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._filters: dict[object, tuple[MaskFilter, Piece]] = {}  # and its last piece, by what it is a piece of

    async def __call__(self, event: Event) -> None:
        if isinstance(event, Piece):
            await self._piece(event)
            return
        if isinstance(event, Restarted):
            self._filters.clear()  # what was shown does not count any more, and what was not, neither
        elif not isinstance(event, Phase):
            await self.close()
        await self._emit(masked_event(event))

    async def close(self) -> None:
        """Tell what was held back."""
        while self._filters:
            _, (held, last) = self._filters.popitem()
            if text := held.close():
                await self._emit(_with(last, text))

    async def _piece(self, event: Piece) -> None:
        whose = event.name if isinstance(event, Stream) else type(event)
        held, _ = self._filters.get(whose, (MaskFilter(), event))
        self._filters[whose] = held, event
        if text := held.feed(event.text):
            await self._emit(_with(event, text))


def _with(piece: Piece, text: str) -> Piece:
    return Stream(piece.name, text) if isinstance(piece, Stream) else type(piece)(text)
