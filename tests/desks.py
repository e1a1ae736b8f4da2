"""A desk without a notebook: verbs do their work on any session that is handed to it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from ipy_codeinterp.notebook import own_verbs


class BareDesk(SimpleNamespace):
    """What it says goes where it would in a kernel; `perform("models --probe")` is `%interp models --probe`."""

    def __init__(self, session: Any) -> None:
        super().__init__(session=session, settings=session.settings, warmings={})

    def say(self, text: str) -> None:
        print(text)  # noqa: T201 - this is the screen

    def remark(self, text: str) -> None:
        print(text, file=sys.stderr)  # noqa: T201 - this is the screen

    def perform(self, line: str) -> None:
        own_verbs.perform(self, line)  # type: ignore[arg-type]
