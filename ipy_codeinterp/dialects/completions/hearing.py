"""What the client hears in chat completions: the chunks of one choice become words, calls and in the end a Reply.

A chunk may be anything. What has the wrong type counts as not said; only what is no object at all, an error, or the end
of the stream without an end, is an error of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp import languages
from ipy_codeinterp.dialects.completions.asking import calls_wanted, error_of
from ipy_codeinterp.dialects.completions.calling import Calls, Growth, judged, said_again
from ipy_codeinterp.dialects.dialect import END_EVENT, Ask, Call, Reply, Stop
from ipy_codeinterp.dialects.faults import not_a_reply
from ipy_codeinterp.dialects.reading import count, items, mapping, text
from ipy_codeinterp.errors import BadReply
from ipy_codeinterp.execution import CodeDelta, Event, Output, Text, TextDelta, Usage

# Reasons that are no end; any other is taken for one.
STOPS: Mapping[str, Stop] = {
    "length": "length",
    "model_length": "context",
    "content_filter": "filtered",
    "error": "refused",
}
CUT = ("length", "context")  # what was being written is not whole
READ = {"role", "content", "refusal", "tool_calls"}  # of a message; the rest is kept and said again


def is_end(data: str) -> bool:
    """Whether a line of the stream is its end, which is no JSON; the decoder is fed `END_EVENT` for it."""
    return data.strip() == "[DONE]"


def events_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The one chunk, and the end, that would have said the same as a JSON reply. Raises `BadReply` for what is none."""
    if "choices" not in body and not body.get("error"):
        raise not_a_reply(body, "no chat completion")
    choices = [_as_chunk(choice) for choice in items(body.get("choices"))]
    yield {**body, "choices": choices}
    if choices:
        yield dict(END_EVENT)


def _as_chunk(choice: object) -> dict[str, Any]:
    message = mapping(mapping(choice).get("message"))
    calls = [{**mapping(call), "index": i} for i, call in enumerate(items(message.get("tool_calls")))]
    return {**mapping(choice), "delta": {**message, "tool_calls": calls}}


def decoder(ask: Ask) -> Decoder:
    """Of the reply to `ask`."""
    return Decoder(ask)


class Decoder:
    """Feed it the stream's chunks; it gives our events, and at the end the Reply. Nothing runs at this provider."""

    container: str | None = None
    outputs: tuple[Output, ...] = ()
    isolation: str | None = None
    code: str | None = None

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._head: dict[str, Any] = {}  # what chunks say beside their choices
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._others: dict[str, list[Any]] = {}
        self._calls = Calls()
        self._reason: str | None = None
        self._begun = False
        self._ended = False

    def feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Raises the error that a chunk carries, and `BadReply` for what is no chunk."""
        if not isinstance(event, Mapping):
            raise BadReply("a chunk of chat completions is an object")
        if event.get("error"):
            raise error_of(event, status=200, may_have_run=self._begun)
        if event.get("type") == END_EVENT["type"]:
            self._ended = True
            return
        self._head.update({k: v for k, v in event.items() if k != "choices" and v is not None})
        for choice in items(event.get("choices")):
            if mapping(choice).get("index", 0) == 0:
                yield from self._hear(mapping(choice))

    def _hear(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        self._begun = True
        delta = mapping(choice.get("delta"))
        for into, said in ((self._content, delta.get("content")), (self._refusal, delta.get("refusal"))):
            if words := _words(said):
                into.append(words)
                yield TextDelta(words)
        for call in items(delta.get("tool_calls")):
            if code := self._calls.feed(mapping(call)):
                yield CodeDelta(code)
        for name, value in delta.items():
            if name not in READ and value is not None:
                self._others.setdefault(name, []).append(value)
        self._reason = text(choice.get("finish_reason")) or self._reason

    def reply(self) -> Reply:
        """The whole reply. Raises `BadReply` when the stream ended before its end."""
        if not self._ended and self._reason is None:
            raise BadReply("the reply ended before its end", hint="try again", may_have_run=self._begun)
        growths = self._calls.finished(f"call_{len(self._ask.rounds)}_")
        calls = self._judged(growths)
        stop = self._stop(calls)
        words = "".join(self._content) + "".join(self._refusal)
        return Reply(
            parts=(Text(words),) if words else (),
            usage=usage_of(self._head.get("usage")),
            native=self._native(growths),
            stop=stop,
            calls=calls if stop == "calls" else (),
            said=(self._message([said_again(growth) for growth in growths] if stop == "calls" else []),),
        )

    def _judged(self, growths: list[Growth]) -> tuple[Call, ...]:
        if not calls_wanted(self._ask):
            return ()
        language = languages.find(self._ask.execution.language).name
        return tuple(judged(growth, language) for growth in growths)

    def _stop(self, calls: tuple[Call, ...]) -> Stop:
        """By what is there, then by the reason: servers say `stop` beside calls, and a full reply cuts the last one."""
        said = STOPS.get(self._reason or "")
        if calls and (said is None or (said in CUT and not any(call.fault for call in calls))):
            return "calls"
        return said or ("refused" if self._refusal else "end")

    def _message(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        """What was said, as one message; what we do not know of it too: some models want their thoughts back."""
        others = {name: _joined(values) for name, values in self._others.items()}
        message = {**others, "role": "assistant", "content": "".join(self._content) or None}
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        return message | ({"tool_calls": calls} if calls else {})

    def _native(self, growths: list[Growth]) -> dict[str, Any]:
        """As one JSON reply would have been, arguments as they were written."""
        calls = [
            {**said_again(growth), "function": {"name": growth.name, "arguments": growth.arguments}}
            for growth in growths
        ]
        choice = {"index": 0, "message": self._message(calls), "finish_reason": self._reason}
        return {**self._head, "choices": [choice]}


def _words(said: object) -> str:
    """Text, or the text among parts, as some servers have it."""
    if isinstance(said, list):
        return "".join(text(mapping(part).get("text")) for part in said)
    return text(said)


def _joined(values: list[Any]) -> Any:
    """Pieces of one value: texts and lists grow, of all else the last counts."""
    if all(isinstance(value, str) for value in values):
        return "".join(values)
    if all(isinstance(value, list) for value in values):
        return [each for value in values for each in value]
    return values[-1]


def usage_of(said: object) -> Usage:
    """Usage as reported; what the total counts beyond both sums is output that somebody left out: thoughts."""
    native = mapping(said)
    given, made, total = (count(native.get(f"{what}_tokens")) for what in ("prompt", "completion", "total"))
    if None not in (given, made, total):
        made = max(made or 0, (total or 0) - (given or 0))
    details = mapping(native.get("prompt_tokens_details"))
    return Usage(
        input_tokens=given,
        output_tokens=made,
        native=dict(native),
        cached_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=count(mapping(native.get("completion_tokens_details")).get("reasoning_tokens")),
    )
