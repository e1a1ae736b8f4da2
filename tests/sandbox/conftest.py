"""One sandbox for all tests of a module: starting a container costs a second, running a cell in one nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipy_codeinterp.errors import NoIsolation
from ipy_codeinterp.sandbox import environment, isolation
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.isolation import Bubblewrap
from ipy_codeinterp.sandbox.scratch import Scratch

from .wing import Wing


@pytest.fixture(scope="session")
def scratch(cache_dir: Path) -> Iterator[Scratch]:
    scratch = Scratch(cache_dir)
    yield scratch
    scratch.close()


@pytest.fixture(scope="session")
def here() -> Environment:
    """The environment that runs the tests."""
    return environment.find()


@pytest.fixture(scope="session")
def bubblewrap(here: Environment, scratch: Scratch) -> Bubblewrap:
    try:
        found = isolation.find("auto", here, scratch)
    except NoIsolation as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{error}: {error.hint}")
    assert isinstance(found, Bubblewrap)
    isolation.fill_caches(found)
    return found


@pytest.fixture(scope="module")
def wing(bubblewrap: Bubblewrap) -> Iterator[Wing]:
    wing = Wing(bubblewrap)
    yield wing
    wing.close()


@pytest.fixture
def fresh(wing: Wing) -> Iterator[Container]:
    """A container of the test's own, for what a container does not survive."""
    container = wing.fresh()
    yield container
    wing.end(container)
