"""Replies as OpenAI's Responses sends them, made up from their parts, and what the client hears of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from ipy_codeinterp.dialects import responses
from ipy_codeinterp.dialects.dialect import Ask, Reply
from ipy_codeinterp.execution import (
    Event,
    Execution,
    Step,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 50,
}


def asked(code: str = "x", **how: Any) -> Ask:
    execution = how.pop("execution", None) or Execution(code)
    return Ask(execution, "gpt", how.pop("most_tokens", 1000), **how)


def logs(text: str) -> dict[str, Any]:
    return {"type": "logs", "logs": text}


def image(url: str) -> dict[str, Any]:
    return {"type": "image", "url": url}


def a_call(code: str = "x", outputs: list[Any] | None = None, **other: Any) -> dict[str, Any]:
    call = {"id": "ci_1", "type": "code_interpreter_call", "status": "completed", "container_id": "cntr_1"}
    return {**call, "code": code, "outputs": outputs, **other}


def a_message(text: str, *citations: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": list(citations), "logprobs": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def a_citation(file: str, name: str, at: tuple[int, int] = (3, 9), container: str = "cntr_1") -> dict[str, Any]:
    place = {"start_index": at[0], "end_index": at[1]}
    return {"type": "container_file_citation", "container_id": container, "file_id": file, "filename": name, **place}


THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": []}


def a_response(*output: Any, status: str = "completed", **other: Any) -> dict[str, Any]:
    head = {"id": "resp_1", "object": "response", "status": status, "model": "gpt-1", "error": None}
    return {**head, "incomplete_details": None, "output": list(output), "usage": USAGE, **other}


def stream_of(response: dict[str, Any], piece: int = 3) -> Iterator[dict[str, Any]]:
    """The events of a reply as the provider orders them, with deltas of `piece` characters."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for place, item in enumerate(response["output"]):
        yield from _item_events(place, item, piece)
    yield {"type": f"response.{response['status']}", "response": response}


def _item_events(place: int, item: dict[str, Any], piece: int) -> Iterator[dict[str, Any]]:
    at = {"output_index": place, "item_id": item.get("id")}
    call = "response.code_interpreter_call"
    if item["type"] == "code_interpreter_call":
        yield {"type": "response.output_item.added", **at, "item": {**item, "code": "", "outputs": []}}
        yield {"type": f"{call}.in_progress", **at}
        for delta in cut(item["code"], piece):
            yield {"type": f"{call}_code.delta", **at, "delta": delta, "obfuscation": "xyz"}
        yield {"type": f"{call}_code.done", **at, "code": item["code"]}
        yield {"type": f"{call}.interpreting", **at}
        yield {"type": f"{call}.completed", **at}
    elif item["type"] == "message":
        yield {"type": "response.output_item.added", **at, "item": {**item, "content": []}}
        for part in item["content"]:
            for delta in cut(part["text"], piece):
                yield {"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []}
            yield {"type": "response.output_text.done", **at, "text": part["text"]}
    yield {"type": "response.output_item.done", **at, "item": item}


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def heard(events: Iterable[Any], ask: Ask | None = None) -> tuple[list[Event], Reply]:
    decoder = responses.decoder(ask or asked())
    told = [event for each in events for event in decoder.feed(each)]
    return told, decoder.reply()


def reply_to(response: dict[str, Any], ask: Ask | None = None) -> Reply:
    """The reply, which has to be the same whether it was streamed or one JSON object."""
    streamed, whole = heard(stream_of(response), ask)[1], heard(responses.events_of(response), ask)[1]
    assert streamed == whole
    return streamed


def the_step(reply: Reply) -> Step:
    (step,) = [part for part in reply.parts if isinstance(part, Step)]
    return step


CITED = a_message("see a.csv", a_citation("cfile_1", "a.csv"))
SMALL = a_response(THOUGHT, a_call("print('ü')\r\n", [logs("ü\n"), image(f"data:image/png;base64,{PNG}")]), CITED)
