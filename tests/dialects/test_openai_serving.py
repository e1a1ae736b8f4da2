"""The gateway's ends of OpenAI's formats: any JSON is answered or refused, and a reply says what came of a run."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects import openai_errors
from ipy_codeinterp.dialects.completions import serving as chat
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.dialects.openai_errors import Invalid
from ipy_codeinterp.dialects.responses import requested, serving
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Display, Error, Limit, Stream

AUTO = {"type": "code_interpreter", "container": {"type": "auto"}}
NAMES = ["model", "input", "tools", "include", "messages", "stream", "content", "role", "type", "container", "function"]
NAMES += ["parameters", "properties", "code", "language", "enum", "memory_limit", "file_ids", "file_data", "text"]
WORDS = st.sampled_from(["user", "auto", "code_interpreter", "function", "string", "input_file", *NAMES])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


def asked(**more: Any) -> requested.Asked:
    return requested.decode_request({"model": "gpt-5", "input": "print(1)", "tools": [AUTO], **more})


def envelope(code: str = "print(1)", **more: Any) -> serving.Envelope:
    ids = ("resp_1", "ci_1", "msg_1", 0)
    facts = ("cntr_1", True, "bubblewrap", True, False)
    return serving.Envelope(*ids, asked(**more), code, *facts, serving.Tokens(1, 2))


@given(JSON)
def test_any_json_is_read_or_refused(body: object) -> None:
    """Whatever a body is, it becomes what is asked or an error of ours, in both formats."""
    for decode in requested.decode_request, chat.decode_request, requested.text_of_request:
        with contextlib.suppress(InterpError):
            decode(body)


@given(JSON, JSON)
def test_any_value_of_a_field_is_read_or_refused(said: object, also: object) -> None:
    """The same where all else is as it should be."""
    bodies: list[tuple[Any, Any]] = [
        (requested.decode_request, {"model": "m", "input": said, "tools": also, "include": []}),
        (chat.decode_request, {"model": "m", "messages": [{"role": "user", "content": said}], "tools": [also, said]}),
    ]
    for decode, body in bodies:
        with contextlib.suppress(InterpError):
            decode(body)


@given(st.text())
def test_the_code_survives_in_pieces(code: str) -> None:
    """The deltas of the code are the code, however long, and the whole is said at the end."""
    events = list(serving.encode_start(envelope(code)))

    assert "".join(event["delta"] for event in events if event["type"].endswith("code.delta")) == code
    assert next(event["code"] for event in events if event["type"].endswith("code.done")) == code


def test_outputs_keep_their_order() -> None:
    """Texts that follow each other are one entry of logs; an image stands between those before and after it."""
    png = Display({"image/png": "aGk=\n", "text/plain": "<Figure>"})
    shown = Display({"text/plain": "7"}, kind="execute_result")
    ran = Ran((Stream("stdout", "a\n"), Stream("stderr", "b\n"), png, shown), "ok", 0)

    (call,) = serving.encode_output(envelope(include=[requested.OUTPUTS]), ran, ())

    assert call["outputs"] == [
        {"type": "logs", "logs": "a\nb\n"},
        {"type": "image", "url": "data:image/png;base64,aGk="},
        {"type": "logs", "logs": "7\n"},
    ]


@pytest.mark.parametrize(
    ("outcome", "status"), [("ok", "completed"), ("error", "completed"), ("limit", "failed"), ("crashed", "failed")]
)
def test_the_status_of_a_call(outcome: Any, status: str) -> None:
    """Code that raises has completed, as the live service has it; code that was ended has failed."""
    (call,) = serving.encode_output(envelope(), Ran((), outcome, 1), ())
    assert call["status"] == status


def test_logs_say_why_it_ended() -> None:
    """A traceback loses its colours, and a limit has the last word."""
    error = Error("E", "e", ("\x1b[31mTraceback\x1b[0m", "E: e"))
    ran = Ran((error,), "limit", 1, limit=Limit("time", 120, "seconds"), note="killed")

    assert chat.printed(ran) == "Traceback\nE: e\n[time limit of 120 seconds reached]\n[killed]\n"


def test_citations_point_at_their_links() -> None:
    """Each file is a link in the text, and its citation says where."""
    cited = tuple(serving.Cited(f"cfile_{n}", f"{n}.txt", f"/tmp/output/{n}.txt") for n in "ab")

    _, message = serving.encode_output(envelope(), Ran((), "ok", 0), cited)

    (part,) = message["content"]
    spans = [part["text"][a["start_index"] : a["end_index"]] for a in part["annotations"]]
    assert spans == ["[a.txt](sandbox:/tmp/output/a.txt)", "[b.txt](sandbox:/tmp/output/b.txt)"]


def test_files_travel_in_the_input() -> None:
    """A part with `file_data` is a file; one without a name, or that is no base64, is refused."""
    data = base64.b64encode(b"x").decode()
    part = {"type": "input_file", "filename": "a", "file_data": f"data:text/plain;base64,{data}"}
    good = asked(input=[{"role": "user", "content": [part]}])
    assert [(file.name, file.data) for file in good.carried] == [("a", b"x")]
    for wrong in ({**part, "file_data": "%%%"}, {**part, "filename": None}):
        with pytest.raises(Invalid):
            asked(input=[{"role": "user", "content": [wrong]}])


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].container"),
        ({"tools": [{**AUTO, "container": {"type": "new"}}]}, "tools[0].container.type"),
        ({"tools": [{**AUTO, "container": {"type": "auto", "memory_limit": "2g"}}]}, "tools[0].container.memory_limit"),
        ({"include": ["x"]}, "include[0]"),
        ({"background": True}, "background"),
    ],
)
def test_refusals_name_the_part(more: dict[str, Any], param: str) -> None:
    """What the vendor refuses is refused, with the name of what is wrong."""
    with pytest.raises(Invalid) as refused:
        asked(**more)
    assert refused.value.param == param


def test_a_language_that_the_function_does_not_take() -> None:
    """A function that lists its languages is not called with another one."""
    properties = {"code": {"type": "string"}, "language": {"enum": ["python"]}}
    tool = {"type": "function", "function": {"name": "run", "parameters": {"properties": properties}}}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    about = chat.Envelope("chatcmpl-1", 0, chat.decode_request(body), 1, False)

    assert chat.call_of(about, "call_1", "1", "python")["tool_calls"][0]["function"]["name"] == "run"
    with pytest.raises(Invalid):
        chat.call_of(about, "call_1", "1", "r")


@given(st.integers(400, 599), st.text())
def test_every_error_has_all_its_fields(status: int, message: str) -> None:
    """An error's body has message, type, param and code, whatever its status."""
    error = openai_errors.encode_error(status, message)["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["type"] and error["message"] == message
