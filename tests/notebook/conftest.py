"""One kernel for all tests of a module: starting one takes a second, warming the sandbox another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .kernel import Kernel, started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook's folder."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def kernel(clean_environment: dict[str, str], folder: Path) -> Iterator[Kernel]:
    """A kernel with the extension loaded."""
    with started(clean_environment, folder) as running:
        running.run("%load_ext ipy_codeinterp")
        yield running
