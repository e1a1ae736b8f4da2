"""All that a run has shown so far as one display: everything is there, and nothing of it acts."""

from __future__ import annotations

import pytest

from ipy_codeinterp.execution import (
    Clear,
    CodeDelta,
    Display,
    Error,
    Event,
    Notice,
    Restarted,
    Stream,
    TextDelta,
    Update,
)
from ipy_codeinterp.notebook.canvas import MOST_TEXT, Canvas, draw


def drawn(*events: Event, author: str = "") -> dict[str, str]:
    canvas = Canvas(author)
    for event in events:
        canvas.feed(event)
    canvas.close()
    return canvas.bundle("head", canvas.seen())


def test_everything() -> None:
    """Text, tables, figures and errors stand below each other in the order they came; notes come last."""
    table = Display({"text/html": "<table><tr><td>7</td></tr></table>", "text/plain": "7"})
    found = drawn(Stream("stdout", "a\n"), Notice("mind this"), table, Error("E", "no", ("\x1b[31mE: no\x1b[0m",)))

    assert found["text/plain"] == "head\na\n7\nE: no\nmind this"
    assert found["text/html"].index(">a<") < found["text/html"].index("<td>7</td>") < found["text/html"].index("E: no")


def test_as_a_notebook_keeps_it() -> None:
    """Updates and clears are obeyed; what came before a new attempt does not count."""
    shown = Display({"text/plain": "1"}, display_id="d")

    assert drawn(shown, Update("d", {"text/plain": "2"}))["text/plain"] == "head\n2"
    assert drawn(Stream("stdout", "a"), Clear(), Stream("stdout", "b"))["text/plain"] == "head\nb"
    assert drawn(Stream("stdout", "a"), Restarted("busy"))["text/plain"] == "head\nbegun again: busy"


def test_of_a_task() -> None:
    """What a model writes is there, code and words, where it has an author."""
    events = (CodeDelta("print("), CodeDelta("1)"), Stream("stdout", "1\n"), TextDelta("Done."))

    assert drawn(*events, author="m@p")["text/plain"] == "head\nprint(1)\n1\nDone."
    assert "code by m@p" in drawn(*events, author="m@p")["text/html"]
    assert drawn(*events)["text/plain"] == "head\n1"


@pytest.mark.parametrize(
    "output",
    [
        Stream("stdout", "<script>x()</script>\x1b]0;t\x07"),
        Display({"text/html": "<script>x()</script><b onclick='x()'>b</b><img src='https://a.b/c'>"}),
        Display({"text/plain": "<img src=x onerror=x()>", "application/javascript": "x()"}),
        Display({"image/png": "<img src=x>", "text/plain": "p"}, {"image/png": {"alt": '"><script>x()</script>'}}),
        Display({"image/svg+xml": "<svg onload='x()'></svg>"}),
        Error("<script>", "x", ("<script>x()</script>\x1b[2J",)),
    ],
)
def test_harmless(output: Stream | Display | Error) -> None:
    """Nothing that a sandbox sends becomes an element, an attribute or a terminal's order."""
    text, html = draw(output)

    assert not any(each in html for each in ("<script", "<b onclick", "onerror=x()>", "https://a.b", "<svg"))
    assert "\x1b" not in text + html and "\x07" not in text + html


def test_long() -> None:
    """Of a long text the middle is left out: what is drawn again and again is bounded."""
    found = drawn(Stream("stdout", "x" * (10 * MOST_TEXT)))

    assert len(found["text/html"]) < 2 * MOST_TEXT and "characters left out" in found["text/plain"]


def test_drawn_once() -> None:
    """What has not changed is not drawn again."""
    canvas = Canvas()
    canvas.feed(Display({"text/html": "<b>1</b>"}))
    canvas.bundle("", canvas.seen())
    ((first, shown),) = canvas._drawn
    canvas.feed(Stream("stdout", "a"))
    canvas.bundle("", canvas.seen())

    assert canvas._drawn[0][0] is first and canvas._drawn[0][1] is shown
