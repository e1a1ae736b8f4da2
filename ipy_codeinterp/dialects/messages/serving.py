"""The gateway hears and speaks: a request without a model, and the reply that the vendor would give to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp.dialects import extension
from ipy_codeinterp.dialects.extension import FIELD, Ran
from ipy_codeinterp.dialects.messages.names import BASH_TOOL, TOOLS
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import Error, Output, Stream

MOST_STANDARD_TEXT = 64_000  # characters of stdout and stderr in a reply whose outputs were streamed already
PIECE = 1 << 16  # characters of code in one delta
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


# --- it hears -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of a gateway without a model."""

    model: str
    text: str = field(repr=False)  # of the last user message
    language: str | None
    tool: str | None  # which version of code_execution, if any
    container: str | None
    file_ids: tuple[str, ...]
    stream: bool
    characters: int  # of all messages
    timeout: float | None
    memory: int | None
    figure_format: str
    figure_dpi: float | None
    mounts: tuple[str, ...]
    packages: tuple[str, ...]
    network: bool
    keep: bool
    inputs: tuple[str, ...] = ()
    get: tuple[str, ...] = ()


def decode_request(body: object) -> Asked:
    """Raises `Rejected` with the vendor's kind of message for a request it would refuse too.

    And `UnknownName` for a language that nobody runs here.
    """
    if not isinstance(body, Mapping):
        raise Rejected("the body is not a JSON object")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise Rejected("model: field required")
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        raise Rejected("max_tokens: field required, a positive integer")
    if not isinstance(messages, list) or not messages:
        raise Rejected("messages: at least one message is required")
    wanted = extension.decode(body.get(FIELD))
    text, file_ids = _last_user_message(messages)
    return Asked(
        model=model,
        text=text,
        language=wanted.language,
        tool=_tool_version(body),
        container=_container_id(body.get("container")),
        file_ids=file_ids,
        stream=bool(body.get("stream")),
        characters=sum(len(text) for message in messages for text in _texts(message)),
        timeout=wanted.timeout,
        memory=wanted.memory,
        figure_format=wanted.figure_format,
        figure_dpi=wanted.figure_dpi,
        mounts=wanted.mounts,
        packages=wanted.packages,
        network=wanted.network,
        keep=wanted.keep,
        inputs=wanted.inputs,
        get=wanted.get,
    )


def _last_user_message(messages: list[Any]) -> tuple[str, tuple[str, ...]]:
    last = next((m for m in reversed(messages) if isinstance(m, Mapping) and m.get("role") == "user"), None)
    if last is None:
        raise Rejected("messages: a user message is required")
    content = last.get("content")
    blocks = [b for b in content if isinstance(b, Mapping)] if isinstance(content, list) else []
    uploads = tuple(str(b.get("file_id")) for b in blocks if b.get("type") == "container_upload")
    return "\n".join(_texts(last)), uploads


def _texts(message: object) -> list[str]:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return [content]
    blocks = content if isinstance(content, list) else []
    return [b["text"] for b in blocks if isinstance(b, Mapping) and isinstance(b.get("text"), str)]


def _tool_version(body: Mapping[str, Any]) -> str | None:
    """None also where the request has the tool and says that none is to be used."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") == "none":
        return None
    for tool in tools if isinstance(tools, list) else ():
        version = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(version, str) and version.startswith("code_execution_"):
            if version not in TOOLS:
                raise Rejected(f"tools: {version!r} is none of {', '.join(TOOLS)}")
            return version
    return None


def _container_id(container: object) -> str | None:
    if isinstance(container, Mapping):
        container = container.get("id")
    if container is not None and not isinstance(container, str):
        raise Rejected("container: a string or an object with an id")
    return container or None


# --- it speaks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one reply share."""

    message_id: str
    tool_use_id: str
    asked: Asked
    code: str = field(repr=False)
    container: str
    container_new: bool
    expires_at: str
    isolation: str
    warm: bool
    language: str
    extended: bool


def encode_start(envelope: Envelope) -> Iterator[dict[str, Any]]:
    """The events before the run."""
    if envelope.extended:
        facts = {"container": envelope.container, "new": envelope.container_new, "warm": envelope.warm}
        yield {"type": "ipy_codeinterp.start", "isolation": envelope.isolation, **facts}
    message = _message(envelope, [], None, {"input_tokens": _tokens(envelope.asked.characters), "output_tokens": 1})
    yield {"type": "message_start", "message": message}
    block = _tool_use(envelope)
    yield {"type": "content_block_start", "index": 0, "content_block": {**block, "input": {}}}
    written = json.dumps(block["input"])
    for start in range(0, len(written), PIECE):
        delta = {"type": "input_json_delta", "partial_json": written[start : start + PIECE]}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}


def encode_end(envelope: Envelope, ran: Ran) -> Iterator[dict[str, Any]]:
    """The events after the run."""
    yield {"type": "content_block_start", "index": 1, "content_block": _tool_result(envelope, ran)}
    yield {"type": "content_block_stop", "index": 1}
    delta = {"stop_reason": "end_turn", "stop_sequence": None, "container": _container(envelope)}
    yield {"type": "message_delta", "delta": delta, "usage": _usage(envelope)}
    yield {"type": "message_stop"}


def encode_reply(envelope: Envelope, ran: Ran) -> dict[str, Any]:
    """The reply as one JSON object."""
    return _message(envelope, [_tool_use(envelope), _tool_result(envelope, ran)], "end_turn", _usage(envelope))


def encode_error(kind: str, message: str, request_id: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _message(envelope: Envelope, content: list[Any], stop_reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": envelope.message_id,
        "type": "message",
        "role": "assistant",
        "model": envelope.asked.model,
        "content": content,
        "container": _container(envelope) if stop_reason else None,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, **usage},
    }


def _container(envelope: Envelope) -> dict[str, str]:
    return {"id": envelope.container, "expires_at": envelope.expires_at}


def _usage(envelope: Envelope) -> dict[str, Any]:
    counted = {"input_tokens": _tokens(envelope.asked.characters), "output_tokens": _tokens(len(envelope.code))}
    return {**counted, **({FIELD: {"estimated": True}} if envelope.extended else {})}


def _tokens(characters: int) -> int:
    return -(-characters // 4)


def _is_bash(envelope: Envelope) -> bool:
    return envelope.asked.tool == BASH_TOOL


COMMANDS = {"python": "python3", "r": "Rscript -", "node": "node"}


def _tool_use(envelope: Envelope) -> dict[str, Any]:
    bash = _is_bash(envelope)
    return {
        "type": "server_tool_use",
        "id": envelope.tool_use_id,
        "name": "bash_code_execution" if bash else "code_execution",
        "input": {"command": _as_command(envelope.code, envelope.language)} if bash else {"code": envelope.code},
        "caller": {"type": "direct"},
    }


def _as_command(code: str, language: str) -> str:
    """What one would type into bash to run this."""
    if language == "bash":
        return code
    end = "EOF"
    while end in code:
        end += "_"
    return f"{COMMANDS[language]} <<'{end}'\n{code}\n{end}"


def _tool_result(envelope: Envelope, ran: Ran) -> dict[str, Any]:
    prefix = "bash_code_execution" if _is_bash(envelope) else "code_execution"
    block = {
        "type": f"{prefix}_tool_result",
        "tool_use_id": envelope.tool_use_id,
        "content": _result_content(envelope, ran, prefix),
    }
    return block | ({FIELD: extension.encode_ran(ran)} if envelope.extended else {})


def _result_content(envelope: Envelope, ran: Ran, prefix: str) -> dict[str, Any]:
    if ran.limit and ran.limit.name == "time":
        return {"type": f"{prefix}_tool_result_error", "error_code": "execution_time_exceeded"}
    cap = MOST_STANDARD_TEXT if envelope.extended else None
    return {
        "type": f"{prefix}_result",
        "stdout": _standard_text(ran, "stdout")[:cap],
        "stderr": _standard_text(ran, "stderr")[:cap],
        "return_code": ran.exit_status,
        "content": [{"type": f"{prefix}_output", "file_id": file.id} for file in ran.files],
    }


def _standard_text(ran: Ran, name: str) -> str:
    """A stream as the vendor has it: tracebacks are part of stderr, the last expression's text of stdout."""
    texts = [_as_text(output, name) for output in ran.outputs]
    return "".join(texts) + (f"{ran.note}\n" if ran.note and name == "stderr" else "")


def _as_text(output: Output, name: str) -> str:
    match output:
        case Stream():
            return output.text if output.name == name else ""
        case Error():
            return _COLOURS.sub("", "\n".join(output.traceback)) + "\n" if name == "stderr" else ""
        case _:
            shown = output.kind == "execute_result" and name == "stdout"
            return f"{output.data['text/plain']}\n" if shown and "text/plain" in output.data else ""
