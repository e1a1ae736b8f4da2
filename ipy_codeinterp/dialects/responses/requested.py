"""What a request of OpenAI's Responses asks of a gateway without a model: its code, its container, its files.

Source: the types of the `openai` SDK 3.54.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp.dialects import extension
from ipy_codeinterp.dialects.extension import FIELD, Wanted
from ipy_codeinterp.dialects.openai_errors import Invalid, missing, wrong_type, wrong_value

TOOL = "code_interpreter"
OUTPUTS = "code_interpreter_call.outputs"
INCLUDES = (
    OUTPUTS,
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
GIB = 1 << 30
MEMORY = {"1g": GIB, "4g": 4 * GIB, "16g": 16 * GIB, "64g": 64 * GIB}  # bytes
MOST_FILES = 50  # of one container's `file_ids`


@dataclass(frozen=True, slots=True)
class Carried:
    """A file that travels inside the request."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Room:
    """What a container that is to be made is to have: files by id, bytes of memory and their name."""

    file_ids: tuple[str, ...] = ()
    memory_limit: str | None = None

    @property
    def memory(self) -> int | None:
        return MEMORY.get(self.memory_limit or "")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of a gateway without a model.

    `text` is that of the last user message, `all_text` of everything. `container` is the id of one to run in, `room`
    what a new one is to have, and `earlier` the containers that the context names, the latest last. Without
    `container` and `room` there was no tool. `echoed` are the fields that a reply repeats, `items` the input itself.
    """

    model: str
    text: str = field(repr=False)
    all_text: str = field(repr=False)
    container: str | None
    room: Room | None
    earlier: tuple[str, ...]
    file_ids: tuple[str, ...]
    carried: tuple[Carried, ...]
    previous: str | None
    stream: bool
    store: bool
    with_outputs: bool
    wanted: Wanted
    echoed: Mapping[str, Any] = field(default_factory=dict)
    items: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def has_tool(self) -> bool:
        return self.container is not None or self.room is not None


def decode_request(body: object) -> Asked:
    """Raises `Invalid` with the vendor's kind of message, `param` and `code` for a request it would refuse too.

    And what `extension.decode` raises.
    """
    if not isinstance(body, Mapping):
        raise Invalid("The body is not a JSON object.")
    model = _text(body, "model")
    if not model:
        raise missing("model")
    _refuse_background(body)
    items = _items(body.get("input"))
    container, room = _tool(body.get("tools")) if body.get("tool_choice") != "none" else (None, None)
    parts = _parts(_last_user(items))
    files = [part for part in parts if part.get("type") == "input_file"]
    return Asked(
        model=model,
        text="\n".join(_texts(parts)),
        all_text=_all_text(body, items),
        container=container,
        room=room,
        earlier=tuple(_earlier(items)),
        file_ids=tuple(_file_id(part) for part in files if part.get("file_id") is not None),
        carried=tuple(_carried(part) for part in files if part.get("file_data") is not None),
        previous=_text(body, "previous_response_id"),
        stream=bool(body.get("stream")),
        store=body.get("store") is not False,
        with_outputs=OUTPUTS in includes(body.get("include")),
        wanted=extension.decode(body.get(FIELD)),
        echoed=_echoed(body),
        items=tuple(items),
    )


def _refuse_background(body: Mapping[str, Any]) -> None:
    if body.get("background"):
        raise Invalid("Background responses are not served here.", param="background", code="unsupported_parameter")


def text_of_request(body: object) -> str:
    """All the words of a request that need not be one that can be answered."""
    if not isinstance(body, Mapping):
        raise Invalid("The body is not a JSON object.")
    return _all_text(body, _items(body.get("input") or []))


def _all_text(body: Mapping[str, Any], items: list[Mapping[str, Any]]) -> str:
    instructions = body.get("instructions")
    said = [text for item in items for text in _texts(_parts(item))]
    return "\n".join([instructions, *said] if isinstance(instructions, str) else said)


def includes(said: object) -> tuple[str, ...]:
    """What the reply is to contain beyond the rest."""
    if not isinstance(said, list | None):
        raise wrong_type("include", "an array of strings")
    for i, name in enumerate(said or ()):
        if name not in INCLUDES:
            raise wrong_value(f"include[{i}]", name, INCLUDES)
    return tuple(said or ())


def _text(body: Mapping[str, Any], name: str) -> str | None:
    said = body.get(name)
    if not isinstance(said, str | None):
        raise wrong_type(name, "a string")
    return said or None


def _items(said: object) -> list[Mapping[str, Any]]:
    """The items of the input; a string is one user message."""
    if said is None:
        raise missing("input")
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    if not isinstance(said, list):
        raise wrong_type("input", "a string or an array")
    return [item for item in said if isinstance(item, Mapping)]


def _last_user(items: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((item for item in reversed(items) if item.get("role") == "user"), {})


def _parts(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}]
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _texts(parts: list[Mapping[str, Any]]) -> list[str]:
    return [part["text"] for part in parts if isinstance(part.get("text"), str)]


def _earlier(items: list[Mapping[str, Any]]) -> Iterator[str]:
    for item in items:
        if item.get("type") == "code_interpreter_call" and isinstance(item.get("container_id"), str):
            yield item["container_id"]


def _file_id(part: Mapping[str, Any]) -> str:
    if not isinstance(part["file_id"], str):
        raise wrong_type("input.content.file_id", "a string")
    return part["file_id"]


def _carried(part: Mapping[str, Any]) -> Carried:
    name, said = part.get("filename"), part["file_data"]
    if not isinstance(name, str) or not name:
        raise missing("input.content.filename")
    try:
        return Carried(name, base64.b64decode(str(said).rpartition("base64,")[2], validate=True))
    except (binascii.Error, ValueError):
        raise wrong_type("input.content.file_data", "base64, or a data URL of it") from None


def _tool(tools: object) -> tuple[str | None, Room | None]:
    """The container that the tool names, or what a new one is to have; neither without the tool."""
    if not isinstance(tools, list | None):
        raise wrong_type("tools", "an array")
    for i, tool in enumerate(tools or ()):
        if isinstance(tool, Mapping) and tool.get("type") == TOOL:
            return _container(tool.get("container"), f"tools[{i}].container")
    return None, None


def _container(said: object, at: str) -> tuple[str | None, Room | None]:
    if said is None:
        raise missing(at)
    if isinstance(said, str) and said:
        return said, None
    if not isinstance(said, Mapping):
        raise wrong_type(at, "an id or an object")
    if said.get("type") != "auto":
        raise wrong_value(f"{at}.type", said.get("type"), ("auto",))
    return None, room(said, f"{at}.")


def room(said: Mapping[str, Any], at: str = "") -> Room:
    """What a container is to have. Raises `Invalid` for what cannot be, with names that begin with `at`."""
    memory_limit, policy = said.get("memory_limit"), said.get("network_policy")
    if memory_limit is not None and (not isinstance(memory_limit, str) or memory_limit not in MEMORY):
        raise wrong_value(f"{at}memory_limit", memory_limit, MEMORY)
    if isinstance(policy, Mapping) and policy.get("type") != "disabled":
        raise wrong_value(f"{at}network_policy.type", policy.get("type"), ("disabled",))
    ids = said.get("file_ids")
    if not isinstance(ids, list | None) or not all(isinstance(id, str) for id in ids or ()):
        raise wrong_type(f"{at}file_ids", "an array of strings")
    if len(ids or ()) > MOST_FILES:
        raise Invalid(f"At most {MOST_FILES} files.", param=f"{at}file_ids", code="array_above_max_length")
    return Room(tuple(ids or ()), memory_limit)


def _echoed(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a reply repeats of its request, where it is of the right kind."""
    kinds = {"instructions": str, "metadata": dict, "max_output_tokens": int, "max_tool_calls": int, "tools": list}
    kinds |= {"previous_response_id": str}
    echoed = {name: body[name] for name, kind in kinds.items() if isinstance(body.get(name), kind)}
    choice = body.get("tool_choice")
    return echoed | ({"tool_choice": choice} if isinstance(choice, str | Mapping) else {})
