"""How often this gateway may be asked, said as each vendor says it; without a limit nothing is counted or said.

For those who try a client: `ipy-codeinterp gateway --rpm 6` refuses as the vendors do.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from ipy_codeinterp.errors import Overloaded
from ipy_codeinterp.gateway import shapes

WINDOW = 60.0  # seconds
COUNTED = ("/v1/messages", "/v1/responses", "/v1/chat/completions")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one request found the limit: how many more may come, in how many seconds all may, and until when to wait."""

    limit: int
    remaining: int
    reset: float
    wait: float = 0.0


class Rate:
    """At most `limit` requests in any minute; `clock` counts seconds."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._times: deque[float] = deque()

    def take(self) -> Standing:
        """Count one more request, where it may come; else `wait` says how long it may not."""
        now = self._clock()
        while self._times and self._times[0] <= now - WINDOW:
            self._times.popleft()
        wait = 0.0
        if len(self._times) < self._limit:
            self._times.append(now)
        else:
            wait = self._times[0] + WINDOW - now
        return Standing(self._limit, self._limit - len(self._times), self._times[-1] + WINDOW - now, wait)


RATE = web.AppKey("rate", Rate)
STANDING = web.RequestKey("standing", Standing)


@web.middleware
async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts what may run code. Raises `Overloaded`, with the status of a rate limit."""
    rate = request.app.get(RATE)
    if rate is not None and request.method == "POST" and request.path in COUNTED:
        request[STANDING] = standing = rate.take()
        if standing.wait:
            raise Overloaded(
                f"rate limit: {standing.limit} requests a minute; come back in {math.ceil(standing.wait)} s", status=429
            )
    return await handler(request)


def headers(request: web.Request) -> dict[str, str]:
    """What a response says of the limit, in the words of the request's vendor."""
    if STANDING not in request:
        return {}
    standing = request[STANDING]
    again = {"retry-after": str(math.ceil(standing.wait))} if standing.wait else {}
    if shapes.is_anthropic(request):
        instant = datetime.now(UTC) + timedelta(seconds=math.ceil(standing.reset))
        said = {"limit": standing.limit, "remaining": standing.remaining, "reset": f"{instant:%Y-%m-%dT%H:%M:%SZ}"}
        return {f"anthropic-ratelimit-requests-{name}": str(value) for name, value in said.items()} | again
    said = {"limit": standing.limit, "remaining": standing.remaining, "reset": f"{math.ceil(standing.reset)}s"}
    again |= {"retry-after-ms": str(math.ceil(standing.wait * 1000))} if standing.wait else {}
    return {f"x-ratelimit-{name}-requests": str(value) for name, value in said.items()} | again
