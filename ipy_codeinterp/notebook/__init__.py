"""Face 1: the magics, what they show and the panel. Loading and unloading are mirror images."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.notebook.magics import InterpMagics

NAME = InterpMagics.__name__


def load(shell: InteractiveShell) -> None:
    """Register the magics and start the local gateway in the background."""
    unload(shell)
    magics = InterpMagics(shell)
    shell.register_magics(magics)
    magics.open()


def unload(shell: InteractiveShell) -> None:
    """Leave no thread, process, socket or magic behind."""
    magics = shell.magics_manager.registry.pop(NAME, None)
    if magics is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("interp", None)
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    magics.close()
