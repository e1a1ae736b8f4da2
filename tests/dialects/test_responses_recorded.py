"""OpenAI's Responses as they were recorded: each decodes to what its JSON holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.dialects import responses, sse
from ipy_codeinterp.dialects.dialect import Reply
from ipy_codeinterp.errors import (
    BadReply,
    QuotaExceeded,
    Rejected,
)
from ipy_codeinterp.execution import (
    CodeDelta,
    Step,
    Stream,
    Text,
    TextDelta,
)

from .openai_replies import (
    asked,
    heard,
)

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


def recorded(name: str) -> Path:
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip("no recordings on this machine")
    return path


def recorded_bodies(name: str) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    exchanges = yaml.safe_load(recorded(name).read_text("utf-8"))["interactions"]
    bodies = [each["response"].get("parsed_body") for each in exchanges]
    return [body for body in bodies if body and body.get("object") == "response"]


def is_as_recorded(response: dict[str, Any], reply: Reply) -> None:
    """Compares a reply with the JSON it came from, read here without the code under test."""
    calls = [item for item in response["output"] if item["type"] == "code_interpreter_call"]
    messages = [item for item in response["output"] if item["type"] == "message"]
    steps = [part for part in reply.parts if isinstance(part, Step)]
    assert [step.code for step in steps] == [call["code"].replace("\r\n", "\n") for call in calls]
    for call, step in zip(calls, steps, strict=True):
        said = [o["logs"] if o["type"] == "logs" else o["url"].split(",")[1] for o in call["outputs"] or ()]
        assert said == [o.text if isinstance(o, Stream) else o.data["image/png"] for o in step.outputs]  # type: ignore[union-attr]
        assert (step.outcome, reply.container) == ("unknown", call["container_id"])
    words = [part["text"] for message in messages for part in message["content"]]
    assert [part.text for part in reply.parts if isinstance(part, Text)] == words
    assert reply.usage.input_tokens == response["usage"]["input_tokens"]
    assert reply.usage.output_tokens == response["usage"]["output_tokens"]
    assert reply.usage.reasoning_tokens == response["usage"]["output_tokens_details"]["reasoning_tokens"]


def test_recorded_json() -> None:
    """A recorded JSON reply decodes to what it holds, and cites its file."""
    response = json.loads(recorded("vercel-openai-code-interpreter-tool.1.json").read_text("utf-8"))
    reply = heard(responses.events_of(response))[1]

    is_as_recorded(response, reply)
    assert [f.name for s in reply.parts if isinstance(s, Step) for f in s.files] == ["two_dice_sums_10000.txt"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("pydantic-ai-test_openai_code_execution_files.yaml", [[]]),
        (
            "pydantic-ai-test_openai_responses_code_execution_return_image.yaml",
            [["y_equals_x_squared.png"], ["y_equals_x_squared_futuristic.png"]],
        ),
    ],
)
def test_recorded_exchanges(name: str, files: list[list[str]]) -> None:
    """Recorded exchanges decode to what they hold; a figure that was shown is no file as well."""
    bodies = recorded_bodies(name)
    replies = [heard(responses.events_of(body))[1] for body in bodies]

    for body, reply in zip(bodies, replies, strict=True):
        is_as_recorded(body, reply)
    assert [[f.name for s in r.parts if isinstance(s, Step) for f in s.files] for r in replies] == files


def recorded_events(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in recorded(name).read_text("utf-8").splitlines() if line.strip()]


def test_recorded_stream() -> None:
    """A recorded stream tells the code as it was written, and decodes to what its last event holds."""
    events = recorded_events("vercel-openai-code-interpreter-tool.1.chunks.txt")
    told, reply = heard(events)

    is_as_recorded(events[-1]["response"], reply)
    steps = [part for part in reply.parts if isinstance(part, Step)]
    assert "".join(e.text for e in told if isinstance(e, CodeDelta)) == "".join(step.code for step in steps)
    assert "".join(e.text for e in told if isinstance(e, TextDelta)) == reply.parts[-1].text  # type: ignore[union-attr]
    assert [file.name for file in steps[-1].files] == ["roll2dice_sums_10000.csv"]


def test_recorded_stream_cut() -> None:
    """A recorded stream that ends at, just before or just after any event but the last is a bad reply."""
    events = recorded_events("vercel-openai-code-interpreter-tool.1.chunks.txt")
    decoder, parser = responses.decoder(asked()), sse.Parser()
    for event in events[:-1]:
        wire = sse.encode(event)
        for piece in (wire[:-1], wire[-1:]):
            for data in parser.feed(piece):
                list(decoder.feed(json.loads(data)))
            with pytest.raises(BadReply):
                decoder.reply()
    last = sse.encode(events[-1])
    assert list(parser.feed(last[:-1])) == []
    for data in parser.feed(last[-1:]):
        list(decoder.feed(json.loads(data)))
    is_as_recorded(events[-1]["response"], decoder.reply())


def test_recorded_errors() -> None:
    """Recorded errors, in a stream and in a body, are what their names say."""
    with pytest.raises(QuotaExceeded, match="current quota"):
        heard(recorded_events("vercel-openai-error.1.chunks.txt"))
    body = json.loads(recorded("vercel-openai-error.1.json").read_text("utf-8"))
    assert type(responses.error_of(body, 429)) is QuotaExceeded


def test_recorded_refusal_of_a_request() -> None:
    """A recorded refusal names the field that is wrong."""
    yaml = pytest.importorskip("yaml")
    path = recorded("pydantic-ai-test_openai_responses_model_http_error.yaml")
    (exchange,) = yaml.safe_load(path.read_text("utf-8"))["interactions"]
    error = responses.error_of(exchange["response"]["parsed_body"], 400, "req_1")

    assert (type(error), error.param, error.request_id) == (Rejected, "temperature", "req_1")
