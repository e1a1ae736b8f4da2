"""The front door: what is public is listed, can be had, and costs nothing until it is asked for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib import resources

import pytest

import ipy_codeinterp

HEAVY = ("IPython", "aiohttp", "numpy", "ipywidgets", "matplotlib", "asyncio")

TABLES = ("anthropic", "compatible", "gemini", "holysheep", "local", "openai")


def test_sorted() -> None:
    """The public names are listed once each, in order."""
    assert sorted(set(ipy_codeinterp.__all__)) == ipy_codeinterp.__all__


@pytest.mark.parametrize("name", ipy_codeinterp.__all__)
def test_importable(name: str) -> None:
    """Every public name can be had."""
    assert getattr(ipy_codeinterp, name)


def test_no_other_names() -> None:
    """A name that is not there is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        ipy_codeinterp.Sesion  # noqa: B018


def test_version() -> None:
    """The version is that of the installed package."""
    assert ipy_codeinterp.__version__ == importlib.metadata.version("ipy-codeinterp")


def fresh(code: str) -> list[str]:
    """What a new Python prints, as words."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_lazy() -> None:
    """Importing the package imports nothing heavy."""
    assert fresh(f"import ipy_codeinterp, sys; print(*set({HEAVY}) & set(sys.modules))") == []


def test_session_is_light() -> None:
    """A session can be opened without the network's library: only the first run pays for it."""
    heavy = ("IPython", "aiohttp", "numpy", "ipywidgets", "matplotlib")
    code = f"import sys; from ipy_codeinterp import Session, Settings, Result; print(*set({heavy}) & set(sys.modules))"

    assert fresh(code) == []


@pytest.mark.parametrize("path", ["py.typed", *(f"catalog/{name}.toml" for name in TABLES)])
def test_package_data(path: str) -> None:
    """Type information and data files are part of the package."""
    assert resources.files("ipy_codeinterp").joinpath(path).is_file()


def test_all_data_is_packaged() -> None:
    """Every table of the catalog that it loads is a file of the package."""
    tables = [item.name for item in resources.files("ipy_codeinterp.catalog").iterdir() if item.name.endswith(".toml")]

    assert sorted(tables) == sorted(f"{name}.toml" for name in TABLES)
