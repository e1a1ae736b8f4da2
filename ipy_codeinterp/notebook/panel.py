"""The session's meter: calls, cost, latency, failures; live as one widget, else as HTML under a display id.

It shows the ledger's sums and keeps none of its own. What stays when it is closed is a static twin built from tables
and inline styles only: that is what survives in saved notebooks, nbconvert, GitHub and untrusted pages.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.notebook.amounts import money, seconds
from ipy_codeinterp.store.ledger import Totals

UPDATE_EVERY = 0.1  # seconds
TITLE = "Interpreter calls of this session"
CELL = "padding: 3px 14px; line-height: 1.5; text-align: left; border: none"


class Panel:
    """Shown once by `show()`, refreshed by whoever settles an attempt, ended by `close()`."""

    def __init__(
        self, shell: InteractiveShell, totals: Callable[[], Totals], *, live: bool, deterministic: bool
    ) -> None:
        self._shell = shell
        self._totals = totals
        self._live = live
        self._deterministic = deterministic
        self._display_id = f"ipy-codeinterp-{secrets.token_hex(8)}"
        self._widget: Any = None
        self._updated = 0.0
        self._scheduled = False
        self._closed = False

    def show(self) -> None:
        """Put it under the running cell."""
        if self._live and not self._deterministic:
            from ipywidgets import HTML

            self._widget = HTML(render(self._totals()))
        # JupyterLab takes the widget; what is beside it is for runners that compare, so nothing in it varies
        shown = bundle(None if self._widget or self._deterministic else self._totals())
        view = self._widget._repr_mimebundle_() if self._widget else {}
        self._publish({**(view[0] if isinstance(view, tuple) else view), **shown})

    def refresh(self) -> None:
        """Show the sums of now, from the cell's own thread."""
        if self._closed or self._deterministic:
            return
        self._updated = time.monotonic()
        if self._widget:
            self._widget.value = render(self._totals())
        elif self._is_kernel:  # a terminal would print each update as another line
            self._publish(bundle(self._totals()), update=True)

    def refresh_soon(self) -> None:
        """From the loop's thread: at most ten times a second, and the last change is always shown."""
        if not self._widget or self._scheduled:
            return
        wait = self._updated + UPDATE_EVERY - time.monotonic()
        if wait <= 0:
            self.refresh()
            return
        self._scheduled = True
        asyncio.get_running_loop().call_later(wait, self._refresh_late)

    def _refresh_late(self) -> None:
        self._scheduled = False
        self.refresh()

    def close(self) -> None:
        """Leave the static twin in its place."""
        if self._closed:
            return
        self._closed = True
        if self._is_kernel and not self._deterministic:
            self._publish(bundle(self._totals()), update=True)
        if self._widget:
            self._widget.close()

    @property
    def _is_kernel(self) -> bool:
        return hasattr(self._shell, "kernel")

    def _publish(self, data: dict[str, Any], *, update: bool = False) -> None:
        self._shell.display_pub.publish(data, {}, transient={"display_id": self._display_id}, update=update)


def bundle(totals: Totals | None) -> dict[str, str]:
    """The panel without a widget; None leaves out every figure, and with them what our taste in tables may change."""
    if totals is None:
        return {"text/html": f"<p>{TITLE} (its figures vary)</p>", "text/plain": TITLE}
    return {"text/html": render(totals), "text/plain": plain(totals)}


def plain(totals: Totals) -> str:
    """The panel as a line of text."""
    said = ", ".join(f"{head} {figure}" for head, figure in zip(HEADS, figures(totals), strict=True))
    return f"{TITLE}: {said.replace('&ge;', '>=')}"


def render(totals: Totals) -> str:
    """The panel as a table of one row."""
    heads = "".join(f'<th scope="col" style="{CELL}; opacity: 0.7">{head}</th>' for head in HEADS)
    row = "".join(f'<td style="{CELL}; font-weight: 600">{cell}</td>' for cell in figures(totals))
    return (
        '<table style="border-collapse: collapse; font-size: 13px; border: 1px solid #8886">'
        f'<caption style="padding: 0 0 4px; text-align: left; caption-side: top">{TITLE}</caption>'
        f"<tr>{heads}</tr><tr>{row}</tr></table>"
    )


HEADS = ("calls", "failures", "billed", "at list price ~", "p50", "p95")


def figures(totals: Totals) -> tuple[str, ...]:
    """The row under HEADS."""
    billed = money(totals.billed) if totals.billed_is_all else f"&ge; {money(totals.billed)}"
    latencies = (seconds(totals.p50), seconds(totals.p95))
    return (str(totals.calls), str(totals.failures), billed, money(totals.listed), *latencies)
