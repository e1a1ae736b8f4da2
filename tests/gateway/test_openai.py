"""OpenAI's formats over plain HTTP: what the SDK does not show of order, headers, refusals and extensions."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from .wire import EXTENDED, Gateway, Reply

pytestmark = pytest.mark.sandbox

ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.code_interpreter_call.in_progress",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.code_interpreter_call.interpreting",
    "response.code_interpreter_call.completed",
    "response.output_item.done",
]
MESSAGE = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
LEAVE = "import os\nopen(os.environ['OUTPUT_DIR'] + '/x', 'w').close()"


def sent(gateway: Gateway, path: str, body: Any, method: str = "POST", **headers: str | None) -> Reply:
    """With the token as OpenAI's clients send it."""
    bearer = {"x_api_key": None, "Authorization": f"Bearer {gateway.token}", "Content_Type": "application/json"}
    said = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.request(method, path, said, **{**bearer, **headers})


@pytest.fixture(scope="module")
def room(gateway: Gateway) -> str:
    """A container that all tests of this module share."""
    return str(sent(gateway, "/v1/containers", {"name": "tests"}).json["id"])


def asking(code: str, container: Any, **more: Any) -> dict[str, Any]:
    tools = [{"type": "code_interpreter", "container": container}]
    return {"model": "gpt-5", "input": f"```python\n{code}\n```", "tools": tools} | more


def test_the_order_of_events(gateway: Gateway, room: str) -> None:
    """Without files the stream is the call's events; a file adds a message that cites it; numbers have no gap."""
    for code, order in (("print(1)", ORDER), (LEAVE, [*ORDER, *MESSAGE])):
        reply = sent(gateway, "/v1/responses", asking(code, room, stream=True))

        assert [event["type"] for event in reply.events] == [*order, "response.completed"]
        assert [event["sequence_number"] for event in reply.events] == list(range(len(order) + 1))
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.events[-1]["response"]["usage"]["total_tokens"] > 0


def test_outputs_are_null_until_asked_for(gateway: Gateway, room: str) -> None:
    """Also in a stream `outputs` is null without `include`, and a list with it, empty where nothing was printed."""
    for include, outputs in ([], None), (["code_interpreter_call.outputs"], []):
        events = sent(gateway, "/v1/responses", asking("x = 1", room, stream=True, include=include)).events

        items = [event["item"] for event in events if "item" in event]
        assert [item["outputs"] for item in items] == [outputs, outputs]
        assert events[-1]["response"]["output"] == items[-1:]


def test_our_client_hears_more(gateway: Gateway, room: str) -> None:
    """With our header outputs come while the code runs, and the item says how it ended; ours have no number."""
    reply = sent(gateway, "/v1/responses", asking("print(1)\n1/0", room, stream=True), **EXTENDED)

    ours = [event for event in reply.events if event["type"].startswith("ipy_codeinterp.")]
    assert ours[0] | {"warm": None} == {
        "type": "ipy_codeinterp.start",
        "isolation": "bubblewrap",
        "container": room,
        "new": False,
        "warm": None,
    }
    assert [event["output"]["output_type"] for event in ours[1:]] == ["stream", "error"]
    assert not any("sequence_number" in event for event in ours)
    (done,) = [event["item"] for event in reply.events if event["type"] == "response.output_item.done"]
    assert done["ipy_codeinterp"]["outcome"] == "error"


def test_the_reply_says_that_there_was_no_model(gateway: Gateway, room: str) -> None:
    """Headers say that no model was asked, and what counted the tokens."""
    reply = sent(gateway, "/v1/responses", asking("1", room))

    assert reply.headers["x-ipy-codeinterp-model"] == "none"
    assert reply.headers["x-ipy-codeinterp-tokens"] in ("o200k_base", "characters/4")


def test_ids_of_requests(gateway: Gateway) -> None:
    """Each reply has its id under both vendors' names; what the client called it is said back."""
    plain = sent(gateway, "/v1/models", b"", "GET")
    named = sent(gateway, "/v1/models", b"", "GET", X_Client_Request_Id="mine-1", X_Request_ID="mine-2")

    assert plain.headers["x-request-id"] == plain.headers["request-id"] != ""
    assert (named.headers["x-client-request-id"], named.headers["x-request-id"]) == ("mine-1", "mine-2")


def test_errors_have_the_body_of_their_vendor(gateway: Gateway) -> None:
    """The path, then the headers, say which vendor's body an error has."""
    openai = [sent(gateway, path, {}) for path in ("/v1/responses", "/v1/chat/completions", "/v1/containers")]
    anthropic = sent(gateway, "/v1/messages", {})
    either = (
        sent(gateway, "/v1/files/none", b"", "GET"),
        sent(gateway, "/v1/files/none", b"", "GET", anthropic_version="2023-06-01"),
    )

    assert all(reply.status == 400 and reply.json["error"].keys() >= {"type", "param", "code"} for reply in openai)
    assert anthropic.error["type"] == "invalid_request_error"
    assert [reply.json.get("type") for reply in either] == [None, "error"]
    assert [reply.status for reply in either] == [404, 404]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/claude-sonnet-5", "/v1/files"])
def test_one_path_two_shapes(gateway: Gateway, path: str) -> None:
    """What both vendors have at one path is answered in the shape of the one that is asked."""
    openai = sent(gateway, path, b"", "GET").json
    anthropic = sent(gateway, path, b"", "GET", anthropic_version="2023-06-01").json

    assert "object" in openai and "object" not in anthropic


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"null", b'{"input":' + b"[" * 100_000, b"\xff"])
@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1/chat/completions", "/v1/containers", "/v1/messages/count_tokens"]
)
def test_a_body_that_is_none_is_400(gateway: Gateway, path: str, body: bytes) -> None:
    """What is no JSON object is refused, never an error of the server."""
    assert sent(gateway, path, body).status == 400


def test_tokens_of_messages_are_counted(gateway: Gateway) -> None:
    """`count_tokens` counts all that is said, and more for more."""
    counts = [
        sent(
            gateway,
            "/v1/messages/count_tokens",
            {"model": "claude-x", "messages": [{"role": "user", "content": [{"type": "text", "text": "word " * n}]}]},
        ).json["input_tokens"]
        for n in (10, 1000)
    ]
    assert 0 < counts[0] * 50 < counts[1]


def test_a_memory_limit_holds_and_never_widens(gateway: Gateway) -> None:
    """A tier bounds the run; one that is larger than the model's own limit does not raise it."""
    hungry = "x = bytearray(700 << 20); print(len(x))"  # the profile of gpt has 512 MB

    reply = sent(
        gateway,
        "/v1/responses",
        asking(hungry, {"type": "auto", "memory_limit": "64g"}, include=["code_interpreter_call.outputs"]),
    )

    (call,) = reply.json["output"]
    assert call["status"] == "failed" and "MemoryError" in call["outputs"][0]["logs"]


def test_two_that_come_first_share_a_container(gateway: Gateway) -> None:
    """A container that two requests name before code ran in it is one container."""
    container = sent(gateway, "/v1/containers", {"name": "both"}).json["id"]
    replies: list[Reply] = []

    def ask(code: str) -> None:
        replies.append(sent(gateway, "/v1/responses", asking(code, container)))

    threads = [threading.Thread(target=ask, args=(f"x{i} = {i}",)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    include = ["code_interpreter_call.outputs"]
    reply = sent(gateway, "/v1/responses", asking("print(x0 + x1)", container, include=include))
    assert [each.status for each in replies] == [200, 200]
    assert reply.json["output"][0]["outputs"] == [{"type": "logs", "logs": "1\n"}]


def test_text_that_is_no_code_leaves_no_container(gateway: Gateway) -> None:
    """A container that was made for text that is not code is not listed, and one that was named stays as it was."""
    named = sent(gateway, "/v1/containers", {"name": "stays"}).json["id"]
    before = sent(gateway, "/v1/containers?limit=100", b"", "GET").json["data"]
    prose = {"input": "please plot something nice"}
    for container in ({"type": "auto"}, named):
        assert sent(gateway, "/v1/responses", asking("", container) | prose).status == 400

    after = sent(gateway, "/v1/containers?limit=100", b"", "GET").json["data"]
    assert [each["id"] for each in before] == [each["id"] for each in after]
    assert sent(gateway, "/v1/responses", asking("1", named)).status == 200


def test_a_client_that_leaves_ends_its_run(gateway: Gateway, room: str) -> None:
    """When the connection is closed the code is interrupted, and the container is free again."""
    body = json.dumps(asking("import time\nbegun = 1\ntime.sleep(600)", room, stream=True)).encode()
    with gateway.opened("POST", "/v1/responses", body) as response:
        while b"interpreting" not in response.readline():
            pass

    started = time.monotonic()
    include = ["code_interpreter_call.outputs"]
    reply = sent(gateway, "/v1/responses", asking("print(begun)", room, include=include))
    assert reply.json["output"][0]["outputs"][0]["logs"] == "1\n"
    assert time.monotonic() - started < 30


def test_an_expired_container_is_said_to_be(gateway: Gateway) -> None:
    """A container whose interpreter is gone is listed as expired, and refused."""
    container = sent(gateway, "/v1/containers", {"name": "dies"}).json["id"]
    sent(gateway, "/v1/responses", asking("import os\nos._exit(1)", container))

    assert sent(gateway, f"/v1/containers/{container}", b"", "GET").json["status"] == "expired"
    reply = sent(gateway, "/v1/responses", asking("1", container))
    assert (reply.status, reply.json["error"]["code"]) == (400, "container_expired")


# --- chat -------------------------------------------------------------------------------------------


def chat(code: str, model: str = "gpt-4.1", **more: Any) -> dict[str, Any]:
    """A request in the form that some relays are said to know, two backticks and all."""
    content = f"Execute the following python code:\n\n``python\n{code}\n``"
    tools = [{"type": "code_interpreter", "description": "Execute Python code in a sandboxed environment"}]
    choice = {"type": "function", "function": {"name": "code_interpreter"}}
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "tools": tools,
        "tool_choice": choice,
    } | more


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
def test_chat_runs_code(gateway: Gateway, model: str) -> None:
    """The message holds what was printed, the traceback too; usage is counted."""
    reply = sent(gateway, "/v1/chat/completions", chat("print(6 * 7)\n1/0", model)).json

    content = reply["choices"][0]["message"]["content"]
    assert content.startswith("42\n") and "ZeroDivisionError" in content
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]
    assert reply["model"] == model


def test_chat_streams_what_is_printed(gateway: Gateway) -> None:
    """Chunks have no names, usage comes last where it was asked for, and then [DONE]."""
    body = chat("print(1)", stream=True, stream_options={"include_usage": True})

    said = sent(gateway, "/v1/chat/completions", body).body.decode().split("\n\n")

    assert said[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(each.removeprefix("data: ")) for each in said[:-2]]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]] == ["", "1\n", None]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"] > 0) == ([], True)


@pytest.mark.parametrize("tools", [None, [], [{"type": "function", "function": {"name": "f", "parameters": {}}}]])
def test_chat_without_a_way_to_run_code_is_refused(gateway: Gateway, tools: Any) -> None:
    """Code needs an interpreter or a function that takes it."""
    reply = sent(gateway, "/v1/chat/completions", chat("print(1)") | {"tools": tools})

    assert (reply.status, "no model here: send code" in reply.json["error"]["message"]) == (400, True)
