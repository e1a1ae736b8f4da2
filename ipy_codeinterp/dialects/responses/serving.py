"""The gateway's end of OpenAI's Responses with `code_interpreter`: the reply, whole or as events.

Source: the types of the `openai` SDK 3.54 and recorded exchanges with the live service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp.dialects import extension
from ipy_codeinterp.dialects.extension import FIELD, Ran
from ipy_codeinterp.dialects.responses.requested import TOOL, Asked

PIECE = 1 << 16  # characters of code in one delta
FAILED = ("limit", "crashed", "cancelled")  # outcomes of which the call itself has failed


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many there are, both numbers counted by us."""

    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Cited:
    """A file that code left, by its id in the container, and where it lies there."""

    id: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one reply share. `created` is in seconds since 1970."""

    response_id: str
    call_id: str
    message_id: str
    created: int
    asked: Asked
    code: str = field(repr=False)
    container: str
    container_new: bool
    isolation: str
    warm: bool
    extended: bool
    tokens: Tokens


def encode_start(envelope: Envelope) -> Iterator[dict[str, Any]]:
    """The events before the run, each without its number."""
    if envelope.extended:
        facts = {"container": envelope.container, "new": envelope.container_new, "warm": envelope.warm}
        yield {"type": f"{FIELD}.start", "isolation": envelope.isolation, **facts}
    response = _response(envelope, "in_progress", [])
    yield {"type": "response.created", "response": response}
    yield {"type": "response.in_progress", "response": response}
    at = {"output_index": 0, "item_id": envelope.call_id}
    call = f"response.{TOOL}_call"
    item = _call(envelope, "in_progress", "", [] if envelope.asked.with_outputs else None)
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": f"{call}.in_progress", **at}
    for start in range(0, len(envelope.code), PIECE):
        yield {"type": f"{call}_code.delta", **at, "delta": envelope.code[start : start + PIECE]}
    yield {"type": f"{call}_code.done", **at, "code": envelope.code}
    yield {"type": f"{call}.interpreting", **at}


def encode_end(envelope: Envelope, ran: Ran, cited: tuple[Cited, ...]) -> Iterator[dict[str, Any]]:
    """The events after the run."""
    call, *messages = output = encode_output(envelope, ran, cited)
    yield {"type": f"response.{TOOL}_call.completed", "output_index": 0, "item_id": envelope.call_id}
    yield {"type": "response.output_item.done", "output_index": 0, "item": call}
    for message in messages:
        yield from _said(message)
    yield {"type": "response.completed", "response": _response(envelope, "completed", output)}


def _said(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a message of one part."""
    (part,) = message["content"]
    at = {"output_index": 1, "content_index": 0, "item_id": message["id"]}
    empty = {**part, "text": "", "annotations": []}
    begun = {**message, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 1, "item": begun}
    yield {"type": "response.content_part.added", **at, "part": empty}
    yield {"type": "response.output_text.delta", **at, "delta": part["text"], "logprobs": []}
    for i, annotation in enumerate(part["annotations"]):
        kind = "response.output_text.annotation.added"
        yield {"type": kind, **at, "annotation_index": i, "annotation": annotation}
    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": 1, "item": message}


def encode_failure(envelope: Envelope, message: str) -> Iterator[dict[str, Any]]:
    """The last events of a stream that broke under way: the error, nested as the live service has it, then the end."""
    error = {"type": "server_error", "code": "server_error", "message": message, "param": None}
    yield {"type": "error", "error": error}
    failed = _response(envelope, "failed", []) | {"error": {"code": "server_error", "message": message}}
    yield {"type": "response.failed", "response": failed}


def encode_reply(envelope: Envelope, ran: Ran, cited: tuple[Cited, ...]) -> dict[str, Any]:
    """The reply as one JSON object."""
    return _response(envelope, "completed", encode_output(envelope, ran, cited))


def encode_output(envelope: Envelope, ran: Ran, cited: tuple[Cited, ...]) -> list[dict[str, Any]]:
    """The items of the reply: the call, and a message that cites the files there are."""
    outputs = list(_outputs(ran)) if envelope.asked.with_outputs else None
    call = _call(envelope, "failed" if ran.outcome in FAILED else "completed", envelope.code, outputs)
    call |= {FIELD: extension.encode_ran(ran)} if envelope.extended else {}
    return [call, _message(envelope, cited)] if cited else [call]


def without_outputs(response: Mapping[str, Any]) -> dict[str, Any]:
    """A reply as it is for whoever did not ask for outputs."""
    return {**response, "output": items_without_outputs(response["output"])}


def items_without_outputs(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Calls whose outputs nobody asked for have none."""
    return [{**item, "outputs": None} if item.get("type") == f"{TOOL}_call" else dict(item) for item in items]


def encode_items(items: Iterable[Mapping[str, Any]], new_id: Callable[[str], str]) -> list[dict[str, Any]]:
    """The input as it is kept: messages in their whole form, and an id on each item; `new_id` makes one of a prefix."""
    return [_kept(item, new_id) for item in items]


def _kept(item: Mapping[str, Any], new_id: Callable[[str], str]) -> dict[str, Any]:
    said = item.get("id")
    id = said if isinstance(said, str) and said else None
    if item.get("type", "message") != "message":
        return {**item, "id": id or new_id("item")}
    content = item.get("content")
    if isinstance(content, str):
        kind = {"type": "output_text", "annotations": []} if item.get("role") == "assistant" else {"type": "input_text"}
        content = [{**kind, "text": content}]
    return {"status": "completed", **item, "id": id or new_id("msg"), "type": "message", "content": content}


def _call(envelope: Envelope, status: str, code: str, outputs: list[Any] | None) -> dict[str, Any]:
    call = {"id": envelope.call_id, "type": f"{TOOL}_call", "status": status, "code": code}
    return call | {"container_id": envelope.container, "outputs": outputs}


def _outputs(ran: Ran) -> Iterator[dict[str, str]]:
    """Logs and images in their order; texts that follow each other are one."""
    texts: list[str] = []
    for said in extension.logs(ran):
        if isinstance(said, str):
            texts.append(said)
            continue
        yield from _logs(texts)
        texts = []
        yield {"type": "image", "url": f"data:{said[0]};base64,{''.join(said[1].split())}"}
    yield from _logs(texts)


def _logs(texts: list[str]) -> Iterator[dict[str, str]]:
    if text := "".join(texts):
        yield {"type": "logs", "logs": text}


def _message(envelope: Envelope, cited: tuple[Cited, ...]) -> dict[str, Any]:
    text, annotations = "", []
    for file in cited:
        link = f"[{file.name}](sandbox:{file.path})"
        place = {"start_index": len(text), "end_index": len(text) + len(link)}
        named = {"container_id": envelope.container, "file_id": file.id, "filename": file.name}
        annotations.append({"type": "container_file_citation", **named, **place})
        text += f"{link}\n"
    part = {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}
    return {
        "id": envelope.message_id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _response(envelope: Envelope, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": envelope.response_id,
        "object": "response",
        "created_at": envelope.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": envelope.asked.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": envelope.asked.store,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(envelope.tokens) if status == "completed" else None,
        "metadata": {},
        **envelope.asked.echoed,
    }


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens.input + tokens.output,
    }
