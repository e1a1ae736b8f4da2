"""The values everything flows through: an Execution goes down, events come up, a Result stays.

Rules of this file: every value is frozen and slotted, equal content is equal, and nothing here does I/O.
Durations are seconds (float), money is `Decimal` USD, times are aware UTC. `None` means "not known", never zero.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "error", "limit", "cancelled", "crashed", "unknown"]
OutcomeSource = Literal["reported", "inferred"]
Source = Literal["live", "cache", "shared", "replay"]
Kind = Literal["code", "task"]
StreamName = Literal["stdout", "stderr"]
DisplayKind = Literal["display_data", "execute_result"]


# --- what was asked -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file by content: what it is called, what is in it (`sha256`, hex) and how large it is (bytes).

    `path` says where it lies here, `id` what the provider calls it; neither is part of what it *is*.
    """

    name: str
    sha256: str | None = None
    size: int | None = None
    path: Path | None = field(default=None, compare=False)
    id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Execution:
    """What was asked. `timeout` is how many seconds the code may run; None leaves it to the model's profile.

    A task (`kind`) is told to a model in words; `expect` says what it is to print, and without `execute` it only
    writes the code. `inputs` are values of variables that the code finds under their names, as files (exchange.py has
    them), and `get` the names of those that come back.
    """

    body: str
    kind: Kind = "code"
    language: str = "python"
    model: str | None = None
    container: str | None = None
    timeout: float | None = None
    files: tuple[File, ...] = ()
    inputs: tuple[File, ...] = ()
    after: str | None = None
    figure_format: str = "png"
    figure_dpi: float | None = None
    mounts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    network: bool = False
    expect: str | None = None
    execute: bool = True
    get: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 over every field that can change the answer: the address of this execution."""
        content = {name: getattr(self, name) for name in _DEFAULTS}
        for name in ("files", "inputs"):
            content[name] = [[file.name, file.sha256, file.size] for file in content[name]]
        for name in ("timeout", "figure_dpi"):
            content[name] = None if content[name] is None else float(content[name])  # 5 and 5.0 are equal
        for name in (
            "figure_format",
            "figure_dpi",
            "mounts",
            "packages",
            "network",
            "expect",
            "execute",
            "get",
        ):  # came later: keys that are known already stay what they are
            if content[name] == _DEFAULTS[name]:
                del content[name]
        return hashlib.sha256(_canonical(content).encode()).hexdigest()

    @property
    def repeatable(self) -> bool:
        """Whether running it again starts from the same state: without a container, seeing nothing outside it."""
        return self.container is None and not self.mounts and not self.network


_DEFAULTS = {f.name: f.default for f in fields(Execution)}
_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode


# --- what code produced ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stream:
    """Text written to stdout or stderr."""

    name: StreamName
    text: str


@dataclass(frozen=True, slots=True)
class Display:
    """One thing shown: `data` by MIME type (images as base64 text), as nbformat has it."""

    data: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    kind: DisplayKind = "display_data"
    display_id: str | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """An exception the code raised, with its traceback as lines."""

    ename: str
    evalue: str
    traceback: tuple[str, ...] = ()


Output = Stream | Display | Error


# --- what is told while it runs -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phase:
    """The run has entered a phase: `connecting`, `queued`, `asked`, `waiting` (to repeat), `running`, `transferring`.

    It is `queued` here, by the limits of its provider, and `asked` when it is sent; that a model writes code is told by
    CodeDelta.
    """

    name: str


@dataclass(frozen=True, slots=True)
class CodeDelta:
    """More of the code, as it is being written."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the model's words."""

    text: str


@dataclass(frozen=True, slots=True)
class Update:
    """New content for every display that carries `display_id`."""

    display_id: str
    data: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget the outputs so far; with `wait`, only when the next one comes."""

    wait: bool = False


@dataclass(frozen=True, slots=True)
class Restarted:
    """A new attempt begins: what was shown of the last one no longer counts."""

    reason: str = ""

    def __str__(self) -> str:
        return f"begun again: {self.reason}" if self.reason else "begun again"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know that no code said: a lost container, a journal that cannot be written."""

    text: str

    def __str__(self) -> str:
        return self.text


# --- what came of it ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limit:
    """A wall the code ran into: `name` is time, memory, output, processes, disk, file size or open files.

    `allowed` and `reached` are in `unit`; `line` is the line of the cell that was running, where that is known.
    """

    name: str
    allowed: float
    unit: str
    reached: float | None = None
    line: int | None = None

    def __str__(self) -> str:
        amount = f"{self.allowed / (1 << 20):g} MB" if self.unit == "bytes" else f"{self.allowed:g} {self.unit}"
        amount = amount.removesuffix("s") if self.allowed == 1 else amount
        return f"{self.name} limit of {amount}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens consumed. `estimated` when counted from characters; `native` is the provider's own report.

    `cached_tokens` were read from the provider's cache and `cache_write_tokens` written to it: both are part of
    `input_tokens`, as `reasoning_tokens` are part of `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated: bool = False
    native: Mapping[str, Any] = field(default_factory=dict)
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether somebody has said how many tokens it were."""
        return self.input_tokens is not None and self.output_tokens is not None


@dataclass(frozen=True, slots=True)
class Cost:
    """USD. `billed` is what the account is charged, `listed` what the tokens cost at list price.

    `avoided` is what it would have been billed: set where the Result was served from what somebody had paid before.
    """

    billed: Decimal | None = None
    listed: Decimal | None = None
    estimated: bool = False
    price: str | None = None  # whose price, and of which day
    avoided: Decimal | None = None
    items: Mapping[str, Decimal] = field(default_factory=dict)  # what was billed, by line


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in seconds; None where it was not measured."""

    queue: float | None = None
    connect: float | None = None
    first_byte: float | None = None
    model: float | None = None
    execution: float | None = None
    transfer: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """The model's words."""

    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of code that an interpreter ran. `code` is what the interpreter says it ran."""

    code: str
    language: str = "python"
    verbatim: bool | None = None
    outputs: tuple[Output, ...] = ()
    outcome: Outcome = "unknown"
    outcome_source: OutcomeSource = "reported"
    exit_status: int | None = None
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an Execution, in the order it came."""

    id: str
    parts: tuple[Text | Step, ...] = ()
    outcome: Outcome = "unknown"
    limit: Limit | None = None
    usage: Usage = field(default_factory=Usage)
    cost: Cost = field(default_factory=Cost)
    timings: Timings = field(default_factory=Timings)
    attempts: int = 1
    request_ids: tuple[str, ...] = ()
    provider: str = ""
    model: str = ""
    source: Source = "live"
    container: str | None = None
    container_new: bool | None = None
    isolation: str | None = None
    warm: bool | None = None
    why: str | None = None  # this offer, where there were others
    stop: str | None = None  # why the model stopped, where one spoke: end, length, context, refused, filtered
    native: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether the code ran to its end without raising; None when the provider does not say."""
        return None if self.outcome == "unknown" else self.outcome == "ok"

    @property
    def offer(self) -> str:
        """Who did it, written as an offer: `claude@local`."""
        return f"{self.model}@{self.provider}"

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(part for part in self.parts if isinstance(part, Step))

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(output for step in self.steps for output in step.outputs)

    @property
    def stdout(self) -> str:
        return "".join(_texts(self.outputs, "stdout"))

    @property
    def stderr(self) -> str:
        return "".join(_texts(self.outputs, "stderr"))

    @property
    def text(self) -> str:
        """The model's words; empty where no model spoke."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tokens_outside_code(self) -> int | None:
        """Output tokens for words and reasoning: what is left beside the code, whose characters are counted as 1/4.

        None where the provider did not say, or no model spoke.
        """
        if self.usage.output_tokens is None or self.stop is None:
            return None
        code = sum(-(-len(step.code) // 4) for step in self.steps)
        return max(self.usage.output_tokens - code, 0)

    @property
    def images(self) -> tuple[Display, ...]:
        return tuple(o for o in self.outputs if isinstance(o, Display) and _has_image(o))

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for step in self.steps for file in step.files)

    @property
    def error(self) -> Error | None:
        """The exception the code ended with, if it ended with one."""
        errors = [o for o in self.outputs if isinstance(o, Error)]
        return errors[-1] if errors else None

    @property
    def ending(self) -> str:
        """How the code was ended from outside, in words that are the same every time; empty where it was not."""
        if self.outcome == "limit" and self.limit:
            line = f", in line {self.limit.line}" if self.limit.line else ""
            return f"the code was stopped at its {self.limit}{line}"
        if self.outcome == "crashed":
            return f"the interpreter died under the code ({_exit_in_words(self.steps)})"
        return ""

    @property
    def verbatim(self) -> bool | None:
        """Whether exactly the code that was sent ran; None where nothing ran or nobody said."""
        said = [step.verbatim for step in self.steps]
        return None if not said or None in said else all(said)

    def __repr__(self) -> str:
        words = [self.outcome, self.offer]
        if self.limit:
            words.append(f"{self.limit.name} limit")
        if self.error:
            words.append(ascii(self.error.ename)[1:-1])  # the code chose it: it may hold anything
        if self.timings.total is not None:
            words.append(f"{self.timings.total:.3f} s")
        if self.stdout:
            words.append(f"stdout {len(self.stdout)} characters")
        if self.images:
            words.append(f"{len(self.images)} image(s)")
        if self.isolation == NOT_ISOLATED:
            words.append(NOT_ISOLATED)
        return f"Result({', '.join(words)})"


@dataclass(frozen=True, slots=True)
class Partial:
    """What there is of a run that was cut short, or failed; told last. `most` is the most that it can cost, USD.

    `most` is None where nobody knows.
    """

    result: Result
    most: Decimal | None = None


Event = Phase | CodeDelta | TextDelta | Output | Update | Clear | Restarted | Notice | Partial


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container that is kept: how long it has been idle (seconds), how much memory it holds (bytes)."""

    name: str
    language: str
    busy: bool
    idle: float
    memory: int

    def describe(self) -> str:
        return "busy" if self.busy else f"idle for {self.idle / 60:.0f} min"


NOT_ISOLATED = "not isolated"


def _texts(outputs: tuple[Output, ...], name: StreamName) -> Iterator[str]:
    return (o.text for o in outputs if isinstance(o, Stream) and o.name == name)


def _exit_in_words(steps: tuple[Step, ...]) -> str:
    status = steps[-1].exit_status if steps else None
    if status is not None and status > 128:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - 128).name
    return "no exit status" if status is None else f"exit status {status}"


def _has_image(display: Display) -> bool:
    return any(mime.startswith("image/") for mime in display.data)
