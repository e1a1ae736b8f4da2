"""What a cell shows of interactive figures where it asks for them: a frame, or words where outputs are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipy_codeinterp import framed, interactive
from ipy_codeinterp.html import Unfit
from ipy_codeinterp.notebook import libraries


class Frames:
    """For one view. `deterministic` outputs have no frame: it would carry ids, and a library's version."""

    def __init__(self, *, deterministic: bool) -> None:
        self._deterministic = deterministic

    def bundle(self, data: Mapping[str, Any]) -> dict[str, str]:
        """The figure in `data` as a front end gets it, or nothing; where a package is missing, what to install."""
        figure = interactive.found(data)
        if figure is None:
            return {}
        try:
            drawn = "" if self._deterministic else framed.frame(figure, libraries.library(figure))
        except Unfit as why:
            return {"text/plain": figure.missing(str(why))}
        return {"text/plain": figure.words, "text/html": framed.caption(figure) + drawn}
