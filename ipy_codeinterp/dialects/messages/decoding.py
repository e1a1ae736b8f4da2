"""The client hears: the events of a stream become ours as they come, and in the end a Reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp.dialects.dialect import Ask, Call, Reply, Stop
from ipy_codeinterp.dialects.extension import FIELD, Ran
from ipy_codeinterp.dialects.growing import Growing
from ipy_codeinterp.dialects.heard import Start, decode_output, decode_start
from ipy_codeinterp.dialects.messages.faults import error_of
from ipy_codeinterp.dialects.messages.steps import CODE_IN, RESULTS, RUNS, Reading, outputs_of, ran_of
from ipy_codeinterp.dialects.messages.usage import usage_of
from ipy_codeinterp.dialects.reading import mapping
from ipy_codeinterp.errors import BadReply
from ipy_codeinterp.execution import CodeDelta, Event, Output, Phase, TextDelta
from ipy_codeinterp.outputs import Collector

# What a stop_reason means to us; one of a later year is an end like any other.
STOPS: Mapping[str, Stop] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "context",
    "pause_turn": "paused",
    "refusal": "refused",
    "tool_use": "calls",
}
# Which field of a delta grows which field of its block.
GROWS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
FOREIGN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


class Decoder:
    """Feed it the stream's events; it gives ours, and at the end the Reply."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._grown: dict[tuple[int, str], list[str]] = {}  # fields of blocks, in pieces
        self._code: dict[int, list[str]] = {}  # of calls, as far as it is written
        self._growing: dict[int, Growing] = {}
        self._ran: dict[str, Ran] = {}  # what our own gateway says beside a result, by the call's id
        self._collector = Collector()
        self._live = False  # whether outputs come while the code runs
        self._start: Start | None = None  # of our own gateway
        self._ended = False

    @property
    def container(self) -> str | None:
        """The container's id, known from the start where the gateway is ours."""
        if self._start and self._start.container:
            return self._start.container
        said = self._message.get("container")
        id = said.get("id") if isinstance(said, Mapping) else None
        return id if isinstance(id, str) else None

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What has come so far: all there is of a run that was cut short."""
        return self._collector.outputs

    @property
    def isolation(self) -> str | None:
        return self._start.isolation if self._start else None

    @property
    def code(self) -> str | None:
        """The code of the last call, as far as it is written; None before any is."""
        if self._start:
            return self._ask.execution.body
        last = max(self._code, default=None)
        return None if last is None else "".join(self._code[last])

    def feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Raises the error that an `error` event carries, and `BadReply` for what is no event."""
        try:
            yield from self._feed(event)
        except FOREIGN as error:
            raise BadReply(f"not an event of the Messages format: {_short(error)}") from None

    def _feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        match event.get("type") or ("error" if event.get("error") else event["type"]):
            case "ipy_codeinterp.start":
                self._start = decode_start(event)
                yield Phase("running")
            case "ipy_codeinterp.output":
                self._live = True
                yield self._collected(decode_output(event))
            case "message_start":
                self._message = dict(event["message"])
            case "content_block_start":
                yield from self._open(_index(event), dict(event["content_block"]))
            case "content_block_delta":
                yield from self._delta(_index(event), event["delta"])
            case "content_block_stop":
                yield from self._close(_index(event))
            case "message_delta":
                self._merge(event)
            case "message_stop":
                self._ended = True
            case "error":
                raise error_of(event, status=200, may_have_run=bool(self._message or self._start))

    def _collected(self, output: Any) -> Any:
        self._collector.feed(output)
        return output

    def _open(self, index: int, block: dict[str, Any]) -> Iterator[Event]:
        """A result comes whole; words and calls may grow."""
        self._blocks[index] = block
        if block["type"] == "text":
            if block["text"]:
                yield TextDelta(_string(block["text"]))
        elif block["type"] == "server_tool_use":
            member = CODE_IN.get(_string(block.get("name", "")))
            if member and not self._start:  # our own gateway repeats what the user wrote
                self._growing[index], self._code[index] = Growing(member), []
        elif block["type"] in RESULTS:
            yield from self._result(block)

    def _result(self, block: Mapping[str, Any]) -> Iterator[Event]:
        ran = ran_of(block)
        if ran:
            self._ran[_string(block["tool_use_id"])] = ran
        for output in () if self._live else outputs_of(block, ran):
            yield self._collected(output)

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Iterator[Event]:
        kind, block = delta["type"], self._blocks[index]
        if kind == "input_json_delta":
            yield from self._write(index, _string(delta["partial_json"]))
        elif name := GROWS.get(_string(kind)):
            piece = _string(delta[name])
            self._grown.setdefault((index, name), [_string(block.get(name) or "")]).append(piece)
            if name == "text":
                yield TextDelta(piece)
        elif kind == "citations_delta" and "citation" in delta:
            block["citations"] = block.get("citations") or []
            block["citations"].append(delta["citation"])

    def _write(self, index: int, piece: str) -> Iterator[Event]:
        self._grown.setdefault((index, "input"), []).append(piece)
        if (growing := self._growing.get(index)) and (code := growing.feed(piece)):
            self._code[index].append(code)
            yield CodeDelta(code)

    def _close(self, index: int) -> Iterator[Event]:
        block = self._blocks[index]
        if index in self._growing and (index, "input") not in self._grown:
            yield from self._write(index, json.dumps(block["input"]))  # it came whole
        self._settle(index)
        if block["type"] == "server_tool_use" and block.get("name") in RUNS and not self._start:
            yield Phase("running")

    def _settle(self, index: int) -> None:
        """Put together what came of a block in pieces."""
        block = self._blocks[index]
        self._growing.pop(index, None)
        for name in GROWS.values():
            if pieces := self._grown.pop((index, name), None):
                block[name] = "".join(pieces)
        if written := "".join(self._grown.pop((index, "input"), ())):
            block["input"] = _parsed(written)

    def _merge(self, event: Mapping[str, Any]) -> None:
        """The last word on usage is here: at the start only the first pass was counted."""
        self._message.update({k: v for k, v in event["delta"].items() if v is not None})
        news = {k: v for k, v in mapping(event.get("usage")).items() if v is not None}
        self._message["usage"] = {**mapping(self._message.get("usage")), **news}

    def reply(self) -> Reply:
        """The whole reply. Raises `BadReply` when the stream ended before its end."""
        if not self._ended:
            raise BadReply("the reply ended before its end", hint="try again; what had arrived is kept")
        try:
            for index in self._blocks:
                self._settle(index)  # some relays do not say that a block is over
            return self._reply([self._blocks[index] for index in sorted(self._blocks)])
        except FOREIGN as error:
            raise BadReply(f"not a reply of the Messages format: {_short(error)}") from None

    def _reply(self, blocks: list[dict[str, Any]]) -> Reply:
        calls = tuple(_call(block, self._ask) for block in blocks if block["type"] == "tool_use")
        stop = self._stop(calls)
        extra = next(reversed(self._ran.values()), None)
        start = self._start or Start()
        return Reply(
            parts=tuple(self._reading(stop).parts(blocks)),
            usage=usage_of(mapping(self._message.get("usage"))),
            native={**self._message, "content": [_without_outputs(block) for block in blocks]},
            stop=stop,
            container=self.container,
            calls=calls,
            said=tuple(filter(_worth_repeating, blocks)) if stop in ("paused", "calls") else (),
            container_new=start.new,
            isolation=start.isolation,
            warm=start.warm,
            limit=extra.limit if extra else None,
            execution_seconds=extra.seconds if extra else None,
        )

    def _reading(self, stop: Stop) -> Reading:
        return Reading(
            ask=self._ask,
            ours=self._start is not None or bool(self._ran),
            paused=stop == "paused",
            ran=self._ran,
            live=self.outputs if self._live else (),
            unread={self._blocks[index]["id"]: "".join(code) for index, code in self._code.items()},
        )

    def _stop(self, calls: tuple[Call, ...]) -> Stop:
        stop = STOPS.get(str(self._message.get("stop_reason")), "end")
        return "end" if stop == "calls" and not calls else stop


def _call(block: Mapping[str, Any], ask: Ask) -> Call:
    """Code that we are to run: a server without an interpreter calls a function of ours."""
    said = block["input"]
    code, language = (said.get("code"), said.get("language")) if isinstance(said, Mapping) else (None, None)
    fault = "" if isinstance(code, str) else "the call has no `code`, a string"
    known = language if isinstance(language, str) and language else ask.execution.language
    return Call(_string(block["id"]), code if isinstance(code, str) else "", known, fault)


def _parsed(written: str) -> Any:
    """The input of a call; one that was cut is no JSON, and empty."""
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return {}


def _worth_repeating(block: Mapping[str, Any]) -> bool:
    """An empty text would be refused."""
    return block["type"] != "text" or bool(block["text"])


def _without_outputs(block: Mapping[str, Any]) -> dict[str, Any]:
    """The native reply is kept, but not a second copy of each figure."""
    return {k: v for k, v in block.items() if k != FIELD}


def _index(event: Mapping[str, Any]) -> int:
    index = event["index"]
    if not isinstance(index, int):
        raise TypeError("an index is a number")
    return index


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a string expected, not {type(value).__name__}")
    return value


def _short(error: Exception) -> str:
    return repr(error)[:200]
