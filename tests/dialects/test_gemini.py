"""Gemini's code execution, the client's end: what is asked, and what its replies mean, recorded ones among them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.dialects import gemini, prompt, sse
from ipy_codeinterp.dialects.dialect import Ask, Dialect, Reply, Round
from ipy_codeinterp.dialects.retry_after import Advice
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadAttachment,
    BadReply,
    InterpError,
    InvalidInput,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Rejected,
)
from ipy_codeinterp.execution import (
    CodeDelta,
    Display,
    Execution,
    File,
    Limit,
    Phase,
    Step,
    Stream,
    Text,
    TextDelta,
    Usage,
)
from ipy_codeinterp.outputs import Collector

from .hostile import anything_with
from .samples import CODES

RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "pydantic-ai-test_code_execution.yaml"
CODE = "print(6*7)"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\xfb\xff\xfe" * 9).decode()


def asked(body: str = CODE, *, rounds: tuple[Round, ...] = (), contents: Any = None, **how: Any) -> Ask:
    execution = Execution(body, **how)
    return Ask(execution, "gemini-x", 4096, files=execution.files, rounds=rounds, contents=contents or {})


def code(said: str = CODE, id: str = "1", **more: Any) -> dict[str, Any]:
    return {"executableCode": {"language": "PYTHON", "code": said, "id": id}, **more}


def result(outcome: str = "OUTCOME_OK", output: str = "42\n", id: str = "1") -> dict[str, Any]:
    return {"codeExecutionResult": {"outcome": outcome, "output": output, "id": id}}


def figure(data: str = PNG, mime: str = "image/png") -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": data}}


def chunk(*parts: Any, reason: Any = None, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], "responseId": "r", **more}


def heard(*chunks: Any, ask: Ask | None = None) -> tuple[list[Any], Reply]:
    decoder = gemini.decoder(ask or asked())
    events = [event for each in chunks for event in decoder.feed(each)]
    return events, decoder.reply()


def step_of(*parts: Any, ask: Ask | None = None) -> Step:
    (step,) = (part for part in heard(chunk(*parts, reason="STOP"), ask=ask)[1].parts if isinstance(part, Step))
    return step


def test_is_a_dialect() -> None:
    """The module has all that a wire format has to the client."""
    dialect: Dialect = gemini

    assert dialect.path("models/gemini-x") == dialect.path("gemini-x")
    assert dialect.path("gemini-x") == "/v1/models/gemini-x:streamGenerateContent?alt=sse"
    assert dialect.path("a/b?c") == "/v1/models/a%2Fb%3Fc:streamGenerateContent?alt=sse"
    assert dialect.headers("k") == {"x-goog-api-key": "k"}
    for nothing in (dialect.content_path, dialect.about_path):
        with pytest.raises(Rejected):
            nothing("x")


# --- what is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize("said", CODES.values(), ids=CODES)
def test_code_travels_as_it_is(said: str) -> None:
    """D5: the fence is longer than any in the code, which comes out as it went in."""
    body = json.loads(json.dumps(gemini.encode_request(asked(said))))

    (part,) = body["contents"][0]["parts"]
    assert [block.content for block in prompt.blocks(part["text"])] == [said]
    assert body["tools"] == [{"codeExecution": {}}]
    assert body["generationConfig"] == {"maxOutputTokens": 4096}


def test_a_task() -> None:
    """D6: a task is said in words, and without execution there is no tool."""
    ask = asked("Sum it.", kind="task", execute=False, language="r")
    body = gemini.encode_request(ask)

    assert body["contents"][0]["parts"] == [{"text": prompt.task(ask.execution)}]
    assert "tools" not in body


def test_other_languages() -> None:
    """What does not run there is refused before anything is sent."""
    with pytest.raises(InvalidInput, match="Python only, not r"):
        gemini.encode_request(asked(language="R"))


def test_files_go_along() -> None:
    """Each is named and comes whole, as what its name says it is."""
    files = (File("a.csv"), File("b"))
    body = gemini.encode_request(asked(files=files, contents={"a.csv": b"x\xff", "b": b""}))

    assert body["contents"][0]["parts"][1:] == [
        {"text": 'The file "a.csv":'},
        {"inlineData": {"mimeType": "text/csv", "data": "eP8="}},
        {"text": 'The file "b":'},
        {"inlineData": {"mimeType": "text/plain", "data": ""}},
    ]


@pytest.mark.parametrize("contents", [{}, {"a": bytes(gemini.MOST_INLINE + 1)}], ids=["missing", "too large"])
def test_files_that_cannot_go_along(contents: dict[str, bytes]) -> None:
    """What is not there, or does not fit, is said before anything is sent."""
    with pytest.raises(BadAttachment):
        gemini.encode_request(asked(files=(File("a"),), contents=contents))


def test_a_second_round() -> None:
    """Parts go back as they came, signatures and figures with them."""
    parts = [code(thoughtSignature="s+/="), result(), figure(), {"text": "x", "thought": True}, {"text": "42"}]
    _, reply = heard(chunk(*parts[:2]), chunk(*parts[2:], reason="STOP"))
    body = gemini.encode_request(asked(rounds=(Round(reply.said),)))

    assert body["contents"][1:] == [{"role": "model", "parts": parts}]


# --- what is heard --------------------------------------------------------------------------------


def test_a_reply() -> None:
    """D1: words, code, what it printed and its figure come as they are there, and stay in order."""
    events, reply = heard(
        chunk({"text": "I "}),
        chunk({"text": "run."}, code()),
        chunk(result(), figure()),
        chunk({"text": "42"}, reason="STOP"),
    )

    shown = Display({"image/png": PNG})
    printed = Stream("stdout", "42\n")
    said = [TextDelta("I "), TextDelta("run."), CodeDelta(CODE), Phase("running"), printed, shown, TextDelta("42")]
    assert events == said
    assert reply.parts == (
        Text("I run."),
        Step(CODE, "python", True, (printed, shown), "ok", "reported"),
        Text("42"),
    )
    assert (reply.stop, reply.calls, reply.container) == ("end", (), None)


@pytest.mark.parametrize(
    ("outcome", "ours", "stream", "source"),
    [
        ("OUTCOME_OK", "ok", "stdout", "reported"),
        ("OUTCOME_FAILED", "error", "stderr", "reported"),
        ("OUTCOME_DEADLINE_EXCEEDED", "limit", "stderr", "reported"),
        ("OUTCOME_UNSPECIFIED", "unknown", "stdout", "inferred"),
        ("OUTCOME_OF_TOMORROW", "unknown", "stdout", "inferred"),
    ],
)
def test_outcomes(outcome: str, ours: str, stream: Any, source: str) -> None:
    """D2: how the code ended is what was reported of it, never HTTP's word."""
    step = step_of(code(), result(outcome))

    assert (step.outcome, step.outcome_source, step.outputs) == (ours, source, (Stream(stream, "42\n"),))


def test_the_time_limit() -> None:
    """Code that is stopped at the service's own limit says which."""
    _, reply = heard(chunk(code(), result("OUTCOME_DEADLINE_EXCEEDED", ""), reason="STOP"))

    assert reply.limit == Limit("time", 30.0, "seconds")


def test_code_without_a_result() -> None:
    """Nobody said how it ended: unknown."""
    assert step_of(code()).outcome == "unknown"


@pytest.mark.parametrize("ids", [("1", "2"), ("", "")], ids=["ids", "no ids"])
def test_several_steps(ids: tuple[str, str]) -> None:
    """Each result is of its own code, a figure of the code before it, also where nothing has an id."""
    parts = [code("a", ids[0]), result("OUTCOME_FAILED", "e", ids[0]), code("b", ids[1]), result(id=ids[1]), figure()]
    _, reply = heard(chunk(*parts, reason="STOP"))

    one, two = reply.parts
    assert isinstance(one, Step) and isinstance(two, Step)
    assert [(one.code, one.outcome), (two.code, two.outcome)] == [("a", "error"), ("b", "ok")]
    assert (len(one.outputs), len(two.outputs)) == (1, 2)
    assert (one.verbatim, two.verbatim) == (False, False)


def test_results_out_of_order() -> None:
    """Ids count more than order."""
    _, reply = heard(chunk(code("a"), code("b", "2"), result(id="2", output="B"), result(output="A"), reason="STOP"))

    assert [(s.code, s.outputs[0].text) for s in reply.parts if isinstance(s, Step)] == [("a", "A"), ("b", "B")]  # type: ignore[union-attr]


def test_line_ends() -> None:
    """Code has `\\n` line ends, and that is no change of what was asked."""
    step = step_of(code("a\r\nb\r\n"), ask=asked("a\nb"))

    assert (step.code, step.verbatim) == ("a\nb\n", True)


@pytest.mark.parametrize(
    ("data", "mime", "shown"),
    [
        (PNG, "image/png", "image/png"),
        (PNG, "image/jpeg", "image/png"),
        (PNG.translate(str.maketrans("+/", "-_")), "image/png", "image/png"),
        (base64.b64encode(b"<script>").decode(), "image/png", "text/plain"),
        ("not base64!", "image/png", "text/plain"),
        ("", "image/png", "text/plain"),
    ],
)
def test_figures(data: str, mime: str, shown: str) -> None:
    """A figure is called what its first bytes say it is, in whichever alphabet it was written."""
    (display,) = step_of(code(), figure(data, mime)).outputs

    assert isinstance(display, Display)
    assert list(display.data) == [shown]
    assert shown == "text/plain" or display.data[shown] == PNG


def test_pictures_that_no_code_made() -> None:
    """Without code before it, a picture is no output; other kinds of data are none either."""
    _, reply = heard(chunk(figure(), {"text": "x"}, reason="STOP"))

    assert reply.parts == (Text("x"),)
    assert step_of(code(), figure("eA==", "text/csv")).outputs == ()


def test_native() -> None:
    """The whole reply is kept, but not a second copy of each figure."""
    _, reply = heard(chunk(code(), figure(), reason="STOP", usageMetadata={"x": 1}, new=[1]))

    assert reply.native["candidates"][0]["content"]["parts"] == [code(), {"inlineData": {"mimeType": "image/png"}}]
    assert (reply.native["responseId"], reply.native["new"], reply.native["usageMetadata"]) == ("r", [1], {"x": 1})
    assert PNG not in json.dumps(reply.native)


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", "end"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "filtered"),
        ("RECITATION", "filtered"),
        ("OTHER", "refused"),
        ("MALFORMED_FUNCTION_CALL", "refused"),
        ("SOMETHING_NEW", "refused"),
    ],
)
def test_why_it_stopped(reason: str, stop: str) -> None:
    """D2: only one reason is the end of a reply; one that nobody knows is not taken for it."""
    assert heard(chunk({"text": "x"}, reason=reason))[1].stop == stop


def test_a_prompt_that_was_blocked() -> None:
    """No candidate, but a reason: the question was filtered."""
    _, reply = heard({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}})

    assert (reply.stop, reply.parts, reply.said) == ("filtered", (), ())


@pytest.mark.parametrize("reason", [None, "", "FINISH_REASON_UNSPECIFIED", 1])
def test_no_end(reason: Any) -> None:
    """A stream that stops without a reason is no reply, and what ran has run."""
    with pytest.raises(BadReply) as caught:
        heard(chunk(code(), result(), reason=reason))

    assert caught.value.may_have_run


# --- usage ----------------------------------------------------------------------------------------

COUNTED = {
    "promptTokenCount": 257,
    "toolUsePromptTokenCount": 1732,
    "candidatesTokenCount": 170,
    "thoughtsTokenCount": 773,
    "cachedContentTokenCount": 200,
    "totalTokenCount": 2932,
}


def test_usage() -> None:
    """D8: what the tool fed back is input, thoughts are output, and the last report of a stream counts."""
    early = {"promptTokenCount": 257, "candidatesTokenCount": 1, "totalTokenCount": 258}
    _, reply = heard(chunk(usageMetadata=early), chunk(reason="STOP", usageMetadata=COUNTED))

    assert reply.usage == Usage(1989, 943, False, COUNTED, cached_tokens=200, reasoning_tokens=773)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        (None, (None, None)),
        ({"promptTokenCount": 4}, (4, None)),
        ({"promptTokenCount": 4, "totalTokenCount": 4}, (4, 0)),
        ({"promptTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 6}, (4, 2)),
        ({"promptTokenCount": -4, "candidatesTokenCount": "2"}, (None, None)),
    ],
    ids=repr,
)
def test_usage_may_be_missing(said: Any, tokens: tuple[int | None, int | None]) -> None:
    """D9: what is not said is not known, unless the total says it."""
    _, reply = heard(chunk(reason="STOP", usageMetadata=said))

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == tokens


# --- errors ---------------------------------------------------------------------------------------


def error(code: int, status: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "m", "status": status, "details": list(details)}}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "22.5s"}
MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}
DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}


@pytest.mark.parametrize(
    ("body", "kind", "wait"),
    [
        (error(429, "RESOURCE_EXHAUSTED"), Overloaded, None),
        (error(429, "RESOURCE_EXHAUSTED", MINUTE, RETRY), Overloaded, 22.5),
        (error(429, "RESOURCE_EXHAUSTED", DAY, RETRY), QuotaExceeded, None),
        (error(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), AuthenticationFailed, None),
        (error(400, "INVALID_ARGUMENT"), Rejected, None),
        (error(403, "PERMISSION_DENIED"), AuthenticationFailed, None),
        (error(404, "NOT_FOUND"), Rejected, None),
        (error(500, "INTERNAL"), Overloaded, None),
        (error(503, "UNAVAILABLE", {"retryDelay": "soon"}), Overloaded, None),
        (error(504, "DEADLINE_EXCEEDED", {"retryDelay": "9" * 400 + "s"}), Overloaded, None),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("listed", [False, True], ids=["object", "list"])
def test_errors(body: dict[str, Any], kind: type[ProviderError], wait: float | None, listed: bool) -> None:
    """Told by its reason, then its status; the wait is in the body, and a quota of a day is none that waiting mends."""
    found = gemini.error_of([body] if listed else body, body["error"]["code"])

    assert (type(found), found.retry_after, found.status) == (kind, wait, body["error"]["code"])


def test_a_header_comes_first() -> None:
    """Where a header says how long to wait, the body is not asked."""
    found = gemini.error_of(error(429, "RESOURCE_EXHAUSTED", RETRY), 429, advice=Advice(retry_after=3.0))

    assert found.retry_after == 3.0


def test_the_wrong_field_is_named() -> None:
    """An error that names a field says which."""
    body = error(400, "INVALID_ARGUMENT", {"fieldViolations": [{"field": "tools[0]", "description": "d"}]})

    assert gemini.error_of(body, 400).param == "tools[0]"


def test_an_error_in_the_stream() -> None:
    """D2: an error with HTTP 200 is an error, alone or in a list, and what ran has run."""
    for said in (error(503, "UNAVAILABLE"), [error(503, "UNAVAILABLE")]):
        with pytest.raises(Overloaded) as caught:
            heard(chunk(code()), said)
        assert caught.value.may_have_run


# --- anything else --------------------------------------------------------------------------------

NAMES = ("candidates", "content", "parts", "text", "thought", "executableCode", "code", "id", "codeExecutionResult")
NAMES += ("outcome", "output", "inlineData", "mimeType", "data", "finishReason", "usageMetadata", "promptTokenCount")
NAMES += ("promptFeedback", "blockReason", "error", "status", "message", "details", "violations", "retryDelay", "index")
WORDS = ("STOP", "OUTCOME_OK", "image/png", PNG, "RESOURCE_EXHAUSTED", "3s", "1")
JSON = anything_with(*NAMES, words=WORDS)
PARTS = st.builds(code, JSON, JSON) | st.builds(result, JSON, JSON, JSON) | st.builds(figure, JSON, JSON)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON | st.builds(chunk, JSON | PARTS, PARTS, reason=JSON), max_size=4), st.booleans())
def test_any_json(events: list[Any], ended: bool) -> None:
    """Whatever JSON a stream holds, what comes of it is a Reply that can be said again, or an error of ours."""
    try:
        _, reply = heard(*events, *([chunk(reason="STOP")] if ended else []))
    except InterpError:
        return
    assert json.loads(json.dumps([gemini.encode_request(asked(rounds=(Round(reply.said),))), reply.native]))


@settings(max_examples=50, deadline=None)
@given(JSON, st.integers(100, 599))
def test_any_error(body: Any, status: int) -> None:
    """Whatever a body holds, it is a provider's error."""
    for each in (body, {"error": body}, error(429, "INTERNAL", body, {"violations": body})):
        assert isinstance(gemini.error_of(each, status), ProviderError)


def as_stream(chunks: list[Any]) -> bytes:
    return b"".join(f"data: {json.dumps(each, ensure_ascii=False)}\r\n\r\n".encode() for each in chunks)


def test_cut_anywhere() -> None:
    """A stream that is cut at any byte is no reply, or the whole one: half a character or half a figure is neither."""
    chunks = [chunk({"text": "é\N{SNOWMAN}"}, code()), chunk(result(), figure()), chunk({"text": "42"}, reason="STOP")]
    stream, whole = as_stream(chunks), heard(*chunks)[1]
    for cut in range(len(stream)):
        try:
            _, reply = heard(*map(json.loads, sse.Parser().feed(stream[:cut])))
        except BadReply:
            continue
        assert reply == whole
        assert cut >= len(stream) - 2


# --- recorded -------------------------------------------------------------------------------------


def recorded() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    if not RECORDING.exists():
        pytest.skip("no recordings here")
    return [each["response"]["parsed_body"] for each in yaml.safe_load(RECORDING.read_text("utf-8"))["interactions"]]


@pytest.mark.parametrize("which", [0, 1])
def test_recorded(which: int) -> None:
    """A real reply means what its JSON holds: all code, all outputs, all words, all tokens."""
    body = recorded()[which]
    events, reply = heard(*gemini.events_of(body), ask=asked("What day is today?", kind="task"))

    parts = body["candidates"][0]["content"]["parts"]
    steps = [part for part in reply.parts if isinstance(part, Step)]
    assert [step.code for step in steps] == [p["executableCode"]["code"] for p in parts if "executableCode" in p]
    outputs = [p["codeExecutionResult"]["output"] for p in parts if "codeExecutionResult" in p]
    assert [step.outputs for step in steps] == [(Stream("stdout", output),) for output in outputs]
    assert {(step.outcome, step.outcome_source, step.verbatim) for step in steps} == {("ok", "reported", None)}
    assert reply.parts[-1] == Text(parts[-1]["text"])
    assert Collector(events).outputs == Collector(Stream("stdout", output) for output in outputs).outputs
    assert reply.native == body
    assert reply.said == ({"role": "model", "parts": parts},)
    tokens = body["usageMetadata"]
    assert (reply.usage.input_tokens or 0) + (reply.usage.output_tokens or 0) == tokens["totalTokenCount"]


def test_recorded_and_cut() -> None:
    """A real reply in chunks of one part each means the same; without its last chunk it is none."""
    body = recorded()[0]
    *parts, last = body["candidates"][0]["content"]["parts"]
    rest = {name: value for name, value in body.items() if name != "candidates"}
    chunks = [*(chunk(part) for part in parts), {**chunk(last, reason="STOP"), **rest}]

    _, reply = heard(*chunks)
    assert reply == heard(body)[1]
    with pytest.raises(BadReply):
        heard(*chunks[:-1])
