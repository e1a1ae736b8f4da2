"""A place in a notebook's output that is written anew by its display id, from any thread, also after its cell ended."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from IPython.core.interactiveshell import InteractiveShell


class Place:
    """`write()` shows, then replaces. What is written must be safe to show already.

    Front ends find the place by its id, whichever cell runs meanwhile. A terminal cannot: there only `final` is shown.
    """

    def __init__(self, shell: InteractiveShell, *, deterministic: bool) -> None:
        self._publisher = shell.display_pub  # of now: a later %%capture puts another in its place
        self._id = f"ipy-codeinterp-{secrets.token_hex(8)}"
        self._is_shown = False
        self._once = deterministic or not hasattr(shell, "kernel")

    @property
    def can_change(self) -> bool:
        """Whether what was written can be replaced."""
        return not self._once

    def write(self, data: Mapping[str, str], metadata: Mapping[str, Any] | None = None, *, final: bool = False) -> None:
        if self._once and not final:
            return
        transient = {} if self._once else {"display_id": self._id}
        about = {"ipy_codeinterp": dict(metadata or {})}
        is_again = self._is_shown and not self._once
        self._publisher.publish(dict(data), about, transient=transient, update=is_again)
        self._is_shown = True
