"""The HTML of a frame: what a sandbox sent is nowhere in it but packed, and the policy names the scripts there are."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from typing import Any

import pytest

from ipy_codeinterp.framed import Library, caption, frame
from ipy_codeinterp.interactive import Figure, found

PLOTLY = "application/vnd.plotly.v1+json"
EVIL = '"></iframe><script>alert(1)</script><img src=https://evil.example onerror=alert(2)>\u2028</script>'
LIBRARY = Library.of("window.Plotly = {}")


def figure(**spec: Any) -> Figure:
    made = found({PLOTLY: {"data": [], **spec}})
    assert made is not None
    return made


def inner(element: str) -> tuple[str, str]:
    """The documents of the frame and of the one within it."""
    documents = []
    for _ in range(2):
        (packed,) = re.findall(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>', element)
        element = html.unescape(packed)
        documents.append(element)
    return documents[0], documents[1]


def test_only_data_goes_in_and_only_packed() -> None:
    """A figure that is made to break out of any quote changes no character of the page but those of its packed data."""
    plain, evil = (inner(frame(figure(text=text), LIBRARY))[1] for text in ("x", EVIL))
    packed = r'(?<=id="data">)[A-Za-z0-9+/=]*(?=</script>)'
    assert re.sub(packed, "", plain) == re.sub(packed, "", evil)
    (data,) = re.findall(packed, evil)
    assert gzip.decompress(base64.b64decode(data)).decode() == figure(text=EVIL).data


def test_its_words_are_text() -> None:
    """What a figure calls itself is escaped in the caption and in the title for who cannot see it."""
    evil = figure(layout={"title": EVIL})
    assert "<script" not in caption(evil) and "<img" not in caption(evil)
    outer, within = inner(frame(evil, LIBRARY))
    assert "evil.example" in html.unescape(outer) and "evil.example" not in within
    assert re.findall(r"<(\w+)", frame(evil, LIBRARY)) == ["iframe"]


@pytest.mark.parametrize("which", [0, 1], ids=["outer", "inner"])
def test_every_frame_has_the_walls(which: int) -> None:
    """Both documents begin with the policy, which forbids all that it does not name; both frames are sandboxed."""
    element = frame(figure(), LIBRARY)
    document = inner(element)[which]
    (policy,) = re.findall(r'^<!doctype html><meta http-equiv="Content-Security-Policy" content="([^"]*)">', document)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    forbidden = {name for name, value in rules.items() if value == "'none'"}
    assert forbidden == {"default-src", "frame-src", "form-action", "base-uri"}
    assert set(rules) - forbidden == {"script-src", "style-src", "img-src", "font-src"}
    assert "http" not in policy and "unsafe-inline" not in rules["script-src"]
    around = element if which == 0 else inner(element)[0]
    assert re.findall(r'<iframe [^>]*?sandbox="([^"]*)"', around) == ["allow-scripts"]


def test_the_policy_names_the_scripts_by_their_hashes() -> None:
    """The one script that is written in the page, and the library that it unpacks, are those that may run."""
    _, within = inner(frame(figure(), LIBRARY))
    (written,) = re.findall(r"<script>(.*?)</script>", within, re.DOTALL)
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (written, "window.Plotly = {}")
    ]
    assert re.findall(r"'sha256-([^']*)'", within) == hashes
    assert "unsafe-eval" not in within
    assert "'unsafe-eval'" in html.unescape(frame(figure(), Library.of("x", evaluates=True)))


def test_the_same_figure_is_the_same_text() -> None:
    """Nothing in a frame is drawn by lot or tells the time."""
    assert frame(figure(layout={"title": "T"}), LIBRARY) == frame(figure(layout={"title": "T"}), LIBRARY)
