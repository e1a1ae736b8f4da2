"""The gateway's end of chat completions: what a request asks of a gateway without a model, and the reply to it.

Two kinds of request are answered. One has a tool of type `code_interpreter`, which some relays are said to know: its
code is run, and the message says what was printed. The other declares a function that takes `code`: it is answered by
a call of that function, which the client runs, as it would run a model's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp.dialects import extension
from ipy_codeinterp.dialects.extension import FIELD, Ran, Wanted
from ipy_codeinterp.dialects.openai_errors import Invalid, missing, wrong_type

TOOL = "code_interpreter"
CODE = "code"  # the parameter of a function that runs code
DONE = b"data: [DONE]\n\n"
NOTHING_TO_ADD = "No model here: what the tool returned is all there is to say."


# --- what is asked --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Function:
    """A declared function that takes code. `languages` are those it may be given, None where it takes no language."""

    name: str
    languages: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks. `text` is that of the last user message, `all_text` of every message.

    `runs` says that there is an interpreter to run code in, `function` is the one that a client runs code with, and
    `answered` that it has done so.
    """

    model: str
    text: str = field(repr=False)
    all_text: str = field(repr=False)
    runs: bool
    function: Function | None
    answered: bool
    stream: bool
    with_usage: bool
    wanted: Wanted


def decode_request(body: object) -> Asked:
    """Raises `Invalid` for a request that the vendor would refuse too, and what `extension.decode` raises."""
    if not isinstance(body, Mapping):
        raise Invalid("The body is not a JSON object.")
    model, messages, options = body.get("model"), body.get("messages"), body.get("stream_options")
    if not isinstance(model, str) or not model:
        raise missing("model")
    if not isinstance(messages, list) or not messages:
        raise missing("messages")
    said = [message for message in messages if isinstance(message, Mapping)]
    user = next((message for message in reversed(said) if message.get("role") == "user"), {})
    tools = _tools(body.get("tools")) if body.get("tool_choice") != "none" else []
    return Asked(
        model=model,
        text=_content(user),
        all_text="\n".join(map(_content, said)),
        runs=any(tool.get("type") == TOOL for tool in tools),
        function=next((found for tool in tools if (found := _function(tool))), None),
        answered=bool(said) and said[-1].get("role") == "tool",
        stream=bool(body.get("stream")),
        with_usage=isinstance(options, Mapping) and bool(options.get("include_usage")),
        wanted=extension.decode(body.get(FIELD)),
    )


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p["text"] for p in parts if isinstance(p, Mapping) and isinstance(p.get("text"), str))


def _tools(said: object) -> list[Mapping[str, Any]]:
    if not isinstance(said, list | None):
        raise wrong_type("tools", "an array")
    return [tool for tool in said or () if isinstance(tool, Mapping)]


def _function(tool: Mapping[str, Any]) -> Function | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    parameters = function.get("parameters") if isinstance(function, Mapping) else None
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    if not isinstance(name, str) or not isinstance(properties, Mapping) or not _is_string(properties.get(CODE)):
        return None
    return Function(name, _languages(properties.get("language")))


def _is_string(schema: object) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"


def _languages(schema: object) -> tuple[str, ...] | None:
    if not isinstance(schema, Mapping):
        return None
    named = schema.get("enum")
    return tuple(str(name) for name in named) if isinstance(named, list) else ()


# --- what is answered -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one reply share. `created` is in seconds since 1970, `prompt_tokens` are counted by us."""

    id: str
    created: int
    asked: Asked
    prompt_tokens: int
    extended: bool


def call_of(envelope: Envelope, call_id: str, code: str, language: str) -> dict[str, Any]:
    """The message that calls the function with the code. Raises `Invalid` for a language that it does not take."""
    function = envelope.asked.function
    assert function is not None, "asked of a request that declares one"
    arguments = {CODE: code}
    if function.languages is not None:
        if function.languages and language not in function.languages:
            raise Invalid(f"{function.name} does not run {language}.", param="tools", code="invalid_value")
        arguments = {"language": language, CODE: code}
    called = {"name": function.name, "arguments": json.dumps(arguments)}
    calls = [{"id": call_id, "type": "function", "function": called}]
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}


def words(text: str) -> dict[str, Any]:
    """A message of words."""
    return {"role": "assistant", "content": text, "refusal": None}


def printed(ran: Ran) -> str:
    """What a run printed, its tracebacks and the words for its end included; a message has no room for images."""
    return "".join(said for said in extension.logs(ran) if isinstance(said, str))


def encode_reply(
    envelope: Envelope, message: Mapping[str, Any], completion_tokens: int, ran: Ran | None = None
) -> dict[str, Any]:
    """The reply as one JSON object."""
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": dict(message), "logprobs": None, "finish_reason": reason}
    extra = {FIELD: extension.encode_ran(ran)} if ran and envelope.extended else {}
    usage = _usage(envelope, completion_tokens)
    return {**_head(envelope, "chat.completion"), "choices": [choice], "usage": usage, **extra}


def encode_start(envelope: Envelope) -> dict[str, Any]:
    """The first chunk."""
    return _chunk(envelope, {"role": "assistant", "content": ""})


def encode_piece(envelope: Envelope, text: str) -> dict[str, Any]:
    """A chunk with more of the message."""
    return _chunk(envelope, {"content": text})


def encode_end(envelope: Envelope, completion_tokens: int, reason: str = "stop") -> Iterator[dict[str, Any]]:
    """The last chunks; DONE follows them."""
    yield _chunk(envelope, {}, reason)
    if envelope.asked.with_usage:
        yield _chunk(envelope, None) | {"usage": _usage(envelope, completion_tokens)}


def encode_whole(envelope: Envelope, message: Mapping[str, Any], completion_tokens: int) -> Iterator[dict[str, Any]]:
    """The chunks of a message that is known from the start."""
    calls = message.get("tool_calls")
    if calls is None:
        yield encode_start(envelope)
        yield encode_piece(envelope, message["content"])
    else:
        (call,) = calls
        begun = {**call, "index": 0, "function": {**call["function"], "arguments": ""}}
        yield _chunk(envelope, {"role": "assistant", "content": None, "tool_calls": [begun]})
        written = {"index": 0, "function": {"arguments": call["function"]["arguments"]}}
        yield _chunk(envelope, {"tool_calls": [written]})
    yield from encode_end(envelope, completion_tokens, "stop" if calls is None else "tool_calls")


def _chunk(envelope: Envelope, delta: Mapping[str, Any] | None, reason: str | None = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": reason}]
    return {**_head(envelope, "chat.completion.chunk"), "choices": choices}


def _head(envelope: Envelope, kind: str) -> dict[str, Any]:
    return {"id": envelope.id, "object": kind, "created": envelope.created, "model": envelope.asked.model}


def _usage(envelope: Envelope, completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": envelope.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": envelope.prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
