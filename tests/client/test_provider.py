"""The scripted provider: what it is told to do it does, and it remembers every request and every bill."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from ipy_codeinterp.catalog import Limits, Price
from ipy_codeinterp.client import http
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    InterpError,
    Overloaded,
    QuotaExceeded,
    SandboxError,
    Unreachable,
)
from ipy_codeinterp.execution import Event, Execution, Outcome, Phase, Result, Stream, Usage
from ipy_codeinterp.testing import Action, ColdStart, Fail, Reply, Reset, ScriptedProvider, Stall, Truncate

DEAR = Price(Decimal("2.5"), Decimal("7.25"), "a test", date(2026, 1, 1))
EXACT = Usage(1_234_567, 89)
PATIENCE = 10.0  # seconds


class Line:
    """A transport to one provider, without the rest of a client."""

    def __init__(self, provider: ScriptedProvider, transport: Transport) -> None:
        self._provider = provider
        self._transport = transport
        self.events: list[Event] = []

    async def ask(self, code: str = "x", **how: Any) -> Result:
        offer = self._provider.offer(price=DEAR)
        run = Run(Execution(code, **how), offer, self._emit, attempt_id=f"att_{len(self._provider.requests)}")
        return await self._transport.send(run)

    async def _emit(self, event: Event) -> None:
        self.events.append(event)


@contextlib.asynccontextmanager
async def line(provider: ScriptedProvider, *, ours: bool = False) -> AsyncIterator[Line]:
    async with provider:

        async def connect(_: str) -> Any:
            return provider.endpoint(ours=ours)

        transport = Transport(connect)
        try:
            yield Line(provider, transport)
        finally:
            await transport.close()


def ask_once(action: Action, *, ours: bool = False, code: str = "x") -> tuple[Result | InterpError, ScriptedProvider]:
    """What comes of one request that the provider treats so."""

    async def main() -> Result | InterpError:
        async with line(provider, ours=ours) as to:
            try:
                return await to.ask(code)
            except InterpError as error:
                return error

    provider = ScriptedProvider([action])
    return asyncio.run(main()), provider


# --- what it does ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [False, True], ids=["a vendor", "our gateway"])
def test_reply(ours: bool) -> None:
    """A scripted reply arrives whole, with the usage of the script, as a vendor's and as our gateway's."""
    result, _ = ask_once(Reply("out", "err", outcome="error", usage=EXACT), ours=ours)

    assert isinstance(result, Result)
    assert (result.stdout, result.stderr, result.outcome) == ("out", "err", "error")
    assert (result.usage.input_tokens, result.usage.output_tokens) == (EXACT.input_tokens, EXACT.output_tokens)
    assert not result.usage.estimated


@pytest.mark.parametrize("outcome", ["ok", "error", "limit"])
def test_outcomes(outcome: Outcome) -> None:
    """What a vendor can say of how code ended is what the script says."""
    result, _ = ask_once(Reply("", outcome=outcome))

    assert isinstance(result, Result)
    assert result.outcome == outcome


def test_echo() -> None:
    """Where the script says nothing the code prints itself, in as many pieces as are asked for."""
    code = "print('\N{SNOWMAN}')\n" * 50
    result, _ = ask_once(Reply(pieces=7), code=code)

    assert isinstance(result, Result)
    assert result.stdout == code


def test_not_streamed() -> None:
    """Who asks without a stream gets one JSON object, as with the vendor."""

    async def main() -> None:
        async with ScriptedProvider([Reply("out", usage=EXACT)]) as provider, aiohttp.ClientSession() as http:
            body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "```\n1\n```"}]}
            async with http.post(f"{provider.endpoint().base_url}/v1/messages", json=body) as response:
                said = await response.json()
            assert said["content"][1]["content"]["stdout"] == "out"
            assert said["usage"] == {"input_tokens": EXACT.input_tokens, "output_tokens": EXACT.output_tokens}
            assert provider.requests[0].code == "1"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("action", "expected", "may_have_run", "billed"),
    [
        pytest.param(Fail(), Overloaded, False, 0, id="529"),
        pytest.param(Fail(503, "api_error"), Overloaded, False, 0, id="503"),
        pytest.param(Fail(401, "authentication_error"), AuthenticationFailed, False, 0, id="401"),
        pytest.param(Fail(429, "insufficient_quota"), QuotaExceeded, False, 0, id="no quota"),
        pytest.param(Fail(504, "timeout_error"), Overloaded, True, 0, id="504"),
        pytest.param(Fail(200), Overloaded, True, 0, id="in the stream"),
        pytest.param(Reset(), Unreachable, True, 1, id="reset before the reply"),
        pytest.param(Reset(billed=False), Unreachable, True, 0, id="reset before the work"),
        pytest.param(Reset(after_bytes=100), BadReply, True, 1, id="reset in the reply"),
        pytest.param(Truncate(after_bytes=0), BadReply, True, 1, id="empty"),
        pytest.param(Truncate(after_bytes=300), BadReply, True, 1, id="truncated"),
    ],
)
def test_faults(action: Action, expected: type[InterpError], may_have_run: bool, billed: int) -> None:
    """Each fault is the error it looks like from here, known to have run where it may have, and billed if it did."""
    error, provider = ask_once(action)

    assert type(error) is expected
    assert error.may_have_run is may_have_run
    assert len(provider.bill) == billed


def test_advice_of_a_failure() -> None:
    """The headers of a failure come with it (D16)."""
    error, _ = ask_once(Fail(429, "rate_limit_error", headers={"retry-after-ms": "1500", "x-should-retry": "false"}))

    assert isinstance(error, Overloaded)
    assert (error.retry_after, error.should_retry, error.request_id) == (1.5, False, "req_0")


def test_unavailable_gateway() -> None:
    """A 503 of our own gateway is about the sandbox, and is not tried again."""
    error, _ = ask_once(Fail(503, "overloaded_error"), ours=True)

    assert type(error) is SandboxError
    assert not error.transient


def test_nobody_listens() -> None:
    """Where no connection is made nothing can have run (D17)."""

    async def main() -> None:
        async with line(ScriptedProvider()) as to:
            await to._provider.__aexit__()
            with pytest.raises(Unreachable) as caught:
                await to.ask()
            assert not caught.value.may_have_run

    asyncio.run(main())


@pytest.mark.parametrize(
    ("foreign", "begun", "expected", "may_have_run"),
    [
        (aiohttp.ConnectionTimeoutError(), False, Unreachable, False),
        (aiohttp.InvalidURL("x"), False, Unreachable, False),
        (aiohttp.ServerDisconnectedError(), False, Unreachable, True),
        (aiohttp.ClientOSError(104, "reset"), False, Unreachable, True),
        (aiohttp.SocketTimeoutError(), False, Unreachable, True),
        (aiohttp.SocketTimeoutError(), True, BadReply, True),
        (aiohttp.ClientOSError(104, "reset"), True, BadReply, True),
        (aiohttp.ClientPayloadError(), True, BadReply, True),
    ],
    ids=str,
)
def test_lost_connections(
    foreign: aiohttp.ClientError, begun: bool, expected: type[InterpError], may_have_run: bool
) -> None:
    """Only what never got a connection cannot have run; what is lost in the reply is a bad reply (D17, D18)."""
    ours = http._translated(foreign, ScriptedProvider().endpoint(), begun)

    assert isinstance(ours, Unreachable | BadReply)
    assert (type(ours), ours.may_have_run) == (expected, may_have_run)


def test_extension_is_for_our_gateway_only() -> None:
    """A vendor is not sent what only our gateway understands."""
    _, vendor = ask_once(Reply())
    _, gateway = ask_once(Reply(), ours=True)

    assert "ipy_codeinterp" not in vendor.requests[0].body
    assert "ipy_codeinterp" in gateway.requests[0].body


@pytest.mark.parametrize(
    ("action", "slept"),
    [
        (Reply(delay=3.0), [3.0]),
        (Reply(pieces=3, pause=2.0), [2.0, 2.0]),
        (ColdStart(5.0, Reply(delay=1.0)), [5.0, 1.0]),
        (Stall(60.0, after_bytes=200), [60.0]),
        (Stall(60.0), [60.0]),
    ],
    ids=str,
)
def test_slow(action: Action, slept: list[float]) -> None:
    """What takes time takes it on the provider's clock, and the reply is whole after it."""
    seconds: list[float] = []

    async def sleep(wanted: float) -> None:
        seconds.append(wanted)

    async def main() -> Result:
        async with line(ScriptedProvider([action], sleep=sleep)) as to:
            return await to.ask()

    assert asyncio.run(main()).stdout == "x"
    assert [each for each in seconds if each] == slept


def test_stream_before_a_stall() -> None:
    """What was sent before a stall arrives before it."""

    async def main() -> None:
        provider = ScriptedProvider([Stall(PATIENCE, after_bytes=10_000, reply=Reply("x" * 8_000))])
        async with line(provider, ours=True) as to:
            asking = asyncio.ensure_future(to.ask())
            while Phase("running") not in to.events or not any(isinstance(e, Stream) for e in to.events):
                await asyncio.sleep(0)
            assert not asking.done()
            asking.cancel()
            await asyncio.wait([asking])

    asyncio.run(main())


# --- the script -----------------------------------------------------------------------------------


def test_script_in_order() -> None:
    """Requests get the script's actions in order, and what is for all others after it."""

    async def main() -> None:
        provider = ScriptedProvider([Reply("1"), Reply("2")], otherwise=Reply("more"))
        async with line(provider) as to:
            assert [(await to.ask()).stdout for _ in range(4)] == ["1", "2", "more", "more"]

    asyncio.run(main())


def test_script_as_a_function() -> None:
    """A function sees the number and the body of each request."""

    def script(number: int, body: Mapping[str, Any]) -> Action:
        return Reply(f"{number} of {body['model']}") if number else Fail()

    async def main() -> None:
        async with line(ScriptedProvider(script)) as to:
            with pytest.raises(Overloaded):
                await to.ask()
            assert (await to.ask()).stdout == "1 of claude"

    asyncio.run(main())


# --- what it remembers ----------------------------------------------------------------------------


def test_requests() -> None:
    """Every request is remembered with its number, its time, its sender's id for it, and its code (D52)."""

    async def main() -> None:
        ticks = iter((5.0, 7.0))
        provider = ScriptedProvider([Fail()], clock=lambda: next(ticks))
        async with line(provider) as to:
            with contextlib.suppress(Overloaded):
                await to.ask("first")
            await to.ask("second")
        told = [(each.number, each.at, each.attempt_id, each.code) for each in provider.requests]
        assert told == [(0, 5.0, "att_0", "first"), (1, 7.0, "att_1", "second")]

    asyncio.run(main())


def test_bill() -> None:
    """What is billed is the tokens at the offer's price, exactly, under the sender's id."""

    async def main() -> None:
        provider = ScriptedProvider([Reply(usage=EXACT), Fail(), Reply(usage=Usage(1, 0))])
        async with line(provider) as to:
            await to.ask()
            with contextlib.suppress(Overloaded):
                await to.ask()
            await to.ask()
        assert [(each.attempt_id, each.cost) for each in provider.bill] == [
            ("att_0", (1_234_567 * Decimal("2.5") + 89 * Decimal("7.25")) / 1_000_000),
            ("att_2", Decimal("0.0000025")),
        ]
        assert provider.billed == sum(each.cost for each in provider.bill)

    asyncio.run(main())


def test_bill_is_what_the_client_reckons() -> None:
    """The offer's cost of a reply's usage is what was billed, to the last digit."""
    result, provider = ask_once(Reply(usage=EXACT))

    assert isinstance(result, Result)
    assert provider.offer(price=DEAR).cost(result.usage).billed == provider.billed


@pytest.mark.parametrize(
    ("action", "billed"), [(Reply(delay=60.0), 1), (Stall(60.0), 1), (ColdStart(60.0), 0)], ids=str
)
def test_hanging_up(action: Action, billed: int) -> None:
    """Who hangs up while the work is done pays for it, and who does before it has begun does not."""

    async def main() -> int:
        came, left = asyncio.Event(), asyncio.Event()

        async def sleep(seconds: float) -> None:
            came.set()
            try:
                await asyncio.sleep(seconds)
            finally:
                left.set()

        provider = ScriptedProvider([action], sleep=sleep)
        async with line(provider) as to:
            asking = asyncio.ensure_future(to.ask())
            await asyncio.wait_for(came.wait(), PATIENCE)
            asking.cancel()
            await asyncio.wait([asking])
            await asyncio.wait_for(left.wait(), PATIENCE)
        return len(provider.bill)

    assert asyncio.run(main()) == billed


def test_offer() -> None:
    """An offer is of this provider, with its own name, price and limits."""
    offer = ScriptedProvider(name="dear").offer("gpt", DEAR, Limits(requests=5))

    assert (str(offer), offer.price, offer.limits.requests) == ("gpt@dear", DEAR, 5)
