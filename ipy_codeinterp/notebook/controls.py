"""What a live panel can be told with: the budget, the concurrency, and a button to cancel each job.

Standard widgets, each with its label. The front end may send what is clicked to a thread beside the running cell, so
nothing here prints, and what it calls must bear that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook.jobs import Jobs, JobState
from ipy_codeinterp.notebook.reading import Reading
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.tables import cell

NO_LIMIT = "no limit"
MOST_BUTTONS = 8
MOST_NAME = 40  # characters of a job's name

# Settings that can be changed here, each with its label.
TUNED = {"budget": "Budget of the session, USD", "concurrency": "Calls at once, a model"}


class Controls:
    """`tune` changes a setting, or raises; `jobs` are those of the notebook."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        tune: Callable[[str, Any], None],
        jobs: Jobs,
    ) -> None:
        from ipywidgets import HTML, Button, HBox, Layout, Text, VBox

        self._settings = settings
        self._tune = tune
        self._jobs = jobs
        self._new_button = Button
        self._fields = {name: Text(placeholder=NO_LIMIT, continuous_update=False) for name in TUNED}
        for name, field in self._fields.items():
            field.description, field.style.description_width = TUNED[name], "initial"
            field.layout = Layout(width="20em")
            field.value = self._now(name)
            field.observe(self._changed(name), "value")
        self._wrong = HTML()
        self._buttons: dict[str, Any] = {}  # by job
        self._row = HBox([], layout=Layout(flex_flow="row wrap"))
        self._fields_row = HBox([*self._fields.values(), self._wrong], layout=Layout(flex_flow="row wrap"))
        self.widget = VBox([self._fields_row, self._row])
        for each in self._all():
            answer_where_asked(each)

    def follow(self, reading: Reading) -> None:
        """The fields say what is set now, and each running job has a button."""
        for name, field in self._fields.items():
            if field.value != self._now(name):
                field.value = self._now(name)
        running = {job.id: job for job in [job for job in reading.jobs if job.is_running][:MOST_BUTTONS]}
        if list(running) == list(self._buttons):
            return
        ended = [self._buttons.pop(id) for id in list(self._buttons) if id not in running]
        self._buttons = {id: self._buttons.get(id) or self._button(job) for id, job in running.items()}
        self._row.children = tuple(self._buttons.values())
        for button in ended:
            let_go(button)

    def close(self) -> None:
        for each in self._all():
            let_go(each)

    def _all(self) -> list[Any]:
        return [*self._fields.values(), self._wrong, *self._buttons.values(), self._row, self._fields_row, self.widget]

    def _now(self, name: str) -> str:
        value = getattr(self._settings(), name)
        return "" if value is None else str(value)

    def _changed(self, name: str) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            if change["new"] == self._now(name):
                return
            self._wrong.value = ""
            try:
                self._tune(name, change["new"].strip() or None)
            except Exception as error:  # whatever is wrong with it, it is said beside the field
                self._wrong.value = f"{TUNED[name]}: {_in_html(str(error))}"
            self._fields[name].value = self._now(name)

        return changed

    def _button(self, job: JobState) -> Any:
        """Named by the code: the ids of one process begin alike."""
        words = f"Cancel {cell(job.head, MOST_NAME)}"
        button = self._new_button(description=words, tooltip=f"{words} ({job.id})", layout={"width": "auto"})
        answer_where_asked(button)

        def clicked(_: Any) -> None:
            button.disabled = True  # seen at once; it goes when the job has ended
            with contextlib.suppress(Exception):  # one that has just ended
                self._jobs.cancel(job.id)

        button.on_click(clicked)
        return button


def let_go(widget: Any) -> None:
    """Close it with its layout and its style, which are widgets of their own: ipywidgets would keep both for good."""
    for each in (widget, widget.layout, getattr(widget, "style", None)):
        if each is not None:
            each.close()


def answer_where_asked(widget: Any) -> None:
    """Let the front end choose the thread that a click comes to: ipykernel 7.4 makes it wait for the running cell."""
    comm = getattr(widget, "comm", None)
    if hasattr(type(comm), "_reply_subshell_for"):  # a private name, of 7.4 only
        comm._reply_subshell_for = lambda data, default: default  # type: ignore[union-attr]


def _in_html(text: str) -> str:
    from html import escape

    return escape(" ".join(safe_text(text).split())[:200])
