"""Drives a real JupyterLab in headless Chromium and reports what a person at the screen would see.

`LabPage` is one notebook, open in a `LabServer`. Times are in seconds, cells are counted from 0, and every
wait has a deadline: past it comes a TimeoutError that says what the page looked like. Playwright is imported
only when a browser is opened.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .labserver import Face, LabServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Request, Response

PATIENCE = 60.0
WINDOW = {"width": 1280, "height": 900}
TALLEST = 16_000  # pixels; Chromium's pictures end at 16384
IN_THE_PAGE = Path(__file__).with_name("lab.js")

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a wish for a CDN becomes a failed request
)
NOISE = re.compile(r"favicon\.ico|ERR_ABORTED")  # a request given up by the page itself


def missing() -> str | None:
    """What a browser test lacks on this machine, or None."""
    for package in ("playwright", "jupyterlab"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: pip install -e '.[test]'"
    return None if chromium() else f"no Chromium on the PATH (looked for {', '.join(CHROMIUM_NAMES)})"


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_ARGUMENTS))
        with contextlib.closing(browser):
            yield browser


class LabPage:
    """One notebook open in the Lab, with its kernel; both are closed at the end. `tab` is Playwright's own page."""

    def __init__(self, browser: Browser, server: LabServer, notebook: str, face: Face = "lab") -> None:
        self.file = server.notebooks / notebook
        self._server, self._notebook, self._face = server, notebook, face
        self._errors: list[str] = []
        self._context = browser.new_context(viewport=WINDOW, reduced_motion="reduce", locale="en-US")
        self._context.add_init_script(path=IN_THE_PAGE)
        self.tab = self._context.new_page()
        self._listen()

    def __enter__(self) -> LabPage:
        try:
            self.tab.goto(self._server.url(self._notebook, self._face), wait_until="domcontentloaded")
            self._until("open", self._is_ready, PATIENCE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._context.close()
        finally:
            self._server.end_kernel_of(self._notebook)

    def run_all(self) -> None:
        """Start every cell; does not wait."""
        self.tab.evaluate("drive.start('notebook:run-all-cells')")

    def run(self, cell: int) -> None:
        """Start one cell; does not wait."""
        self.tab.evaluate("cell => drive.run(cell)", cell)

    def interrupt(self) -> None:
        """Press the stop button of the notebook's toolbar."""
        self.tab.locator('.jp-Toolbar [data-command="notebook:interrupt-kernel"]').click()

    def wait_idle(self, timeout: float = PATIENCE) -> None:
        """Wait until no cell runs or is queued, and that for a moment."""
        self._until("idle", self._is_idle, timeout, settle=0.4)

    def wait_text(self, cell: int, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until the cell's output matches, which may be while it runs."""
        return self._until(f"/{pattern}/ in cell {cell}", lambda: re.search(pattern, self.text(cell)), timeout)

    def cell(self, cell: int) -> Locator:
        """The cell on the screen, to look for buttons and the like: `page.cell(0).get_by_role("button").click()`."""
        return self.tab.locator(".jp-Notebook .jp-Cell").nth(cell)

    def set_source(self, cell: int, source: str) -> None:
        self.tab.evaluate("([cell, source]) => drive.cells()[cell].model.sharedModel.setSource(source)", [cell, source])

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        """The outputs as nbformat has them."""
        return self.tab.evaluate("cell => drive.cells()[cell].model.outputs.toJSON()", cell)

    def text(self, cell: int) -> str:
        """What can be read in the outputs, one below the other, without their prompts."""
        return self.tab.evaluate("cell => drive.text(cell)", cell)

    def prompt(self, cell: int) -> str:
        """`[3]:` when it ran, `[*]:` while it runs or is queued, `[ ]:` when neither."""
        return self.tab.evaluate("cell => drive.prompt(cell)", cell)

    def table(self, cell: int) -> list[list[str]]:
        """The texts of the tables in the output, row by row."""
        rows = self.cell(cell).locator(".jp-OutputArea-output table tr").all()
        return [[text.strip() for text in row.locator("th, td").all_inner_texts()] for row in rows]

    def images(self, cell: int) -> list[tuple[int, int]]:
        """Width and height of the images in the output, in their own pixels; a broken image is (0, 0)."""
        return [(width, height) for width, height in self.tab.evaluate("cell => drive.images(cell)", cell)]

    def theme(self, name: str) -> None:
        """Dress the page in `JupyterLab Light` or `JupyterLab Dark`, and wait until it is."""
        self.tab.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        self.tab.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)

    def contrasts(self, cell: int) -> dict[str, float]:
        """Each text of the output, also what stands in fields and on buttons, with its contrast to what is behind it.

        As WCAG 2 counts it: 1 is none, 4.5 is the least for text of that size, 21 is black on white.
        """
        return dict(self.tab.evaluate("cell => drive.contrasts(cell)", cell))

    def errors(self) -> list[str]:
        """What the console would show red: errors of the page, and requests that failed."""
        self.tab.wait_for_timeout(0)  # lets events that have arrived be heard
        return [error for error in self._errors if not NOISE.search(error)]

    def save(self) -> dict[str, Any]:
        """Save, wait until the file is written, and read it."""
        self.tab.evaluate("drive.save()")
        self._until("saved", lambda: self.tab.evaluate("drive.saved"), PATIENCE)
        return json.loads(self.file.read_text(encoding="utf-8"))

    def screenshot(self, path: Path, cell: int | None = None, full: bool = False) -> None:
        """A picture of the window; of one cell; or `full`, of a window as tall as the notebook."""
        window = contextlib.nullcontext() if cell is None and not full else self._tall_window()
        target = self.tab if cell is None else self.cell(cell)
        with window:
            target.screenshot(path=path, animations="disabled")

    @contextlib.contextmanager
    def _tall_window(self) -> Iterator[None]:
        height = WINDOW["height"]
        try:
            for _growth in range(3):  # a running cell may go on growing
                height = min(TALLEST, height + self.tab.evaluate("drive.hidden()"))
                self.tab.set_viewport_size({"width": WINDOW["width"], "height": height})
            yield
        finally:
            self.tab.set_viewport_size(WINDOW)
            self.tab.evaluate("drive.hidden()")

    def _listen(self) -> None:
        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                self._errors.append(f"console: {message.text}")

        def answered(response: Response) -> None:
            if response.status >= 400:
                self._errors.append(f"{response.request.method} {response.url}: {response.status}")

        def failed(request: Request) -> None:
            self._errors.append(f"{request.method} {request.url}: {request.failure}")

        self.tab.on("console", said)
        self.tab.on("response", answered)
        self.tab.on("requestfailed", failed)
        self.tab.on("pageerror", lambda error: self._errors.append(f"page: {error}"))

    def _state(self) -> dict[str, Any]:
        return self.tab.evaluate("drive.state()")

    def _is_ready(self) -> bool:
        state = self._state()
        return state["loaded"] and state["kernel"] == "idle" and state["connection"] == "connected"

    def _is_idle(self) -> bool:
        state = self._state()
        return state["kernel"] == "idle" and not state["runs"] and not state["waiting"]

    def _until(self, what: str, holds: Callable[[], Any], timeout: float, settle: float = 0.0) -> Any:
        """Wait until it holds, and for `settle` seconds without a break; its value."""
        start = since = time.monotonic()
        while True:
            value, now = holds(), time.monotonic()
            if not value:
                since = now
            elif now - since >= settle:
                return value
            if now - start > timeout:
                texts = self.tab.evaluate("drive.cells().map((_, i) => drive.text(i).slice(-300))")
                seen = {**self._state(), "texts": texts, "errors": self.errors()}
                raise TimeoutError(f"not {what} after {timeout:g} s: {json.dumps(seen, indent=2)}")
            self.tab.wait_for_timeout(50)


class OpenNotebook(Protocol):
    """Opens a notebook of the given cell sources, or a copy of a notebook file."""

    def __call__(self, cells: Sequence[str] | Path, face: Face = "lab") -> LabPage: ...
