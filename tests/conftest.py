"""Every test gets a home of its own; the sandbox's caches are filled once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

pytest.register_assert_rewrite("ipy_codeinterp.testing")  # before anybody imports it

# No test depends on the clock: an example that takes long on a busy machine is no failure.
hypothesis.settings.register_profile("house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("house")

NO_KEYS = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}  # the developer's own are nobody's business


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def clean_environment(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables for a child process: nothing of the developer's, nothing of pytest's."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "CI")}
    home = tmp_path_factory.mktemp("home")
    return {
        **kept,
        **NO_KEYS,
        "HOME": str(home),
        "IPYTHONDIR": str(home / ".ipython"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CONFIG_DIRS": str(home / "etc"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPY_CODEINTERP_CACHE_DIR": str(cache_dir),
        "IPY_CODEINTERP_DATA_DIR": str(home / "data"),
    }


@pytest.fixture(autouse=True)
def private_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path) -> None:
    """Settings of the developer do not count, and no test writes where the developer's own results are."""
    for name in list(os.environ):
        if name.startswith("IPY_CODEINTERP_"):
            monkeypatch.delenv(name)
    for name, value in NO_KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPY_CODEINTERP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("IPY_CODEINTERP_CACHE_DIR", str(cache_dir))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """Plain IPython, without a kernel, with the extension loaded; in a folder of its own, away from every project."""
    from IPython.core.interactiveshell import InteractiveShell

    from ipy_codeinterp import notebook

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPY_CODEINTERP_WARM", "never")
    shell = InteractiveShell()
    notebook.load(shell)
    yield shell
    notebook.unload(shell)
