"""How much of what code produces is shown: the beginning and the end, and how much was left out between."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ipy_codeinterp.execution import Display, Error, Output, Stream, Update

SHOWN_TEXT = 1 << 20  # characters of streams: half from the beginning, half from the end
SHOWN_DISPLAYS = 64 << 20  # bytes
MOST_DISPLAYS = 2000
MOST_ERRORS = 20
MOST_PRODUCED = 1 << 30  # bytes of any kind: more ends the run


class Capped:
    """Feed it outputs, show what it gives back, and at the end show what `rest()` gives."""

    def __init__(self) -> None:
        self.produced = 0  # bytes, of everything
        self._head_left = SHOWN_TEXT // 2
        self._tail: deque[Stream] = deque()
        self._tail_size = 0
        self._dropped = 0
        self._displays_left = MOST_DISPLAYS
        self._display_bytes_left = SHOWN_DISPLAYS
        self._displays_dropped = 0
        self._errors_left = MOST_ERRORS
        self._clears_left = MOST_DISPLAYS
        self._last_error: Error | None = None

    def feed(self, output: Output | Update, size: int) -> Iterator[Output | Update]:
        """What of `output` (`size` bytes on the wire) is to be shown now."""
        self.produced += size
        if isinstance(output, Stream):
            yield from self._feed_text(output)
        elif isinstance(output, (Display, Update)):
            if self._takes_display(size):
                yield output
        elif self._errors_left > 0:
            self._errors_left -= 1
            yield output
        else:
            self._last_error = output  # the one the run ended with is never lost

    def takes_clear(self, size: int) -> bool:
        """Whether one more `clear_output`, of `size` bytes on the wire, is to be obeyed."""
        self.produced += size
        self._clears_left -= 1
        return self._clears_left >= 0

    @property
    def over(self) -> bool:
        return self.produced > MOST_PRODUCED

    def rest(self) -> Iterator[Stream | Error]:
        """The end of the streams, after a line that says how much is missing, and the last error."""
        if self._dropped:
            yield Stream("stdout", f"\n[... {self._dropped:,} characters not shown ...]\n")
        yield from self._tail
        if self._displays_dropped:
            yield Stream("stderr", f"[{self._displays_dropped:,} displays not shown: too many or too large]\n")
        if self._last_error:
            yield self._last_error

    def _feed_text(self, stream: Stream) -> Iterator[Stream]:
        head, tail = stream.text[: self._head_left], stream.text[self._head_left :]
        if head:
            self._head_left -= len(head)
            yield Stream(stream.name, head)
        if tail:
            self._keep_tail(Stream(stream.name, tail))

    def _keep_tail(self, stream: Stream) -> None:
        self._tail.append(stream)
        self._tail_size += len(stream.text)
        while (excess := self._tail_size - SHOWN_TEXT // 2) > 0:
            first = self._tail.popleft()
            cut = min(excess, len(first.text))
            self._dropped += cut
            self._tail_size -= cut
            if kept := first.text[cut:]:
                self._tail.appendleft(Stream(first.name, kept))

    def _takes_display(self, size: int) -> bool:
        if self._displays_left <= 0 or size > self._display_bytes_left:
            self._displays_dropped += 1
            return False
        self._displays_left -= 1
        self._display_bytes_left -= size
        return True
