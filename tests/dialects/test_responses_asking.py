"""What the client says in OpenAI's Responses, and what its gateway understands of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ipy_codeinterp.dialects import prompt, responses
from ipy_codeinterp.dialects.dialect import Round
from ipy_codeinterp.dialects.responses import requested
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Execution, File

from .openai_replies import CITED, THOUGHT, a_call, a_message, a_response, asked, logs, reply_to
from .samples import CODES


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_code_is_said_verbatim(code: str) -> None:
    """The cell stands in the request as it is, in a fence that nothing in it closes (D5)."""
    (message,) = json.loads(json.dumps(responses.encode_request(asked(code))))["input"]
    (part,) = message["content"]

    assert [block.content for block in prompt.blocks(part["text"])] == [code]


def test_code_has_to_run() -> None:
    """Code is run once, by a tool the model must use, and its outputs are asked for (D3, D4)."""
    body = responses.encode_request(asked(most_tokens=77))

    assert body["tools"] == [{"type": "code_interpreter", "container": {"type": "auto"}}]
    assert (body["tool_choice"], body["max_tool_calls"]) == ({"type": "code_interpreter"}, 1)
    assert body["include"] == ["code_interpreter_call.outputs"]
    assert (body["store"], body["stream"], body["max_output_tokens"]) == (False, True, 77)
    assert body["stream_options"] == {"include_obfuscation": False}
    assert "ipy_codeinterp" not in body


def test_a_task_is_said_in_words() -> None:
    """A task leaves the calls to the model, and says where its files are."""
    task = Execution("sum it up", kind="task")
    body = responses.encode_request(asked(execution=task, files=(File("a.csv", id="file-1"),)))
    text = body["input"][0]["content"][0]["text"]

    assert text.startswith(prompt.task(task))
    assert "/mnt/data/file-1-a.csv" in text
    assert body["tool_choice"] == "auto"
    assert "max_tool_calls" not in body


def test_a_task_that_is_not_to_run() -> None:
    """What is only to be written is given no tool (D6)."""
    body = responses.encode_request(asked(execution=Execution("x", kind="task", execute=False)))

    assert {"tools", "tool_choice", "include"}.isdisjoint(body)


def test_a_new_container() -> None:
    """A new container is told its files and its memory."""
    ask = asked(files=(File("a", id="file-1"), File("b")), memory=(1 << 30) + 1)
    (tool,) = responses.encode_request(ask)["tools"]

    assert tool["container"] == {"type": "auto", "file_ids": ["file-1"], "memory_limit": "4g"}


def test_a_known_container() -> None:
    """A container that exists is named, and given files through the input."""
    body = responses.encode_request(asked(container="cntr_1", files=(File("a", id="file-1"),), memory=1))

    assert body["tools"][0]["container"] == "cntr_1"
    assert body["input"][0]["content"][1:] == [{"type": "input_file", "file_id": "file-1"}]


@pytest.mark.parametrize(
    ("memory", "tier"), [(1, "1g"), (1 << 30, "1g"), (5 << 30, "16g"), (17 << 30, "64g"), (64 << 30, "64g")]
)
def test_memory(memory: int, tier: str) -> None:
    """The smallest container that has what is asked for."""
    container = responses.encode_request(asked(memory=memory))["tools"][0]["container"]

    assert container["memory_limit"] == tier


def test_too_much_memory() -> None:
    """More than any container has is refused before it is sent."""
    with pytest.raises(InvalidInput, match="65 GB"):
        responses.encode_request(asked(memory=65 << 30))


def test_other_languages() -> None:
    """Theirs runs Python only; our own gateway says what it runs."""
    execution = Execution("1", language="r")

    with pytest.raises(InvalidInput, match="not r"):
        responses.encode_request(asked(execution=execution))
    assert responses.encode_request(asked(execution=execution, extension={"language": "r"}))["tools"]


def test_our_own_gateway_is_told_more() -> None:
    """What only our own gateway understands is a field beside the rest."""
    assert responses.encode_request(asked(extension={"timeout": 2}))["ipy_codeinterp"] == {"timeout": 2}


OPEN_THOUGHT = {**THOUGHT, "encrypted_content": "abc"}


def test_rounds_are_repeated() -> None:
    """What was said is said again, without outputs, citations and thoughts that only the provider can read."""
    said = reply_to(a_response(THOUGHT, OPEN_THOUGHT, a_call("x", [logs("1")]), CITED)).said
    _, *repeated = responses.encode_request(asked(container="cntr_1", rounds=(Round(said),)))["input"]

    assert repeated == [OPEN_THOUGHT, a_call("x", None), a_message("see a.csv")]


def test_rounds_of_a_lost_container() -> None:
    """A new container is told the words only: it refuses what happened in another."""
    said = reply_to(a_response(OPEN_THOUGHT, a_call("x", [logs("1")]), CITED)).said
    _, *repeated = responses.encode_request(asked(rounds=(Round(said),)))["input"]

    assert repeated == [a_message("see a.csv")]


def test_where_and_how() -> None:
    """The path, the key in its header, and where files go."""
    assert responses.path("gpt") == "/v1/responses"
    assert responses.headers("k") == {"Authorization": "Bearer k"}
    assert responses.UPLOADS is not None
    assert (responses.UPLOADS.path, responses.UPLOADS.fields) == ("/v1/files", {"purpose": "user_data"})


@pytest.mark.parametrize("container", [None, "cntr_1"])
def test_our_gateway_hears_it(container: str | None) -> None:
    """What the client asks for is what our own gateway understands: code, container, files, memory and the rest."""
    extension = {"language": "r", "timeout": 2.5, "limits": {"memory": 1 << 20}, "keep": False}
    execution = Execution("cat(1)", language="r")
    ask = asked(execution=execution, container=container, files=(File("a", id="file-1"),), extension=extension)
    body = json.loads(json.dumps(responses.encode_request(replace(ask, memory=1 << 30))))
    understood = requested.decode_request(body)

    assert [block.content for block in prompt.blocks(understood.text)] == ["cat(1)"]
    assert (understood.container, understood.with_outputs, understood.stream) == (container, True, True)
    assert (understood.file_ids or (understood.room and understood.room.file_ids)) == ("file-1",)
    assert (understood.wanted.language, understood.wanted.timeout, understood.wanted.keep) == ("r", 2.5, False)
    assert understood.room is None or understood.room.memory == 1 << 30
