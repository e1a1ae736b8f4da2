"""The Messages format as it was recorded: exchanges with the live service mean what their JSON holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.dialects import messages, sse
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.errors import BadReply
from ipy_codeinterp.execution import Execution, Step, Text, TextDelta

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


def an_ask(code: str = "x", **how: Any) -> Ask:
    return Ask(Execution(code), "claude-9", 512, **how)


def decoded(events: Iterable[Any]) -> messages.Reply:
    decoder = messages.decoder(an_ask())
    for event in events:
        list(decoder.feed(event))
    return decoder.reply()


def recorded(name: str) -> str:
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip("the recordings are not here")
    return path.read_text("utf-8")


def test_recorded_stream() -> None:
    """A real stream gives its steps with their stdout, its words while they come, and the usage it ended with."""
    lines = recorded("vercel-anthropic-code-execution-20250825.1.chunks.txt").splitlines()
    decoder = messages.decoder(an_ask())

    shown = [ours for line in lines if line for ours in decoder.feed(json.loads(line))]
    reply = decoder.reply()

    found = [part for part in reply.parts if isinstance(part, Step)]
    words = "".join(part.text for part in reply.parts if isinstance(part, Text))
    assert [step.outcome for step in found] == ["ok"]
    assert [step.outcome_source for step in found] == ["reported"]
    assert found[0].outputs[0].text.startswith("The 10th Fibonacci number is: 34\n")  # type: ignore[union-attr]
    assert [step.verbatim for step in found] == [False]
    assert "".join(event.text for event in shown if isinstance(event, TextDelta)) == words
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.estimated) == (8050, 771, False)
    assert reply.container == "container_011CU6pTr2hLT47seQ5Xs4yj"


def test_recorded_stream_cut_short() -> None:
    """A real stream without its last event is a bad reply."""
    lines = recorded("vercel-anthropic-code-execution-20250825.1.chunks.txt").split("\n")
    events = [json.loads(line) for line in lines if line]

    assert events[-1]["type"] == "message_stop"
    with pytest.raises(BadReply):
        decoded(events[:-1])


def test_recorded_reply() -> None:
    """A real reply in JSON gives its steps, the files they left, usage and container."""
    reply = decoded(messages.events_of(json.loads(recorded("vercel-anthropic-code-execution-20250825.2.json"))))

    found = [part for part in reply.parts if isinstance(part, Step)]
    assert [step.outcome for step in found] == ["ok", "ok"]
    assert found[0].code.startswith(
        "cd /tmp && python fibonacci_calculator.py\n\n# /tmp/fibonacci_calculator.py\nimport"
    )
    assert "The 10th Fibonacci number is: 34" in found[0].outputs[0].text  # type: ignore[union-attr]
    assert [file.id for file in found[1].files] == ["file_011CUJat24HHw4F65QJuLjhv"]
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (12546, 1359)
    assert reply.container == "container_011CUJar2mdkMcv7daEVAQw2"


OTHERS = sorted(RECORDINGS.glob("pydantic-ai-test_anthropic_*code_execution_tool*.yaml"))


def exchanges(path: Path) -> Iterator[list[Any]]:
    """The vendor's replies that pydantic-ai recorded, as events."""
    yaml = pytest.importorskip("yaml")
    for exchange in yaml.safe_load(path.read_text("utf-8"))["interactions"]:
        response = exchange["response"]
        if "parsed_body" in response:
            yield list(messages.events_of(response["parsed_body"]))
        else:
            wire = response["body"]["string"].encode()
            yield [json.loads(data) for data in sse.Parser().feed(wire)]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_other_recordings(path: Path) -> None:
    """Other people's recordings, with thinking and editors between the blocks, are understood as well."""
    for events in exchanges(path):
        reply = decoded(events)

        assert reply.parts
        assert reply.usage.output_tokens
        assert reply.container
