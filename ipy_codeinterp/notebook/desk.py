"""What one notebook has on its desk: its session and panel, the cells it ran, and what goes on behind them."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp import exchange
from ipy_codeinterp.execution import Execution, Partial, Result
from ipy_codeinterp.notebook import footer, nest
from ipy_codeinterp.notebook.configured import Configured
from ipy_codeinterp.notebook.controls import Controls
from ipy_codeinterp.notebook.frames import Frames
from ipy_codeinterp.notebook.hints import Past, Surroundings
from ipy_codeinterp.notebook.jobs import Jobs
from ipy_codeinterp.notebook.panel import Panel
from ipy_codeinterp.notebook.progress import Progress, is_alone
from ipy_codeinterp.notebook.reading import Reader
from ipy_codeinterp.notebook.view import View, is_deterministic
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store.history import Kept

if TYPE_CHECKING:
    from ipy_codeinterp.warm import Warming

MOST_PAST = 50  # earlier cells that hints look at


class Desk:
    """Cells and verbs do their work on it, on the notebook's own thread; `close()` lets go of everything."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self.shell = shell
        self.session = session
        self.session.notebook = notebook_name(shell)
        self.past: deque[Past] = deque(maxlen=MOST_PAST)
        self.warmings: dict[str, Warming] = {}  # by offer
        self.jobs = Jobs(session, lambda: self.settings.jobs)
        self.configured = Configured(session.settings, {})  # who said which setting
        self.at_once: tuple[str, ...] = ()  # settings that %config changes
        self.tune: Callable[[str, Any], None] = lambda name, value: None  # how the panel changes one
        self.last_task: Kept | None = None  # which the next one goes on from
        self._panel: Panel | None = None
        self._name = secrets.token_hex(4)
        self._places = itertools.count(1)

    @property
    def settings(self) -> Settings:
        return self.session.settings

    @property
    def is_deterministic(self) -> bool:
        return is_deterministic(self.settings.render)

    def close(self) -> None:
        self.jobs.close()
        self.close_panel()
        self.session.close()

    # --- the screen ---

    def say(self, text: str) -> None:
        print(text)  # noqa: T201 - this is the screen

    def remark(self, text: str) -> None:
        """What is beside the work."""
        print(text, file=sys.stderr)  # noqa: T201 - this is the screen

    def view(
        self,
        *,
        container: str | None = None,
        facts: Mapping[str, Any] | None = None,
        author: str = "",
        interactive: bool = False,
    ) -> View:
        """A place under the running cell for what code shows; display ids are valid in its container, or here only.

        Figures are `interactive` where the setting says so, too.
        """
        where = f"in {container}" if container else next(self._places)
        return View(
            self.shell,
            deterministic=self.is_deterministic,
            place=f"interp-{self._name}-{where}",
            facts=dict(facts or {}),
            author=author,
            frames=Frames(deterministic=self.is_deterministic) if interactive or self.settings.interactive else None,
        )

    @property
    def makes_cells(self) -> bool:
        """Whether a front end puts what we hand it into a new cell: some forget it, runners have none."""
        own = ("__vsc_ipynb_file__" in self.shell.user_ns, "COLAB_GPU" in os.environ, self.is_deterministic)
        return not any(own) and (not hasattr(self.shell, "kernel") or "JPY_SESSION_NAME" in os.environ)

    @property
    def pause(self) -> Callable[[], None] | None:
        """What to do while there is nothing to show."""
        return nest.pause if self.settings.bridge == "nest" and nest.is_possible() else None

    # --- the cells ---

    def progress(self, view: View, execution: Execution) -> Progress | None:
        """The line that says what a cell waits for, where somebody looks at it."""
        if self.is_deterministic or not has_front_end(self.shell) or not is_alone(self.shell):
            return None
        return Progress(self.shell, view.show, is_written=execution.kind == "task")

    def foot(self, execution: Execution, ended: Result | Partial) -> None:
        """The line under a cell that was run; whatever is wrong with it, the cell has what it was for."""
        if self.settings.footer:
            with contextlib.suppress(Exception):
                footer.show(self.shell, execution, ended, deterministic=self.is_deterministic)

    def ended(self, execution: Execution) -> None:
        """A cell has been run, however that went."""
        sent = tuple(name for file in execution.inputs if (name := exchange.name_of(file)))
        self.past.append(Past.of(execution.body, execution.container, sent))
        if self._panel:
            self._panel.refresh()

    def surroundings(self, execution: Execution, result: Result) -> Surroundings:
        """What the notebook knows, for hints about the cell that has just ended."""
        return Surroundings(
            namespace=self.shell.user_ns,
            folder=Path.cwd(),
            past=tuple(self.past)[:-1],  # without this one
            container=execution.container,
            is_new=bool(result.container_new),
            has_network=execution.network,
        )

    # --- the panel ---

    def look(self) -> None:
        """While a cell waits: what is on the screen beside it goes on."""
        if self._panel:
            self._panel.look()

    def open_panel(self) -> None:
        """Show it under the running cell; one that was open stays as a table."""
        self.close_panel()
        controls = partial(Controls, lambda: self.settings, self.tune, self.jobs)
        self._panel = panel = Panel(
            self.shell,
            Reader(self.session, self.jobs),
            controls=controls if has_front_end(self.shell) else None,
            deterministic=self.is_deterministic,
        )
        panel.show()
        self.session.on_settled = lambda _: panel.refresh_soon()
        self.jobs.on_change = panel.refresh_soon

    def close_panel(self) -> None:
        self.session.on_settled = lambda _: None
        self.jobs.on_change = lambda: None
        if self._panel:
            self._panel.close()
            self._panel = None


def has_front_end(shell: InteractiveShell) -> bool:
    """Whether somebody is there to whom a widget can be shown: Jupyter Server and VS Code leave their marks."""
    marks = ("JPY_SESSION_NAME" in os.environ, "__vsc_ipynb_file__" in shell.user_ns, "COLAB_GPU" in os.environ)
    return hasattr(shell, "kernel") and any(marks)


def notebook_name(shell: InteractiveShell) -> str | None:
    """What the notebook is called, where its front end says so."""
    said = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return Path(str(said)).name if said else None
