"""Headers of limits: what OpenAI and Anthropic write is read, what makes no sense is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.rates import headers_of_limits, stated
from ipy_codeinterp.errors import Overloaded
from ipy_codeinterp.execution import Event, Execution
from ipy_codeinterp.store.limits import NOTHING_STATED, Meter, Stated

from .provider import Provider, lab, refuses

DATE = "Tue, 24 Nov 2026 10:00:00 GMT"


def test_openai() -> None:
    """Durations of any form are seconds."""
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "350ms",
        "x-ratelimit-limit-tokens": "90000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }

    assert stated(headers) == Stated(Meter(600, 599, 0.35), Meter(90_000, 0, 360.0))


def test_anthropic() -> None:
    """D36: instants are read against the provider's own date, never against our wall clock."""
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-24T10:00:12Z",
        "anthropic-ratelimit-tokens-remaining": "1000",
        "date": DATE,
    }

    assert stated(headers) == Stated(Meter(50, 49, 12.0), Meter(None, 1000, None))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "nan", "many", "9" * 400, "\N{SUPERSCRIPT TWO}", "1_000"])
def test_no_number(text: str) -> None:
    """What is no whole number says nothing."""
    assert stated({"x-ratelimit-limit-requests": text, "x-ratelimit-remaining-tokens": text}) == NOTHING_STATED


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h2m3.5s", 3723.5), ("1s", 1.0), ("", None), ("5", None), ("1s x", None), ("-1s", None)]
)
def test_duration(text: str, seconds: float | None) -> None:
    """A reset is in units, or it is none."""
    assert stated({"x-ratelimit-limit-requests": "5", "x-ratelimit-reset-requests": text}).requests.reset == seconds


@pytest.mark.parametrize(
    ("instant", "date"),
    [("2026-11-24T10:00:12Z", ""), ("soon", DATE), ("2026-11-24T10:00:12", DATE), ("2026-11-24T10:00:12Z", "now")],
)
def test_instant(instant: str, date: str) -> None:
    """An instant that cannot be set against the reply's date says nothing."""
    headers = {"anthropic-ratelimit-requests-limit": "5", "anthropic-ratelimit-requests-reset": instant, "date": date}

    assert stated(headers).requests == Meter(5, None, None)


def test_of_all_headers() -> None:
    """Only what speaks of limits is kept, whatever the case of its name."""
    headers = {"X-RateLimit-Limit-Requests": "5", "Date": DATE, "set-cookie": "secret"}

    assert headers_of_limits(headers) == {"x-ratelimit-limit-requests": "5", "date": DATE}


async def ignore(_: Event) -> None:
    pass


def test_kept_on_the_run(tmp_path: Path) -> None:
    """The transport leaves them on the run, also those of a refusal; the next reply's take their place."""

    async def main() -> None:
        refused = refuses(429, {"error": {"message": "no"}}, **{"x-ratelimit-remaining-requests": "0"})
        async with lab(Provider(refused), tmp_path / "s.sqlite") as bench:
            run = Run(Execution("x"), catalog.find("claude"), ignore)
            with pytest.raises(Overloaded):
                await bench.client.transport.send(run)
            assert run.rate_headers["x-ratelimit-remaining-requests"] == "0"
            await bench.client.transport.send(run)
            assert list(run.rate_headers) == ["date"]

    asyncio.run(main())
