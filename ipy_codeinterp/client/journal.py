"""The journal's place in the chain: whatever came of a run is kept before anybody is told."""

from __future__ import annotations

import asyncio

from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.kept import Kept
from ipy_codeinterp.errors import InterpError, StoreError
from ipy_codeinterp.execution import Notice, Partial, Result
from ipy_codeinterp.store import journal
from ipy_codeinterp.store.database import Database


class Journal:
    """Middleware. A store that cannot be written costs a notice, once, and never the result."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = Kept(database)
        self._told: str | None = None

    async def __call__(self, run: Run, handler: Handler) -> Result:
        try:
            result = await handler(run)
        except asyncio.CancelledError:
            await self._keep_part(run, run.partial("cancelled"))
            raise
        except InterpError:
            await self._keep_part(run, run.partial("unknown"))
            raise
        await self._keep(run, result)
        return result

    async def _keep_part(self, run: Run, part: Result) -> None:
        """The same of what was cut short; whoever waits is told what there is of it, if anything was asked."""
        await self._keep(run, part)
        if run.attempts:
            await run.emit(Partial(part, run.most_spent))

    async def _keep(self, run: Run, result: Result) -> None:
        if self._database.notice:
            notice, self._database.notice = self._database.notice, ""
            await run.emit(Notice(notice))
        try:
            await self._kept(lambda connection: journal.insert(connection, run.execution, result, run.key))
            self._told = None
        except StoreError as error:
            if str(error) != self._told:
                self._told = str(error)
                await run.emit(Notice(f"{error}. {error.hint}"))
