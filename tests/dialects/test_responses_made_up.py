"""OpenAI's Responses from hands that may say anything, and from our own gateway, which says more."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects import extension, responses
from ipy_codeinterp.dialects.dialect import Round
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.dialects.responses import requested, serving
from ipy_codeinterp.errors import (
    InterpError,
)
from ipy_codeinterp.execution import (
    Display,
    Error,
    File,
    Limit,
    Phase,
    Step,
    Stream,
    Text,
)

from .openai_replies import (
    CITED,
    PNG,
    SMALL,
    THOUGHT,
    a_call,
    a_message,
    a_response,
    asked,
    heard,
    image,
    logs,
    reply_to,
    stream_of,
    the_step,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KNOWN = [copy.deepcopy(event) for event in stream_of(SMALL)]
OWN = [
    {"type": "ipy_codeinterp.start", "container": "cntr_1", "new": True, "isolation": "bubblewrap", "warm": True},
    {"type": "ipy_codeinterp.output", "output": {"output_type": "stream", "name": "stdout", "text": "1\n"}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


@st.composite
def spoilt_events(draw: st.DrawFn) -> list[Any]:
    """A stream in which one value of some event is another."""
    events = copy.deepcopy(draw(st.sampled_from([KNOWN, OWN + KNOWN])))
    event = draw(st.integers(0, len(events) - 1))
    *path, last = draw(st.sampled_from(list(places(events[event]))))
    inner = events[event]
    for key in path:
        inner = inner[key]
    inner[last] = draw(JSON)
    return events


@given(st.lists(JSON, max_size=3) | spoilt_events())
def test_hostile_streams(events: list[Any]) -> None:
    """Whatever a stream says, what comes of it is a reply or an error of ours."""
    decoder = responses.decoder(asked(extension={}))
    try:
        for event in events:
            list(decoder.feed(event))
        reply = decoder.reply()
    except InterpError:
        assert isinstance(decoder.outputs, tuple)
    else:
        json.dumps(reply.native)
        responses.encode_request(asked(rounds=(Round(reply.said),), container="cntr_1"))


@given(JSON)
def test_hostile_bodies(body: Any) -> None:
    """Whatever a JSON reply says, what comes of it is a reply or an error of ours."""
    with contextlib.suppress(InterpError):
        heard(responses.events_of(body))
    responses.error_of(body, 500)


def test_deep_nesting() -> None:
    """A value that is nested deeper than can be printed is an error of ours as well."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for event in ({"type": deep}, {"type": "error", "error": {"message": deep}}, a_deep_item(deep)):
        with pytest.raises(InterpError):
            heard([event])


def a_deep_item(deep: Any) -> dict[str, Any]:
    return {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": a_call("x", [{"type": "logs", "logs": deep}]),
    }


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
OUTPUTS = st.lists(WORDS.filter(bool).map(logs) | st.just(image(f"data:image/png;base64,{PNG}")), max_size=3)
ITEMS = st.builds(a_call, WORDS, OUTPUTS) | WORDS.filter(bool).map(a_message) | st.just(THOUGHT)


@given(st.lists(ITEMS, max_size=4), st.integers(1, 5))
def test_round_trip(output: list[dict[str, Any]], piece: int) -> None:
    """What a stream was built from is what is heard, however it is cut."""
    _, reply = heard(stream_of(a_response(*output), piece))

    assert reply.parts == tuple(part for item in output for part in expected_of(item))


def expected_of(item: dict[str, Any]) -> Iterator[Text | Step]:
    """What an item of a reply is to us, told independently."""
    if item["type"] == "message":
        yield from (Text(part["text"]) for part in item["content"] if part["text"])
    elif item["type"] == "code_interpreter_call":
        code, told = item["code"].replace("\r\n", "\n").replace("\r", "\n"), item["outputs"]
        shown = [Stream("stdout", o["logs"]) if "logs" in o else Display({"image/png": PNG}) for o in told]
        filled = [line for line in code.split("\n") if line.strip()]
        yield Step(code, "python", filled == ["x"], tuple(shown), "unknown", "inferred")


# --- our own gateway ------------------------------------------------------------------------------

RAN = {
    "outputs": [{"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["E: v"]}],
    "outcome": "limit",
    "limit": {"name": "time", "allowed": 2.0, "unit": "seconds", "reached": 2.5, "line": 3},
    "files": [{"file_id": "cfile_1", "name": "a.csv", "sha256": "ab", "size": 2}],
    "timings": {"execution": 2.5},
    "note": "",
}
OURS = asked("x", extension={"language": "python"}, container="cntr_1")


def test_our_own_gateway() -> None:
    """Our own gateway says what came of the code; its citations are no words of a model."""
    call = a_call("x", [logs("E: v")], ipy_codeinterp=RAN)
    reply = reply_to(a_response(call, CITED), OURS)
    step = the_step(reply)

    assert reply.parts == (step,)
    assert (step.outcome, step.outcome_source, step.outputs) == ("limit", "reported", (Error("E", "v", ("E: v",)),))
    assert step.files == (File("a.csv", "ab", 2),)
    assert step.files[0].id == "cntr_1/cfile_1"
    assert (reply.limit, reply.execution_seconds) == (Limit("time", 2.0, "seconds", 2.5, 3), 2.5)
    assert (reply.container_new, reply.usage.estimated) == (False, True)
    assert "ipy_codeinterp" not in reply.native["output"][0]


def test_outputs_while_the_code_runs() -> None:
    """Outputs that came live are not told again, nor is the code that the user wrote."""
    call = a_call("x", [logs("1\n")], ipy_codeinterp={**RAN, "outcome": "ok", "limit": None})
    told, reply = heard([*OWN, *stream_of(a_response(call))], OURS)

    assert told == [Phase("running"), Stream("stdout", "1\n")]
    assert the_step(reply).outputs == (Stream("stdout", "1\n"),)
    assert (reply.isolation, reply.warm, reply.container) == ("bubblewrap", True, "cntr_1")


def test_others_cannot_say_it() -> None:
    """What only our own gateway says is not believed of anybody else."""
    call = a_call("x", [logs("1\n")], ipy_codeinterp={**RAN, "outcome": "ok"})
    told, reply = heard([*OWN, *stream_of(a_response(call))])

    assert (reply.isolation, the_step(reply).outcome) == (None, "unknown")
    assert [event for event in told if isinstance(event, Stream)] == [Stream("stdout", "1\n")]


FIGURE = Display({"image/png": PNG, "text/plain": "<Figure>"}, {}, "execute_result")
RUNS = [
    Ran((), "ok", 0),
    Ran((Stream("stdout", "1\n"), Stream("stderr", "w\n"), FIGURE), "ok", 0, (File("a.csv", "ab", 2, id="cfile_1"),)),
    Ran((Error("ValueError", "no", ("Traceback", "ValueError: no")),), "error", 1, seconds=0.5),
    Ran((Stream("stdout", "1"),), "limit", 1, limit=Limit("time", 2.0, "seconds", 2.1)),
]


def served(ran: Ran, *, extended: bool) -> tuple[list[Any], dict[str, Any]]:
    """What our gateway sends of a run: as a stream, and as one JSON object."""
    ids = {"response_id": "resp_1", "call_id": "ci_1", "message_id": "msg_1", "container": "cntr_1"}
    where = {"created": 1, "container_new": True, "isolation": "bubblewrap", "warm": True, "code": "x"}
    understood = requested.decode_request(responses.encode_request(asked("x")))
    tokens = serving.Tokens(3, 4)
    envelope = serving.Envelope(**ids, **where, asked=understood, extended=extended, tokens=tokens)
    cited = tuple(serving.Cited(file.id or "", file.name, f"/mnt/data/{file.name}") for file in ran.files)
    live = map(extension.encode_output, ran.outputs if extended else ())
    events = [*serving.encode_start(envelope), *live, *serving.encode_end(envelope, ran, cited)]
    whole = serving.encode_reply(envelope, ran, cited)
    return json.loads(json.dumps(events)), json.loads(json.dumps(whole))


@pytest.mark.parametrize("ran", RUNS, ids=["nothing", "shows", "raises", "time"])
def test_both_ends(ran: Ran) -> None:
    """What our gateway says came of a run is what its client hears, streamed or not."""
    events, whole = served(ran, extended=True)
    for told in (events, responses.events_of(whole)):
        step = the_step(reply := heard(told, replace(OURS, container=None))[1])

        assert (step.outputs, step.outcome, step.files) == (ran.outputs, ran.outcome, ran.files)
        assert (step.verbatim, reply.limit, reply.execution_seconds) == (True, ran.limit, ran.seconds)
        assert (reply.container, reply.container_new, reply.usage.output_tokens) == ("cntr_1", True, 4)
        assert [file.id for file in step.files] == [f"cntr_1/{file.id}" for file in ran.files]


@pytest.mark.parametrize("ran", RUNS, ids=["nothing", "shows", "raises", "time"])
def test_both_ends_without_the_extension(ran: Ran) -> None:
    """To who did not ask for more, the vendor's format tells figures and files, and never that a run was fine."""
    events, whole = served(ran, extended=False)
    step = the_step(heard(events)[1])

    assert step == the_step(heard(responses.events_of(whole))[1])
    assert [Display({"image/png": PNG})] * (FIGURE in ran.outputs) == [
        o for o in step.outputs if isinstance(o, Display)
    ]
    assert [file.name for file in step.files] == [file.name for file in ran.files]
    assert step.outcome != "ok"
