"""The limiter's place in the chain: a run waits here until its provider's limits let it through.

It waits in the order of arrival, within this process and, through the row that all processes share, between them. Only
the first in the queue has a timer; it is given its time and its place among the concurrent requests together, so that
it holds neither while it waits for the other. Where the row cannot be reached, the limits hold for this process alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ipy_codeinterp.catalog import Limits
from ipy_codeinterp.changed import changed
from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.client.rates import stated
from ipy_codeinterp.client.waiting import Queue, Store, too_late
from ipy_codeinterp.errors import InterpError, ProviderError, TooLarge
from ipy_codeinterp.execution import Notice, Phase, Result, Usage
from ipy_codeinterp.store import limits
from ipy_codeinterp.store.limits import Grant, Spent

TOO_MANY_REQUESTS = 429
MOST_LATE = 3  # how often a grant that was taken up too late is given back


@dataclass(frozen=True, slots=True)
class Standing:
    """How many runs of an offer wait for leave, and how many are under way."""

    waiting: int = 0
    running: int = 0

    def __add__(self, other: Standing) -> Standing:
        return Standing(self.waiting + other.waiting, self.running + other.running)


WAITING, RUNNING = 0, 1  # places in the counts of an offer


class Limit:
    """Middleware. One event loop's own, as the client is.

    `account` says whose limits a run counts against (the provider's name unless told otherwise), `clock` counts
    seconds and is the same for all processes of this machine. `concurrency` is asked each time, and only lowers what
    an offer says.
    """

    def __init__(
        self,
        database: Store,
        *,
        account: Callable[[Run], str] = lambda run: run.offer.provider,
        clock: Callable[[], float] = limits.clock,
        concurrency: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._database = database
        self._account = account
        self._clock = clock
        self._concurrency = concurrency
        self._counts: dict[str, list[int]] = {}  # who waits and who runs, by offer, of those of whom any is here
        self._queues: dict[tuple[str, str], Queue] = {}
        self._told = False

    async def __call__(self, run: Run, handler: Handler) -> Result:
        bounds, tokens = self._bounds(run), _total(Usage(), run.worst_case)
        if bounds.concurrency is bounds.requests is bounds.tokens is None:
            with _Counted(self._counts, str(run.offer), RUNNING):
                return await handler(run)
        _check_possible(run, tokens)
        queue = self._queue(run)
        with _Counted(self._counts, str(run.offer), WAITING):
            grant = await self._waited(run, queue, bounds, tokens)
        spent, closed_for, decoder, run.rate_headers = Spent(), 0.0, run.decoder, {}
        try:
            await self._tell(run, queue)
            spent = Spent(1, tokens)  # the worst, until somebody says
            with _Counted(self._counts, str(run.offer), RUNNING):
                result = await handler(run)
            spent = Spent(1, _total(result.usage, run.worst_case))
            return result
        except InterpError as error:
            if run.decoder is decoder:
                spent = _spent(error, spent, replied=bool(run.rate_headers))
            closed_for = _closed_for(error)
            raise
        finally:
            queue.settle(bounds, grant, spent, stated(run.rate_headers, closed_for))

    @property
    def standings(self) -> dict[str, Standing]:
        """By offer, of those of whom any is here; any thread may look."""
        return {offer: Standing(*counts) for offer, counts in list(self._counts.items())}

    async def close(self) -> None:
        """Leave every line; what is still under way settles itself."""
        for queue in self._queues.values():
            await queue.close()

    def _queue(self, run: Run) -> Queue:
        key = (self._account(run), run.offer.model)
        if key not in self._queues:
            self._queues[key] = Queue(self._database, *key, self._clock)
        return self._queues[key]

    def _bounds(self, run: Run) -> Limits:
        """What the offer allows, with at most `concurrency` at once."""
        most, bounds = self._concurrency(), run.offer.limits
        if most is None or (bounds.concurrency is not None and bounds.concurrency <= most):
            return bounds
        return changed(bounds, concurrency=most)

    async def _waited(self, run: Run, queue: Queue, bounds: Limits, tokens: int) -> Grant:
        """Leave to go. Raises `DeadlineExceeded` as soon as it is known that it would come too late."""
        await run.emit(Phase("queued"))
        began = self._clock()
        try:
            async with asyncio.timeout(run.left):
                return await self._punctual(run, queue, bounds, tokens)
        except TimeoutError:
            raise too_late() from None
        finally:
            waited = (run.timings.queue or 0.0) + self._clock() - began
            run.timings = changed(run.timings, queue=waited)

    async def _punctual(self, run: Run, queue: Queue, bounds: Limits, tokens: int) -> Grant:
        """A grant that is taken up when it was meant to be: a loop that was held up gives the first ones back."""
        grant = await queue.acquire(bounds, tokens, run.left)
        for _ in range(MOST_LATE):
            if self._clock() - grant.at <= bounds.window / limits.SLOTS:
                break
            queue.settle(bounds, grant, Spent())
            grant = await queue.acquire(bounds, tokens, run.left, first=True)
        return grant

    async def _tell(self, run: Run, queue: Queue) -> None:
        """Say it once when the limits are no longer shared."""
        told_before, self._told = self._told, queue.trouble is not None
        if queue.trouble and not told_before:
            await run.emit(Notice(f"rate limits hold for this process alone: {queue.trouble}. {queue.trouble.hint}"))


class _Counted:
    """One run more in `counts`, as long as the block lasts. A generator would cost each call several times as much."""

    __slots__ = ("_counts", "_offer", "_which")

    def __init__(self, counts: dict[str, list[int]], offer: str, which: int) -> None:
        self._counts, self._offer, self._which = counts, offer, which

    def __enter__(self) -> None:
        self._counts.setdefault(self._offer, [0, 0])[self._which] += 1

    def __exit__(self, *_: object) -> None:
        counts = self._counts[self._offer]
        counts[self._which] -= 1
        if counts == [0, 0]:
            del self._counts[self._offer]


def _check_possible(run: Run, tokens: int) -> None:
    """Raises `TooLarge` for what the limits never let through."""
    bounds = run.offer.limits
    if bounds.tokens is not None and tokens > bounds.tokens:
        raise TooLarge(
            f"it may take {tokens} tokens, and {run.offer} never lets through more than {bounds.tokens}"
            f" in {bounds.window:g} seconds; nothing was sent",
            hint="send less, or raise the limit if your account has a higher one",
            provider=run.offer.provider,
        )
    if any(most is not None and most < 1 for most in (bounds.requests, bounds.concurrency)):
        raise TooLarge(
            f"the limits of {run.offer} let nothing through; nothing was sent",
            hint="set a limit of at least 1, or use another offer",
            provider=run.offer.provider,
        )


def _total(usage: Usage, worst: Usage) -> int:
    """Tokens in and out; what is not known counts as its worst case."""
    parts = ((usage.input_tokens, worst.input_tokens), (usage.output_tokens, worst.output_tokens))
    return sum((known if known is not None else most) or 0 for known, most in parts)


def _spent(error: InterpError, worst: Spent, *, replied: bool) -> Spent:
    """What a failed attempt took: nothing where nothing was sent, only the request where it was refused."""
    if not isinstance(error, ProviderError):
        return Spent(1, 0) if replied else Spent()
    if error.may_have_run:
        return worst
    return Spent(1, 0) if replied or error.status is not None else Spent()


def _closed_for(error: InterpError) -> float:
    """For how many seconds the provider wants nothing more from this account."""
    if isinstance(error, ProviderError) and error.status == TOO_MANY_REQUESTS:
        return max(error.retry_after or 0.0, 0.0)
    return 0.0
