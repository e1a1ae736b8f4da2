"""Anthropic's Messages with `code_execution`: what our client says and reads, what our gateway reads and says.

Everything about that format lives here, for both ends. Our own gateway may say more than the vendor does: events of
type `ipy_codeinterp.*` and a field `ipy_codeinterp` beside the standard ones, only when the client asked for it with
the header EXTENSION. Sources: the types of the `anthropic` SDK 2.12 and recorded exchanges with the live service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ipy_codeinterp import languages
from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Rejected,
)
from ipy_codeinterp.execution import (
    Error,
    Event,
    Execution,
    File,
    Limit,
    Outcome,
    Output,
    Phase,
    Step,
    Stream,
    Text,
    TextDelta,
    Usage,
)
from ipy_codeinterp.outputs import Collector, from_nbformat, to_nbformat

EXTENSION = "x-ipy-codeinterp"
FIELD = "ipy_codeinterp"
VERSION_HEADER = ("anthropic-version", "2023-06-01")
ATTEMPT_HEADER = "X-Request-ID"  # what we call a request; what they call it is in the reply
TOOL = "code_execution_20260521"  # the newest: its `input.code` is the code itself
BASH_TOOL = "code_execution_20250825"
TOOLS = ("code_execution_20250522", BASH_TOOL, "code_execution_20260120", TOOL)
MAX_TOKENS = 8192
MOST_STANDARD_TEXT = 64_000  # characters of stdout and stderr in a reply whose outputs were streamed already
PIECE = 1 << 16  # characters of code in one delta
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

# The way an error type of theirs becomes a class of ours; what is not listed is judged by its HTTP status.
ERRORS: dict[str, type[ProviderError]] = {
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "billing_error": QuotaExceeded,
    "invalid_request_error": Rejected,
    "not_found_error": Rejected,
    "request_too_large": Rejected,
    "conflict_error": Overloaded,
    "rate_limit_error": Overloaded,
    "overloaded_error": Overloaded,
    "api_error": Overloaded,
    "timeout_error": Overloaded,
}
# As `type`, `code` or `details.error_code`, often under the name and status of a rate limit; no waiting mends these.
NO_QUOTA = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
}
COME_BACK = {408, 409, 425, 429}  # and whatever is theirs: 500 and more
GAVE_UP_WAITING = {504, 524}  # somebody on the way did; the work may go on


MOST_DPI = 1200.0


# --- the client speaks ----------------------------------------------------------------------------


def encode_request(
    execution: Execution,
    model: str,
    *,
    container: str | None,
    file_ids: Sequence[str],
    extension: Mapping[str, Any] | None,
    most_tokens: int = MAX_TOKENS,
) -> dict[str, Any]:
    """The body of `POST /v1/messages` that asks for code to be run verbatim, in a reply of `most_tokens` at most."""
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt.encode(execution.body, execution.language)}]
    content += [{"type": "container_upload", "file_id": id} for id in file_ids]
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": most_tokens,
        "stream": True,
        "tools": [{"type": TOOL, "name": "code_execution"}],
        "messages": [{"role": "user", "content": content}],
    }
    if container:
        body["container"] = container
    return body | ({FIELD: dict(extension)} if extension is not None else {})


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `container` is the provider's id; `timings` in seconds, as far as the gateway told."""

    parts: tuple[Text | Step, ...]
    usage: Usage
    container: str | None
    container_new: bool | None
    isolation: str | None
    warm: bool | None
    limit: Limit | None
    execution_seconds: float | None
    native: dict[str, Any]


class Decoder:
    """Feed it the stream's events; it gives ours, and at the end the Reply."""

    def __init__(self, sent: str, language: str) -> None:
        self._sent = sent
        self._language = language
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._input: dict[int, list[str]] = {}
        self._collector = Collector()
        self._start: Mapping[str, Any] = {}
        self._ended = False

    @property
    def container(self) -> str | None:
        """The container's id, known from the start where the gateway is ours."""
        return self._start.get("container") or (self._message.get("container") or {}).get("id")

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What has come so far: all there is of a run that was cut short."""
        return self._collector.outputs

    @property
    def isolation(self) -> str | None:
        return self._start.get("isolation")

    def feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Raises the error that an `error` event carries, and `BadReply` for what is no event."""
        try:
            yield from self._feed(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadReply(f"not an event of the Messages format: {error!r}") from None

    def _feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        match event["type"]:
            case "ipy_codeinterp.start":
                self._start = event
                yield Phase("running")
            case "ipy_codeinterp.output":
                output = from_nbformat(event["output"])
                self._collector.feed(output)
                yield output
            case "message_start":
                self._message = dict(event["message"])
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                yield from self._delta(event["index"], event["delta"])
            case "content_block_stop":
                self._close_block(event["index"])
            case "message_delta":
                self._merge(event)
            case "message_stop":
                self._ended = True
            case "error":
                raise error_of(event, status=200, may_have_run=bool(self._message or self._start))

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Iterator[Event]:
        if delta["type"] == "text_delta":
            self._blocks[index]["text"] += delta["text"]
            yield TextDelta(delta["text"])
        elif delta["type"] == "input_json_delta":
            self._input.setdefault(index, []).append(delta["partial_json"])

    def _close_block(self, index: int) -> None:
        if written := "".join(self._input.pop(index, [])):
            self._blocks[index]["input"] = json.loads(written)

    def _merge(self, event: Mapping[str, Any]) -> None:
        """The last word on usage is here: at the start only the first pass was counted."""
        self._message.update({k: v for k, v in event["delta"].items() if v is not None})
        self._message["usage"] = {**(self._message.get("usage") or {}), **(event.get("usage") or {})}

    def reply(self) -> Reply:
        """The whole reply. Raises `BadReply` when the stream ended before its end."""
        if not self._ended:
            raise BadReply("the reply ended before its end", hint="try again; what had arrived is kept")
        blocks = [self._blocks[i] for i in sorted(self._blocks)]
        try:
            return self._reply(blocks)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadReply(f"not a reply of the Messages format: {error!r}") from None

    def _reply(self, blocks: list[dict[str, Any]]) -> Reply:
        results = {b["tool_use_id"]: b for b in blocks if b["type"].endswith("_tool_result")}
        extras = [b[FIELD] for b in results.values() if FIELD in b]
        extra: Mapping[str, Any] = extras[-1] if extras else {}
        return Reply(
            parts=tuple(self._parts(blocks, results)),
            usage=usage_of(self._message.get("usage") or {}),
            container=self.container,
            container_new=self._start.get("new"),
            isolation=self.isolation,
            warm=self._start.get("warm"),
            limit=limit_of(extra.get("limit")),
            execution_seconds=(extra.get("timings") or {}).get("execution"),
            native={**self._message, "content": [_without_outputs(block) for block in blocks]},
        )

    def _parts(
        self, blocks: Iterable[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Text | Step]:
        for block in blocks:
            if block["type"] == "text" and block["text"]:
                yield Text(block["text"])
            elif block["type"] == "server_tool_use":
                yield self._step(block, results.get(block["id"], {}))

    def _step(self, use: Mapping[str, Any], result: Mapping[str, Any]) -> Step:
        code = use["input"].get("code") or use["input"].get("command") or ""
        content, extra = result.get("content") or {}, result.get(FIELD)
        outputs = self._outputs(content, extra)
        outcome, source = _outcome(content, extra)
        return Step(
            code=code,
            language=self._language,
            verbatim=code == self._sent,
            outputs=outputs,
            outcome=outcome,
            outcome_source="reported" if source else "inferred",
            exit_status=content.get("return_code"),
            files=tuple(_files(content, extra)),
        )

    def _outputs(self, content: Mapping[str, Any], extra: Mapping[str, Any] | None) -> tuple[Output, ...]:
        if self.outputs:
            return self.outputs
        if extra:
            return Collector(from_nbformat(output) for output in extra["outputs"]).outputs
        streams = (Stream("stdout", content.get("stdout") or ""), Stream("stderr", content.get("stderr") or ""))
        return tuple(stream for stream in streams if stream.text)


def _outcome(content: Mapping[str, Any], extra: Mapping[str, Any] | None) -> tuple[Outcome, bool]:
    if extra:
        return cast(Outcome, extra["outcome"]), True
    if content.get("error_code") == "execution_time_exceeded":
        return "limit", True
    if "return_code" in content:
        return ("ok" if content["return_code"] == 0 else "error"), True
    return "unknown", False


def _files(content: Mapping[str, Any], extra: Mapping[str, Any] | None) -> Iterator[File]:
    if extra:
        for file in extra["files"]:
            yield File(file["name"], file["sha256"], file["size"], id=file["file_id"])
        return
    items = content.get("content")
    for item in items if isinstance(items, list) else ():  # what an editor shows is text
        yield File(item["file_id"], id=item["file_id"])


def _without_outputs(block: Mapping[str, Any]) -> dict[str, Any]:
    """The native reply is kept, but not a second copy of each figure."""
    return {k: v for k, v in block.items() if k != FIELD}


def usage_of(native: Mapping[str, Any]) -> Usage:
    """Usage from the provider's report; our gateway counts characters and says so."""
    estimated = bool((native.get(FIELD) or {}).get("estimated"))
    return Usage(native.get("input_tokens"), native.get("output_tokens"), estimated, dict(native))


def limit_of(said: Mapping[str, Any] | None) -> Limit | None:
    return Limit(said["name"], said["allowed"], said["unit"], said.get("reached"), said.get("line")) if said else None


def events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream that would have said the same as a JSON reply."""
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"container": message.get("container")}, "usage": message.get("usage")}
    yield {"type": "message_stop"}


def error_of(
    body: object,
    status: int,
    request_id: str | None = None,
    *,
    advice: Advice = NO_ADVICE,
    may_have_run: bool = False,
) -> ProviderError:
    """The error that a body (or an `error` event) means; relays send strings, HTML or nothing at all."""
    error = body.get("error") if isinstance(body, Mapping) else None
    said: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": error or body}
    message = str(said.get("message") or f"HTTP {status}")[:2000]
    return _kind_of(said, status)(
        message,
        hint=str(said.get("hint") or ""),
        status=status,
        param=said.get("param"),
        request_id=request_id,
        retry_after=advice.retry_after,
        should_retry=advice.should_retry,
        may_have_run=may_have_run or status in GAVE_UP_WAITING,
    )


def _kind_of(said: Mapping[str, Any], status: int) -> type[ProviderError]:
    """By the names it gives, then by its status; never by its words."""
    details = said.get("details")
    code = details.get("error_code") if isinstance(details, Mapping) else None
    if NO_QUOTA & {str(name) for name in (said.get("type"), said.get("code"), code)}:
        return QuotaExceeded
    return ERRORS.get(str(said.get("type"))) or _kind_of_status(status)


def _kind_of_status(status: int) -> type[ProviderError]:
    if status in (401, 403):
        return AuthenticationFailed
    if status == 402:
        return QuotaExceeded
    return Overloaded if status in COME_BACK or status >= 500 else Rejected


# --- the gateway reads ----------------------------------------------------------------------------


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
    extension = body.get(FIELD)
    extension = extension if isinstance(extension, Mapping) else {}
    language = extension.get("language")
    text, file_ids = _last_user_message(messages)
    return Asked(
        model=model,
        text=text,
        language=languages.find(str(language)).name if language else None,
        tool=_tool_version(body.get("tools")),
        container=_container_id(body.get("container")),
        file_ids=file_ids,
        stream=bool(body.get("stream")),
        characters=sum(len(text) for message in messages for text in _texts(message)),
        timeout=_positive(extension.get("timeout"), "timeout"),
        memory=_memory(extension.get("limits")),
        figure_format=_figure_format(extension.get("figures")),
        figure_dpi=_figure_dpi(extension.get("figures")),
        mounts=_strings(extension.get("mounts"), "mounts"),
        packages=_strings(extension.get("packages"), "packages"),
        network=_truth(extension.get("network"), "network"),
        keep=extension.get("keep") is not False,
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


def _tool_version(tools: object) -> str | None:
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


def _memory(limits: object) -> int | None:
    if limits is None:
        return None
    if not isinstance(limits, Mapping):
        raise Rejected(f"{FIELD}.limits: an object")
    memory = _positive(limits.get("memory"), "limits.memory")
    return None if memory is None else int(memory)


def _strings(said: object, name: str) -> tuple[str, ...]:
    if not isinstance(said, list | None) or not all(isinstance(each, str) for each in said or ()):
        raise Rejected(f"{FIELD}.{name}: a list of strings")
    return tuple(said or ())


def _truth(said: object, name: str) -> bool:
    if not isinstance(said, bool | None):
        raise Rejected(f"{FIELD}.{name}: true or false")
    return bool(said)


def _figure_format(figures: object) -> str:
    said = figures.get("format") if isinstance(figures, Mapping) else None
    if said not in (None, "png", "svg"):
        raise Rejected(f"{FIELD}.figures.format: png or svg")
    return str(said or "png")


def _figure_dpi(figures: object) -> float | None:
    dpi = _positive(figures.get("dpi"), "figures.dpi") if isinstance(figures, Mapping) else None
    return None if dpi is None else min(dpi, MOST_DPI)


def _positive(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise Rejected(f"{FIELD}.{name}: a positive number")
    return value


# --- the gateway speaks ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run, for the reply. `files` have ids; `seconds` is how long the code ran."""

    outputs: tuple[Output, ...]
    outcome: Outcome
    exit_status: int
    files: tuple[File, ...] = ()
    limit: Limit | None = None
    seconds: float = 0.0
    note: str = ""  # a last line of stderr: why the interpreter ended


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


def encode_output(output: Any) -> dict[str, Any]:
    """The event for an output while the code runs."""
    return {"type": "ipy_codeinterp.output", "output": to_nbformat(output)}


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
    return block | ({FIELD: _extra(ran)} if envelope.extended else {})


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


def _extra(ran: Ran) -> dict[str, Any]:
    limit = ran.limit
    return {
        "outputs": [to_nbformat(output) for output in ran.outputs],
        "outcome": ran.outcome,
        "limit": {"name": limit.name, "allowed": limit.allowed, "unit": limit.unit, "reached": limit.reached}
        | {"line": limit.line}
        if limit
        else None,
        "files": [{"file_id": f.id, "name": f.name, "sha256": f.sha256, "size": f.size} for f in ran.files],
        "timings": {"execution": ran.seconds},
        "note": ran.note,
    }
