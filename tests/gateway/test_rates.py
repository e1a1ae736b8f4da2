"""A gateway with a limit refuses as the vendors do, and our own client reads what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from ipy_codeinterp.client.rates import headers_of_limits, stated
from ipy_codeinterp.gateway import app, rates
from ipy_codeinterp.gateway.rates import RATE, WINDOW, Rate

ANTHROPIC = {"anthropic-version": "2023-06-01", "x-api-key": "k"}
OPENAI = {"Authorization": "Bearer k"}


def test_any_minute() -> None:
    """No minute has more than the limit, wherever it begins, and a request that waits as told may come."""
    now = 0.0
    rate = Rate(3, clock=lambda: now)
    gone = []
    for _ in range(200):
        standing = rate.take()
        now += standing.wait or 7.0
        gone += [] if standing.wait else [now]

    assert max(sum(start <= each < start + WINDOW for each in gone) for start in gone) == 3
    assert len(gone) > 90


def test_standing() -> None:
    """What is left, and when all of it is there again, is said each time."""
    now = 0.0
    rate = Rate(2, clock=lambda: now)
    first = rate.take()
    now = 10.0
    second, third = rate.take(), rate.take()

    assert (first.remaining, first.reset, first.wait) == (1, 60.0, 0.0)
    assert (second.remaining, second.reset, second.wait) == (0, 60.0, 0.0)
    assert (third.remaining, third.reset, third.wait) == (0, 60.0, 50.0)


async def _answers(_: web.Request) -> web.Response:
    return web.json_response({})


def asked(path: str, headers: Mapping[str, str], limit: int | None, times: int) -> list[tuple[int, Any, Any]]:
    """Status, headers and body of so many requests, one after the other, at a gateway with that limit."""

    async def main() -> list[tuple[int, Any, Any]]:
        served = web.Application(middlewares=[app.with_errors, rates.limited])
        if limit:
            served[RATE] = Rate(limit, clock=lambda: 0.0)
        served.router.add_post("/{path:.*}", _answers)
        served.on_response_prepare.append(app._name_response)
        found = []
        async with TestServer(served) as server, ClientSession() as client:
            for _ in range(times):
                async with client.post(server.make_url(path), headers=headers) as reply:
                    found.append((reply.status, reply.headers.copy(), await reply.json()))
        return found

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/v1/messages", ANTHROPIC, "rate_limit_error"),
        ("/v1/responses", OPENAI, "requests"),
        ("/v1/chat/completions", OPENAI, "requests"),
    ],
)
def test_refused_as_the_vendor_does(path: str, headers: dict[str, str], kind: str) -> None:
    """One request too many is a 429 in the vendor's words, and our client reads limit, rest and wait from it."""
    *let, (status, said, body) = asked(path, headers, 2, 3)

    assert [each[0] for each in let] == [200, 200]
    assert (status, body["error"]["type"], said["retry-after"]) == (429, kind, "60")
    meters = [stated(headers_of_limits(each[1])).requests for each in let]
    assert [(meter.limit, meter.remaining) for meter in meters] == [(2, 1), (2, 0)]
    assert all(meter.reset is not None and 58 <= meter.reset <= 62 for meter in meters)


def test_nothing_is_said_without_a_limit() -> None:
    """A gateway without a limit says nothing of one; what runs no code is not counted."""
    assert not headers_of_limits(asked("/v1/messages", ANTHROPIC, None, 1)[0][1]).keys() - {"date"}
    assert [each[0] for each in asked("/v1/files", ANTHROPIC, 1, 3)] == [200, 200, 200]
