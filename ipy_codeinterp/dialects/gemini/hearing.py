"""What the client hears from Gemini: chunks become steps, words, figures and in the end a Reply.

What is streamed and what comes at once have one shape, and parts arrive whole: only words come in pieces. A chunk may
be anything; what has the wrong type counts as not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp.dialects.dialect import Ask, Reply, Stop
from ipy_codeinterp.dialects.faults import not_a_reply
from ipy_codeinterp.dialects.gemini.faults import error_of
from ipy_codeinterp.dialects.gemini.parts import Parts
from ipy_codeinterp.dialects.reading import count, items, mapping, text
from ipy_codeinterp.errors import BadReply
from ipy_codeinterp.execution import Event, Limit, Output, Usage

TIME_LIMIT = Limit("time", 30.0, "seconds")  # theirs, and nobody can ask for another

# Why a model stopped. What is not listed, now or ever, stopped it before its end: it is never taken for one.
STOPS: Mapping[str, Stop] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "SAFETY": "filtered",
    "RECITATION": "filtered",
    "LANGUAGE": "filtered",
    "BLOCKLIST": "filtered",
    "PROHIBITED_CONTENT": "filtered",
    "SPII": "filtered",
    "IMAGE_SAFETY": "filtered",
}
CHUNK = ("candidates", "promptFeedback", "usageMetadata", "error")  # what one has at least one of
NO_REASON = ("", "FINISH_REASON_UNSPECIFIED")


def is_end(data: str) -> bool:
    """Whether a line of the stream is its end and no JSON: relays add one; here only a reason is an end."""
    return data.strip() == "[DONE]"


def events_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A JSON reply is what a chunk is; a list of them is what comes where the stream was not asked for as such.

    Raises `BadReply` for what is none.
    """
    for chunk in items(body) or [body]:
        if mapping(chunk).keys().isdisjoint(CHUNK):
            raise not_a_reply(chunk, "none of Gemini's")
        yield dict(mapping(chunk))


def decoder(ask: Ask) -> Decoder:
    """Of the reply to `ask`."""
    return Decoder(ask)


class Decoder:
    """Feed it the stream's chunks; it gives our events, and at the end the Reply."""

    container: str | None = None  # none is kept
    isolation: str | None = None  # nobody says

    def __init__(self, ask: Ask) -> None:
        self._parts = Parts(ask.execution)
        self._head: dict[str, Any] = {}  # what chunks say beside their candidates
        self._usage: dict[str, Any] = {}
        self._reason = ""
        self._blocked = ""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What has come so far."""
        return self._parts.outputs

    @property
    def code(self) -> str | None:
        """The code of the last step that has begun."""
        return self._parts.code

    def feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Raises the error that a chunk carries, and `BadReply` for what is no chunk."""
        if isinstance(event, list) and len(event) == 1:
            (event,) = event
        if not isinstance(event, Mapping):
            raise BadReply("a chunk of Gemini's is an object", may_have_run=bool(self._head))
        if event.get("error"):
            raise error_of(event, status=200, may_have_run=True)
        self._usage.update(mapping(event.get("usageMetadata")))
        self._blocked = text(mapping(event.get("promptFeedback")).get("blockReason")) or self._blocked
        self._head.update({name: value for name, value in event.items() if name != "candidates"})
        for candidate in items(event.get("candidates")):
            if mapping(candidate).get("index", 0) == 0:
                yield from self._hear(mapping(candidate))

    def _hear(self, candidate: Mapping[str, Any]) -> Iterator[Event]:
        for part in items(mapping(candidate.get("content")).get("parts")):
            yield from self._parts.feed(mapping(part))
        reason = text(candidate.get("finishReason"))
        self._reason = self._reason if reason in NO_REASON else reason

    def reply(self) -> Reply:
        """The whole reply. Raises `BadReply` when the stream ended before its end."""
        if not self._reason and not self._blocked:
            raise BadReply("the reply ended before its end", hint="what had arrived is kept", may_have_run=True)
        return Reply(
            parts=self._parts.finished(),
            usage=usage_of(self._usage),
            native=self._native(),
            stop=self._stop(),
            said=({"role": "model", "parts": self._parts.said},) if self._parts.said else (),
            limit=TIME_LIMIT if self._parts.out_of_time else None,
        )

    def _stop(self) -> Stop:
        return STOPS.get(self._reason, "refused") if self._reason else "filtered"

    def _native(self) -> dict[str, Any]:
        """As one JSON reply would have been, without a second copy of each figure."""
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": self._parts.without_figures()}}
        if self._reason:
            candidate["finishReason"] = self._reason
        usage = {"usageMetadata": self._usage} if self._usage else {}
        return {**self._head, "candidates": [candidate], **usage}


def usage_of(native: Mapping[str, Any]) -> Usage:
    """Usage as reported: what the tool fed back counts as input, thoughts as output; a zero is often left out."""
    words = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    given, fed_back, made, thought = (count(native.get(name)) for name in words)
    total = count(native.get("totalTokenCount"))
    input_tokens = None if given is None else given + (fed_back or 0)
    output_tokens = None if made is None else made + (thought or 0)
    if output_tokens is None and input_tokens is not None and total is not None:
        output_tokens = max(total - input_tokens, 0)
    cached = count(native.get("cachedContentTokenCount"))
    return Usage(input_tokens, output_tokens, False, dict(native), cached, reasoning_tokens=thought)
