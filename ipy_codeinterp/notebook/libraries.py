"""The libraries that draw interactive figures: scripts that come with packages beside the notebook, never by network.

They are found as files, and not imported; only Vega is put together by its package, `vl-convert-python`.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from ipy_codeinterp.framed import Library
from ipy_codeinterp.html import Unfit
from ipy_codeinterp.interactive import Figure

_PLOTLY = "package_data/plotly.min.js"
_BOKEH = tuple(f"server/static/js/{name}.min.js" for name in ("bokeh", "bokeh-widgets", "bokeh-tables"))


def library(figure: Figure) -> Library:
    """What draws `figure`. Raises `Unfit`, with what to install, where it is not here."""
    if figure.kind == "plotly":
        return _plotly()
    return _bokeh() if figure.kind == "bokeh" else _vega(figure.major if figure.kind == "vega-lite" else 0)


@cache
def _plotly() -> Library:
    return Library.of(_text("plotly", _PLOTLY), evaluates=True)  # its WebGL writes shaders' glue as functions


@cache
def _bokeh() -> Library:
    return Library.of("\n;".join(_text("bokeh", name) for name in _BOKEH))


@cache
def _vega(major: int) -> Library:
    """The newest one of `major` that there is, or the newest of all."""
    try:
        import vl_convert
    except ImportError:
        raise Unfit(_missing("vl-convert-python")) from None
    versions = [version for version in vl_convert.get_vegalite_versions() if version.startswith(f"{major}.")]
    newest = versions[-1] if versions else None
    return Library.of(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed", newest))


def _text(package: str, name: str) -> str:
    try:
        found = importlib.util.find_spec(package)
        folders = (found and found.submodule_search_locations) or ()
        return next(Path(folder, name).read_text("utf-8") for folder in folders)
    except (OSError, ValueError, StopIteration):
        raise Unfit(_missing(package)) from None


def _missing(package: str) -> str:
    return f"what draws it is not installed beside the notebook: %pip install {package}"
