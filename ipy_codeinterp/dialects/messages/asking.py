"""The client speaks: an Ask as the body of `POST /v1/messages`, and where everything else is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.dialects.dialect import Answer, Ask, Round, Uploads
from ipy_codeinterp.dialects.faults import not_a_reply
from ipy_codeinterp.dialects.messages.decoding import Decoder
from ipy_codeinterp.dialects.messages.faults import ERRORS as ERRORS
from ipy_codeinterp.dialects.messages.faults import error_of as error_of
from ipy_codeinterp.dialects.messages.names import FIELD, TOOL, TOOLS, VERSION_HEADER
from ipy_codeinterp.errors import BadReply, InvalidInput
from ipy_codeinterp.execution import File

UPLOADS: Uploads | None = Uploads("/v1/files")
KEEP = "Save figures and files that are to be kept in $OUTPUT_DIR.\n"  # nothing else comes back


def path(model: str) -> str:
    return "/v1/messages"


def headers(key: str) -> dict[str, str]:
    name, version = VERSION_HEADER
    return {"x-api-key": key, name: version}


def content_path(id: str) -> str:
    return f"{about_path(id)}/content"


def about_path(id: str) -> str:
    return f"/v1/files/{quote(id, safe='')}"


def about(body: Mapping[str, Any]) -> File:
    """A file by its metadata: the last part of its name, for it may be anything. Raises `BadReply` without an id."""
    id, name, size = body.get("id"), body.get("filename"), body.get("size_bytes")
    if not isinstance(id, str):
        raise BadReply("a file that has no id")
    last = name.replace("\\", "/").rpartition("/")[2] if isinstance(name, str) else ""
    known = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return File(last or id, size=size if known else None, id=id)


def encode_request(ask: Ask) -> dict[str, Any]:
    """The body; no sampling fields, for the newest version of the format refuses them.

    Raises `InvalidInput` for a language that nobody there runs.
    """
    body: dict[str, Any] = {
        "model": ask.model,
        "max_tokens": ask.most_tokens,
        "stream": True,
        "messages": [{"role": "user", "content": list(_content(ask))}, *_said(ask.rounds)],
    }
    if ask.execution.execute:
        _check_language(ask)
        body["tools"] = [{"type": ask.tool or TOOL, "name": "code_execution"}]
        body["tool_choice"] = {"type": _choice(ask)}
        if ask.container:
            body["container"] = ask.container
    return body | ({FIELD: dict(ask.extension)} if ask.extension is not None else {})


def _check_language(ask: Ask) -> None:
    """Raises `InvalidInput` for a language that nobody there runs."""
    language, shell = ask.execution.language, ask.tool != TOOLS[0]
    if ask.extension is None and language != "python" and not (language == "bash" and shell):
        raise InvalidInput(f"this provider's interpreter does not run {language}", hint="`@local` runs it")


def _choice(ask: Ask) -> str:
    """Code has to be run once; in later rounds that may have happened."""
    return "any" if ask.execution.kind == "code" and not ask.rounds else "auto"


def _content(ask: Ask) -> Iterator[dict[str, Any]]:
    text = prompt.of(ask.execution, ask.before)
    if ask.execution.kind == "task" and ask.execution.execute:
        text += _around(ask)
    yield {"type": "text", "text": text}
    if ask.execution.execute:
        yield from ({"type": "container_upload", "file_id": file.id} for file in ask.files if file.id)


def _around(ask: Ask) -> str:
    """Where a task finds files and leaves them; theirs have directories of their own."""
    if ask.extension is not None:
        return prompt.beside(file.name for file in ask.files)
    names = ", ".join(json.dumps(file.name, ensure_ascii=False) for file in ask.files)
    return (f"Files in $INPUT_DIR: {names}\n" if names else "") + KEEP


def _said(rounds: Sequence[Round]) -> Iterator[dict[str, Any]]:
    """The rounds before: what a pause cut in two is one message again."""
    said: list[Mapping[str, Any]] = []
    for each in rounds:
        said += each.said
        if each.answers:
            yield {"role": "assistant", "content": said}
            yield {"role": "user", "content": [_answer(answer) for answer in each.answers]}
            said = []
    if said:
        yield {"role": "assistant", "content": said}


def _answer(answer: Answer) -> dict[str, Any]:
    sources = ({"type": "base64", "media_type": "image/png", "data": image} for image in answer.images)
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
    content += ({"type": "image", "source": source} for source in sources)
    return {"type": "tool_result", "tool_use_id": answer.call.id, "content": content, "is_error": not answer.ok}


def decoder(ask: Ask) -> Decoder:
    return Decoder(ask)


def events_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream that would have said the same as a JSON reply. Raises `BadReply` for what is none."""
    if isinstance(body, Mapping) and body.get("error") and "content" not in body:
        yield {**body, "type": "error"}
        return
    content = body.get("content") if isinstance(body, Mapping) else None
    if not isinstance(content, list):
        raise not_a_reply(body, "no message: it has no content")
    yield {"type": "message_start", "message": {**body, "content": []}}
    for index, block in enumerate(content):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    delta = {name: body.get(name) for name in ("stop_reason", "stop_sequence", "container")}
    yield {"type": "message_delta", "delta": delta, "usage": body.get("usage")}
    yield {"type": "message_stop"}


def is_end(data: str) -> bool:
    """Some relays end this stream as they do another format's; what counts is `message_stop`."""
    return data.strip() == "[DONE]"
