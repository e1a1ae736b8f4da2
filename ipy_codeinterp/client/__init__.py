"""Wing A: from an Execution to a Result, across the network. Knows gateways by their wire format only."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp import catalog
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.client.account import Account, Funds, Served
from ipy_codeinterp.client.apart import Apart
from ipy_codeinterp.client.begun import Begun
from ipy_codeinterp.client.cache import DEFAULT_SHARING, Cache, Sharing
from ipy_codeinterp.client.chain import Emit, Middleware, Run, compose, nobody
from ipy_codeinterp.client.coalesce import Coalesce
from ipy_codeinterp.client.converse import Converse, Ids
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.client.journal import Journal
from ipy_codeinterp.client.limit import Limit, Standing
from ipy_codeinterp.client.replay import Record, Recorder
from ipy_codeinterp.client.retry import DEFAULT_RETRY, Retry, RetryPolicy, in_time
from ipy_codeinterp.client.route import Route, Rules
from ipy_codeinterp.client.told import Told
from ipy_codeinterp.client.tracks import Tracks
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.dialects.dialect import Reply
from ipy_codeinterp.execution import Execution, File, Result
from ipy_codeinterp.store.answers import Answers
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Origin

__all__ = ["Client", "Ids", "Policies"]

NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Policies:
    """What a client goes by. What may change while it lives is asked each time."""

    retry: RetryPolicy = DEFAULT_RETRY
    sharing: Sharing = DEFAULT_SHARING
    rules: Callable[[], Rules] = Rules
    funds: Callable[[], Funds] = Funds
    origin: Callable[[], Origin] = Origin
    recorder: Recorder | None = None
    apart: Apart | None = None
    served: Callable[[Attempt], None] = lambda _: None
    concurrency: Callable[[], int | None] = lambda: None
    loader: Callable[[], File] | None = None  # what loads values of variables in interpreters that are not ours


DEFAULT = Policies()


class Client:
    """The chain, built once. One event loop's own: make it there, close it there. `ids` is shared by a session's."""

    def __init__(
        self,
        connect: Callable[[str], Awaitable[Endpoint]],
        database: Database,
        settled: Callable[[Attempt], None],
        ids: Ids | None = None,
        policies: Policies = DEFAULT,
    ) -> None:
        self.transport = Transport(connect)
        self.ids = ids or Ids()
        self._limit = Limit(database, concurrency=policies.concurrency)
        self._cache = Cache(Answers(database.path), policies.sharing)
        middlewares: tuple[Middleware, ...] = (
            *_of_a_recording(policies.recorder, self.transport),
            Journal(database),
            in_time,  # waiting for a turn, for another's flight or for an upload takes of the call's time, too
            Served(database, policies.origin, policies.served),
            self._cache,
            Coalesce(policies.sharing),
            Route(policies.rules, Tracks(database.path), chance=random.random),
        )
        self._converse = Converse(self.transport, self.ids, self._run_tool, policies.loader)
        self._round: tuple[Middleware, ...] = (
            Retry(policies.retry),
            self._limit,
            Account(database, settled, policies.origin, policies.funds, policies.apart),
        )
        middlewares = (*middlewares, self._converse, *self._round)
        self._handler = compose(middlewares, self.transport.send)

    async def execute(
        self,
        execution: Execution,
        offer: Offer,
        emit: Emit | None,
        *,
        deadline: float | None = None,
        max_cost: Decimal | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        use_cache: bool = True,
        policy: str | None = None,
        critical: bool = False,
        bound: bool = False,
        before: str = "",
        keep: bool = False,
        id: str | None = None,
    ) -> Result:
        """Pass `execution` through the chain; its events go to `emit`, if there is one, while it runs.

        `deadline` is the seconds that all of it may take, `max_cost` the USD that all its attempts may cost.
        A `bound` run is asked of no other offer. A task goes on from what is said `before`, and with `keep` the place
        where its code ran stays for one that goes on from it. `id` is the run's, and the Result's.
        """
        told = Told(emit) if emit else None
        run = Run(
            execution,
            offer,
            told or nobody,
            max_cost=max_cost,
            labels=labels,
            use_cache=use_cache,
            policy=policy,
            critical=critical,
            is_bound=bound,
            before=before,
            keeps=keep,
        )
        run.id = id or run.id
        run.deadline = None if deadline is None else run.started + deadline
        try:
            return await self._handler(run)
        finally:
            if told:
                await told.close()

    async def go_on(self, run: Run, result: Result, reply: Reply) -> Result:
        """The rounds after a first one, of which `result` came by another way."""
        handler = compose((self._converse, Begun(result, reply), *self._round), self.transport.send)
        return await handler(run)

    async def _run_tool(self, execution: Execution, run: Run) -> Result:
        """Code that a model asks us to run: a passage of its own, on this machine, told to whoever waits for `run`."""
        passage = Run(
            execution, catalog.find(catalog.LOCAL), run.emit, labels=run.labels, use_cache=False, is_bound=True
        )
        passage.deadline = run.deadline
        return await self._handler(passage)

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How many wait and how many are under way, by offer."""
        return self._limit.standings

    async def close(self) -> None:
        self._cache.close()
        await self._limit.close()
        await self.transport.close()


def _of_a_recording(recorder: Recorder | None, transport: Transport) -> tuple[Middleware, ...]:
    return (Record(recorder, transport.download),) if recorder else ()
