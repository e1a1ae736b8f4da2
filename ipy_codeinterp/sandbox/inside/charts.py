"""Altair's charts are shown as what they are, data, and not as a page of scripts that a notebook may not run."""

from __future__ import annotations

import sys
from typing import Any

MODULES = tuple(f"altair.vegalite.v{major}.api" for major in (5, 6))  # where each version has its base class


def configure(shell: Any) -> None:
    """For charts of whichever altair is imported later; nothing is imported for it."""
    formatter = shell.display_formatter.mimebundle_formatter
    for module in MODULES:
        formatter.for_type_by_name(module, "TopLevelMixin", bundle)


def bundle(chart: Any, include: Any = None, exclude: Any = None) -> Any:
    """What `chart` says itself, by the renderer that the code has chosen, if it has."""
    renderers = sys.modules["altair"].renderers
    if renderers.active != "default":
        return chart._repr_mimebundle_(include=include, exclude=exclude)
    with renderers.enable("mimetype"):
        return chart._repr_mimebundle_(include=include, exclude=exclude)
