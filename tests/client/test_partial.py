"""What was cut short is told: what there is of it, and the most that it can cost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from ipy_codeinterp import Session
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import CodeDelta, Event, Partial
from ipy_codeinterp.testing import Fail, ScriptedProvider, Stall
from ipy_codeinterp.testing.provider import Action, Reply

ENOUGH = 100  # USD


def told(action: Action, until: type[Event]) -> tuple[list[Event], Decimal]:
    """The events of a run that is cancelled at the first `until`, or ends by itself; and what is held for it."""

    async def main() -> tuple[list[Event], Decimal]:
        events: list[Event] = []
        reached = asyncio.Event()

        async def emit(event: Event) -> None:
            events.append(event)
            if isinstance(event, until):
                reached.set()

        async with ScriptedProvider(lambda number, body: action) as provider:
            provider.offer()
            settings = {"budget": ENOUGH, "attempts": 1, "warm": "never"}
            async with Session(providers=[provider], **settings) as session:
                run = asyncio.ensure_future(session.execute("print(1)", model=f"claude@{provider.name}", emit=emit))
                waits = asyncio.ensure_future(reached.wait())
                await asyncio.wait({run, waits}, return_when=asyncio.FIRST_COMPLETED)
                run.cancel()
                waits.cancel()
                await asyncio.wait({run})
                if not run.cancelled():
                    assert isinstance(run.exception(), InterpError)
                session.flush()
                return events, session.balances()[0].held

    return asyncio.run(main())


def test_a_cancelled_run_costs_its_reservation_at_most() -> None:
    """It is told last, with what had come; nobody knows what it has cost, but not more than was held for it."""
    events, held = told(Stall(30.0, after_bytes=4000, reply=Reply("x" * 5000)), CodeDelta)

    assert isinstance(events[-1], Partial)
    partial = events[-1]
    assert partial.result.outcome == "cancelled"
    assert partial.result.cost.billed is None
    assert partial.most == held > 0


@pytest.mark.parametrize("status", [401, 429])
def test_what_was_refused_costs_nothing(status: int) -> None:
    """A run that was refused is over, and cost nothing."""
    events, held = told(Fail(status), Partial)

    (partial,) = [event for event in events if isinstance(event, Partial)]
    assert (partial.most, held) == (0, 0)
