"""The session's meter on the screen: live as a widget with controls, else as HTML under a display id, else as text.

It keeps no sums of its own: each update reads them anew, in a time and a size that do not grow with what was run. When
it is closed a static twin takes its place, which survives where widgets do not.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.notebook import panel_html
from ipy_codeinterp.notebook.controls import let_go
from ipy_codeinterp.notebook.panel_html import TITLE
from ipy_codeinterp.notebook.reading import Reading

UPDATE_EVERY = 0.1  # seconds
LOOK_EVERY = 0.5  # seconds between two looks at who waits, while nothing ends


class Reads(Protocol):
    def read(self, *, now: bool = False) -> Reading: ...


class Controls(Protocol):
    """What a live panel can be told with: `widget` is below its figures, `follow` is given each reading."""

    widget: Any

    def follow(self, reading: Reading) -> None: ...
    def close(self) -> None: ...


class Panel:
    """Shown once by `show()`, refreshed by whoever settles an attempt, ended by `close()`.

    It is live where there are `controls` for it.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        reader: Reads,
        *,
        controls: Callable[[], Controls] | None,
        deterministic: bool,
    ) -> None:
        self._shell = shell
        self._reader = reader
        self._make_controls = controls
        self._deterministic = deterministic
        self._display_id = f"ipy-codeinterp-{secrets.token_hex(8)}"
        self._figures: Any = None  # the widget that every update changes
        self._widgets: list[Any] = []
        self._controls: Controls | None = None
        self._lock = threading.Lock()  # cells, the session's loop and buttons refresh it
        self._updated = 0.0
        self._scheduled = False
        self._closed = False

    def show(self) -> None:
        """Put it under the running cell."""
        view = self._live() if self._make_controls and not self._deterministic else {}
        # JupyterLab takes the widget; what is beside it is for runners that compare, so nothing in it varies
        shown = bundle(None if view or self._deterministic else self._reader.read(now=True))
        self._publish({**view, **shown})

    def refresh(self, *, now: bool = True) -> None:
        """Show how it is; `now`, with what the store says at this moment."""
        if self._closed or self._deterministic or not (self._figures or self._is_kernel):
            return  # a terminal would print each update as another line
        with self._lock:
            self._updated = time.monotonic()
            reading = self._reader.read(now=now)
            if self._figures:
                self._figures.value = panel_html.live(reading)
            else:
                self._publish(bundle(reading), update=True)
            if self._controls:
                self._controls.follow(reading)

    def refresh_soon(self) -> None:
        """From the loop's thread: at most ten times a second, and the last change is always shown."""
        if not self._figures or self._scheduled:
            return
        wait = self._updated + UPDATE_EVERY - time.monotonic()
        if wait <= 0:
            self.refresh(now=False)
            return
        self._scheduled = True
        asyncio.get_running_loop().call_later(wait, self._refresh_late)

    def look(self) -> None:
        """From the cell's thread while it waits: who runs and who waits is seen before anything ends."""
        if self._figures and time.monotonic() - self._updated >= LOOK_EVERY:
            self.refresh(now=False)

    def _refresh_late(self) -> None:
        self._scheduled = False
        self.refresh(now=False)

    def close(self) -> None:
        """Leave the static twin in its place."""
        if self._closed:
            return
        with self._lock:
            self._closed = True
            if self._is_kernel and not self._deterministic:
                self._publish(bundle(self._reader.read(now=True)), update=True)
            if self._controls:
                self._controls.close()
            for widget in self._widgets:
                let_go(widget)

    def _live(self) -> dict[str, Any]:
        """The widget: the style sheet and the controls are sent once, the figures with every update."""
        from ipywidgets import HTML, VBox

        assert self._make_controls
        reading = self._reader.read(now=True)
        self._figures = HTML(panel_html.live(reading))
        self._controls = self._make_controls()
        self._controls.follow(reading)
        sheet = HTML(panel_html.SHEET)
        box = VBox([sheet, self._figures, self._controls.widget])
        self._widgets = [box, sheet, self._figures]
        view = box._repr_mimebundle_()
        return dict(view[0] if isinstance(view, tuple) else view)

    @property
    def _is_kernel(self) -> bool:
        return hasattr(self._shell, "kernel")

    def _publish(self, data: dict[str, Any], *, update: bool = False) -> None:
        self._shell.display_pub.publish(data, {}, transient={"display_id": self._display_id}, update=update)


def bundle(reading: Reading | None) -> dict[str, str]:
    """The panel without a widget; None leaves out every figure, and with them what our taste in tables may change."""
    if reading is None:
        return {"text/html": f"<p>{TITLE} (its figures vary)</p>", "text/plain": TITLE}
    return {"text/html": panel_html.static(reading), "text/plain": panel_html.text(reading)}
