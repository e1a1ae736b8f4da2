"""My own last month: what the ledger counted goes on for a month, and comes to what was billed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.bench.projection import own_month, projecting
from ipy_codeinterp.bench.projection.bill import project
from ipy_codeinterp.bench.projection.project_verb import VERB
from ipy_codeinterp.execution import Usage
from ipy_codeinterp.notebook.arguments import parse_verb
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings, load
from ipy_codeinterp.store.schema import NANO
from ipy_codeinterp.store.stats import MONTH, Call
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider
from tests.bench.projection.months import terms

WHOLE = Call("", "", "p", "m", "live", "", "", "ok", 1.0, NANO, NANO, 0, 1, 100, 50)


def calls(*changes: dict[str, object], times: int = 1) -> list[Call]:
    return [replace(WHOLE, **each) for each in changes for _ in range(times)]  # type: ignore[arg-type]


def test_shares() -> None:
    """Success is of the calls that were sent and are over, the cache's share of all, tokens of those that are known."""
    rows = [
        *calls({}, times=6),
        *calls({"outcome": "error", "attempts": 3, "input_tokens": 400, "output_tokens": 90}),
        *calls({"outcome": "unknown", "billed": None, "least": 0, "input_tokens": None, "output_tokens": None}),
        *calls({"source": "cache", "input_tokens": None, "output_tokens": None}, {"source": "shared"}),
        *calls({"source": "replay"}, times=5),
    ]

    (found,) = own_month.months(rows, MONTH)
    demand = found.demand

    assert (found.offer, found.calls, found.billed, found.unknown, found.untold) == ("m@p", 10, 9, 1, 1)
    assert demand.calls.value == 10 and demand.calls.seen == 10
    assert demand.success is not None and (demand.success.hits, demand.success.n) == (6, 7)
    assert (demand.cache.hits, demand.cache.n) == (2, 10)
    assert demand.attempts.value == Decimal(10) / 8
    assert demand.tokens.input is not None and demand.tokens.input.value == Decimal(1000) / 7 / demand.attempts.value
    assert demand.right is None


def test_a_window_is_a_part_of_a_month() -> None:
    """D39: calls are scaled by the time in which they were made."""
    found = own_month.month(calls({}, times=7), timedelta(days=7))

    assert float(found.demand.calls.value) == pytest.approx(30.4375)


def test_offers_apart() -> None:
    """Each offer has its own figures, the one with most calls first; together they are one work."""
    rows = calls({}, {"model": "n", "output_tokens": 10}, {"model": "n", "output_tokens": 30})

    assert [(each.offer, each.calls) for each in own_month.months(rows, MONTH)] == [("n@p", 2), ("m@p", 1)]
    together = own_month.month(rows, MONTH)
    assert together.demand.tokens.output is not None and together.demand.tokens.output.value == 30


def test_nothing_was_sent() -> None:
    """Where all was served again there is nothing to pay for, and no success to speak of."""
    found = own_month.month(calls({"source": "cache"}, times=3), MONTH)

    assert project(terms(), found.demand).month == 0
    assert found.demand.success is None


# --- through the whole road -----------------------------------------------------------------------


@pytest.fixture
def paid(tmp_path: Path) -> Iterator[ScriptedProvider]:
    """A ledger of a priced provider: 24 calls, four of which it asked to come back, and six that the cache answered."""
    folder = Path(os.environ["XDG_CONFIG_HOME"], "ipy-codeinterp", "catalog")
    folder.mkdir(parents=True)
    busy = Fail(429, "rate_limit_error", headers={"retry-after": "0"})
    replies = [Reply("x\n", usage=Usage(100 + i, 40 + 2 * i)) for i in range(24)]
    script = [each for i, reply in enumerate(replies) for each in ([busy, reply] if i % 6 == 0 else [reply])]
    with ScriptedProvider(script) as provider:
        (folder / "scripted.toml").write_text(provider.catalog_file())
        catalog.forget()
        with Session(warm="never") as session:
            for i in range(24):
                session.run(f"print({i})", model="claude@scripted")
            for i in range(6):
                session.run(f"print({i})", model="claude@scripted")
        yield provider
    catalog.forget()


def say(*words: str, settings: Settings | None = None) -> str:
    return VERB.run(settings or load(), parse_verb(VERB, list(words)))


def test_last_month(paid: ScriptedProvider) -> None:
    """The projection of a ledger comes to what the provider billed, with the cache, the repeats and intervals."""
    report = projecting.reported(load(), parse_verb(VERB, ["--last-month"]))
    assert report is not None
    (found,), (month,) = report.projections, report.months

    assert month.billed == paid.billed > 0
    assert found.month is not None
    assert found.month.quantize(Decimal("1e-9")) == paid.billed.quantize(Decimal("1e-9"))
    assert found.demand.cache.value == Decimal("0.2")
    assert found.demand.attempts.value == Decimal(28) / 24
    assert found.month_interval is not None
    assert found.month_interval.low < float(paid.billed) < found.month_interval.high
    assert not found.is_least


def test_the_line_stands_above_the_ledger(paid: ScriptedProvider) -> None:
    """What is said takes the place of what was counted; the same work is priced at any offer that is named."""
    text = say("--since", "7d", "own=1/2", "gpt-4.1@openai", "--calls", "1000", "--cache", "0", "--right", "90%,95%")

    assert "in the ledger: 30 calls in 7 d, billed $" in text
    assert "1,000  " in text and "own" in text and "gpt-4.1@openai" in text
    assert "WHEN A WRONG ANSWER COSTS MORE THAN" in text


def test_an_offer_that_is_gone(paid: ScriptedProvider) -> None:
    """What the catalog knows no more has no price, and the rest is told all the same."""
    Path(os.environ["XDG_CONFIG_HOME"], "ipy-codeinterp", "catalog", "scripted.toml").unlink()
    catalog.forget()

    assert "claude@scripted: nobody knows its price" in say()


def test_articles_switch_with_my_month(paid: ScriptedProvider) -> None:
    """The claim on switching is judged with one's own month."""
    assert "your 30 calls: " in say("--article", "--last-month", "own=1/2", "other=1/3")
