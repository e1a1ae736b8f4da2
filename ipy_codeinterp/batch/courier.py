"""Gives executions that may wait to their vendors' own batches, and brings home what came of them.

Several that wait go together. What is sent is noted before and after, so that nothing is sent twice whenever a process
ends: where nobody noted that the vendor got it, the vendor's list says so, and until it does nothing is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from ipy_codeinterp import ids
from ipy_codeinterp.batch.trickle import Store, is_for_later
from ipy_codeinterp.dialects.messages.batches import MOST_BYTES, MOST_REQUESTS, Ended, Standing
from ipy_codeinterp.errors import BadReply, InterpError, ProviderError, Rejected, StoreError
from ipy_codeinterp.execution import Cost
from ipy_codeinterp.store import sendings
from ipy_codeinterp.store.batches import MAY_HAVE_RUN, Batch, State
from ipy_codeinterp.store.ledger import Attempt, Budgets
from ipy_codeinterp.store.sendings import End, Letter, Sending

T = TypeVar("T")
SKEW = timedelta(hours=1)  # that a vendor's clock may be off
REFUSED = (529,)  # of 500 and more: those after which nothing was taken
GONE = (404, 410)
AGAIN = 0.01  # seconds: what ended may have left something to send


class Post(Protocol):
    """The way to vendors. Whatever goes wrong is an `InterpError`."""

    async def letter(self, batch: Batch, run_id: str) -> Letter: ...

    async def submit(self, provider: str, requests: Iterable[bytes]) -> Standing: ...

    async def look(self, provider: str, id: str) -> Standing: ...

    async def since(self, provider: str, moment: datetime) -> list[Standing]:
        """Those that were made at `moment` or later, and those that do not say when."""

    def ended(self, provider: str, id: str) -> AsyncGenerator[Ended]:
        """What came of each of its requests, in any order."""

    async def cancel(self, provider: str, id: str) -> None: ...

    async def result(self, batch: Batch, ended: Ended, *, may_go_on: bool) -> End:
        """What a message means; with `may_go_on` one that was paused is continued, if the budgets allow."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: how long the youngest waits for others to go with, and the oldest at most; how often a vendor is asked.

    It is asked after an eighth of the time that it has had, within `first` and `most`. What it has not in its list
    `arrives` seconds after it was sent never arrived. What could not be sent rests for `rest`.
    """

    gather: float = 2.0
    gather_most: float = 30.0
    first: float = 5.0
    most: float = 300.0
    arrives: float = 600.0
    rest: float = 60.0

    def pause(self, age: float) -> float:
        return min(max(age / 8, self.first), self.most)


DEFAULT_TIMES = Times()


class Courier:
    """`run()` sends what waits and looks after what is away, until nothing is left here. One event loop's own.

    `is_known` says whether an offer can be asked here, `is_here` whether a provider can; `budgets` is what an attempt
    counts against, and `settled` is told each that has ended.
    """

    def __init__(
        self,
        store: Store,
        post: Callable[[], Post],
        owner: str,
        *,
        is_known: Callable[[str], bool] = lambda _: True,
        is_here: Callable[[str], bool] = lambda _: True,
        budgets: Callable[[Attempt], Budgets] = lambda _: {},
        settled: Callable[[Attempt], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        times: Times = DEFAULT_TIMES,
    ) -> None:
        self._store = store
        self._new_post = post
        self._made: Post | None = None
        self._owner = owner
        self._is_known = is_known
        self._is_here = is_here
        self._budgets = budgets
        self._settled = settled
        self._now = now
        self._times = times
        self._due: dict[str, datetime] = {}  # when each sending is looked at again
        self._cancelled: set[str] = set()  # of which the vendor knows that nobody wants them
        self._woken = asyncio.Event()
        self.is_stopping = False  # what waits is sent; what is away stays there

    async def run(self) -> None:
        """Raises `StoreError` where the store cannot be read or written."""
        try:
            while (pause := await self._pass()) is not None and not self.is_stopping:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
        finally:
            with contextlib.suppress(StoreError):
                await self._kept(lambda connection: sendings.release(connection, self._owner))

    def wake(self) -> None:
        """There may be something new to send, or to cancel."""
        self._woken.set()

    async def _pass(self) -> float | None:
        """Do what is due; seconds until the next is, None where nothing is left."""
        self._woken.clear()
        pauses = [await self._send()]
        if not self.is_stopping:
            claimed = await self._kept(partial(sendings.claim, owner=self._owner, is_able=self._is_here))
            pauses += [await self._look(sending) for sending in claimed]
        return min((pause for pause in pauses if pause is not None), default=None)

    # --- what waits ---

    async def _send(self) -> float | None:
        """Send what is due; seconds until the next is."""
        waiting = [each for each in await self._kept(sendings.waiting) if self._is_known(each.offer)]
        due = [each for each in waiting if each.not_before <= self._now()]
        later = min((self._until(each.not_before) for each in waiting if each not in due), default=None)
        if not due:
            return later
        if (pause := self._gathering(due)) > 0:
            return pause
        for provider in sorted({_provider(each) for each in due}):
            await self._send_to(provider, [each for each in due if _provider(each) == provider])
        return self._times.first  # there is something away now, or it rests

    def _gathering(self, due: Sequence[Batch]) -> float:
        """Seconds that those that are due wait for others."""
        if self.is_stopping or len(due) >= MOST_REQUESTS:
            return 0.0
        ages = [(self._now() - each.created_at).total_seconds() for each in due]
        return min(self._times.gather - min(ages), self._times.gather_most - max(ages))

    async def _send_to(self, provider: str, batches: Sequence[Batch]) -> None:
        letters: list[Letter] = []
        size = 0
        for batch in batches:
            letter = await self._letter(batch)
            if letter is None:
                continue
            if letters and (len(letters) == MOST_REQUESTS or size + len(letter.request) > MOST_BYTES):
                await self._submit(provider, letters)
                letters, size = [], 0
            letters.append(letter)
            size += len(letter.request)
        if letters:
            await self._submit(provider, letters)

    async def _letter(self, batch: Batch) -> Letter | None:
        """None for what cannot be sent: it rests, or will never be."""
        try:
            return await self._post.letter(batch, ids.new("run"))
        except InterpError as error:
            said, until = _said(error), self._after(self._rest(error))
            if is_for_later(error):
                await self._kept(lambda connection: sendings.put_off(connection, batch, said, until))
            else:
                await self._kept(lambda connection: sendings.refuse(connection, batch, said))
        return None

    async def _submit(self, provider: str, letters: Sequence[Letter]) -> None:
        """Note them, send them, and note what the vendor calls that."""
        sending = Sending(f"snd_{secrets.token_hex(6)}", provider, self._now(), len(letters))
        attempts = [(each.batch, each.attempt, self._budgets(each.attempt)) for each in letters]
        until = self._after(self._times.rest)
        begin = partial(sendings.begin, sending=sending, owner=self._owner, attempts=attempts, not_before=until)
        taken = {batch.id for batch in await self._kept(begin)}
        if not taken:
            return
        try:
            standing = await self._post.submit(provider, [e.request for e in letters if e.batch.id in taken])
        except InterpError as error:
            await self._not_sent(sending, error)
            return
        await self._kept(lambda connection: sendings.arrived(connection, sending.id, standing.id))

    async def _not_sent(self, sending: Sending, error: InterpError) -> None:
        """Where it may have arrived the vendor's list will say; else they wait, or have failed."""
        said, until = _said(error), self._after(self._rest(error))
        if _may_have_arrived(error):
            await self._kept(lambda connection: sendings.note(connection, sending.id, said))
            return
        state: State = "waiting" if is_for_later(error) else "failed"
        await self._kept(lambda connection: sendings.never_arrived(connection, sending.id, said, until, state))

    # --- what is away ---

    async def _look(self, sending: Sending) -> float:
        """Whether anything came of it; seconds until there is something to do again."""
        is_news = sending.is_cancelled and sending.id not in self._cancelled
        due = self._due.get(sending.id, sending.began_at + timedelta(seconds=self._times.first))
        if (left := self._until(due)) > 0 and not is_news:
            return left
        try:
            if await self._has_ended(sending):
                return AGAIN
        except Rejected as error:
            if error.status in GONE:
                await self._closed(sending, f"the vendor has it no longer: {error}")
                return AGAIN
            await self._noted(sending, error)
        except InterpError as error:
            if isinstance(error, StoreError):
                raise
            await self._noted(sending, error)
        age = (self._now() - sending.began_at).total_seconds()
        self._due[sending.id] = self._after(self._times.pause(age))
        return self._times.pause(age)

    async def _has_ended(self, sending: Sending) -> bool:
        id = sending.vendor_id or await self._found(sending)
        if id is None:
            age = (self._now() - sending.began_at).total_seconds()
            return age > self._times.arrives and await self._is_lost(sending)
        standing = await self._post.look(sending.provider, id)
        if standing.has_ended:
            await self._collect(sending, id)
            return True
        if sending.is_cancelled and sending.id not in self._cancelled:
            await self._post.cancel(sending.provider, id)
            self._cancelled.add(sending.id)
        return False

    async def _found(self, sending: Sending) -> str | None:
        """What the vendor calls one of which nobody noted that it arrived; None where that is not known (yet)."""
        ours = {batch.id for batch in await self._kept(lambda connection: sendings.members(connection, sending.id))}
        for standing in await self._candidates(sending):
            if standing.has_ended and await self._is_of(sending.provider, standing.id, ours):
                await self._kept(partial(sendings.arrived, id=sending.id, vendor_id=standing.id))
                return standing.id
        return None

    async def _is_lost(self, sending: Sending) -> bool:
        """Whether nothing that the vendor has can be it: then it never arrived, and is sent anew."""
        ours = {batch.id for batch in await self._kept(lambda connection: sendings.members(connection, sending.id))}
        for standing in await self._candidates(sending):
            if not standing.has_ended or await self._is_of(sending.provider, standing.id, ours):
                return False  # one that has not ended does not say what is in it
        said, now = "the vendor never got it", self._now()
        await self._kept(lambda connection: sendings.never_arrived(connection, sending.id, said, now, "waiting"))
        return True

    async def _candidates(self, sending: Sending) -> list[Standing]:
        """Those of the vendor's that may be `sending`: of that time and size, and not known as another."""
        known = await self._kept(lambda connection: sendings.vendor_ids(connection, sending.provider))
        last = sending.began_at + SKEW + timedelta(seconds=self._times.arrives)
        listed = await self._post.since(sending.provider, sending.began_at - SKEW)
        return [
            each
            for each in listed
            if each.id not in known
            and each.count in (None, sending.count)
            and (each.created_at is None or each.created_at <= last)
        ]

    async def _is_of(self, provider: str, id: str, ours: set[str]) -> bool:
        """Whether a batch that has ended holds any of ours: all of its requests were sent together."""
        async with contextlib.aclosing(self._post.ended(provider, id)) as found:
            async for each in found:
                return each.custom_id in ours
        return False

    # --- what has ended ---

    async def _collect(self, sending: Sending, id: str) -> None:
        members = await self._kept(lambda connection: sendings.members(connection, sending.id))
        left: Mapping[str, Batch] = {batch.id: batch for batch in members}
        async with contextlib.aclosing(self._post.ended(sending.provider, id)) as found:
            async for each in found:
                if each.custom_id in left:
                    await self._land(left[each.custom_id], each)
        await self._closed(sending, "the vendor's results do not hold it")

    async def _land(self, batch: Batch, ended: Ended) -> None:
        end = await self._end(batch, ended)
        attempt = await self._kept(lambda connection: sendings.land(connection, batch, end))
        if attempt is not None:
            self._settled(attempt)

    async def _end(self, batch: Batch, ended: Ended) -> End:
        if ended.end == "canceled":
            return End("cancelled", "cancelled at the vendor")
        if ended.end == "expired":
            return End("expired", "the vendor did not come to it within its day: not billed")
        if ended.error is not None:
            cost = Cost() if ended.error.may_have_run else sendings.NOTHING
            return End("failed", _said(ended.error), cost=cost)
        gone_on = await self._kept(lambda connection: sendings.has_gone_on(connection, batch.run_id or ""))
        try:
            return await self._post.result(batch, ended, may_go_on=not gone_on)
        except InterpError as error:
            return End("failed", f"{_said(error)}; {MAY_HAVE_RUN}", cost=Cost())

    async def _closed(self, sending: Sending, why: str) -> None:
        await self._kept(lambda connection: sendings.close(connection, sending.id, why))
        self._due.pop(sending.id, None)

    async def _noted(self, sending: Sending, error: InterpError) -> None:
        await self._kept(lambda connection: sendings.note(connection, sending.id, _said(error)))

    # --- inside ---

    @property
    def _post(self) -> Post:
        """Made when it is first needed: where nothing is to be sent nothing is opened."""
        self._made = self._made or self._new_post()
        return self._made

    async def _kept(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._store.run(work))

    def _until(self, moment: datetime) -> float:
        return (moment - self._now()).total_seconds()

    def _after(self, seconds: float) -> datetime:
        return self._now() + timedelta(seconds=seconds)

    def _rest(self, error: InterpError) -> float:
        asked = error.retry_after if isinstance(error, ProviderError) else None
        return max(self._times.rest, min(asked or 0.0, 3600.0))


def _may_have_arrived(error: InterpError) -> bool:
    """Whether the vendor may have made a batch of it, although it did not say so."""
    if not isinstance(error, ProviderError):
        return False
    status = error.status or 0
    return error.may_have_run or isinstance(error, BadReply) or (status >= 500 and status not in REFUSED)


def _provider(batch: Batch) -> str:
    return batch.offer.partition("@")[2]


def _said(error: InterpError) -> str:
    return f"{type(error).__name__}: {error}"
