"""What the client says in OpenAI's Responses: where, with which headers, and the body of a request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp.dialects import faults, prompt
from ipy_codeinterp.dialects.dialect import Ask, Uploads
from ipy_codeinterp.dialects.extension import FIELD
from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    InvalidInput,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Rejected,
    TooLarge,
)
from ipy_codeinterp.execution import File

ATTEMPT_HEADER = "X-Client-Request-Id"
REQUEST_ID_HEADER = "x-request-id"
UPLOADS: Uploads | None = Uploads("/v1/files", {"purpose": "user_data"})
TOOL = "code_interpreter"
CALL = "code_interpreter_call"
OUTPUTS = f"{CALL}.outputs"  # without it in `include` no output is ever told
TIERS = {"1g": 1 << 30, "4g": 4 << 30, "16g": 16 << 30, "64g": 64 << 30}  # bytes of a container's memory
MOUNTED = "/mnt/data"

# What an error's `code` or `type` means; of `invalid_request_error` and the rest the HTTP status knows more.
KINDS: Mapping[str, type[ProviderError]] = {
    "invalid_api_key": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "access_terminated": QuotaExceeded,
    "context_length_exceeded": TooLarge,
    "invalid_prompt": Rejected,
    "model_not_found": Rejected,
    "server_error": Overloaded,
    "rate_limit_exceeded": Overloaded,
    "server_overloaded": Overloaded,
    "slow_down": Overloaded,
    "vector_store_timeout": Overloaded,
}

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def path(model: str) -> str:
    return "/v1/responses"


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def error_of(
    body: object,
    status: int,
    request_id: str | None = None,
    *,
    advice: Advice = NO_ADVICE,
    may_have_run: bool = False,
) -> ProviderError:
    return faults.error_of(body, status, request_id, kinds=KINDS, advice=advice, may_have_run=may_have_run)


def is_lost_container(error: ProviderError) -> bool:
    """Whether a request was refused for its container, which is then gone with all that was in it.

    Its words have to do where `param` names nothing: the code of such an error is not documented.
    """
    named = f"{error.param} {error}".lower()
    return isinstance(error, Rejected) and error.status in (400, 404) and "container" in named


# --- a request ------------------------------------------------------------------------------------


def encode_request(ask: Ask) -> dict[str, Any]:
    """The body of a streamed request; the provider keeps nothing of it.

    Raises `InvalidInput` for a language or an amount of memory that no container of theirs has.
    """
    body: dict[str, Any] = {
        "model": ask.model,
        "input": [{"role": "user", "content": list(_content(ask))}, *_said_before(ask)],
        "max_output_tokens": ask.most_tokens,
        "store": False,
        "stream": True,
        "stream_options": {"include_obfuscation": False},
    }
    if ask.execution.execute:
        body |= _tools(ask)
    return body | ({FIELD: dict(ask.extension)} if ask.extension is not None else {})


def _content(ask: Ask) -> Iterator[dict[str, Any]]:
    """What is said, and the files that a container cannot be told of because it exists already."""
    text = prompt.of(ask.execution, ask.before)
    if ask.execution.kind == "task" and ask.execution.execute:
        text += prompt.beside(_mounted(ask))
    yield {"type": "input_text", "text": text}
    if ask.container or not ask.execution.execute:
        for id in _file_ids(ask):
            yield {"type": "input_file", "file_id": id}


def _mounted(ask: Ask) -> list[str]:
    """What code finds the files under: theirs have the id before the name."""
    if ask.extension is not None:
        return [file.name for file in ask.files]
    return [f"{MOUNTED}/{file.id}-{file.name}" for file in ask.files if file.id]


def _file_ids(ask: Ask) -> list[str]:
    return [file.id for file in ask.files if file.id]


def _tools(ask: Ask) -> dict[str, Any]:
    """Code that is given runs once, and must; a task may take several calls, or none."""
    if ask.extension is None and ask.execution.language != "python":
        raise InvalidInput(
            f"this provider's interpreter runs Python, not {ask.execution.language}", hint="`@local` runs it"
        )
    said = {"tools": [{"type": TOOL, "container": _container(ask)}], "include": [OUTPUTS]}
    if ask.execution.kind == "task":
        return {**said, "tool_choice": "auto"}
    return {**said, "tool_choice": {"type": TOOL}, "max_tool_calls": 1}


def _container(ask: Ask) -> str | dict[str, Any]:
    """By its id, or a new one: what it has is settled when it is made."""
    if ask.container:
        return ask.container
    ids, memory = _file_ids(ask), ask.memory
    asked = {"file_ids": ids, "memory_limit": None if memory is None else tier(memory)}
    return {"type": "auto"} | {name: value for name, value in asked.items() if value}


def tier(memory: int) -> str:
    """The smallest container that has `memory` (bytes). Raises `InvalidInput` where none has."""
    fit = [name for name, size in TIERS.items() if size >= memory]
    if not fit:
        raise InvalidInput(
            f"no container of this provider has {memory / (1 << 30):g} GB of memory", hint="the largest has 64 GB"
        )
    return fit[0]


def _said_before(ask: Ask) -> Iterator[dict[str, Any]]:
    """The rounds before this one. A new container refuses what an older one did: then only words are repeated."""
    for round in ask.rounds:
        for item in round.said:
            if ask.container or item.get("type") == "message":
                yield dict(item)


# --- files ----------------------------------------------------------------------------------------


def file_id(container: object, file: object) -> str | None:
    """Our name for a file in a container, `cntr_x/cfile_y`; None where either is no id that a path could hold."""
    fine = is_id(container) and is_id(file)
    return f"{container}/{file}" if fine else None


def is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def content_path(id: str) -> str:
    """Where the content is, of a file in a container (`cntr_x/cfile_y`) or of one that was uploaded."""
    return f"{about_path(id)}/content"


def about_path(id: str) -> str:
    """Raises `BadReply` for what is no id of a file."""
    container, _, file = id.rpartition("/")
    if not is_id(file) or (container and not is_id(container)):
        raise BadReply("the reply names a file by what is no id")
    return f"/v1/containers/{container}/files/{file}" if container else f"/v1/files/{file}"


def about(body: Mapping[str, Any]) -> File:
    """A file from its description: one of a container says its path there. Raises `BadReply` for what is none."""
    id, name = body.get("id"), body.get("filename") or body.get("path")
    if not is_id(id) or not isinstance(name, str):
        raise BadReply("not the description of a file")
    size = body.get("bytes")
    known = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    inside = file_id(body.get("container_id"), id)
    return File(last_part(name) or str(id), size=size if known else None, id=inside or str(id))


def last_part(name: str) -> str:
    """A file's name without its folders, however these are divided."""
    return re.split(r"[/\\]", name)[-1]
