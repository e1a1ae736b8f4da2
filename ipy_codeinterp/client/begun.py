"""A conversation whose first round is over before it comes here: the next ones are asked for as always."""

from __future__ import annotations

from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.dialects.dialect import Reply
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Result


class Begun:
    """Middleware below the conversation: its first round is `result`, with the `reply` that it was made of."""

    def __init__(self, result: Result, reply: Reply) -> None:
        self._first: Result | None = result
        self._reply = reply

    async def __call__(self, run: Run, handler: Handler) -> Result:
        """Raises `InvalidInput` where it would be begun anew: that was paid for already."""
        if self._first is None:
            if not run.rounds:
                raise InvalidInput("what it began with is gone at the provider")
            return await handler(run)
        first, self._first = self._first, None
        run.reply, run.container_id = self._reply, self._reply.container
        return first
