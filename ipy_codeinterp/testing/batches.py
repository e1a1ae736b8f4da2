"""Anthropic's Message Batches on loopback: what was sent is there, and only what ended well is billed.

No code is run: what it prints is the code itself. A request may be lost on its way here, or its answer on the way back.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Self

from aiohttp import web

from ipy_codeinterp.catalog import Offer, Price
from ipy_codeinterp.catalog.prices import Rates
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.dialects import messages, prompt
from ipy_codeinterp.execution import Stream, Usage
from ipy_codeinterp.testing.loopback import Loopback
from ipy_codeinterp.testing.provider import Billed

TOKEN = "scripted"
USAGE = Usage(1000, 100)
DAY = timedelta(days=1)
PRICE = Price(Decimal(3), Decimal(15), "the script", date(2026, 1, 1), batch=Rates(Decimal("1.5"), Decimal("7.5")))
Loss = Literal["", "request", "answer"]
Outcome = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


# --- what comes of a request ----------------------------------------------------------------------


def succeeded(custom_id: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The code ran, and printed itself."""
    return {"type": "succeeded", "message": _message(custom_id, params)}


def paused(custom_id: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """It ran, and the model would go on."""
    return {"type": "succeeded", "message": _message(custom_id, params) | {"stop_reason": "pause_turn"}}


def errored(custom_id: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "errored", "error": messages.encode_error("invalid_request_error", "says the script", "req_1")}


def expired(custom_id: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "expired"}


def offer(name: str = "claude", provider: str = "scripted") -> Offer:
    """A model that has a price for batches: half the other one."""
    return Offer(name, provider, 180.0, 1 << 30, price=PRICE, batch_price=PRICE.batched)


# --- the vendor -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Made:
    """A batch: its requests by custom id, and what came of them once it has ended."""

    id: str
    created_at: datetime
    requests: Mapping[str, Mapping[str, Any]] = field(repr=False)
    results: list[Mapping[str, Any]] = field(default_factory=list)
    has_ended: bool = False
    is_cancelled: bool = False
    looks: int = 0


class ScriptedBatches:
    """Serves on a thread of its own while it is entered.

    Each request ends as `outcome` says, when its batch was looked at `looks` times, and results come in the opposite
    order. Of the first batches that are asked for, `losses` are lost. `made` are the batches, `bill` what was billed,
    and `asked` the bodies of ordinary requests. With `results_at` it says that its results are there.
    """

    name = "scripted"

    def __init__(self, outcome: Outcome = succeeded, *, looks: int = 1, losses: Iterable[Loss] = ()) -> None:
        self.made: dict[str, Made] = {}
        self.bill: list[Billed] = []
        self.asked: list[Mapping[str, Any]] = []
        self.looks = looks
        self.results_at = ""
        self.offers = {"claude": offer()}
        self._outcome = outcome
        self._losses = deque(losses)
        self._server = Loopback(self._app(), minds_leaving=False)  # what was sent is made, whoever hears of it

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def endpoint(self) -> Endpoint:
        return Endpoint(self.base_url, TOKEN, ours=False, provider=self.name)

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @property
    def billed(self) -> Decimal:
        """The sum of the bill, USD."""
        return sum((each.cost for each in self.bill), Decimal(0))

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=256 << 20)
        app.router.add_post("/v1/messages", self._answer)
        app.router.add_post("/v1/messages/batches", self._make)
        app.router.add_get("/v1/messages/batches", self._list)
        app.router.add_get("/v1/messages/batches/{id}", self._look)
        app.router.add_get("/v1/messages/batches/{id}/results", self._results)
        app.router.add_post("/v1/messages/batches/{id}/cancel", self._cancel)
        return app

    # --- what it does ---

    async def _make(self, request: web.Request) -> web.Response:
        loss = self._losses.popleft() if self._losses else ""
        if loss == "request":
            _hang_up(request)
            return web.Response()
        body = await request.json()
        requests = {each["custom_id"]: each["params"] for each in body["requests"]}
        made = Made(f"msgbatch_{len(self.made)}", datetime.now(UTC), requests)
        self.made[made.id] = made
        if loss == "answer":
            _hang_up(request)
        return web.json_response(self._described(made))

    async def _look(self, request: web.Request) -> web.Response:
        made = self.made.get(request.match_info["id"])
        if made is None:
            return _not_found()
        self._pass_time(made)
        return web.json_response(self._described(made))

    async def _list(self, request: web.Request) -> web.Response:
        for made in self.made.values():
            self._pass_time(made)
        newest, after = list(self.made.values())[::-1], request.query.get("after_id")
        start = next((number + 1 for number, each in enumerate(newest) if each.id == after), 0)
        size = min(int(request.query.get("limit", 20)), 2)  # pages are small here: a client must turn them
        page = newest[start : start + size]
        rows = {"data": [self._described(each) for each in page], "has_more": start + size < len(newest)}
        return web.json_response(rows | {"first_id": page and page[0].id, "last_id": page and page[-1].id})

    async def _results(self, request: web.Request) -> web.Response:
        made = self.made.get(request.match_info["id"])
        if made is None or not made.has_ended:
            return _not_found()
        lines = "".join(json.dumps(each) + "\n" for each in made.results)
        return web.Response(text=lines, content_type="application/x-jsonl")

    async def _cancel(self, request: web.Request) -> web.Response:
        made = self.made.get(request.match_info["id"])
        if made is None:
            return _not_found()
        made.is_cancelled = True
        return web.json_response(self._described(made))

    async def _answer(self, request: web.Request) -> web.Response:
        """An ordinary request, as one that continues what was paused: it is billed in full."""
        body = await request.json()
        self.asked.append(body)
        self._charge(request.headers.get(messages.ATTEMPT_HEADER, ""), PRICE)
        said = _message("rest", body) | {"content": [{"type": "text", "text": "and that is all"}]}
        return web.json_response(said)

    def _pass_time(self, made: Made) -> None:
        made.looks += 1
        if made.has_ended or (made.looks < self.looks and not made.is_cancelled):
            return
        made.has_ended = True
        for custom_id, params in list(made.requests.items())[::-1]:
            result = {"type": "canceled"} if made.is_cancelled else self._outcome(custom_id, params)
            made.results.append({"custom_id": custom_id, "result": result})
            if result["type"] == "succeeded" and PRICE.batched:
                self._charge(custom_id, PRICE.batched)

    def _charge(self, id: str, price: Price) -> None:
        self.bill.append(Billed(id, USAGE, price.of(USAGE) or Decimal(0)))

    def _described(self, made: Made) -> dict[str, Any]:
        kinds = ("succeeded", "errored", "canceled", "expired")
        counts = {kind: sum(each["result"]["type"] == kind for each in made.results) for kind in kinds}
        status = "ended" if made.has_ended else "canceling" if made.is_cancelled else "in_progress"
        address = self.results_at or f"{self.base_url}/v1/messages/batches/{made.id}/results"
        return {
            "id": made.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts | {"processing": len(made.requests) - sum(counts.values())},
            "created_at": made.created_at.isoformat(),
            "expires_at": (made.created_at + DAY).isoformat(),
            "ended_at": None,
            "results_url": address if made.has_ended else None,
        }


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _not_found() -> web.Response:
    return web.json_response(messages.encode_error("not_found_error", "no such batch", "req_1"), status=404)


def _message(custom_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    asked = messages.decode_request(params)
    blocks = prompt.blocks(asked.text)
    code = blocks[0].content if blocks else asked.text
    envelope = messages.Envelope(
        message_id=f"msg_{custom_id}",
        tool_use_id=f"srvtoolu_{custom_id}",
        asked=asked,
        code=code,
        container=f"container_{custom_id}",
        container_new=True,
        expires_at="2026-01-01T00:00:00Z",
        isolation="scripted",
        warm=True,
        language="python",
        extended=False,
    )
    said = messages.encode_reply(envelope, messages.Ran((Stream("stdout", code),), "ok", 0, limit=None, seconds=0.0))
    return said | {"usage": {"input_tokens": USAGE.input_tokens, "output_tokens": USAGE.output_tokens}}
