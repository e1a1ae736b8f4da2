"""Interactive figures in what code shows: found, taken apart into data, and said in words. Nothing of it is believed.

plotly, altair (Vega-Lite) and bokeh hand a notebook data, and scripts that draw them. Here the scripts are left
behind: `framed` draws the data with a library of this machine. As in `mime`, nothing here raises or does I/O.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["plotly", "vega-lite", "vega", "bokeh"]

WHY = "scripts draw it; --interactive lets them, in a frame without network"
MAX_CHARS = 10_000_000  # of a figure's JSON
MOST_WORDS, MOST_NAMES = 300, 6  # of a description; the first in characters
HEIGHTS = {"plotly": 450, "vega-lite": 400, "vega": 400, "bokeh": 600}  # pixels, where a figure names none
AROUND = {"plotly": 0, "vega-lite": 90, "vega": 90, "bokeh": 10}  # pixels that axes take beside the height it names
LOWEST, HIGHEST = 120, 1600

_PLOTLY = "application/vnd.plotly.v1+json"
_BOKEH, _BOKEH_LOADS = "application/vnd.bokehjs_exec.v0+json", "application/vnd.bokehjs_load.v0+json"
_JAVASCRIPT = "application/javascript"
_VEGA = re.compile(r"application/vnd\.(?P<kind>vega|vegalite)\.v(?P<major>\d{1,2})(?:\.\d{1,3})*[.+]json")
# bokeh shows an empty place, then a script that fills it; and before the first of them a line that says it is loading.
_BOKEH_PLACE = re.compile(r'\s*<div id="[\w-]{1,64}" data-root-id="[\w-]{1,64}"[^<>]{0,200}></div>\s*')
_BOKEH_LOADING = re.compile(r"\s*<style>[^<]{0,1000}\.bk-notebook-logo\b")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Figure:
    """`data` is JSON for the library that draws it, in its version where it has several; `height` is in pixels.

    `said` is what there is to see, as far as it is named; `mimes` are the types of the bundle that it stands for.
    """

    kind: Kind
    data: str
    said: str
    height: int
    mimes: frozenset[str]
    major: int = 0

    @property
    def words(self) -> str:
        """The figure for who cannot see it."""
        return f"{self.kind} figure" + (f": {self.said}" if self.said else "")

    def missing(self, why: str) -> str:
        """What stands in its place, in one line."""
        return f"[{self.kind} figure not shown: {why}]" + (f" {self.said}" if self.said else "")


def found(bundle: Mapping[str, Any]) -> Figure | None:
    """The interactive figure of a mimebundle, if there is one that is whole."""
    for mime, value in bundle.items():
        vega = _VEGA.fullmatch(mime) if isinstance(mime, str) else None
        if mime == _PLOTLY and isinstance(value, Mapping):
            return _figure("plotly", value, mime, _plotly_words(value), _at(value, "layout", "height"))
        if vega and isinstance(value, Mapping):
            kind: Kind = "vega" if vega["kind"] == "vega" else "vega-lite"
            return _figure(kind, value, mime, _vega_words(value), value.get("height"), int(vega["major"]))
        if mime == _BOKEH and isinstance(script := bundle.get(_JAVASCRIPT), str) and (plan := _bokeh_plan(script)):
            roots = list(_bokeh_roots(plan["docs"]))
            heights = (_at(root, "attributes", "height") for root in roots)
            return _figure("bokeh", plan, mime, _bokeh_words(roots), next(filter(_size, heights), None))
    return None


def is_beside(bundle: Mapping[str, Any]) -> bool:
    """Whether it only makes room for a figure, or loads what draws it: there is nothing to see, or to say."""
    markup = bundle.get("text/html")
    if _BOKEH_LOADS in bundle:
        return True
    return isinstance(markup, str) and bool(_BOKEH_PLACE.fullmatch(markup) or _BOKEH_LOADING.match(markup))


def _figure(kind: Kind, data: Any, mime: str, words: Iterator[str], height: object, major: int = 0) -> Figure | None:
    try:
        text = json.dumps(data, allow_nan=False)
        said = _clean(". ".join(filter(None, words)))[:MOST_WORDS]
    except (ValueError, TypeError, RecursionError):
        return None
    if len(text) > MAX_CHARS:
        return None
    named = _size(height)
    pixels = named + AROUND[kind] if named else HEIGHTS[kind]
    mimes = frozenset({mime, "text/html", "text/plain", _JAVASCRIPT})
    return Figure(kind, text, said, max(LOWEST, min(pixels, HIGHEST)), mimes, major)


# --- in words -------------------------------------------------------------------------------------


def _plotly_words(spec: Mapping[str, Any]) -> Iterator[str]:
    layout, traces = _at(spec, "layout"), _listed(_at(spec, "data"))
    yield _title(_at(layout, "title"))
    yield _counted(_word(_at(trace, "type")) or "scatter" for trace in traces)
    yield _axes((name, _title(_at(layout, f"{name}axis", "title"))) for name in "xy")
    yield _series(_word(_at(trace, "name")) for trace in traces)


def _vega_words(spec: Mapping[str, Any]) -> Iterator[str]:
    parts = [part for name in ("layer", "hconcat", "vconcat", "concat") for part in _listed(_at(spec, name))]
    marks = [_at(part, "mark") for part in [spec, *parts]]
    yield _title(_at(spec, "title"))
    yield _counted(_word(mark) or _word(_at(mark, "type")) for mark in marks)
    channels = [(name, _at(spec, "encoding", name)) for name in "xy"]
    yield _axes((name, _word(_at(each, "title")) or _word(_at(each, "field"))) for name, each in channels)


def _bokeh_words(roots: Sequence[Any]) -> Iterator[str]:
    yield _series(_word(_at(root, "attributes", "title", "attributes", "text")) for root in roots)


def _title(said: Any) -> str:
    """A title, or one that carries its text with its looks, or in several lines."""
    text = _at(said, "text") if isinstance(said, Mapping) else said
    return " ".join(map(_word, _listed(text))) or _word(text)


def _counted(kinds: Iterable[str]) -> str:
    counts = Counter(kind for kind in kinds if kind)
    return ", ".join(f"{count} {kind}" for kind, count in list(counts.items())[:MOST_NAMES])


def _axes(named: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} axis: {label}" for name, label in named if label)


def _series(names: Iterable[str]) -> str:
    said = [name for name in names if name]
    more = f" and {len(said) - MOST_NAMES} more" if len(said) > MOST_NAMES else ""
    return ", ".join(said[:MOST_NAMES]) + more


def _word(said: object) -> str:
    return _clean(said[:MOST_WORDS]) if isinstance(said, str) else ""


def _clean(said: str) -> str:
    return " ".join(_CONTROL.sub(" ", said).split())


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _size(value: object) -> int:
    """Pixels, or 0 for what is no number of them."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and 0 < value < 1_000_000 else 0  # type: ignore[operator, call-overload]


# --- bokeh ----------------------------------------------------------------------------------------


def _bokeh_plan(script: str) -> dict[str, Any] | None:
    """What bokeh's script would hand its library: the documents, and which of their roots stands where."""
    docs, items = _constant(script, "docs_json"), _constant(script, "render_items")
    return {"docs": docs, "items": items} if isinstance(docs, dict) and isinstance(items, list) else None


def _constant(script: str, name: str) -> Any:
    """The value of `const name = JSON;`, without reading any of the script as a script."""
    _, found, rest = script.partition(f"const {name} = ")
    try:
        return json.JSONDecoder().raw_decode(rest)[0] if found else None
    except (ValueError, RecursionError):
        return None


def _bokeh_roots(docs: Mapping[str, Any]) -> Iterator[Any]:
    for document in docs.values():
        roots = _at(document, "roots")
        yield from _listed(roots) or _listed(_at(roots, "references"))
