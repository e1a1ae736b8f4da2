"""OpenAI's Responses, the client's end: what is heard, and what comes of a reply that is not whole."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ipy_codeinterp.dialects import responses, sse
from ipy_codeinterp.dialects.dialect import END_EVENT, Dialect
from ipy_codeinterp.dialects.responses.logs import end_in_traceback
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    InterpError,
    Overloaded,
    QuotaExceeded,
    Rejected,
    TooLarge,
)
from ipy_codeinterp.execution import (
    CodeDelta,
    Display,
    File,
    Phase,
    Step,
    Stream,
    Text,
    TextDelta,
    Usage,
)

from .openai_replies import (
    JPEG,
    PNG,
    SMALL,
    THOUGHT,
    USAGE,
    a_call,
    a_citation,
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
from .samples import CODES


def test_protocol() -> None:
    """The module has all that a dialect has."""
    dialect: Dialect = responses

    assert (dialect.ATTEMPT_HEADER, dialect.REQUEST_ID_HEADER) == ("X-Client-Request-Id", "x-request-id")


def test_a_stream() -> None:
    """Code and words come as they are written, outputs with their item, and the reply has it all in order (D1)."""
    outputs = [logs("1\n"), image(f"data:image/png;base64,{PNG}"), logs("2")]
    response = a_response(THOUGHT, a_call("a = 1\r\nprint(a)\n", outputs), a_message("It is 1."))
    told, reply = heard(stream_of(response))

    shown = (Stream("stdout", "1\n"), Display({"image/png": PNG}), Stream("stdout", "2"))
    assert "".join(e.text for e in told if isinstance(e, CodeDelta)) == "a = 1\nprint(a)\n"
    assert "".join(e.text for e in told if isinstance(e, TextDelta)) == "It is 1."
    assert tuple(e for e in told if isinstance(e, (Stream, Display))) == shown
    assert told.index(Phase("running")) < told.index(shown[0])
    step = Step("a = 1\nprint(a)\n", "python", False, shown, "unknown", "inferred")
    assert reply.parts == (step, Text("It is 1."))
    assert (reply.container, reply.container_new, reply.stop) == ("cntr_1", True, "end")


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_code_is_heard(code: str, size: int) -> None:
    """However the code is cut, what was told of it is the code, with our line ends."""
    told, reply = heard(stream_of(a_response(a_call(code)), max(size, len(code) // 500)), asked(code))
    ours = code.replace("\r\n", "\n").replace("\r", "\n")

    assert "".join(e.text for e in told if isinstance(e, CodeDelta)) == ours
    assert (the_step(reply).code, the_step(reply).verbatim) == (ours, True)


def test_what_is_known_under_way() -> None:
    """The container and the code are known before the run has ended, the outputs once they are there."""
    decoder, facts = responses.decoder(asked()), []
    for event in stream_of(a_response(a_call("ab", [logs("1")])), 1):
        list(decoder.feed(event))
        facts.append((decoder.container, decoder.code, len(decoder.outputs)))

    assert facts[0] == (None, None, 0)
    assert {("cntr_1", "", 0), ("cntr_1", "a", 0), ("cntr_1", "ab", 0), ("cntr_1", "ab", 1)} < set(facts)


@pytest.mark.parametrize(
    ("ran", "same"),
    [("x", True), ("\n \nx\r\n\n", True), ("x  ", False), ("y", False), (" x", False), (None, False)],
)
def test_verbatim(ran: str | None, same: bool) -> None:
    """Line ends and blank lines around it do not make it other code; anything else does (D5)."""
    response = a_response({**a_call(), "code": ran})

    assert the_step(heard(responses.events_of(response), asked("x"))[1]).verbatim is same


def test_nothing_ran() -> None:
    """An answer from the model's head has words and no step (D2)."""
    assert reply_to(a_response(a_message("42"))).parts == (Text("42"),)


def test_outputs_that_were_not_asked_for() -> None:
    """No outputs told is not an error, and not an ok."""
    step = the_step(reply_to(a_response(a_call("x", None))))

    assert (step.outputs, step.outcome, step.outcome_source) == ((), "unknown", "inferred")


PLAIN = (
    'Traceback (most recent call last):\n  File "<stdin>", line 1, in <module>\nZeroDivisionError: division by zero\n'
)
RULED = (
    "-" * 75
    + "\nValueError                                Traceback (most recent call last)\n"
    + "Cell In[1], line 1\n----> 1 f()\n\nValueError: two\nlines\n"
)
UNPARSED = "  Cell In[1], line 1\n    x = \n        ^\nSyntaxError: invalid syntax\n"


@pytest.mark.parametrize("raised", [PLAIN, RULED, UNPARSED, "1\n" + PLAIN, PLAIN.replace("\n", "\r\n")])
def test_raised(raised: str) -> None:
    """Logs that end in a traceback tell of an error, which is inferred; the logs stay as they are (D2)."""
    step = the_step(reply_to(a_response(a_call("x", [logs(raised)]))))

    assert (step.outcome, step.outcome_source) == ("error", "inferred")
    assert step.outputs == (Stream("stdout", raised),)


@pytest.mark.parametrize(
    "told",
    ["", "1", PLAIN + "and on it goes\n", "ZeroDivisionError: x", "see Traceback (most recent call last):", "\n"],
)
def test_not_known_to_have_raised(told: str) -> None:
    """A traceback that something follows was caught, and a name alone is only a name."""
    assert not end_in_traceback(told)


def test_coloured_traceback() -> None:
    """Colours do not hide a traceback."""
    assert end_in_traceback(PLAIN.replace("ZeroDivisionError", "\x1b[31mZeroDivisionError\x1b[0m"))


@pytest.mark.parametrize(("status", "outcome"), [("failed", "error"), ("incomplete", "cancelled")])
def test_status_of_a_call(status: str, outcome: str) -> None:
    """A call that the provider says went wrong has an outcome of its own."""
    step = the_step(reply_to(a_response(a_call("x", [logs("1")], status=status))))

    assert (step.outcome, step.outcome_source) == (outcome, "reported")


@pytest.mark.parametrize(
    ("url", "data"),
    [
        (f"data:image/png;base64,{PNG}", {"image/png": PNG}),
        (f"data:image/png;base64,{JPEG}", {"image/jpeg": JPEG}),
        ("data:image/png;base64,aGVsbG8h", {"text/plain": "[an image in no format that is known here]"}),
        ("data:image/png;base64,%%%%", {"text/plain": "[an image in no format that is known here]"}),
        ("data:image/png,x", {"text/plain": "[an image in no format that is known here]"}),
        ("https://x.example/1.png", {"text/plain": "[an image at https://x.example/1.png]"}),
    ],
    ids=["png", "mislabelled", "text", "no base64", "not encoded", "elsewhere"],
)
def test_images(url: str, data: dict[str, str]) -> None:
    """An image is what its first bytes say, and one that lies elsewhere is not fetched (D7)."""
    assert the_step(reply_to(a_response(a_call("x", [image(url)])))).outputs == (Display(data),)


def test_files() -> None:
    """A cited file belongs to the step of its container; a figure that was shown is not cited a second time (D7)."""
    shown = image(f"data:image/png;base64,{PNG}")
    cited = [
        a_citation("cfile_1", "cfile_1.png", (0, 0)),
        a_citation("cfile_2", "../a.csv"),
        a_citation("cfile_2", "a.csv"),
        a_citation("../x", "b.csv"),
        {"type": "url_citation"},
    ]
    (file,) = the_step(reply_to(a_response(a_call("x", [shown]), a_message("see", *cited)))).files

    assert (file.name, file.id, file.sha256) == ("a.csv", "cntr_1/cfile_2", None)
    assert responses.about_path("cntr_1/cfile_2") == "/v1/containers/cntr_1/files/cfile_2"
    assert responses.content_path("cntr_1/cfile_2") == "/v1/containers/cntr_1/files/cfile_2/content"
    assert responses.content_path("file-1") == "/v1/files/file-1/content"


def test_a_figure_that_was_not_shown() -> None:
    """Where no outputs were told, the citation is all there is of a figure."""
    citation = a_citation("cfile_1", "cfile_1.png", (0, 0))
    step = the_step(reply_to(a_response(a_call("x", None), a_message("see", citation))))

    assert [file.id for file in step.files] == ["cntr_1/cfile_1"]


@pytest.mark.parametrize("id", ["", "/", "a/b/c", "../x", "a/..", "a b", "x/y?z"])
def test_no_path_leads_elsewhere(id: str) -> None:
    """What is no id of a file makes no path."""
    with pytest.raises(BadReply):
        responses.content_path(id)


@pytest.mark.parametrize(
    ("body", "file"),
    [
        (
            {"id": "cfile_1", "container_id": "cntr_1", "path": "/mnt/data/a.csv", "bytes": 5},
            File("a.csv", size=5, id="cntr_1/cfile_1"),
        ),
        ({"id": "file-1", "filename": "a.csv", "bytes": -5}, File("a.csv", id="file-1")),
    ],
)
def test_about(body: dict[str, Any], file: File) -> None:
    """A description says a file's name, its size and its id."""
    found = responses.about(body)

    assert (found, found.id) == (file, file.id)


def test_usage() -> None:
    """Input includes what was cached, output what was thought; the native report stays whole (D8)."""
    usage = reply_to(a_response(a_call())).usage

    assert usage == Usage(30, 20, False, USAGE, 10, 4, 5)


@pytest.mark.parametrize(
    "native", [None, 5, {}, {"input_tokens": True, "output_tokens": -1}, {"input_tokens": 1 << 60}]
)
def test_unknown_usage(native: Any) -> None:
    """What was not told, or cannot be, is unknown and not zero (D9)."""
    usage = reply_to(a_response(a_call(), usage=native)).usage

    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (None, None, None)


def test_native_reply() -> None:
    """The native reply is kept, without a second copy of each figure."""
    outputs = [logs("1"), image(f"data:image/png;base64,{PNG}"), image("https://x.example/1.png")]
    native = reply_to(a_response(THOUGHT, a_call("x", outputs), a_message("hi"))).native

    kept = a_call("x", [logs("1"), {"type": "image"}, image("https://x.example/1.png")])
    assert native == a_response(THOUGHT, kept, a_message("hi"))
    assert PNG not in json.dumps(native)


# --- replies that are not whole -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("max_output_tokens", "length"), ("content_filter", "filtered"), ("steered", "length"), (None, "length")],
)
def test_incomplete(reason: str | None, stop: str) -> None:
    """A reply that was cut says why, and is no error."""
    details = {"incomplete_details": {"reason": reason}}

    assert reply_to(a_response(a_call(), status="incomplete", **details)).stop == stop


def test_refusal() -> None:
    """A model that would not has said so."""
    refusal = {**a_message(""), "content": [{"type": "refusal", "refusal": "no"}]}
    told, reply = heard(responses.events_of(a_response(refusal)))

    assert (told, reply.parts, reply.stop) == ([TextDelta("no")], (Text("no"),), "refused")


NO_QUOTA = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "no credit", "param": None}


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        ({"type": "error", "error": NO_QUOTA}, QuotaExceeded, "no credit"),
        ({"type": "error", "code": "server_error", "message": "oh", "param": None}, Overloaded, "oh"),
        ({"type": "error", "code": "context_length_exceeded", "message": "long"}, TooLarge, "long"),
        ({"type": "error"}, Rejected, "HTTP 200"),
        ({"error": "text"}, Rejected, "text"),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "slow"}}},
            Overloaded,
            "slow",
        ),
        ({"type": "response.failed", "response": {}}, Rejected, "could not finish"),
        ({"type": "response.completed", "response": {"status": "failed"}}, Rejected, "could not finish"),
    ],
    ids=["nested", "flat", "too long", "nothing", "text", "failed", "failed without a word", "ends as failed"],
)
def test_errors_in_a_stream(event: Any, kind: type[InterpError], words: str) -> None:
    """An error in a stream is raised, by its name, in each of its shapes; code may have run before it."""
    decoder = responses.decoder(asked())

    with pytest.raises(kind, match=words) as raised:
        list(decoder.feed(event))
    assert getattr(raised.value, "may_have_run", None) is True


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "code": "server_error"}},
        a_response(status="failed", error={"code": "server_error", "message": "no"}),
    ],
)
def test_errors_in_a_json_reply(body: dict[str, Any]) -> None:
    """HTTP 200 with an error in it is an error (D2)."""
    with pytest.raises(Overloaded, match="no"):
        heard(responses.events_of(body))


@pytest.mark.parametrize("status", ["in_progress", "queued", "cancelled", None, 5])
def test_a_json_reply_that_is_not_over(status: Any) -> None:
    """A reply that says it goes on has no end."""
    with pytest.raises(BadReply, match="before its end"):
        heard(responses.events_of(a_response(a_call(), status=status)))


@pytest.mark.parametrize("body", [None, [], "x", {}, {"choices": []}, {"output": "x"}], ids=repr)
def test_another_json_reply(body: Any) -> None:
    """JSON that is no Response is a bad reply."""
    with pytest.raises(BadReply):
        heard(responses.events_of(body))


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"type": "invalid_request_error", "code": "invalid_api_key", "message": "x"}, AuthenticationFailed),
        (429, {"type": "requests", "code": "rate_limit_exceeded", "message": "x"}, Overloaded),
        (429, NO_QUOTA, QuotaExceeded),
        (400, {"type": "invalid_request_error", "code": "decimal_below_min_value", "message": "x"}, Rejected),
        (500, {"type": "server_error", "message": "x"}, Overloaded),
        (404, {"type": "invalid_request_error", "code": "model_not_found", "message": "x"}, Rejected),
    ],
)
def test_error_bodies(status: int, error: dict[str, Any], kind: type[InterpError]) -> None:
    """An error's class follows from its names, then from its status."""
    assert type(responses.error_of({"error": error}, status)) is kind


@pytest.mark.parametrize(
    ("status", "said", "lost"),
    [
        (400, {"message": "Container is expired."}, True),
        (404, {"message": "x", "param": "tools[0].container"}, True),
        (400, {"message": "no such model"}, False),
        (500, {"message": "container"}, False),
    ],
)
def test_a_lost_container(status: int, said: dict[str, Any], lost: bool) -> None:
    """A container that is gone is told from other refusals."""
    assert responses.is_lost_container(responses.error_of({"error": said}, status)) is lost


def test_cut_anywhere() -> None:
    """A stream that is cut, wherever, is a bad reply, and what had come is kept."""
    wire = b"".join(map(sse.encode, stream_of(SMALL)))
    last = wire.rindex(b"event: response.completed")

    for end in range(len(wire)):
        decoder, parser = responses.decoder(asked()), sse.Parser()
        for data in parser.feed(wire[:end]):
            list(decoder.feed(json.loads(data)))
        with pytest.raises(BadReply):
            decoder.reply()
        if end >= last:
            assert len(decoder.outputs) == 2


def test_strange_events_are_passed_over() -> None:
    """Events, items, parts and outputs that nobody knows here change nothing."""
    response = copy.deepcopy(SMALL)
    response["output"].insert(1, {"type": "web_search_call", "id": "ws_1"})
    response["output"][2]["outputs"].append({"type": "video"})
    response["output"][3]["content"].append({"type": "audio"})
    events = [{"type": "response.strange"}, END_EVENT, *responses.events_of(response), {"type": "keepalive"}]

    assert heard(events)[1].parts == reply_to(SMALL).parts


def test_a_relay_that_sends_the_end_alone() -> None:
    """What was told nowhere else is read from the last event."""
    told, reply = heard([{"type": "response.completed", "response": SMALL}])

    assert reply == reply_to(SMALL)
    assert Stream("stdout", "ü\n") in told


@pytest.mark.parametrize("data", ["[DONE]", " [DONE]\n"])
def test_done(data: str) -> None:
    """The line that some end their streams with is known, and means nothing here."""
    assert responses.is_end(data)
    assert not responses.is_end("{}")
