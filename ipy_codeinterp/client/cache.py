"""The cache's place in the chain: what was paid for once is served again, for 0, and says what that avoided.

Who may share an answer is one rule, here, for the cache and for whatever else serves one Result to several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ipy_codeinterp.changed import changed
from ipy_codeinterp.client.chain import Emit, Handler, Run
from ipy_codeinterp.execution import Cost, Result, Source, Text, TextDelta, Usage
from ipy_codeinterp.store.answers import Answers

MOST_KNOWN = 4096  # answers whose place in the journal is remembered

Address = tuple[str, str]  # the key of an execution, and the offer that does it


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whose answers may serve others: `mode` as in the settings, `days` how old one may be.

    `auto` shares what is billed: a run on this machine is free, and whoever runs it again wants it to run.
    """

    mode: str = "auto"
    days: float = 30.0

    def allows(self, run: Run) -> bool:
        """Whether this run may be given the answer of another: it starts from nothing but what its key names."""
        asked = run.execution
        is_known = all(file.sha256 for file in (*asked.files, *asked.inputs))
        if not (run.use_cache and asked.repeatable and asked.after is None and is_known):
            return False
        return self.mode == "always" or (self.mode == "auto" and run.offer.price is not None)


DEFAULT_SHARING = Sharing()


class Cache:
    """Middleware, one event loop's own. Answers from the journal where `sharing` allows."""

    def __init__(
        self, answers: Answers, sharing: Sharing, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._answers = answers
        self._sharing = sharing
        self._now = now
        self._known: dict[Address, str] = {}  # ids, the longest unused first: hits are in the journal too

    async def __call__(self, run: Run, handler: Handler) -> Result:
        if not self._sharing.allows(run):
            return await handler(run)
        found = self._find(run.key, str(run.offer))
        if found is None:
            return await handler(run)
        await tell(found, run.emit)
        return served(run, found, "cache")

    def close(self) -> None:
        self._answers.close()

    def _find(self, key: str, offer: str) -> Result | None:
        """Whoever was told a Result finds it: it was kept first."""
        since = self._now() - timedelta(days=self._sharing.days)
        found = self._answers.find(key, offer, since, self._known.pop((key, offer), None))
        if found:
            self._remember((key, offer), found.id)
        return found

    def _remember(self, address: Address, id: str) -> None:
        self._known[address] = id
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]


def served(run: Run, found: Result, source: Source) -> Result:
    """`found` as the Result of `run`: nothing was sent and nothing is billed for it, and it says what that avoided."""
    cost = Cost(Decimal(0), Decimal(0), price=found.cost.price, avoided=found.cost.billed)
    mine = run.result(found.outcome)
    return changed(
        found,
        id=mine.id,
        usage=Usage(0, 0),
        cost=cost,
        timings=mine.timings,
        attempts=mine.attempts,
        request_ids=mine.request_ids,
        source=source,
        warm=None,
    )


async def tell(result: Result, emit: Emit) -> None:
    """The events that show again what `result` holds."""
    for part in result.parts:
        for event in (TextDelta(part.text),) if isinstance(part, Text) else part.outputs:
            await emit(event)
