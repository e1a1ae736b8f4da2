"""Message Batches on the wire: what is asked, and what may be answered, whatever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.messages import batches
from ipy_codeinterp.errors import BadReply, Overloaded, ProviderError, Rejected
from ipy_codeinterp.execution import Execution

ASK = Ask(Execution("print('é')"), "claude", 100, tool="code_execution_20250825")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["id", "custom_id", "result", "type", "message", "data", "error", "request_counts", "content"])
OBJECTS = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3), max_size=5)
COUNTS = {"processing": 1, "succeeded": 2, "errored": 3, "canceled": 4, "expired": 5}


def test_a_request() -> None:
    """A request of a batch is the body of an ordinary one under our id, without the stream."""
    body = json.loads(batches.body_of([batches.request_of(id, ASK) for id in ("batch_1", "batch_2")]))

    assert [each["custom_id"] for each in body["requests"]] == ["batch_1", "batch_2"]
    params = body["requests"][0]["params"]
    assert "stream" not in params
    assert (params["model"], params["max_tokens"]) == ("claude", 100)
    assert params["tools"] == [{"type": "code_execution_20250825", "name": "code_execution"}]


@pytest.mark.parametrize("id", ["a/b", "../files/x", "a?b=c", "a#b"])
def test_paths(id: str) -> None:
    """An id that a vendor chose cannot lead to another place."""
    for path in (batches.path(id), batches.results_path(id), batches.cancel_path(id), batches.list_path(id)):
        assert id not in path
        assert path.startswith(batches.PATH)


def test_a_standing() -> None:
    """It says how far it is, of when, and of how many requests."""
    said = {"id": "m_1", "processing_status": "ended", "created_at": "2026-01-02T03:04:05Z", "request_counts": COUNTS}

    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert batches.standing_of(said) == batches.Standing("m_1", True, moment, 15)
    assert not batches.standing_of(said | {"processing_status": "canceling"}).has_ended


@pytest.mark.parametrize("moment", [None, 7, "yesterday", "", [], "2026-13-45T00:00:00Z"])
@pytest.mark.parametrize("counts", [None, {}, {"processing": 1}, COUNTS | {"expired": True}, COUNTS | {"errored": "1"}])
def test_what_it_does_not_say(moment: Any, counts: Any) -> None:
    """A time or a number that is not told well is not known."""
    said = {"id": "m_1", "processing_status": "in_progress", "created_at": moment, "request_counts": counts}

    assert batches.standing_of(said) == batches.Standing("m_1", False)


def test_pages() -> None:
    """The next page begins after the last of this one, where there is one."""
    rows = [{"id": f"m_{number}", "processing_status": "ended"} for number in range(2)]

    assert batches.page_of({"data": rows, "has_more": True}).after == "m_1"
    assert batches.page_of({"data": rows, "has_more": False}).after is None
    assert batches.page_of({"data": [], "has_more": True}).after is None


@pytest.mark.parametrize(
    ("result", "end", "error"),
    [
        ({"type": "succeeded", "message": {"id": "msg_1"}}, "succeeded", None),
        ({"type": "canceled"}, "canceled", None),
        ({"type": "expired"}, "expired", None),
        ({"type": "errored", "error": {"type": "error", "error": {"type": "overloaded_error"}}}, "errored", Overloaded),
        ({"type": "errored", "error": {"error": {"type": "invalid_request_error"}}}, "errored", Rejected),
        ({"type": "errored"}, "errored", Rejected),
        ({"type": "succeeded", "message": "text"}, "errored", BadReply),
        ({"type": "of a later year"}, "errored", BadReply),
        ({"type": {}}, "errored", BadReply),
        ({}, "errored", BadReply),
    ],
)
def test_a_line(result: Any, end: str, error: type[ProviderError] | None) -> None:
    """Each end is told apart; what is in no known form may have run, what the vendor calls an error has not."""
    found = batches.ended_of({"custom_id": "batch_1", "result": result})

    assert (found.custom_id, found.end, found.error and type(found.error)) == ("batch_1", end, error)
    if found.error is not None:
        assert found.error.may_have_run == (error is BadReply)


@given(JSON | OBJECTS)
def test_anything(said: Any) -> None:
    """Whatever JSON a vendor sends, it is understood or a typed error of ours."""
    readers: list[Callable[[Any], object]] = [batches.standing_of, batches.page_of, batches.ended_of]
    for read in readers:
        try:
            read(said)
        except BadReply:
            continue


@given(OBJECTS)
def test_any_message(said: Any) -> None:
    """The same of a message inside a result."""
    try:
        batches.reply_of(ASK, said)
    except ProviderError:
        return
