"""One gateway for all tests of a module."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from .wire import Gateway, served


@pytest.fixture(scope="module")
def gateway(clean_environment: dict[str, str], cache_dir: Path) -> Iterator[Gateway]:
    """What it runs it runs in one container, unless told otherwise: a fresh one costs a second."""
    with served(clean_environment, cache_dir) as gateway:
        yield dataclasses.replace(gateway, container=gateway.run("1").json["container"]["id"])
