"""A priced provider on loopback that speaks the Messages format and does to each request what its script says.

No code is run: what it prints is in the script, or is the code itself. Everything else is as with a vendor: a request
has a number and an id, work is billed when it begins, and whether anybody is there to hear the reply is not its affair.
Seconds pass by `sleep`, so that a test on a virtual clock hands in its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Self

from aiohttp import web

from ipy_codeinterp.catalog import NO_LIMITS, Limits, Offer, Price
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.dialects import messages, prompt, sse
from ipy_codeinterp.execution import Limit, Outcome, Stream, Usage
from ipy_codeinterp.testing.loopback import Loopback

TOKEN = "scripted"
PRICE = Price(Decimal(3), Decimal(15), "the script", date(2026, 1, 1))
TIMEOUT = 180.0  # seconds that code may run
MEMORY = 1 << 30
LINGER_NOT = struct.pack("ii", 1, 0)  # a socket closed so sends a reset


# --- what it does to a request --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """The code ran. `stdout` None is the code itself, `usage` None is counted from the characters.

    `delay` is the seconds that the work takes, billed also where nobody waits for its end. A slow body comes in
    `pieces`, with `pause` seconds between them. A `limit` is that of time; without our extension a provider can say
    `ok`, `error` and `limit`, and all other outcomes look like `error`.
    """

    stdout: str | None = None
    stderr: str = ""
    outcome: Outcome = "ok"
    usage: Usage | None = None
    delay: float = 0.0
    pieces: int = 1
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Fail:
    """An error instead of a reply, not billed. With status 200 it is in the stream, after what the code printed."""

    status: int = 529
    type: str = "overloaded_error"
    message: str = "says the script"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after so many bytes of `reply`; 0 is before its headers.

    The work was done and is billed; not so with `billed=False`.
    """

    after_bytes: int = 0
    reply: Reply = field(default_factory=Reply)
    billed: bool = True


@dataclass(frozen=True, slots=True)
class Truncate:
    """The response ends after so many bytes of `reply`, as if they were all."""

    after_bytes: int = 200
    reply: Reply = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence for so many seconds after so many bytes of `reply` (0: before its headers), then the rest."""

    seconds: float
    after_bytes: int = 0
    reply: Reply = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class ColdStart:
    """So many seconds until the work begins; who hangs up before is not billed."""

    seconds: float
    reply: Reply = field(default_factory=Reply)


Action = Reply | Fail | Reset | Truncate | Stall | ColdStart
Script = Iterable[Action] | Callable[[int, Mapping[str, Any]], Action]


# --- what it remembers ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A request: its number from 0, when it came (seconds of the provider's clock), what its sender called it."""

    number: int
    at: float
    attempt_id: str
    body: Mapping[str, Any] = field(repr=False)

    @property
    def code(self) -> str:
        return _code(messages.decode_request(self.body))


@dataclass(frozen=True, slots=True)
class Billed:
    """What one request cost, USD."""

    attempt_id: str
    usage: Usage
    cost: Decimal


# --- the provider ---------------------------------------------------------------------------------


class ScriptedProvider:
    """A context manager, of either kind: it serves while it is open, with `with` on a thread of its own.

    `script` is a list of actions, one a request in the order they come, and `otherwise` from its end on; or a function
    of the request's number and body. `requests` and `bill` hold what came and what was billed, in order.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        otherwise: Action | None = None,
        name: str = "scripted",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.requests: list[Received] = []
        self.bill: list[Billed] = []
        self._next = script if callable(script) else _in_turn(script, otherwise or Reply())
        self._clock = clock
        self._sleep = sleep
        self.offers: dict[str, Offer] = {}
        self._server = Loopback(self._app())

    async def __aenter__(self) -> Self:
        await self._server.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def offer(self, name: str = "claude", price: Price = PRICE, limits: Limits = NO_LIMITS) -> Offer:
        """A model of this provider, at that price from now on."""
        self.offers[name] = Offer(name, self.name, TIMEOUT, MEMORY, price=price, limits=limits)
        return self.offers[name]

    def endpoint(self, *, ours: bool = False) -> Endpoint:
        """Where it listens, as a vendor; with `ours` it is spoken to like our own gateway, extension and all."""
        return Endpoint(self._server.base_url, TOKEN, lambda: True, ours)

    def catalog_file(self) -> str:
        """What a user's `catalog/NAME.toml` says for notebooks to find it as `claude@NAME`, while it is open."""
        price = f'input = "{PRICE.input}", output = "{PRICE.output}", source = "a script", checked = {PRICE.checked}'
        return (
            f'dialect = "messages"\nbase_url = "{self._server.base_url}"\nkey_needed = false\n\n'
            f'[[models]]\nname = "claude"\nprices = [{{ {price} }}]\n'
        )

    @property
    def billed(self) -> Decimal:
        """The sum of the bill."""
        return sum((each.cost for each in self.bill), Decimal(0))

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/messages", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        received = Received(len(self.requests), self._clock(), request.headers.get(messages.ATTEMPT_HEADER, ""), body)
        self.requests.append(received)
        action = self._next(received.number, body)
        kind = "text/event-stream" if body.get("stream") else "application/json"
        headers = {"request-id": f"req_{received.number}", "Content-Type": kind}
        if isinstance(action, Fail) and action.status != 200:
            error = messages.encode_error(action.type, action.message, headers["request-id"])
            said = {"request-id": headers["request-id"], **action.headers}
            return web.json_response(error, status=action.status, headers=said)
        if isinstance(action, ColdStart):
            await self._sleep(action.seconds)
        envelope = _envelope(request, received)
        if isinstance(action, Fail):
            return await self._send(request, headers, action, _failing(envelope, action))
        reply = action if isinstance(action, Reply) else action.reply
        usage = reply.usage or _counted(envelope)
        if not isinstance(action, Reset) or action.billed:
            self._note_bill(received, usage)
        await self._sleep(reply.delay)
        return await self._send(request, headers, action, _replying(envelope, reply, usage))

    def _note_bill(self, received: Received, usage: Usage) -> None:
        offer = self.offers.get(received.body["model"])
        cost = ((offer and offer.price) or PRICE).of(usage)
        self.bill.append(Billed(received.attempt_id, usage, cost or Decimal(0)))

    async def _send(
        self, request: web.Request, headers: Mapping[str, str], action: Action, payload: bytes
    ) -> web.StreamResponse:
        """`payload`, with what the script does to its sending; to one who has hung up nothing is said."""
        response = web.StreamResponse(headers=headers)
        with contextlib.suppress(ConnectionResetError):
            await self._send_cut(request, response, action, payload)
        return response

    async def _send_cut(
        self, request: web.Request, response: web.StreamResponse, action: Action, payload: bytes
    ) -> None:
        cut = len(payload) if isinstance(action, Reply | ColdStart | Fail) else action.after_bytes
        if cut or isinstance(action, Truncate):
            await response.prepare(request)
            await self._write(response, payload[:cut], action)
        if isinstance(action, Reset):
            _reset(request)
        if isinstance(action, Stall):
            await self._sleep(action.seconds)
            await response.prepare(request)
            await self._write(response, payload[cut:], action)

    async def _write(self, response: web.StreamResponse, payload: bytes, action: Action) -> None:
        pieces = action.pieces if isinstance(action, Reply) else 1
        size = max(-(-len(payload) // pieces), 1)
        for start in range(0, len(payload), size):
            if start:
                await self._sleep(action.pause if isinstance(action, Reply) else 0.0)
            await response.write(payload[start : start + size])


def _in_turn(script: Iterable[Action], otherwise: Action) -> Callable[[int, Mapping[str, Any]], Action]:
    actions = deque(script)
    return lambda number, body: actions.popleft() if actions else otherwise


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        request.transport.abort()


# --- what it says ---------------------------------------------------------------------------------


def _code(asked: messages.Asked) -> str:
    blocks = prompt.blocks(asked.text)
    return blocks[0].content if blocks else asked.text


def _envelope(request: web.Request, received: Received) -> messages.Envelope:
    asked = messages.decode_request(received.body)
    return messages.Envelope(
        message_id=f"msg_{received.number}",
        tool_use_id=f"srvtoolu_{received.number}",
        asked=asked,
        code=_code(asked),
        container=asked.container or f"container_{received.number}",
        container_new=asked.container is None,
        expires_at="2026-01-01T00:00:00Z",
        isolation="scripted",
        warm=True,
        language=asked.language or "python",
        extended=request.headers.get(messages.EXTENSION) == "1",
    )


def _counted(envelope: messages.Envelope) -> Usage:
    return Usage(-(-envelope.asked.characters // 4), -(-len(envelope.code) // 4))


def _replying(envelope: messages.Envelope, reply: Reply, usage: Usage) -> bytes:
    stdout = envelope.code if reply.stdout is None else reply.stdout
    outputs = tuple(s for s in (Stream("stdout", stdout), Stream("stderr", reply.stderr)) if s.text)
    limit = Limit("time", TIMEOUT, "seconds") if reply.outcome == "limit" else None
    ran = messages.Ran(outputs, reply.outcome, int(reply.outcome != "ok"), limit=limit, seconds=reply.delay)
    if not envelope.asked.stream:
        return json.dumps(_priced(messages.encode_reply(envelope, ran), usage)).encode()
    return b"".join(sse.encode(_priced(event, usage)) for event in _events(envelope, ran))


def _events(envelope: messages.Envelope, ran: messages.Ran) -> Iterator[dict[str, Any]]:
    yield from messages.encode_start(envelope)
    if envelope.extended:
        yield from map(messages.encode_output, ran.outputs)
    yield from messages.encode_end(envelope, ran)


def _failing(envelope: messages.Envelope, fail: Fail) -> bytes:
    error = messages.encode_error(fail.type, fail.message, envelope.message_id)
    shown = [messages.encode_output(Stream("stdout", envelope.code))] if envelope.extended else []
    return b"".join(map(sse.encode, [*messages.encode_start(envelope), *shown, error]))


def _priced(said: dict[str, Any], usage: Usage) -> dict[str, Any]:
    """`said` with the bill's tokens in place of counted ones, wherever it has any."""
    if "message" in said:
        return said | {"message": _priced(said["message"], usage)}
    native = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return said | {"usage": native} if "usage" in said else said
