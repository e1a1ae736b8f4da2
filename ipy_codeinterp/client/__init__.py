"""Wing A: from an Execution to a Result, across the network. Knows gateways by their wire format only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.client.account import Account
from ipy_codeinterp.client.chain import Emit, Run, compose
from ipy_codeinterp.client.converse import Converse, Ids
from ipy_codeinterp.client.journal import Journal
from ipy_codeinterp.client.transport import Endpoint, Transport
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt

__all__ = ["Client", "Ids"]


class Client:
    """The chain, built once. One event loop's own: make it there, close it there. `ids` is shared by a session's."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Endpoint]],
        database: Database,
        settled: Callable[[Attempt], None],
        ids: Ids | None = None,
    ) -> None:
        self.transport = Transport(connect)
        self.ids = ids or Ids()
        middlewares = (Journal(database), Converse(self.transport, self.ids), Account(database, settled))
        self._handler = compose(middlewares, self.transport.send)

    async def execute(self, execution: Execution, offer: Offer, emit: Emit) -> Result:
        """Pass `execution` through the chain; its events go to `emit` while it runs."""
        return await self._handler(Run(execution, offer, emit))

    async def close(self) -> None:
        await self.transport.close()
