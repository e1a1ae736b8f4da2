"""Every source of containers that we have keeps the laws of a sandbox."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from ipy_codeinterp.sandbox import sources
from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.isolation import Bare, Bubblewrap, Isolation
from ipy_codeinterp.sandbox.scratch import Scratch
from ipy_codeinterp.testing import SandboxLaws, Start, places_of

pytestmark = pytest.mark.sandbox


class OurLaws(SandboxLaws):
    """The source that goes with `isolation`."""

    isolation: Isolation

    def places(self) -> contextlib.AbstractAsyncContextManager[Start]:
        return places_of(sources.of(self.isolation))


class TestForks(OurLaws):
    """The zygote."""

    @pytest.fixture(autouse=True)
    def with_a_zygote(self, bubblewrap: Bubblewrap) -> None:
        if not bubblewrap.forks:
            pytest.skip("a zygote may make no namespaces here")
        self.isolation = bubblewrap


class TestPrograms(OurLaws):
    """One bubblewrap a run."""

    burst = 3  # a second each

    @pytest.fixture(autouse=True)
    def without_a_zygote(self, bubblewrap: Bubblewrap) -> None:
        self.isolation = replace(bubblewrap, forks=False)


class TestBare(OurLaws):
    """No isolation at all."""

    isolated = False
    burst = 3

    @pytest.fixture(autouse=True)
    def without_walls(self, here: Environment, scratch: Scratch) -> None:
        self.isolation = Bare(here, scratch)
