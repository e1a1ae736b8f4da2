"""Where the time of a call went: each part is measured where it is spent, and each attempt has its own (D22)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from ipy_codeinterp.catalog import Limits, Offer, Price
from ipy_codeinterp.client.account import Account
from ipy_codeinterp.client.chain import Run, compose
from ipy_codeinterp.dialects import messages, sse
from ipy_codeinterp.execution import Execution, Result, Stream
from tests.client.provider import Lab, Provider, begun, envelope_of, lab, runs
from tests.client.test_limit import Road
from tests.client.virtual import run as virtually

VENDOR = Offer("claude", "vendor", 60.0, 1 << 30, price=Price(Decimal(1), Decimal(1), "test", date(2026, 1, 1)))
MOMENT = 0.02  # seconds; what is measured is never less


async def as_a_vendor(request: web.Request, asked: messages.Asked) -> web.StreamResponse:
    """Its model writes for a moment, and then the code runs for two."""
    envelope = replace(envelope_of(asked), extended=False)
    await asyncio.sleep(MOMENT)
    response = await begun(request, envelope)
    await asyncio.sleep(2 * MOMENT)
    ran = messages.Ran((Stream("stdout", "1\n"),), "ok", 0)
    await response.write(b"".join(map(sse.encode, messages.encode_end(envelope, ran))))
    return response


async def asked_of_a_vendor(there: Lab, code: str) -> Result:
    there.endpoint = replace(there.endpoint, ours=False)
    return await there.client.execute(Execution(code), VENDOR, there.emit)


def test_at_a_vendor(tmp_path: Path) -> None:
    """D22: the model's time and the code's are told apart as the stream shows them, and a connection is made once."""

    async def main() -> tuple[Result, Result, list[Any]]:
        async with lab(Provider(as_a_vendor, as_a_vendor), tmp_path / "s.sqlite") as there:
            first, second = [await asked_of_a_vendor(there, code) for code in "ab"]
            await there.settle()
            return first, second, there.rows("attempts")

    first, second, rows = asyncio.run(main())
    for timings in (first.timings, second.timings):
        assert None not in (timings.first_byte, timings.model, timings.execution, timings.total)
        assert (timings.model or 0) >= MOMENT and (timings.execution or 0) >= 2 * MOMENT
        assert (timings.model or 0) + (timings.execution or 0) <= (timings.total or 0)
    assert (first.timings.connect or 0) > 0 and second.timings.connect == 0
    for result, row in zip((first, second), rows, strict=True):
        parts = tuple(row[name] for name in ("connect", "first_byte", "thinking", "execution"))
        known = result.timings
        assert parts == (known.connect, known.first_byte, known.model, known.execution)


def test_on_this_machine(tmp_path: Path) -> None:
    """D22: there is no model here; how long the code ran is what the gateway says, the rest is its way."""

    async def main() -> Result:
        async with lab(Provider(runs(seconds=0.0)), tmp_path / "s.sqlite") as there:
            return await there.run("print(1)")

    timings = asyncio.run(main()).timings
    assert (timings.model, timings.execution) == (None, 0.0)
    assert (timings.transfer or 0) > 0


class Kept:
    """A store that keeps nothing, but has rows of limits."""

    def __init__(self) -> None:
        self.settled: list[Any] = []

    def put(self, work: Any, then: Any = lambda answer, error: None) -> None:
        then({}, None)


def test_each_attempt_has_its_own(tmp_path: Path) -> None:
    """D22: an attempt is not told to have waited, or to have been answered, as one before it was."""
    settled: list[Any] = []

    async def answered(run: Run) -> Result:
        run.timings = replace(run.timings, first_byte=1.0)
        return run.result("ok")

    async def silent(run: Run) -> Result:
        return run.result("ok")

    async def main() -> Run:
        road = Road(Limits(requests=1))
        asked = road.a_run()
        account = Account(Kept(), settled.append)  # type: ignore[arg-type]
        for last in (answered, silent, silent):
            await compose([road.limit, account], last)(asked)
        return asked

    asked = virtually(main())
    waits = [attempt.timings.queue for attempt in settled]
    assert [round(wait / 60) for wait in waits] == [0, 1, 1]
    assert sum(waits) == asked.timings.queue
    assert [attempt.timings.first_byte for attempt in settled] == [1.0, None, None]
