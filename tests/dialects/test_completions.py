"""Chat completions, the client's end: what is asked, and what any server's reply to it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.dialects import completions, prompt, sse
from ipy_codeinterp.dialects.completions import serving
from ipy_codeinterp.dialects.dialect import END_EVENT, Answer, Ask, Call, Dialect, Reply, Round
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadAttachment,
    BadReply,
    InterpError,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Rejected,
)
from ipy_codeinterp.execution import CodeDelta, Execution, File, Text, TextDelta, Usage

from .hostile import anything_with
from .samples import CODES

CODE = "print(6*7)\nprint('é')"
ARGUMENTS = json.dumps({"language": "python", "code": CODE})
CALL = {"id": "call_1", "type": "function", "function": {"name": "run_code", "arguments": ARGUMENTS}}
USAGE = {
    "prompt_tokens": 80,
    "completion_tokens": 20,
    "total_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 8},
}


def asked(body: str = CODE, *, rounds: tuple[Round, ...] = (), tool: str | None = None, **how: Any) -> Ask:
    execution = Execution(body, **how)
    return Ask(execution, "m", 4096, files=execution.files, rounds=rounds, tool=tool)


def chunk(delta: Any = None, reason: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}], **more}


def calls(*said: Any, reason: str | None = None) -> dict[str, Any]:
    return chunk({"tool_calls": list(said)}, reason)


def heard(*chunks: Any, ask: Ask | None = None) -> tuple[list[Any], Reply]:
    decoder = completions.decoder(ask or asked())
    events = [event for each in chunks for event in decoder.feed(each)]
    return events, decoder.reply()


def written(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, CodeDelta))


def test_is_a_dialect() -> None:
    """The module has all that a wire format has to the client."""
    dialect: Dialect = completions

    assert dialect.path("m") == "/v1/chat/completions"
    assert dialect.headers("k") == {"Authorization": "Bearer k"}
    assert dialect.headers("") == {}
    for nothing in (dialect.content_path, dialect.about_path):
        with pytest.raises(Rejected):
            nothing("x")


# --- what is asked --------------------------------------------------------------------------------


def test_a_request() -> None:
    """Code runs through a declared function that has to be called; D4: no function is forced that is not declared."""
    body = completions.encode_request(asked(language="py"))

    assert body["messages"] == [{"role": "user", "content": prompt.encode(CODE, "py")}]
    assert (body["model"], body["stream"], body["max_tokens"]) == ("m", True, 4096)
    assert body["stream_options"] == {"include_usage": True}
    assert body["parallel_tool_calls"] is False
    function = body["tools"][0]["function"]
    assert function["parameters"]["properties"]["language"]["enum"] == ["python"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": function["name"]}}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_code_travels_as_it_is(code: str) -> None:
    """D5: the fence is longer than any in the code, which comes out as it went in."""
    body = json.loads(json.dumps(completions.encode_request(asked(code))))

    assert [block.content for block in prompt.blocks(body["messages"][0]["content"])] == [code]


def test_extension() -> None:
    """Our own gateway is told more, a vendor nothing."""
    ask = Ask(Execution(CODE), "m", 10, extension={"timeout": 2.5})

    assert completions.encode_request(ask)["ipy_codeinterp"] == {"timeout": 2.5}
    assert "ipy_codeinterp" not in completions.encode_request(asked())


def test_a_task() -> None:
    """In a task the model is free to call, and is told of the files beside its code."""
    ask = asked("Sum it.", kind="task", files=(File("a.csv"),))
    body = completions.encode_request(ask)

    assert body["tool_choice"] == "auto"
    assert body["messages"][0]["content"] == prompt.task(ask.execution) + prompt.beside(["a.csv"])


def test_a_task_that_is_not_run() -> None:
    """D6: without execution there is nothing to call."""
    body = completions.encode_request(asked("Sum it.", kind="task", execute=False))

    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_the_newest_models_bound() -> None:
    """Where a provider knows only the newer word for the bound of a reply, that alone is said."""
    body = completions.encode_request(asked(tool="max_completion_tokens"))

    assert (body["max_completion_tokens"], "max_tokens" in body) == (4096, False)


def test_a_second_round() -> None:
    """What was said goes back unchanged, each call is answered before a picture follows, and nothing is forced."""
    said = {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"}
    answers = (Answer(Call("call_1", CODE), "42", images=("QUJD",)), Answer(Call("call_2", ""), "no", ok=False))
    body = completions.encode_request(asked(rounds=(Round((said,), answers),)))

    user, *rest, pictures = body["messages"]
    assert rest == [
        said,
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "tool", "tool_call_id": "call_2", "content": "no"},
    ]
    assert (user["role"], pictures["role"]) == ("user", "user")
    assert pictures["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert body["tool_choice"] == "auto"


# --- what is heard --------------------------------------------------------------------------------


def in_pieces(size: int) -> Iterator[dict[str, Any]]:
    yield calls({"index": 0, **CALL, "function": {"name": "run_code", "arguments": ""}})
    for at in range(0, len(ARGUMENTS), size):
        yield calls({"index": 0, "function": {"arguments": ARGUMENTS[at : at + size]}})
    yield chunk(reason="tool_calls")
    yield {"id": "c", "choices": [], "usage": USAGE}
    yield dict(END_EVENT)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_call_in_pieces(size: int) -> None:
    """Code is told as it is written, and the call is whole at the end, wherever it was cut."""
    events, reply = heard(*in_pieces(size))

    assert written(events) == CODE
    assert reply.calls == (Call("call_1", CODE, "python"),)
    assert (reply.stop, reply.parts) == ("calls", ())
    assert reply.said == ({"role": "assistant", "content": None, "tool_calls": [CALL]},)


def test_usage() -> None:
    """D8: usage is read where this format has it; the provider's own report is kept."""
    _, reply = heard(*in_pieces(100))

    assert reply.usage == Usage(80, 20, False, USAGE, cached_tokens=64, reasoning_tokens=8)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        (None, (None, None)),
        ({}, (None, None)),
        ({"prompt_tokens": 3}, (3, None)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, (3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9}, (3, 6)),
        ({"prompt_tokens": -1, "completion_tokens": True}, (None, None)),
        ({"prompt_tokens": "3", "completion_tokens": 1 << 80}, (None, None)),
        ("many", (None, None)),
    ],
    ids=repr,
)
def test_usage_may_be_missing(said: Any, tokens: tuple[int | None, int | None]) -> None:
    """D9: what is not said is not known; thoughts that only the total counts are output."""
    _, reply = heard(chunk({"content": "x"}, "stop", usage=said))

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == tokens


def piece(index: int | None, id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    said = {"index": index, "id": id, "function": function}
    return {name: value for name, value in said.items() if value is not None}


ONE, TWO = json.dumps({"language": "python", "code": "1"}), json.dumps({"language": "py", "code": "2"})


@pytest.mark.parametrize(
    "said",
    [
        [piece(0, "a", "run_code", ONE), piece(1, "b", "run_code", TWO)],
        [piece(0, "a", "run_code", ONE), piece(0, "b", "run_code", TWO)],
        [piece(None, "a", "run_code", ONE), piece(None, "b", "run_code", TWO)],
        [piece(None, "a", "run_code", ONE[:5]), piece(None, None, None, ONE[5:]), piece(None, "b", "run_code", TWO)],
        [piece(None, None, "run_code", ONE), piece(None, None, "run_code", TWO)],
        [piece(0, "", "run_code", ONE), piece(1, "", "run_code", TWO)],
        [piece(0, "a", "run_code", ONE), piece(1, "a", "run_code", TWO)],
        [piece(0, "a", "run_code", json.loads(ONE)), piece(1, "b", "run_code", json.loads(TWO))],
        [piece(1, "b", "run_code", ONE[:9]), piece(0, "a", "run_code", TWO), piece(1, "b", "run_code", ONE[9:])],
    ],
    ids=["indexed", "one index", "no index", "pieces", "no ids", "empty ids", "one id", "objects", "mixed"],
)
def test_two_calls(said: list[dict[str, Any]]) -> None:
    """However a server numbers them, two calls are two, in order, each with an id of its own."""
    _, reply = heard(*(calls(each) for each in said), chunk(reason="stop"))

    assert [call.code for call in reply.calls] == ["1", "2"]
    assert len({call.id for call in reply.calls} - {""}) == 2
    assert [call["id"] for call in reply.said[0]["tool_calls"]] == [call.id for call in reply.calls]


@pytest.mark.parametrize(
    ("name", "arguments", "fault"),
    [
        ("python", ONE, "there is no function 'python': call run_code"),
        ("run_code", "print(1)", "the arguments are not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("run_code", "[" * 100_000, "the arguments are not valid JSON"),
        ("run_code", "[1]", 'the arguments have to be {"language": "python", "code": "..."}'),
        ("run_code", '{"source": "1"}', 'the arguments have to be {"language": "python", "code": "..."}'),
        ("run_code", '{"code": 1}', 'the arguments have to be {"language": "python", "code": "..."}'),
        ("run_code", '{"code": " \\n"}', "the code is empty"),
        ("run_code", '{"code": "1", "language": "bash"}', "only python runs here"),
        ("run_code", '{"code": "1", "language": ["python"]}', "only python runs here"),
        ("run_code", None, "the arguments are not valid JSON"),
    ],
)
def test_a_call_that_cannot_be_run(name: str, arguments: Any, fault: str) -> None:
    """It is told what is wrong, in words for the model, and goes back with arguments that any server can read."""
    _, reply = heard(calls(piece(0, "a", name, arguments)), chunk(reason="tool_calls"))

    (call,) = reply.calls
    assert call.fault.startswith(fault)
    assert isinstance(json.loads(reply.said[0]["tool_calls"][0]["function"]["arguments"]), dict)


def test_language_may_be_left_out() -> None:
    """Only one is offered: a call without it means that one."""
    said = calls(piece(0, "a", "run_code", '{"code": "1"}'), reason="stop")
    _, reply = heard(said, ask=asked(language="R"))

    assert reply.calls == (Call("a", "1", "r"),)


@pytest.mark.parametrize("ask", [asked("x", kind="task", execute=False), asked(tool="passthrough")], ids=repr)
def test_nobody_calls_what_was_not_offered(ask: Ask) -> None:
    """A server that calls a function it was not given runs nothing here."""
    _, reply = heard(calls(CALL), chunk(reason="tool_calls"), ask=ask)

    assert (reply.calls, reply.stop) == ((), "end")
    assert "tool_calls" not in reply.said[0]


@pytest.mark.parametrize(
    ("delta", "reason", "stop"),
    [
        ({"content": "x"}, "stop", "end"),
        ({"content": "x"}, "eos", "end"),
        ({"content": "x"}, "length", "length"),
        ({"content": "x"}, "model_length", "context"),
        ({"content": "x"}, "content_filter", "filtered"),
        ({"content": "x"}, "error", "refused"),
        ({"refusal": "no"}, "stop", "refused"),
        ({"tool_calls": [CALL]}, "stop", "calls"),
        ({"tool_calls": [CALL]}, "tool_calls", "calls"),
        ({"tool_calls": [CALL]}, "length", "calls"),
        ({"tool_calls": [CALL]}, "content_filter", "filtered"),
        ({"tool_calls": [piece(0, "a", "run_code", ONE[:-3])]}, "length", "length"),
    ],
    ids=repr,
)
def test_why_it_stopped(delta: dict[str, Any], reason: str, stop: str) -> None:
    """What is there counts more than the reason, but a full reply has cut its last call."""
    _, reply = heard(chunk(delta), chunk(reason=reason))

    assert reply.stop == stop
    assert bool(reply.calls) is (stop == "calls")


def test_words() -> None:
    """D1: the model's words are read, as they come and as a whole, from text and from parts."""
    events, reply = heard(chunk({"role": "assistant", "content": "a"}), chunk({"content": [{"text": "b"}]}, "stop"))

    assert events == [TextDelta("a"), TextDelta("b")]
    assert reply.parts == (Text("ab"),)


def test_what_we_do_not_know_is_kept() -> None:
    """Fields of a relay stay in the native reply, a model's thoughts and signatures go back to it."""
    call = CALL | {"index": 0, "extra_content": {"signature": "s"}}
    said = [chunk({"reasoning": "h", "tool_calls": [call]}), chunk({"reasoning": "m", "odd": [1]}), chunk({"odd": [2]})]
    _, reply = heard(*said, chunk(reason="stop", latency_ms=3, usage={"cost_usd": 0.1}))

    (message,) = reply.said
    assert (message["reasoning"], message["odd"]) == ("hm", [1, 2])
    assert message["tool_calls"][0]["extra_content"] == {"signature": "s"}
    assert (reply.native["latency_ms"], reply.native["usage"]) == (3, {"cost_usd": 0.1})


def test_other_choices_do_not_count() -> None:
    """One was asked for: what another choice says is nobody's."""
    other = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]}
    _, reply = heard(chunk({"content": "mine"}), other, chunk(reason="stop"))

    assert (reply.parts, reply.stop) == ((Text("mine"),), "end")


@pytest.mark.parametrize("data", ["[DONE]", " [DONE]\r"])
def test_the_end_that_is_no_json(data: str) -> None:
    """A line may be the end, and then the reply is whole even where no reason was given."""
    assert completions.is_end(data)
    assert not completions.is_end('{"content": "[DONE]"}')
    assert heard(chunk({"content": "x"}), END_EVENT)[1].stop == "end"


def test_no_end() -> None:
    """A stream that stops without an end is no reply, wherever it was cut."""
    chunks = list(in_pieces(10))
    whole = next(i for i, each in enumerate(chunks) if "tool_calls" in json.dumps(each["choices"][0]["finish_reason"]))
    for cut in range(whole):
        with pytest.raises(BadReply) as caught:
            heard(*chunks[:cut])
        assert caught.value.may_have_run is (cut > 0)


def test_cut_anywhere() -> None:
    """A stream that is cut at any byte is no reply, or all of it but its usage."""
    chunks = [chunk({"content": "é\N{SNOWMAN}"}), *list(in_pieces(20))[:-1]]
    stream = b"".join(f"data: {json.dumps(each, ensure_ascii=False)}\n\n".encode() for each in chunks)
    end = stream.index(b"\n\n", stream.index(b'"finish_reason": "tool_calls"'))
    for cut in range(len(stream)):
        try:
            _, reply = heard(*map(json.loads, sse.Parser().feed(stream[:cut])))
        except BadReply:
            assert cut <= end + 1
            continue
        assert (reply.calls, reply.usage) == ((Call("call_1", CODE),), Usage())


def test_json_reply() -> None:
    """A server that does not stream is understood the same; several calls stay several."""
    message = {"role": "assistant", "content": "so", "tool_calls": [CALL, CALL]}
    body = {"id": "c", "choices": [{"index": 0, "finish_reason": None, "message": message}], "usage": USAGE}
    _, reply = heard(*completions.events_of(body))

    assert [call.code for call in reply.calls] == [CODE, CODE]
    assert (reply.parts, reply.usage.input_tokens) == ((Text("so"),), 80)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": "x"}, {"detail": "no"}])
def test_a_body_that_is_no_reply(body: dict[str, Any]) -> None:
    """D2: an HTTP 200 that holds no choice is no reply."""
    with pytest.raises(BadReply):
        heard(*completions.events_of(body))


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (
            {"error": {"message": "m", "type": "invalid_request_error", "code": "invalid_api_key"}},
            401,
            AuthenticationFailed,
        ),
        ({"error": {"message": "m", "type": "invalid_request_error", "code": None}}, 401, AuthenticationFailed),
        ({"error": "Missing API key", "message": "m"}, 401, AuthenticationFailed),
        ({"error": {"type": "requests", "code": "rate_limit_exceeded"}}, 429, Overloaded),
        ({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}, 429, QuotaExceeded),
        ({"error": {"message": "m", "type": "invalid_request_error", "param": "model"}}, 400, Rejected),
        ({"error": {"message": "m", "code": 400}}, 400, Rejected),
        ({"error": {"message": "m", "code": 503}}, 200, Overloaded),
        ({"error": "overloaded"}, 200, Rejected),
        (None, 502, Overloaded),
        ("<html>", 404, Rejected),
    ],
    ids=repr,
)
def test_errors(body: Any, status: int, kind: type[ProviderError]) -> None:
    """An error is told by its names and its status, in whatever shape a server has it."""
    assert type(completions.error_of(body, status)) is kind


@pytest.mark.parametrize("begun", [False, True])
def test_an_error_in_the_stream(begun: bool) -> None:
    """D2: an error with HTTP 200 is an error; the model may have worked only where it had begun to speak."""
    chunks = [chunk({"content": "x"})] * begun
    with pytest.raises(Overloaded) as caught:
        heard(*chunks, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}})

    assert caught.value.may_have_run is begun


NAMES = ("choices", "index", "delta", "message", "content", "refusal", "tool_calls", "finish_reason", "id", "function")
NAMES += ("name", "arguments", "usage", "error", "type", "text", "prompt_tokens", "prompt_tokens_details", "code")
WORDS = ("run_code", ONE, '{"code": "', "stop", "length", "", "ipy_codeinterp.end")
JSON = anything_with(*NAMES, words=WORDS)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON | st.builds(chunk, JSON, JSON) | st.builds(calls, JSON, JSON), max_size=4), st.booleans())
def test_any_json(events: list[Any], ended: bool) -> None:
    """Whatever JSON a stream holds, what comes of it is a Reply that can be said again, or an error of ours."""
    try:
        _, reply = heard(*events, *([END_EVENT] if ended else []))
    except InterpError:
        return
    body = completions.encode_request(asked(rounds=(Round(reply.said),)))
    assert json.loads(json.dumps([body, reply.native]))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4))
def test_any_body(body: dict[str, Any]) -> None:
    """The same for a reply that is one JSON object."""
    try:
        heard(*completions.events_of(body))
    except InterpError:
        return


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.integers(1, 9))
def test_code_there_and_back(code: str, size: int) -> None:
    """Whatever code a model calls with, in whatever pieces, is the code that we are to run."""
    arguments = json.dumps({"language": "python", "code": f"#{code}"})
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    events, reply = heard(*(calls(piece(0, "a", "run_code", each)) for each in pieces), chunk(reason="tool_calls"))

    assert written(events) == reply.calls[0].code == f"#{code}"


# --- both ends ------------------------------------------------------------------------------------


def answered(ask: Ask, *, streamed: bool) -> Reply:
    """What the client hears of our own gateway's answer to `ask`."""
    request = serving.decode_request(json.loads(json.dumps(completions.encode_request(ask))))
    envelope = serving.Envelope("chatcmpl-1", 1, request, 7, extended=False)
    (block,) = prompt.blocks(request.text)
    message = serving.call_of(envelope, "call_1", block.content, "python") if request.function else serving.words("42")
    said = [*serving.encode_whole(envelope, message, 5), END_EVENT]
    return heard(*(said if streamed else completions.events_of(serving.encode_reply(envelope, message, 5))), ask=ask)[1]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "at once"])
@pytest.mark.parametrize("code", [code for code in CODES.values() if code.strip()], ids=repr)
def test_our_gateway_calls_with_the_code(code: str, streamed: bool) -> None:
    """What is said to our own gateway comes back as a call with that very code, and with its usage."""
    reply = answered(asked(code), streamed=streamed)

    assert reply.calls == (Call("call_1", code),)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (7, 5)


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "at once"])
def test_our_gateway_answers_the_form_of_relays(streamed: bool) -> None:
    """It hears that an interpreter was asked for, and its words are heard."""
    assert answered(asked(tool="passthrough"), streamed=streamed).parts == (Text("42"),)


# --- the form of relays ---------------------------------------------------------------------------


def test_passthrough() -> None:
    """D3: the form that names an interpreter instead of declaring a function is sent only where it was chosen."""
    body = completions.encode_request(asked(tool="passthrough"))

    assert body["tools"][0]["type"] == "code_interpreter"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "code_interpreter"}}
    assert body["messages"] == [{"role": "user", "content": prompt.encode(CODE, "python")}]
    assert completions.encode_request(asked())["tools"][0]["type"] == "function"


def test_passthrough_of_the_other_vendor() -> None:
    """Its models are forced to nothing."""
    body = completions.encode_request(Ask(Execution(CODE), "claude-sonnet-4-5", 10, tool="passthrough"))

    assert body["tools"][0]["type"] == "code_interpreter"
    assert "tool_choice" not in body


def test_passthrough_is_heard_as_words() -> None:
    """Nobody says what ran there: the reply is words, and no step."""
    _, reply = heard(chunk({"content": "42"}, "stop"), ask=asked(tool="passthrough"))

    assert (reply.parts, reply.calls, reply.stop) == ((Text("42"),), (), "end")


def test_passthrough_takes_no_files() -> None:
    """There is no place for a file in it, and that is said before anything is sent."""
    with pytest.raises(BadAttachment, match=r"a\.csv"):
        completions.encode_request(asked(tool="passthrough", files=(File("a.csv"),)))
