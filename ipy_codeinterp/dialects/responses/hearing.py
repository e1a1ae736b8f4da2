"""What the client hears in OpenAI's Responses: a stream's events become ours, and in the end a Reply.

Results of code arrive only with its item (`response.output_item.done`). The words of our own gateway are no model's: it
only names files. What it adds is believed only where it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp.dialects import heard
from ipy_codeinterp.dialects.dialect import Ask, Reply, Stop
from ipy_codeinterp.dialects.extension import FIELD
from ipy_codeinterp.dialects.faults import not_a_reply
from ipy_codeinterp.dialects.heard import Start
from ipy_codeinterp.dialects.reading import mapping, text
from ipy_codeinterp.dialects.responses import items
from ipy_codeinterp.dialects.responses.asking import CALL, error_of, is_id
from ipy_codeinterp.dialects.responses.call import Call
from ipy_codeinterp.dialects.responses.items import Message, a
from ipy_codeinterp.errors import BadReply, ProviderError
from ipy_codeinterp.execution import CodeDelta, Event, Output, Phase, Step, Text, TextDelta
from ipy_codeinterp.outputs import Collector

WRONG = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
MOST_ITEMS = 1 << 20  # the place of one in a reply is below
ENDS = ("response.completed", "response.incomplete", "response.failed")
STOPS: Mapping[str, Stop] = {"content_filter": "filtered"}  # whatever else cuts a reply is its length


class Decoder:
    """Feed it the stream's events; it gives ours, and at the end the Reply."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._items: dict[int, dict[str, Any]] = {}  # those that are over, by their place
        self._calls: dict[int, Call] = {}
        self._messages: dict[int, Message] = {}
        self._worded: set[int] = set()  # the messages whose words were told as they came
        self._live = Collector()
        self._start: Start | None = None
        self._no_model = False  # our own gateway is known to answer
        self._end: Mapping[str, Any] | None = None

    @property
    def container(self) -> str | None:
        """The container's id, known before the code is."""
        if self._start and is_id(self._start.container):
            return self._start.container
        return next((call.container for call in reversed(self._calls.values()) if call.container), None)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What has come so far: all there is of a run that was cut short."""
        if live := self._live.outputs:
            return live
        return tuple(output for call in self._calls.values() if call.step for output in call.step.outputs)

    @property
    def isolation(self) -> str | None:
        return self._start.isolation if self._start else None

    @property
    def code(self) -> str | None:
        """The code that is being run, as far as it is known; None before any is."""
        call = next(reversed(self._calls.values()), None)
        return None if call is None else "".join(call.code)

    def feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Raises the error that an event carries, and `BadReply` for what is no event of this format."""
        try:
            yield from self._feed(event)
        except WRONG as error:
            raise _bad("an event", error) from None

    def _feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        kind = mapping(event).get("type")
        if kind == "error" or (kind is None and event.get("error")):
            raise _failure(event)
        match a(str, kind):
            case "response.output_item.added":
                self._added(event)
            case "response.code_interpreter_call_code.delta":
                yield from self._told(self._call(event).write(a(str, event["delta"])))
            case "response.code_interpreter_call_code.done":
                yield from self._told(self._call(event).finish(items.code_of(event)))
            case "response.code_interpreter_call.interpreting" if not self._start:
                yield Phase("running")
            case "response.output_text.delta" | "response.refusal.delta" if not self._no_model:
                self._worded.add(_place(event))
                yield TextDelta(a(str, event["delta"]))
            case "response.output_item.done":
                yield from self._done(_place(event), a(dict, event["item"]))
            case end if end in ENDS:
                yield from self._over(end, a(dict, event["response"]))
            case own if own.startswith(f"{FIELD}.") and self._ask.extension is not None:
                yield from self._own(own, event)

    def _own(self, kind: str, event: Mapping[str, Any]) -> Iterator[Event]:
        """What only our own gateway says: that it starts, and outputs while the code runs."""
        if kind == f"{FIELD}.start":
            self._start, self._no_model = heard.decode_start(event), True
            yield Phase("running")
        elif kind == f"{FIELD}.output":
            output = heard.decode_output(event)
            self._live.feed(output)
            yield output

    def _told(self, code: str) -> Iterator[Event]:
        """More of the code; our own gateway only repeats the user's."""
        if code and not self._start:
            yield CodeDelta(code)

    def _call(self, event: Mapping[str, Any]) -> Call:
        return self._calls.setdefault(_place(event), Call())

    def _added(self, event: Mapping[str, Any]) -> None:
        item = a(dict, event["item"])
        if item.get("type") == CALL:
            self._call(event).container = items.container_of(item)

    def _done(self, place: int, item: dict[str, Any]) -> Iterator[Event]:
        """An item that is over, whether or not it was told of before."""
        kind = item.get("type")
        if kind == CALL:
            yield from self._ran(self._calls.setdefault(place, Call()), item)
        elif kind == "message":
            self._messages[place] = message = items.message_of(item)
            if place not in self._worded and not self._no_model:
                yield from map(TextDelta, message.texts)
        self._items[place] = items.without_figures(item)

    def _ran(self, call: Call, item: dict[str, Any]) -> Iterator[Event]:
        call.container = items.container_of(item) or call.container
        yield from self._told(call.finish(items.code_of(item)))
        live = self._live.outputs
        call.ran = items.ran_of(item) if self._ask.extension is not None else None
        self._no_model |= call.ran is not None
        call.step = items.step_of(item, self._ask, call.ran, live)
        if not live:
            yield from call.step.outputs

    def _over(self, kind: str, response: dict[str, Any]) -> Iterator[Event]:
        if kind == "response.failed" or response.get("status") == "failed":
            raise _failure({"error": response.get("error") or {"message": "the provider could not finish its reply"}})
        for place, item in enumerate(items.listed(response.get("output"))):
            if place not in self._items:  # some relays send the end alone
                yield from self._done(place, a(dict, item))
        self._end = {name: value for name, value in response.items() if name != "output"} | {"type": kind}

    def reply(self) -> Reply:
        """The whole reply. Raises `BadReply` when the stream ended before its end."""
        if self._end is None:
            raise BadReply("the reply ended before its end", hint="try again; what had arrived is kept")
        try:
            return self._reply(self._end)
        except WRONG as error:
            raise _bad("a reply", error) from None

    def _reply(self, end: Mapping[str, Any]) -> Reply:
        said = [self._items[place] for place in sorted(self._items)]
        ran = next((call.ran for call in reversed(self._calls.values()) if call.ran), None)
        ours = self._ask.extension is not None
        return Reply(
            parts=tuple(self._parts()),
            usage=items.usage_of(end.get("usage"), ours=ours),
            native={**{name: value for name, value in end.items() if name != "type"}, "output": said},
            stop=self._stop(end),
            container=self.container,
            said=tuple(filter(None, map(items.to_repeat, said))),
            container_new=None if self.container is None else self.container != self._ask.container,
            isolation=self.isolation,
            warm=self._start.warm if self._start else None,
            limit=ran.limit if ran else None,
            execution_seconds=ran.seconds if ran else None,
        )

    def _parts(self) -> Iterator[Text | Step]:
        """In the order of the reply; a call that never ended is none."""
        steps = {place: call.step for place, call in self._calls.items() if call.step}
        containers = {place: call.container for place, call in self._calls.items()}
        cited = [each for message in self._messages.values() for each in message.cited]
        steps = items.with_files(steps, containers, cited)
        for place in sorted(self._items):
            if place in steps:
                yield steps[place]
            elif place in self._messages and not self._no_model:
                yield from map(Text, self._messages[place].texts)

    def _stop(self, end: Mapping[str, Any]) -> Stop:
        if end["type"] == "response.incomplete" or end.get("status") == "incomplete":
            return STOPS.get(text(mapping(end.get("incomplete_details")).get("reason")), "length")
        return "refused" if any(message.refused for message in self._messages.values()) else "end"


def is_end(data: str) -> bool:
    """Whether a line of the stream is no JSON and can be passed over. It is no end: only an event is."""
    return data.strip() == "[DONE]"


def events_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that would have said the same as a JSON reply. Raises `BadReply` for what is none.

    One that says it is not over yet has no end, and neither have its events.
    """
    if not isinstance(body, Mapping) or not (isinstance(body.get("output"), list) or body.get("error")):
        raise not_a_reply(body, "no Response")
    output, status = body.get("output"), body.get("status", "completed")
    if body.get("error"):
        yield {"type": "error", "error": body["error"]}
    for place, item in enumerate(output if isinstance(output, list) else ()):
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    end = f"response.{text(status)}"
    if end in ENDS:
        yield {"type": end, "response": {**body, "output": []}}


def _place(event: Mapping[str, Any]) -> int:
    place = a(int, event["output_index"])
    if not 0 <= place < MOST_ITEMS:
        raise ValueError("no item has that place")
    return place


def _failure(event: Mapping[str, Any]) -> ProviderError:
    """The error of an event, flat as it is declared or nested as it is sent. Code may have run before it."""
    error = event.get("error") or {name: event.get(name) for name in ("message", "code", "param")}
    return error_of({"error": error}, status=200, may_have_run=True)


def _bad(what: str, error: Exception) -> BadReply:
    """Its words are ours: what the other end sent may be nested deeper than can be printed."""
    told = f"{type(error).__name__} {error.args[0] if error.args and isinstance(error.args[0], str) else ''}"
    return BadReply(f"not {what} of the Responses format: {told.strip()[:200]}", may_have_run=True)
