"""The chain an Execution passes: each middleware is `(Run, Handler) -> Result`, the last one is the transport.

The order, outermost first, and why:

    record     writes what came into a recording, when there is one: runs are then made, not served
    journal    sees everything, also what fails: a Result is kept before anybody is told
    deadline   waiting counts, whatever for
    served     notes in the ledger what the next two avoided
    cache      serves what was paid for before: a hit needs no container, no attempt and no budget
    coalesce   equal executions in flight are one passage of all that follows
    route      chooses who is asked, and who is next when one gives up
    converse   knows containers and files; each of its rounds is an attempt of its own
    retry      repeats an attempt; while it waits nothing is held, and each repeat is accounted for
    limit      waits until the provider's limits let the attempt through; a place is held only around the call
    account    notes each attempt before it is made, and settles it whatever happens
    transport  dialect and HTTP
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ipy_codeinterp import ids, shield
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.changed import changed
from ipy_codeinterp.dialects.dialect import Decoder, Reply, Round
from ipy_codeinterp.execution import Event, Execution, File, Outcome, Result, Step, Text, Timings, Usage

AROUND_CODE = 1000  # tokens that a dialect may put around the code
LEAST_TOKENS = 1024  # of a reply: with fewer a model cannot even pass on the code
MILLION = 1_000_000
NOTHING_NATIVE: Mapping[str, Any] = {}
Emit = Callable[[Event], Awaitable[None]]


async def nobody(_: Event) -> None:
    """The `Emit` of a run whose events nobody hears: for it they are neither masked nor passed from task to task."""


@dataclass(slots=True)
class Run:
    """One passage of an Execution through the client: the only thing here that changes."""

    execution: Execution
    offer: Offer
    emit: Emit
    id: str = field(default_factory=lambda: ids.new("run"))
    started: float = field(default_factory=time.monotonic)
    deadline: float | None = None  # of the monotonic clock, for all that this run does
    max_cost: Decimal | None = None  # USD, of all its attempts
    policy: str | None = None  # how the router chooses; None leaves it to the settings
    critical: bool = False  # whether it matters most that it is right
    labels: Mapping[str, str] = field(default_factory=dict)  # the user's, for the ledger
    attempt_id: str = ""  # of the attempt that is being made; the provider is told it
    container_id: str | None = None  # the provider's name for it
    files: tuple[File, ...] = ()  # as the provider has them
    inputs: tuple[File, ...] = ()  # the same, of variables' values
    rounds: tuple[Round, ...] = ()  # those before this one
    carried: int = 0  # tokens that they take
    parts: tuple[Text | Step, ...] = ()  # of those that are over
    reply: Reply | None = None  # of the last one
    decoder: Decoder | None = None  # of the reply that is arriving
    attempts: int = 0
    spent: Decimal = Decimal(0)  # USD, by its attempts; what nobody knows at its worst
    request_ids: tuple[str, ...] = ()
    rate_headers: Mapping[str, str] = field(default_factory=dict)  # what the last reply says of the provider's limits
    timings: Timings = Timings()  # noqa: RUF009 - frozen; of this round
    queue_noted: float = 0.0  # of the seconds in the queue, those of attempts that are in the ledger
    is_bound: bool = False  # to its offer: no other is asked
    before: str = ""  # what it goes on from, in words for the model
    keeps: bool = False  # whether the place where code of a task ran stays, for one that goes on from it
    use_cache: bool = True  # whether it may be served from what is kept, or share another's answer
    _key: str | None = None

    @property
    def key(self) -> str:
        """The execution's: reckoned once, for several ask."""
        self._key = self._key or self.execution.key
        return self._key

    @property
    def worst_case(self) -> Usage:
        """The most tokens that one attempt can take: a byte is never more than a token."""
        return Usage(
            self._asked_tokens,
            self.most_tokens,
            estimated=True,
        )

    @property
    def most_tokens(self) -> int:
        """The most that the reply may hold: as many as the offer allows and `max_cost` pays for."""
        price, most = self.offer.price, self.offer.most_tokens
        if self.max_cost is None or price is None or not price.output:
            return most
        left = self.max_cost - self.spent - (self.offer.at_most(Usage(self._asked_tokens, 0)) or 0)
        return max(min(most, int(left * MILLION / price.output)), min(most, LEAST_TOKENS))

    @property
    def most_spent(self) -> Decimal | None:
        """What its attempts have cost at most, USD; None where its offer has no price."""
        return None if self.offer.at_most(Usage(0, 0)) is None else self.spent

    @property
    def _asked_tokens(self) -> int:
        said = f"{self.before}{self.execution.body}"
        return len(said.encode("utf-8", "surrogatepass")) + AROUND_CODE + self.carried

    @property
    def left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def result(
        self,
        outcome: Outcome,
        parts: Iterable[Text | Step] = (),
        native: Mapping[str, Any] = NOTHING_NATIVE,
        **facts: Any,
    ) -> Result:
        """A Result of this run, without secrets: whatever keeps, tells or shows it has it from here."""
        return Result(
            parts=shield.masked_parts(parts),
            native=shield.masked_value(native),
            id=self.id,
            outcome=outcome,
            attempts=self.attempts,
            request_ids=self.request_ids,
            provider=self.offer.provider,
            model=self.offer.model,
            container=self.execution.container,
            timings=changed(self.timings, total=time.monotonic() - self.started),
            **facts,
        )

    def partial(self, outcome: Outcome) -> Result:
        """What there is of a run that was cut short."""
        if self.decoder is None:
            return self.result(outcome, parts=self.parts)
        step = Step(
            self.decoder.code or self.execution.body,
            self.execution.language,
            outputs=self.decoder.outputs,
            outcome=outcome,
            outcome_source="inferred",
        )
        return self.result(outcome, parts=(*self.parts, step), isolation=self.decoder.isolation)


Handler = Callable[[Run], Awaitable[Result]]
Middleware = Callable[[Run, Handler], Awaitable[Result]]


def compose(middlewares: Sequence[Middleware], transport: Handler) -> Handler:
    """One handler that passes a Run through all of them, the first one outermost."""
    handler = transport
    for middleware in reversed(middlewares):
        handler = _bound(middleware, handler)
    return handler


def _bound(middleware: Middleware, handler: Handler) -> Handler:
    return lambda run: middleware(run, handler)
