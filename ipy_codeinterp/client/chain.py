"""The chain an Execution passes: each middleware is `(Run, Handler) -> Result`, the last one is the transport.

The order, outermost first, and why:

    journal    sees everything, also what fails: a Result is kept before anybody is told
    converse   knows containers and files; each of its rounds is an attempt of its own
    account    notes each attempt before it is made, and settles it whatever happens
    transport  dialect and HTTP
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.dialects.messages import Decoder
from ipy_codeinterp.execution import Event, Execution, Outcome, Result, Step, Timings

Emit = Callable[[Event], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """One passage of an Execution through the client: the only thing here that changes."""

    execution: Execution
    offer: Offer
    emit: Emit
    id: str = field(default_factory=lambda: f"run_{secrets.token_hex(8)}")
    started: float = field(default_factory=time.monotonic)
    container_id: str | None = None  # the provider's name for it
    file_ids: tuple[str, ...] = ()
    decoder: Decoder | None = None  # of the reply that is arriving
    attempts: int = 0
    request_ids: tuple[str, ...] = ()
    timings: Timings = Timings()  # noqa: RUF009 - frozen

    def result(self, outcome: Outcome, **facts: Any) -> Result:
        """A Result of this run."""
        return Result(
            id=self.id,
            outcome=outcome,
            attempts=self.attempts,
            request_ids=self.request_ids,
            provider=self.offer.provider,
            model=self.offer.model,
            container=self.execution.container,
            timings=replace(self.timings, total=time.monotonic() - self.started),
            **facts,
        )

    def partial(self, outcome: Outcome) -> Result:
        """What there is of a run that was cut short."""
        if self.decoder is None:
            return self.result(outcome)
        step = Step(
            self.execution.body,
            self.execution.language,
            outputs=self.decoder.outputs,
            outcome=outcome,
            outcome_source="inferred",
        )
        return self.result(outcome, parts=(step,), isolation=self.decoder.isolation)


Handler = Callable[[Run], Awaitable[Result]]
Middleware = Callable[[Run, Handler], Awaitable[Result]]


def compose(middlewares: Sequence[Middleware], transport: Handler) -> Handler:
    """One handler that passes a Run through all of them, the first one outermost."""
    handler = transport
    for middleware in reversed(middlewares):
        handler = _bound(middleware, handler)
    return handler


def _bound(middleware: Middleware, handler: Handler) -> Handler:
    async def call(run: Run) -> Result:
        return await middleware(run, handler)

    return call
