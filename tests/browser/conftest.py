"""Fixtures of the browser tests, which run best in a pytest process of their own: `pytest -m browser tests/browser`.

Playwright's synchronous interface keeps an event loop running in the main thread from the first browser test to
the end of the session; `asyncio.run` in a later test of the same process would raise. So when everything is run
in one process, the tests of this folder go last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .lab import LabPage, OpenNotebook, missing, open_browser
from .labserver import Face, LabServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder `browser`, and let them go last."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: here in item.path.parents)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; without one the tests are skipped, but fail where CI promises one."""
    if lack := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lack)
    with open_browser() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def lab(
    browser: Browser, clean_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabServer]:
    """A running JupyterLab whose kernels have a home of their own."""
    with LabServer(tmp_path_factory.mktemp("lab"), env=clean_environment) as server:
        yield server


@pytest.fixture
def open_notebook(browser: Browser, lab: LabServer, request: pytest.FixtureRequest) -> Iterator[OpenNotebook]:
    """Open a notebook of the given cell sources, or a copy of a notebook file; closed with its kernel at the end."""
    with contextlib.ExitStack() as stack:

        def opened(cells: Sequence[str] | Path, face: Face = "lab") -> LabPage:
            return stack.enter_context(LabPage(browser, lab, lab.add(cells, request.node.name), face))

        yield opened
