"""What every wire format is to the client: an Ask becomes JSON, events become ours, and in the end a Reply.

A dialect is a module that has all that `Dialect` names. It does no I/O and keeps nothing between two rounds: what a
round must repeat of those before it is in the Ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import ProviderError
from ipy_codeinterp.execution import Event, Execution, File, Limit, Output, Step, Text, Usage

# What a decoder is fed for a line of the stream that is its end and no JSON.
END_EVENT: Mapping[str, Any] = MappingProxyType({"type": "ipy_codeinterp.end"})

# Why a model stopped: at its end; for us to run what it called; to be asked to go on; because the reply or the context
# is full; because it, or a filter, would not.
Stop = Literal["end", "calls", "paused", "length", "context", "refused", "filtered"]


@dataclass(frozen=True, slots=True)
class Call:
    """Code that a model asks us to run. One that cannot be run has a `fault`, in words for the model."""

    id: str
    code: str = field(repr=False)
    language: str = "python"
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model is told of a Call: `text` of what came of it, `images` as base64 PNG."""

    call: Call
    text: str
    ok: bool = True
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """A round that is over: what was said, natively, to be sent again unchanged, and our answers to its calls."""

    said: tuple[Mapping[str, Any], ...]
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One round: an Execution, and who is to run it.

    `most_tokens` bounds the reply. `container` and the `id` of each of `files` are the provider's own names; a file
    without an id has its content at `path`, and in `contents`, by its name, where it travels inside the request.
    `rounds` are those before this one, oldest first. `tool` is the version of the interpreter where a format has
    several, `before` what a task goes on from, in words, `memory` (bytes) what the container is asked to have.
    `extension` goes to our own gateway only.
    """

    execution: Execution
    model: str
    most_tokens: int
    container: str | None = None
    files: tuple[File, ...] = ()
    rounds: tuple[Round, ...] = ()
    tool: str | None = None
    memory: int | None = None
    extension: Mapping[str, Any] | None = None
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    before: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `container` is the provider's id, `execution_seconds` as far as the gateway told.

    `said` is what a next round has to repeat, and `calls` is what we are to run before it. What code left is in the
    steps' `files`; one without `sha256` is still at the provider.
    """

    parts: tuple[Text | Step, ...]
    usage: Usage
    native: dict[str, Any]
    stop: Stop = "end"
    container: str | None = None
    calls: tuple[Call, ...] = ()
    said: tuple[Mapping[str, Any], ...] = ()
    container_new: bool | None = None
    isolation: str | None = None
    warm: bool | None = None
    limit: Limit | None = None
    execution_seconds: float | None = None


class Decoder(Protocol):
    """Feed it the stream's events; it gives ours, and at the end the Reply."""

    @property
    def container(self) -> str | None:
        """The container's id, as soon as it is known."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What has come so far: all there is of a run that was cut short."""

    @property
    def isolation(self) -> str | None: ...

    @property
    def code(self) -> str | None:
        """The code that is being run, as far as it is known; None before any is."""

    def feed(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Raises the error that an event carries, and `BadReply` for what is no event of this format."""

    def reply(self) -> Reply:
        """The whole reply. Raises `BadReply` when the stream ended before its end."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Where files go: a multipart POST to `path` with `fields` beside `file`; the reply's `id` is its name there."""

    path: str
    fields: Mapping[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """A wire format. Paths begin with `/` and follow the provider's base URL."""

    ATTEMPT_HEADER: str  # what we call a request in
    REQUEST_ID_HEADER: str  # what they call it in
    UPLOADS: Uploads | None  # None: files travel inside the request, or not at all
    MOST_INLINE: int  # bytes of files that a request may hold: in `Ask.contents`

    def path(self, model: str) -> str:
        """Where a streamed request for `model` goes."""

    def headers(self, key: str) -> dict[str, str]:
        """Authentication and version."""

    def is_end(self, data: str) -> bool:
        """Whether the `data` of an event is no JSON, but the end of the stream: a decoder is fed `END_EVENT` then."""

    def encode_request(self, ask: Ask) -> dict[str, Any]:
        """The body of a streamed request."""

    def decoder(self, ask: Ask) -> Decoder:
        """Of the reply to `ask`."""

    def events_of(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The events that would have said the same as a JSON reply: some relays do not stream."""

    def error_of(
        self,
        body: object,
        status: int,
        request_id: str | None = None,
        *,
        advice: Advice = NO_ADVICE,
        may_have_run: bool = False,
    ) -> ProviderError:
        """The error that a body of that HTTP status means; relays send strings, HTML or nothing at all."""

    def content_path(self, id: str) -> str:
        """Where the content of a file that code left is."""

    def about_path(self, id: str) -> str:
        """Where it is described."""

    def about(self, body: Mapping[str, Any]) -> File:
        """What that description says: its name, its size (bytes), its id."""
