"""A vendor's own batches over HTTP: made, looked at, fetched, and what came of each made a Result.

They cost half, so everything here is reckoned at the offer's `batch_price`.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp

from ipy_codeinterp.catalog import Offer, container_cost
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.converse import Ids
from ipy_codeinterp.client.figures import with_figures
from ipy_codeinterp.client.http import content, parsed
from ipy_codeinterp.client.transport import MOST_REPLY, Transport, result_of
from ipy_codeinterp.dialects.dialect import Ask, Reply
from ipy_codeinterp.dialects.messages import batches as wire
from ipy_codeinterp.dialects.messages.batches import Ended, Standing
from ipy_codeinterp.errors import BadReply, InterpError, NotAllowed
from ipy_codeinterp.execution import Cost, Event, File, Result, Timings
from ipy_codeinterp.store.batches import Batch
from ipy_codeinterp.store.ledger import Attempt, Origin
from ipy_codeinterp.store.sendings import End, Letter, attempt_id

MOST_STANDING = 1 << 20  # bytes
MOST_LIST = 16 << 20
MOST_PAGES = 100  # of a list
GoOn = Callable[[Run, Result, Reply], Awaitable[Result]]


class VendorBatches:
    """One event loop's own. `offer_of` finds an offer by name; `go_on` asks for the rounds after a first one."""

    def __init__(
        self,
        transport: Transport,
        ids: Ids,
        go_on: GoOn,
        offer_of: Callable[[str], Offer],
        origin: Callable[[], Origin] = Origin,
    ) -> None:
        self._transport = transport
        self._ids = ids
        self._go_on = go_on
        self._offer_of = offer_of
        self._origin = origin

    # --- sent ---

    async def letter(self, batch: Batch, run_id: str) -> Letter:
        """`batch` as the request of a vendor's batch; its files are at the vendor then.

        Raises `NotAllowed` for what may cost more than it may.
        """
        run = self._run(batch, run_id)
        reserved = run.offer.at_most(run.worst_case)
        if run.max_cost is not None and (reserved is None or reserved > run.max_cost):
            raise NotAllowed(
                f"it may cost up to ${reserved or 'more'}, and may cost ${run.max_cost}: not sent",
                hint="allow more with --max-cost USD, or ask for less",
            )
        run.files = await self._uploaded(run)
        origin = replace(self._origin(), labels=run.labels, notebook=batch.notebook)
        offer = run.offer
        attempt = Attempt.begun(
            attempt_id(run_id), run_id, offer.provider, offer.model, origin=origin, reserved=reserved
        )
        return Letter(batch, attempt, wire.request_of(batch.id, _ask(run)))

    async def submit(self, provider: str, requests: Iterable[bytes]) -> Standing:
        """Make a batch of what `letter` wrote."""
        body = io.BytesIO(wire.body_of(requests))
        return wire.standing_of(await self._json(provider, "POST", wire.PATH, MOST_STANDING, data=body))

    async def cancel(self, provider: str, id: str) -> None:
        await self._json(provider, "POST", wire.cancel_path(id), MOST_STANDING)

    # --- heard ---

    async def look(self, provider: str, id: str) -> Standing:
        return wire.standing_of(await self._json(provider, "GET", wire.path(id), MOST_STANDING))

    async def since(self, provider: str, moment: datetime) -> list[Standing]:
        """Those that were made at `moment` or later, and those that do not say when."""
        found: list[Standing] = []
        after: str | None = None
        for _ in range(MOST_PAGES):
            page = wire.page_of(await self._json(provider, "GET", wire.list_path(after), MOST_LIST))
            found += (each for each in page.standings if each.created_at is None or each.created_at >= moment)
            after = page.after
            if after is None or any(each.created_at and each.created_at < moment for each in page.standings):
                return found
        raise BadReply(f"the list of batches has more than {MOST_PAGES} pages")

    async def ended(self, provider: str, id: str) -> AsyncGenerator[Ended]:
        """What came of each request, one after the other; a line that cannot be read is left out."""
        endpoint = await self._transport.endpoint(provider)
        async with self._transport.http.request(endpoint, "GET", wire.results_path(id)) as response:
            async for line in _lines(response):
                try:
                    found = wire.ended_of(parsed(line, "a line of the results"))
                except BadReply:
                    continue
                yield found

    async def result(self, batch: Batch, ended: Ended, *, may_go_on: bool) -> End:
        """What a message means; with `may_go_on` one that was paused is continued, if the budgets allow."""
        run = self._run(batch, batch.run_id or "")
        reply = wire.reply_of(_ask(run), ended.message)
        run.attempts, run.container_id = 1, reply.container
        result = result_of(run, reply)
        cost = _cost(self._offer_of(batch.offer), reply)
        timings = Timings(execution=reply.execution_seconds)  # how long it waited there is not how long it took
        result = replace(result, cost=cost, timings=timings)
        whole, said = await self._whole(batch, run, result, reply, may_go_on=may_go_on)
        return End("done", said, whole, cost, reply.usage)

    async def _whole(
        self, batch: Batch, run: Run, result: Result, reply: Reply, *, may_go_on: bool
    ) -> tuple[Result, str | None]:
        """With its figures, and with the rounds after a pause; and what is to be said where there are none."""
        said = None
        if reply.stop == "paused":
            said = "it was paused by the vendor, and is kept as it was then"
            if may_go_on:
                try:
                    return await self._continued(batch, run, result, reply), None
                except InterpError as error:
                    said += f": {error}"
        return await with_figures(self._transport, run, result), said

    async def _continued(self, batch: Batch, run: Run, result: Result, reply: Reply) -> Result:
        """The rest costs what an ordinary call does."""
        offer, spent = self._offer_of(batch.offer), result.cost.billed
        rest = replace(run, offer=offer)
        rest.spent = run.offer.at_most(run.worst_case) or Decimal(0) if spent is None else spent
        whole = await self._go_on(rest, result, reply)
        return replace(whole, timings=replace(whole.timings, total=None))

    # --- inside ---

    def _run(self, batch: Batch, run_id: str) -> Run:
        """At the price of a batch. Raises `NotAllowed` where there is none any more."""
        offer, terms = self._offer_of(batch.offer), batch.terms
        if offer.batch_price is None:
            raise NotAllowed(f"{offer} has no price for batches", hint="set batches = own, and put it aside again")
        at_batch_price = replace(offer, price=offer.batch_price)
        run = Run(batch.execution, at_batch_price, _ignore, id=run_id, labels=terms.labels)
        run.max_cost = None if terms.max_cost is None else terms.max_cost - batch.spent
        run.policy, run.critical = terms.policy, terms.critical
        return run

    async def _uploaded(self, run: Run) -> tuple[File, ...]:
        """The files with the vendor's ids. Raises `BadAttachment` for one that has changed since."""
        found, known = [], self._ids.of(run.offer.provider).uploads
        for file in run.execution.files:
            name = (file.name, file.sha256 or "")
            if name not in known:
                known[name] = await self._transport.upload(file, run.offer.provider)
            found.append(replace(file, id=known[name]))
        return tuple(found)

    async def _json(self, provider: str, method: str, path: str, most: int, **what: Any) -> Any:
        endpoint = await self._transport.endpoint(provider)
        async with self._transport.http.request(endpoint, method, path, **what) as response:
            return parsed(await content(response, most), "what a vendor says of its batches")


def _ask(run: Run) -> Ask:
    return Ask(
        run.execution,
        run.offer.request_model,
        run.most_tokens,
        files=run.files,
        tool=run.offer.tool,
        memory=run.offer.memory,
    )


def _cost(offer: Offer, reply: Reply) -> Cost:
    """At the price of a batch, and what it would have been without; nobody says how long its container was used."""
    charge = None
    if reply.container is not None and offer.container_price is not None:
        charge = container_cost(offer.container_price, offer.timeout, memory=offer.memory)
    return replace(offer.cost(reply.usage, charge, batch=True), listed=offer.cost(reply.usage, charge).listed)


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Raises `BadReply` for a line that is too long, or that is cut."""
    pieces: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line = b"".join((*pieces, end))
            pieces, size = [], 0
            if line.strip():
                yield line
        pieces.append(rest)
        size += len(rest)
        if size > MOST_REPLY:
            raise BadReply(f"a result is larger than {MOST_REPLY >> 20} MB")
    if (line := b"".join(pieces)).strip():
        parsed(line, "the last of the results")
        yield line


async def _ignore(_: Event) -> None:
    pass
