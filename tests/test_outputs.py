"""Outputs are collected as a saved notebook would hold them, and survive the way through nbformat."""

from __future__ import annotations

from typing import Any

import pytest

from ipy_codeinterp.execution import Clear, Display, Error, Event, Notice, Output, Phase, Stream, Update
from ipy_codeinterp.outputs import Collector, from_nbformat, to_nbformat

OUT, ERR = Stream("stdout", "out\n"), Stream("stderr", "err\n")
SHOWN = Display({"text/plain": "1"}, {"needs": "care"}, display_id="d")
ERROR = Error("ValueError", "no", ("Traceback", "ValueError: no"))


@pytest.mark.parametrize(
    ("events", "outputs"),
    [
        pytest.param((), (), id="nothing"),
        pytest.param((OUT, OUT), (Stream("stdout", "out\nout\n"),), id="a stream grows"),
        pytest.param((OUT, ERR, OUT), (OUT, ERR, OUT), id="order is kept"),
        pytest.param((OUT, SHOWN, OUT), (OUT, SHOWN, OUT), id="a display divides a stream"),
        pytest.param((OUT, ERROR), (OUT, ERROR), id="error"),
        pytest.param((OUT, Clear(), ERR), (ERR,), id="clear"),
        pytest.param((OUT, Clear()), (), id="clear at the end"),
        pytest.param((OUT, Clear(wait=True)), (OUT,), id="clear waits"),
        pytest.param((OUT, Clear(wait=True), ERR, OUT), (ERR, OUT), id="clear waited"),
        pytest.param((Clear(wait=True), Clear(), OUT, ERR), (OUT, ERR), id="clear twice"),
        pytest.param((Phase("running"), OUT, Notice("!"), OUT), (Stream("stdout", "out\nout\n"),), id="no outputs"),
    ],
)
def test_collected(events: tuple[Event, ...], outputs: tuple[Output, ...]) -> None:
    """Streams are joined, clears obeyed, and what is no output is left out."""
    assert Collector(events).outputs == outputs


def test_update_reaches_every_display_of_its_id() -> None:
    """An update replaces the content of each display that carries its id, and keeps what kind it was."""
    events = (SHOWN, OUT, Display({"text/plain": "1"}, kind="execute_result", display_id="d"), Display({}, {}))

    found = Collector([*events, Update("d", {"text/plain": "2"}, {"new": True})]).outputs

    assert found[0] == Display({"text/plain": "2"}, {"new": True}, "display_data", "d")
    assert found[2] == Display({"text/plain": "2"}, {"new": True}, "execute_result", "d")
    assert found[1::2] == (OUT, Display({}, {}))


def test_update_of_nothing() -> None:
    """An update whose display is not there shows nothing."""
    assert Collector([OUT, Update("d", {"text/plain": "2"})]).outputs == (OUT,)


def test_looking_does_not_end_a_stream() -> None:
    """A stream that was looked at goes on growing."""
    collector = Collector([OUT])

    before = collector.outputs
    collector.feed(OUT)

    assert before == (OUT,)
    assert collector.outputs == (Stream("stdout", "out\nout\n"),)


@pytest.mark.parametrize(
    "output",
    [
        OUT,
        Stream("stderr", "\ud800 \N{SNOWMAN}"),
        Display({"text/plain": "1", "application/json": {"a": [1]}}),
        Display({"text/plain": "1"}, {"image/png": {"width": 3}}, "execute_result", "d"),
        Error("ValueError", "", ()),
        ERROR,
        Update("d", {"text/plain": "1"}, {"a": 1}),
        Clear(),
        Clear(wait=True),
    ],
    ids=repr,
)
def test_there_and_back(output: Any) -> None:
    """What is written as nbformat is read as what it was."""
    assert from_nbformat(to_nbformat(output)) == output


@pytest.mark.parametrize(
    "said",
    [
        {},
        None,
        "stream",
        {"output_type": "pie"},
        {"output_type": "stream", "name": "stdout"},
        {"output_type": "stream", "name": "stdout", "text": 5},
        {"output_type": "stream", "name": "stdlog", "text": ""},
        {"output_type": "display_data", "data": {}},
        {"output_type": "display_data", "data": "<b>", "metadata": {}},
        {"output_type": "display_data", "data": {}, "metadata": {}, "transient": None},
        {"output_type": "update_display_data", "data": {}, "metadata": []},
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": None},
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": "as text"},
        {"output_type": "error", "ename": "E", "evalue": 5, "traceback": []},
        {"output_type": "clear_output"},
    ],
    ids=repr,
)
def test_no_output(said: Any) -> None:
    """What is no output is a ValueError, and not an output that breaks whoever shows it."""
    with pytest.raises(ValueError, match="not an output"):
        from_nbformat(said)
