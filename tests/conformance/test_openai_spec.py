"""Every body and event in OpenAI's shape against OpenAI's own OpenAPI document, where it is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ipy_codeinterp.dialects import extension
from ipy_codeinterp.dialects.completions import serving as chat
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.dialects.responses import requested, serving
from ipy_codeinterp.execution import Display, Error, Stream

from . import document
from .document import needs_document

pytestmark = [pytest.mark.conformance, needs_document]

NULL_UNTIL_THE_END = "$.choices[0].finish_reason: None"  # as the SDK's type has it, and the document has not
PNG = Display({"image/png": "aGk="})
RAN = Ran((Stream("stdout", "42\n"), PNG, Error("E", "e", ("Traceback", "E: e"))), "error", 1)
CITED = (serving.Cited("cfile_1", "x.txt", "/tmp/output/x.txt"),)


def faults(name: str, body: object) -> list[str]:
    """What the document says against `body`; `usage` is null while a response is made, as recorded, not as written."""
    response = body.get("response") if isinstance(body, dict) else None
    if isinstance(body, dict) and response and response["usage"] is None:
        body = {**body, "response": {name: said for name, said in response.items() if name != "usage"}}
    return document.faults(name, body)


def envelope(**more: Any) -> serving.Envelope:
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    body = {"model": "gpt-5", "input": "print(1)", "tools": tools, "include": [requested.OUTPUTS], **more}
    asked = requested.decode_request(body)
    ids = ("resp_1", "ci_1", "msg_1", 1761853223)
    return serving.Envelope(*ids, asked, "print(1)", "cntr_1", True, "bubblewrap", True, False, serving.Tokens(3, 2))


def events() -> Iterator[dict[str, Any]]:
    yield from serving.encode_start(envelope())
    yield from serving.encode_end(envelope(), RAN, CITED)


@pytest.mark.parametrize("more", [{}, {"include": []}, {"store": False, "metadata": {"a": "b"}}])
def test_a_response(more: dict[str, Any]) -> None:
    """A whole response is one of the document's."""
    assert faults("Response", serving.encode_reply(envelope(**more), RAN, CITED)) == []


@pytest.mark.parametrize("event", [pytest.param(each, id=each["type"]) for each in events()])
def test_an_event(event: dict[str, Any]) -> None:
    """Each event of a stream is one of the document's."""
    assert faults("ResponseStreamEvent", event | {"sequence_number": 7}) == []


def test_a_failure() -> None:
    """The error event is nested, as the live service is recorded to have it and the document has not; its end is."""
    error, failed = serving.encode_failure(envelope(), "it broke")

    assert faults("ResponseStreamEvent", error | {"sequence_number": 7}) != []
    assert faults("ResponseStreamEvent", failed | {"sequence_number": 8}) == []


def test_chat() -> None:
    """A completion and its chunks are the document's."""
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    parameters = {"properties": {"code": {"type": "string"}}}
    body |= {"tools": [{"type": "function", "function": {"name": "run", "parameters": parameters}}]}
    about = chat.Envelope("chatcmpl-1", 1761853223, chat.decode_request(body), 3, False)
    for message in chat.words("hi"), chat.call_of(about, "call_1", "print(1)", "python"):
        assert faults("CreateChatCompletionResponse", chat.encode_reply(about, message, 2)) == []
        for chunk in chat.encode_whole(about, message, 2):
            found = faults("CreateChatCompletionStreamResponse", chunk)
            assert [fault for fault in found if not fault.startswith(NULL_UNTIL_THE_END)] == []


def test_no_extension_without_the_header() -> None:
    """Nothing of ours is in a reply to a client that did not ask for it."""
    assert extension.FIELD not in json.dumps([serving.encode_reply(envelope(), RAN, CITED), *events()])
