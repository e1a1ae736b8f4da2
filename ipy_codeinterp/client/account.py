"""The ledger's place in the chain: each attempt is noted before it is made, and settled whatever comes of it.

What an attempt can cost at worst is held against the budgets in the same transaction that notes it, so that calls that
start together cannot spend the same dollar twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp import ids
from ipy_codeinterp.catalog import Charge, container_cost
from ipy_codeinterp.changed import changed
from ipy_codeinterp.client.apart import Apart
from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.kept import Kept
from ipy_codeinterp.errors import InterpError, OverBudget, ProviderError, StoreError
from ipy_codeinterp.execution import Cost, Outcome, Result, Timings, Usage
from ipy_codeinterp.store import ledger
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Budgets, Origin

NOTHING = Cost(billed=Decimal(0))


@dataclass(frozen=True, slots=True)
class Funds:
    """What may be spent, USD: by the session, and in a day by all sessions of this user."""

    session: Decimal | None = None
    day: Decimal | None = None

    def budgets(self, attempt: Attempt) -> Budgets:
        """By scope, those that there are."""
        amounts = zip(attempt.scopes, (self.session, self.day), strict=True)
        return {scope: amount for scope, amount in amounts if amount is not None}


class Account:
    """Middleware. `settled` is called with each attempt that has ended; `funds` is asked each time.

    `apart` is shared with all who count against the same budgets.
    """

    def __init__(
        self,
        database: Database,
        settled: Callable[[Attempt], None],
        origin: Callable[[], Origin] = Origin,
        funds: Callable[[], Funds] = Funds,
        apart: Apart | None = None,
    ) -> None:
        self._database = database
        self._kept = Kept(database)
        self._settled = settled
        self._origin = origin
        self._funds = funds
        self._apart = apart or Apart(database)
        self._charges = Charges()

    async def __call__(self, run: Run, handler: Handler) -> Result:
        attempt = Attempt.begun(
            ids.new("att"),
            run.id,
            run.offer.provider,
            run.offer.model,
            origin=self._from(run),
            reserved=run.offer.at_most(run.worst_case),
        )
        settle = await self._reserve(run, attempt)
        run.attempt_id = attempt.id
        run.attempts += 1
        told_before = len(run.request_ids)
        run.timings = Timings(queue=run.timings.queue)
        started = time.monotonic()
        outcome: Outcome | None = None  # no reply
        usage, cost = Usage(), NOTHING
        try:
            result = await handler(run)
            outcome, usage = result.outcome, result.usage
            cost = run.offer.cost(usage, self._charges.of(run, started))
            return changed(result, cost=cost)
        except asyncio.CancelledError:
            outcome, cost = "cancelled", run.offer.cost(Usage())
            raise
        except Exception as error:
            if not isinstance(error, InterpError) or getattr(error, "may_have_run", False):
                cost = run.offer.cost(Usage())
            if isinstance(error, ProviderError):
                error.provider = run.offer.provider
                run.request_ids += (error.request_id,) if error.request_id else ()
            raise
        finally:
            run.spent += cost.billed if cost.billed is not None else attempt.reserved or 0
            attempt = attempt.settled(
                outcome=outcome,
                seconds=time.monotonic() - started,
                usage=usage,
                cost=cost,
                timings=_own(run),
                request_id=next(iter(run.request_ids[told_before:]), None),
            )
            settle(attempt)
            self._settled(attempt)

    def _from(self, run: Run) -> Origin:
        origin = self._origin()
        return changed(origin, labels=run.labels) if run.labels else origin

    async def _reserve(self, run: Run, attempt: Attempt) -> Callable[[Attempt], None]:
        """Note the attempt; returns what is to note how it ends. Raises `OverBudget`."""
        _check_call(run, attempt)
        budgets = self._funds().budgets(attempt)
        if attempt.reserved == 0:  # what costs nothing does not wait to be told that there is enough
            self._database.put(lambda connection: ledger.reserve(connection, attempt))
            return self._settle
        self._apart.bring_back()
        try:
            self._apart.saw(await self._kept(lambda connection: ledger.reserve(connection, attempt, budgets)))
        except StoreError:  # the run goes on: the budget is this process's alone then
            self._apart.reserve(attempt, budgets)
        except asyncio.CancelledError:
            self._settle(attempt.settled(outcome="cancelled", cost=NOTHING))
            raise
        return self._apart.settle

    def _settle(self, attempt: Attempt) -> None:
        self._database.put(lambda connection: ledger.settle(connection, attempt))


class Charges:
    """What the providers' containers cost, beside the tokens: each by how long it has been in use."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], float] = {}  # when a container was first used, by provider and its id
        self._counted: dict[tuple[str, str], float] = {}  # seconds that are paid for

    def of(self, run: Run, started: float) -> Charge | None:
        """What the attempt that began at `started` adds; None where nobody charges for containers."""
        if run.offer.container_price is None or run.container_id is None:
            return None
        place, now = (run.offer.provider, run.container_id), time.monotonic()
        used = now - self._first.setdefault(place, started)
        before, self._counted[place] = self._counted.get(place, 0.0), used
        if run.execution.container is None:  # it is not used again
            del self._first[place], self._counted[place]
        return container_cost(run.offer.container_price, used, memory=run.offer.memory, before=before)


class Served:
    """Middleware around those that serve again what was paid for: the ledger keeps what that avoided."""

    def __init__(
        self,
        database: Database,
        origin: Callable[[], Origin] = Origin,
        told: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._origin = origin
        self._told = told

    async def __call__(self, run: Run, handler: Handler) -> Result:
        result = await handler(run)
        if result.source in ("cache", "shared"):
            origin = changed(self._origin(), labels=run.labels)
            attempt = Attempt.begun(ids.new("att"), run.id, result.provider, result.model, origin=origin)
            attempt = attempt.settled(outcome=result.outcome, seconds=result.timings.total, cost=result.cost)
            self._database.put(lambda connection: ledger.note_served(connection, attempt, result.source))
            self._told(attempt)
        return result


def _own(run: Run) -> Timings:
    """Of this attempt alone: those before it have waited, too."""
    queue, before = run.timings.queue, run.queue_noted
    if queue is None:
        return run.timings
    run.queue_noted = queue
    return changed(run.timings, queue=queue - before)


def _check_call(run: Run, attempt: Attempt) -> None:
    most, worst = run.max_cost, attempt.reserved
    if most is not None and worst is None:
        raise OverBudget(
            f"nobody knows what {run.offer} costs, and the call may cost ${most}: not sent",
            hint="leave --max-cost out, or ask a model that has a price",
        )
    if most is not None and worst is not None and run.spent + worst > most:
        before = f" after ${run.spent:.4f} for those before" if run.spent else ""
        raise OverBudget(
            f"this attempt may cost up to ${worst:.4f}{before}, and the call may cost ${most}: not sent",
            hint="allow more with --max-cost USD, or ask for less",
        )
