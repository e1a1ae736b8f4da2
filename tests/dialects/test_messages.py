"""The Messages format: what one end says the other end hears, and real recorded replies are understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.dialects import messages, prompt, sse
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.errors import AuthenticationFailed, BadReply, InterpError, Overloaded, QuotaExceeded, Rejected
from ipy_codeinterp.execution import (
    Clear,
    Display,
    Error,
    Execution,
    File,
    Limit,
    Phase,
    Step,
    Stream,
    Update,
)
from ipy_codeinterp.outputs import Collector

from .samples import CODES

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
EXTENSION = {"language": "python", "timeout": 2.5, "limits": {"memory": 1 << 20}, "keep": True}


def over_the_wire(value: Any) -> Any:
    return json.loads(json.dumps(value).encode())


# --- the client speaks, the gateway hears ---------------------------------------------------------


def an_ask(code: str = "x", **how: Any) -> Ask:
    return Ask(Execution(code), "claude", 8192, **how)


def heard(code: str = "x", **how: Any) -> messages.Asked:
    return messages.decode_request(over_the_wire(messages.encode_request(an_ask(code, **how))))


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_code_is_heard(code: str) -> None:
    """The gateway finds exactly the code that the client was given."""
    assert [block.content for block in prompt.blocks(heard(code).text)] == [code]


def test_all_else_is_heard() -> None:
    """Model, container, files, time, memory and whether to keep are heard as they were said."""
    asked = heard(container="container_1", files=(File("a", id="file_1"), File("b", id="file_2")), extension=EXTENSION)

    assert (asked.model, asked.tool, asked.stream) == ("claude", messages.TOOL, True)
    assert (asked.container, asked.file_ids) == ("container_1", ("file_1", "file_2"))
    assert (asked.timeout, asked.memory, asked.keep) == (2.5, 1 << 20, True)


def test_without_the_extension() -> None:
    """To a gateway that is not ours nothing is said but the standard."""
    body = messages.encode_request(an_ask())

    assert set(body) == {"model", "max_tokens", "stream", "tools", "tool_choice", "messages"}
    assert (heard().timeout, heard().memory, heard().keep) == (None, None, True)


@pytest.mark.parametrize(("said", "keep"), [(True, True), (False, False), (None, True)])
def test_keep(said: bool | None, keep: bool) -> None:
    """Only a plain `false` ends the container after the run."""
    assert heard(extension={"keep": said}).keep is keep


ASKED = {"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "image"}, "x", {"type": "text", "text": None}], ""),
        (None, ""),
    ],
    ids=["text", "blocks", "others", "nothing"],
)
def test_last_user_message(content: Any, text: str) -> None:
    """What counts is the text of the last message that the user said."""
    said = [{"role": "user", "content": "first"}, {"role": "user", "content": content}, {"role": "assistant"}]

    assert messages.decode_request({**ASKED, "messages": said}).text == text


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"model": ""},
        {"model": 5},
        {"max_tokens": None},
        {"max_tokens": 0},
        {"messages": None},
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": ["x"]},
        {"tools": [{"type": "code_execution_20990101"}]},
        {"container": 5},
        {"container": {"id": 5}},
        *[{messages.FIELD: {"timeout": value}} for value in (0, -1, "5", True, float("nan"), float("inf"))],
        {messages.FIELD: {"limits": {"memory": -1}}},
        {messages.FIELD: {"limits": [1]}},
    ],
    ids=str,
)
def test_refused(change: dict[str, Any]) -> None:
    """A request that the vendor would refuse is refused, whatever is wrong with it."""
    with pytest.raises(Rejected):
        messages.decode_request({**ASKED, **change})


@pytest.mark.parametrize("body", [None, [], "x", 5], ids=repr)
def test_no_object(body: object) -> None:
    """A body that is no JSON object is refused."""
    with pytest.raises(Rejected, match="not a JSON object"):
        messages.decode_request(body)


@pytest.mark.parametrize(
    "odd",
    [{"tools": 5}, {"tools": [5, {}]}, {"tools": [{"type": "web_search"}]}, {messages.FIELD: 5}, {"container": {}}],
    ids=str,
)
def test_understood_all_the_same(odd: dict[str, Any]) -> None:
    """What is none of our business does not stand in the way."""
    asked = messages.decode_request({**ASKED, **odd})

    assert (asked.tool, asked.container, asked.timeout) == (None, None, None)


# --- the gateway speaks, the client hears ---------------------------------------------------------

FIGURE = Display({"image/png": "aGk=", "text/plain": "<Figure>"}, {"image/png": {"width": 3}}, display_id="d")
RAISED = Error("ValueError", "no", ("Traceback", "ValueError: no"))
LEFT = (File("out.csv", "ab", 2, id="file_1"), File("figure-1.png", "cd", 3, id="file_2"))
STRANGE = Stream("stdout", "\N{SNOWMAN} \ud800 \0 \x1b[31m ``` \r\n")
LONG = Stream("stdout", "x" * (messages.MOST_STANDARD_TEXT + 1))
RUNS = {
    "nothing": messages.Ran((), "ok", 0),
    "prints": messages.Ran((Stream("stdout", "1\n"), Stream("stderr", "w\n"), STRANGE), "ok", 0, seconds=0.5),
    "prints much": messages.Ran((LONG,), "ok", 0),
    "shows": messages.Ran((Stream("stdout", "1\n"), FIGURE, Stream("stdout", "2\n")), "ok", 0, files=LEFT),
    "raises": messages.Ran((Stream("stdout", "1\n"), RAISED), "error", 1),
    "dies": messages.Ran((), "crashed", 139, note="the interpreter ended: killed by SIGSEGV"),
    "memory": messages.Ran((RAISED,), "limit", 1, files=LEFT, limit=Limit("memory", 1e9, "bytes")),
    "output": messages.Ran((Stream("stdout", "1"),), "limit", 1, limit=Limit("output", 1e6, "bytes", 2e6)),
    "time": messages.Ran((Stream("stdout", "1"),), "limit", 1, limit=Limit("time", 2.0, "seconds", 2.1)),
    "time, with files": messages.Ran((), "limit", 1, files=LEFT, limit=Limit("time", 2.0, "seconds", 2.1)),
}


def an_envelope(code: str = "x", *, extended: bool = True, tool: str = messages.TOOL) -> messages.Envelope:
    asked = messages.decode_request(messages.encode_request(an_ask(code, tool=tool)))
    ids = {"message_id": "msg_1", "tool_use_id": "srvtoolu_1", "container": "container_1"}
    when = {"container_new": True, "expires_at": "2026-01-01T00:00:00Z", "isolation": "bubblewrap"}
    when |= {"warm": True, "language": "python"}
    return messages.Envelope(**ids, **when, asked=asked, code=code, extended=extended)


def live(envelope: messages.Envelope, ran: messages.Ran) -> list[Any]:
    """A stream whose outputs came while the code ran."""
    shown = map(messages.encode_output, ran.outputs if envelope.extended else ())
    return through_a_stream(messages.encode_start(envelope), shown, messages.encode_end(envelope, ran))


def late(envelope: messages.Envelope, ran: messages.Ran) -> list[Any]:
    """A stream whose outputs all come at the end."""
    return through_a_stream(messages.encode_start(envelope), messages.encode_end(envelope, ran))


def at_once(envelope: messages.Envelope, ran: messages.Ran) -> list[Any]:
    """A reply in one JSON object."""
    return list(messages.events_of(over_the_wire(messages.encode_reply(envelope, ran))))


def through_a_stream(*events: Iterable[Any]) -> list[Any]:
    wire = b"".join(sse.encode(event) for some in events for event in some)
    return [json.loads(data) for data in sse.Parser().feed(wire)]


WAYS = [live, late, at_once]
Way = Callable[[messages.Envelope, messages.Ran], list[Any]]


def decoded(events: Iterable[Any], sent: str = "x") -> messages.Reply:
    decoder = messages.Decoder(an_ask(sent))
    for event in events:
        list(decoder.feed(event))
    return decoder.reply()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", RUNS)
def test_run_is_heard(name: str, way: Way) -> None:
    """With our extension outputs, outcome, files, limit, time and isolation are heard as they were."""
    ran = RUNS[name]

    reply = decoded(way(an_envelope(), ran))

    (step,) = reply.parts
    assert isinstance(step, Step)
    assert step.outputs == Collector(ran.outputs).outputs
    assert (step.outcome, step.outcome_source, reply.limit) == (ran.outcome, "reported", ran.limit)
    assert (step.files, [file.id for file in step.files]) == (ran.files, [file.id for file in ran.files])
    assert (reply.execution_seconds, reply.container) == (ran.seconds, "container_1")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("name", "outcome", "stdout", "stderr"),
    [
        ("nothing", "ok", "", ""),
        ("prints", "ok", "1\n" + STRANGE.text, "w\n"),
        ("prints much", "ok", LONG.text, ""),
        ("shows", "ok", "1\n2\n", ""),
        ("raises", "error", "1\n", "Traceback\nValueError: no\n"),
        ("dies", "error", "", "the interpreter ended: killed by SIGSEGV\n"),
        ("memory", "error", "", "Traceback\nValueError: no\n"),
        ("time", "limit", "", ""),
    ],
)
def test_run_in_the_vendors_words(name: str, outcome: str, stdout: str, stderr: str, way: Way) -> None:
    """Without our extension stream and status are heard as the vendor has them, and nothing of ours is said."""
    events = way(an_envelope(extended=False), RUNS[name])

    reply = decoded(events)

    (step,) = reply.parts
    streams = (Stream("stdout", stdout), Stream("stderr", stderr))
    assert messages.FIELD not in json.dumps(events)
    assert isinstance(step, Step)
    assert (step.outputs, step.outcome) == (tuple(stream for stream in streams if stream.text), outcome)
    assert reply.container == "container_1"
    if name != "time":
        assert [file.id for file in step.files] == [file.id for file in RUNS[name].files]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_code_that_ran_is_heard(code: str, way: Way) -> None:
    """The step says which code ran, and that it is the one that was sent."""
    reply = decoded(way(an_envelope(code), RUNS["nothing"]), sent=code)

    (step,) = reply.parts
    assert isinstance(step, Step)
    assert (step.code, step.verbatim) == (code.replace("\r\n", "\n").replace("\r", "\n"), True)


def test_other_code() -> None:
    """Code that somebody changed on the way is not verbatim."""
    (step,) = decoded(late(an_envelope("print(1)"), RUNS["nothing"]), sent="print(2)").parts

    assert isinstance(step, Step)
    assert (step.code, step.verbatim) == ("print(1)", False)


@pytest.mark.parametrize("tool", messages.TOOLS)
def test_every_version_of_the_tool(tool: str) -> None:
    """Each version of the tool is answered with its own kind of block, and understood."""
    events = late(an_envelope("print(1)", tool=tool, extended=False), RUNS["prints"])

    use, result = (event["content_block"] for event in events if event["type"] == "content_block_start")
    kind = "bash_code_execution" if tool == messages.BASH_TOOL else "code_execution"
    assert (use["name"], result["type"]) == (kind, f"{kind}_tool_result")
    (step,) = decoded(events).parts
    assert isinstance(step, Step)
    assert "print(1)" in step.code
    assert step.outcome == "ok"


def test_updates_and_clears() -> None:
    """Updates and clears of a run are heard while it runs; what stays is what a notebook would hold."""
    shown = [Stream("stdout", "0"), Clear(), FIGURE, Update("d", {"text/plain": "new"}), Stream("stdout", "1")]
    ran = messages.Ran(Collector(shown).outputs, "ok", 0)
    start, end = messages.encode_start(an_envelope()), messages.encode_end(an_envelope(), ran)
    decoder = messages.Decoder(an_ask())

    events = through_a_stream(start, map(messages.encode_output, shown), end)
    heard = [ours for event in events for ours in decoder.feed(event)]

    assert heard == [Phase("running"), *shown]
    assert decoder.outputs == ran.outputs
    assert decoder.reply().parts[0].outputs == ran.outputs  # type: ignore[union-attr]


def test_container_is_known_from_the_start() -> None:
    """Before anything has run the client knows the container, and whether it is new and isolated."""
    decoder = messages.Decoder(an_ask())

    for event in through_a_stream(messages.encode_start(an_envelope())):
        list(decoder.feed(event))

    assert (decoder.container, decoder.isolation, decoder.outputs) == ("container_1", "bubblewrap", ())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_counted_usage(way: Way) -> None:
    """What our gateway counted from characters is said to be estimated, the vendor's figure is not."""
    ours, theirs = (decoded(way(an_envelope(extended=ext), RUNS["nothing"])).usage for ext in (True, False))

    assert (ours.estimated, theirs.estimated) == (True, False)
    assert ours.input_tokens == theirs.input_tokens == -(-len(prompt.encode("x", "python")) // 4)
    assert ours.output_tokens == theirs.output_tokens == 1


def test_cut_short() -> None:
    """A stream that ends anywhere before its end is a bad reply, and what had arrived is kept."""
    events = live(an_envelope(), RUNS["prints"])

    for length in range(len(events)):
        decoder = messages.Decoder(an_ask())
        for event in events[:length]:
            list(decoder.feed(event))
        with pytest.raises(BadReply, match="ended before its end"):
            decoder.reply()
    assert decoder.outputs == Collector(RUNS["prints"].outputs).outputs


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "x",
        {},
        {"type": "message_start"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": [], "delta": {"type": "text_delta", "text": "x"}},
        {"type": "message_delta", "delta": None},
        {"type": "ipy_codeinterp.output", "output": {"output_type": "pie"}},
        {"type": "ipy_codeinterp.output", "output": None},
    ],
    ids=str,
)
def test_no_event(event: Any) -> None:
    """What is no event of the format is a bad reply, whatever it is."""
    with pytest.raises(BadReply, match="not an event"):
        list(messages.Decoder(an_ask()).feed(event))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "a"},
        {"type": "server_tool_use", "input": {}},
        {"type": "server_tool_use", "id": "a", "input": "x"},
        {"type": "code_execution_tool_result"},
        {"type": "text"},
        {"index": 0},
    ],
    ids=str,
)
def test_no_block(block: Any) -> None:
    """A block that lacks what its kind must have is a bad reply."""
    with pytest.raises(BadReply):
        decoded(messages.events_of({"content": [block]}))


@pytest.mark.parametrize("event", [{"type": "ping"}, {"type": "vendor.news", "x": 1}], ids=str)
def test_unknown_event(event: Any) -> None:
    """Events that nobody here knows are passed over."""
    assert list(messages.Decoder(an_ask()).feed(event)) == []


# --- errors ---------------------------------------------------------------------------------------


def a_body(kind: str) -> dict[str, Any]:
    return messages.encode_error(kind, "because", "req_1")


@pytest.mark.parametrize(("kind", "expected"), messages.ERRORS.items())
def test_error_event(kind: str, expected: type[InterpError]) -> None:
    """An error in the stream is raised as the type that its name means."""
    with pytest.raises(expected, match="because"):
        list(messages.Decoder(an_ask()).feed(over_the_wire(a_body(kind))))


@pytest.mark.parametrize(
    ("body", "status", "expected", "words"),
    [
        (a_body("not_found_error"), 404, Rejected, "because"),
        (a_body("overloaded_error"), 529, Overloaded, "because"),
        (a_body("of a later year"), 403, AuthenticationFailed, "because"),
        ({"error": "no credit"}, 402, QuotaExceeded, "no credit"),
        ({"error": {"type": ["x"]}}, 500, Overloaded, "HTTP 500"),
        ({"error": None}, 500, Overloaded, "{'error': None}"),
        ({"message": "quota"}, 429, Overloaded, "quota"),
        ("<html>502 Bad Gateway</html>", 502, Overloaded, "<html>502 Bad Gateway</html>"),
        ("", 401, AuthenticationFailed, "HTTP 401"),
        (None, 413, Rejected, "HTTP 413"),
        ([], 503, Overloaded, "HTTP 503"),
    ],
    ids=str,
)
def test_error_body(body: Any, status: int, expected: type[InterpError], words: str) -> None:
    """Whatever a relay sends as an error is an error of ours, judged by its status where its type says nothing."""
    error = messages.error_of(body, status, "req_1")

    assert type(error) is expected
    assert str(error) == words
    assert (error.status, error.request_id) == (status, "req_1")  # type: ignore[attr-defined]


def test_endless_error() -> None:
    """A page instead of an error is cut."""
    assert len(str(messages.error_of("x" * 1_000_000, 500))) == 2000
