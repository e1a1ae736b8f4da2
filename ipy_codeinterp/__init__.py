"""A code interpreter for notebook cells: `%load_ext ipy_codeinterp`, then `%%interp` over a cell.

From Python the same is `async with Session() as s: result = await s.execute(code)`, or `Session().run(code)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipy_codeinterp.errors import InterpError
    from ipy_codeinterp.execution import Execution, Result
    from ipy_codeinterp.session import Session
    from ipy_codeinterp.settings import Settings

__all__ = [
    "Execution",
    "InterpError",
    "Result",
    "Session",
    "Settings",
    "__version__",
    "load_ipython_extension",
    "unload_ipython_extension",
]

# Public names are imported when asked for: `%load_ext` must not pay for what a notebook does not use.
_HOMES = {
    "Execution": "execution",
    "InterpError": "errors",
    "Result": "execution",
    "Session": "session",
    "Settings": "settings",
}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext ipy_codeinterp`."""
    from ipy_codeinterp.notebook import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext ipy_codeinterp`."""
    from ipy_codeinterp.notebook import unload

    unload(shell)


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version("ipy-codeinterp")
    if name in _HOMES:
        return getattr(importlib.import_module(f"ipy_codeinterp.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ipy_codeinterp' has no attribute {name!r}")
