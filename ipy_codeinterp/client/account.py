"""The ledger's place in the chain: each attempt is noted before it is made, and settled whatever comes of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.errors import ProviderError
from ipy_codeinterp.execution import Cost, Outcome, Result, Usage
from ipy_codeinterp.store import ledger
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt


class Account:
    """Middleware. `settled` is called with each attempt that has ended."""

    def __init__(self, database: Database, settled: Callable[[Attempt], None]) -> None:
        self._database = database
        self._settled = settled

    async def __call__(self, run: Run, handler: Handler) -> Result:
        attempt = Attempt.begun(f"att_{secrets.token_hex(8)}", run.id, run.offer.provider, run.offer.model)
        self._database.write(lambda connection: ledger.reserve(connection, attempt))
        run.attempts += 1
        told_before = len(run.request_ids)
        started = time.monotonic()
        outcome: Outcome | None = None  # no reply
        usage, cost = Usage(), Cost()
        try:
            result = await handler(run)
            outcome, usage = result.outcome, result.usage
            cost = run.offer.cost(usage)
            return replace(result, cost=cost)
        except asyncio.CancelledError:
            outcome, cost = "cancelled", run.offer.cost(Usage())
            raise
        except Exception as error:
            cost = run.offer.cost(Usage())
            if isinstance(error, ProviderError):
                error.provider = run.offer.provider
                run.request_ids += (error.request_id,) if error.request_id else ()
            raise
        finally:
            request_id = next(iter(run.request_ids[told_before:]), None)
            self._settle(
                attempt.settled(
                    outcome=outcome, seconds=time.monotonic() - started, usage=usage, cost=cost, request_id=request_id
                )
            )

    def _settle(self, attempt: Attempt) -> None:
        self._database.write(lambda connection: ledger.settle(connection, attempt))
        self._settled(attempt)
