"""Whatever a provider or a relay sends as an error becomes an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects.faults import MOST_WORDS, error_of
from ipy_codeinterp.dialects.retry_after import Advice
from ipy_codeinterp.errors import AuthenticationFailed, Overloaded, ProviderError, QuotaExceeded, Rejected

KINDS: dict[str, type[ProviderError]] = {
    "invalid_request_error": Rejected,
    "invalid_api_key": AuthenticationFailed,
    "rate_limit_error": Overloaded,
    "server_error": Overloaded,
    "RESOURCE_EXHAUSTED": Overloaded,
}
names = st.sampled_from([*KINDS, "insufficient_quota", "error", "message", "type", "code", "details", "error_code"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | names, inner, max_size=5),
    max_leaves=12,
)


def in_body(**error: Any) -> dict[str, Any]:
    return {"error": error}


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (in_body(type="invalid_request_error", code="invalid_api_key"), 401, AuthenticationFailed),
        (in_body(type="invalid_request_error", code=None), 400, Rejected),
        (in_body(type="insufficient_quota", code="insufficient_quota"), 429, QuotaExceeded),
        (in_body(type="rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}), 429, QuotaExceeded),
        (in_body(type="rate_limit_error", details=None), 429, Overloaded),
        (in_body(type="tokens", code="of a later year"), 429, Overloaded),
        (in_body(code=429, status="RESOURCE_EXHAUSTED"), 429, Overloaded),
        (in_body(code="server_error"), 200, Overloaded),
        (in_body(code=503), 200, Overloaded),
        (in_body(code="429"), 200, Overloaded),
        (in_body(code="401", type="None"), 200, AuthenticationFailed),
        (in_body(code="1001"), 200, Rejected),
        (in_body(code=True), 200, Rejected),
        (in_body(type=["server_error"], code={}), 403, AuthenticationFailed),
        ({"type": "error", "code": "server_error", "message": "m"}, 200, Overloaded),
        ([in_body(code=503)], 200, Overloaded),
        ("<html>", 502, Overloaded),
        (None, 402, QuotaExceeded),
        ([], 422, Rejected),
    ],
    ids=str,
)
def test_kind(body: Any, status: int, expected: type[ProviderError]) -> None:
    """No quota first, then the most exact name that the format knows, then the HTTP status."""
    assert type(error_of(body, status, kinds=KINDS)) is expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (in_body(message="because"), "because"),
        ({"error": "because"}, "because"),
        ({"message": "because"}, "because"),
        ({"error": None, "message": "because"}, "because"),
        ([in_body(message="because")], "because"),
        ("because", "because"),
        ({"error": {"error": {"message": "because"}}}, "because"),
        ({"error": {"message": "because", "error": {"message": "deeper"}}}, "because"),
        ({"error": "Unauthorized", "message": "because"}, "Unauthorized: because"),
        ({"detail": "because"}, "because"),
        ({"code": 1001, "msg": "because", "data": None}, "because"),
        (in_body(message=None), "HTTP 500"),
        ("", "HTTP 500"),
        ({}, "HTTP 500"),
        ("x" * 1_000_000, "x" * MOST_WORDS),
    ],
    ids=lambda value: str(value)[:40],
)
def test_words(body: Any, words: str) -> None:
    """The message is found in every spelling, and cut."""
    assert str(error_of(body, 500, kinds=KINDS)) == words


@pytest.mark.parametrize("said", ["\x1b]0;a title\x07because", "be\x1b[2Jcause\x00", "because\x9b\ud800"], ids=ascii)
def test_nothing_that_a_terminal_would_obey(said: str) -> None:
    """A message is shown wherever the user works: it says something, and does nothing."""
    error = error_of(in_body(message=said, param=said, hint=said), 500, kinds=KINDS)

    for words in (str(error), error.param, error.hint):
        assert words in ("because", "because\ufffd")


def test_all_that_is_said() -> None:
    """Which part is wrong, what to do, who said it and when to come back are told with the error."""
    body = {**in_body(message="m", param="tools[0]", hint="h"), "request_id": "req_1"}

    error = error_of(body, 429, kinds=KINDS, advice=Advice(2.5, False))

    assert (error.status, error.param, error.hint, error.request_id) == (429, "tools[0]", "h", "req_1")
    assert (error.retry_after, error.should_retry, error.may_have_run) == (2.5, False, False)
    assert error_of(body, 429, "from the header", kinds=KINDS).request_id == "from the header"


@pytest.mark.parametrize(("status", "before", "expected"), [(500, False, False), (504, False, True), (200, True, True)])
def test_may_have_run(status: int, before: bool, expected: bool) -> None:
    """It may have run when the stream had begun, or when somebody on the way gave up waiting for it."""
    assert error_of({}, status, kinds=KINDS, may_have_run=before).may_have_run is expected


@given(body=anything, status=st.integers(100, 599))
def test_anything_is_an_error_of_ours(body: Any, status: int) -> None:
    """Every JSON value is an error of ours, with words, and nothing in it but what has the right type."""
    for each in (body, {"error": body}):
        error = error_of(each, status, kinds=KINDS)

        assert isinstance(error, ProviderError)
        assert 0 < len(str(error)) <= MOST_WORDS
        assert isinstance(error.param, str | None)
        assert isinstance(error.request_id, str | None)


def test_nested_too_deep() -> None:
    """What cannot be put into words is told by its status."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    assert str(error_of({"error": deep}, 500, kinds=KINDS)) == "HTTP 500"
