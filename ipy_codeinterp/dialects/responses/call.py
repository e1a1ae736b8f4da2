"""A call of the interpreter while its stream lasts: the code as it is written, and the Step it is at its end."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.execution import Step


@dataclass(slots=True)
class Call:
    """`code` is what has been told of it; `step`, and `ran` from our own gateway, are there once it is over."""

    container: str | None = None
    code: list[str] = field(default_factory=list)
    step: Step | None = None
    ran: Ran | None = None
    _line_ends: io.IncrementalNewlineDecoder = field(
        default_factory=lambda: io.IncrementalNewlineDecoder(None, translate=True)
    )

    def write(self, piece: str) -> str:
        """What is newly known of the code; a line end may be cut in two."""
        self.code.append(self._line_ends.decode(piece))
        return self.code[-1]

    def finish(self, whole: str) -> str:
        """What of the whole code has not been told."""
        rest = self._line_ends.decode("", final=True)
        told = "".join(self.code) + rest
        rest += whole[len(told) :] if whole.startswith(told) else ""
        self.code = [whole]
        return rest
