"""The sandbox without a gateway: code goes into a real container, what came of it comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipy_codeinterp.execution import Display, Error, Stream
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.sandbox import environment, isolation
from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.container import Container, Event, Job, Verdict, start
from ipy_codeinterp.sandbox.isolation import Isolation
from ipy_codeinterp.sandbox.scratch import Scratch

MEMORY = 1 << 30
AGAINST_HANGS = 60.0


@dataclass
class Ran:
    """What one run said, in order, and how it ended."""

    events: list[Event] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        assert isinstance(self.events[-1], Verdict)
        return self.events[-1]

    @property
    def outcome(self) -> str:
        return self.verdict.outcome

    @property
    def outputs(self) -> tuple[Any, ...]:
        return Collector(event for event in self.events if isinstance(event, SHOWN)).outputs

    @property
    def stdout(self) -> str:
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        return self._text("stderr")

    @property
    def error(self) -> Error | None:
        return next((event for event in self.events if isinstance(event, Error)), None)

    @property
    def order(self) -> list[str]:
        """Streams by their text, displays by their plain text, errors by their name; streams joined."""
        return [_short(output) for output in self.outputs]

    def _text(self, name: str) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Stream) and event.name == name)


def _short(output: Any) -> str:
    match output:
        case Stream(_, text):
            return text
        case Display(data):
            return str(data.get("text/plain"))
        case Error(ename):
            return ename
    raise AssertionError(output)
