"""The cache: what was billed once is served again for 0, whole, and only as the answer to the same question."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.catalog import Offer, Price
from ipy_codeinterp.client import Client, Policies
from ipy_codeinterp.client.cache import Cache, Sharing
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.journal import Journal
from ipy_codeinterp.execution import Cost, Display, Error, Event, Execution, File, Result, Stream, Usage
from ipy_codeinterp.store import journal
from ipy_codeinterp.store.answers import Answers
from ipy_codeinterp.store.database import Database

from .provider import Lab, Provider, lab, runs

LOCAL = catalog.find("claude")
PRICED = replace(LOCAL, price=Price(Decimal(3), Decimal(15), "a list", date(2026, 1, 1)))
FIGURE = Display({"image/png": "aGk=", "text/plain": "<Figure>"})

NAMELESS = File("a.value.json", path=Path(__file__))  # nobody has looked into it

# Every field of an Execution is in one of these: with a change of it there is another answer, or the same one.
IN_KEY: dict[str, Any] = {
    "body": "print(2)",
    "kind": "task",
    "language": "r",
    "model": "claude",
    "container": "mine",
    "timeout": 5.0,
    "files": (File("a.csv", "00", 1),),
    "inputs": (File("a.csv", "00", 1),),
    "after": "run_1",
    "figure_format": "svg",
    "figure_dpi": 200.0,
    "mounts": ("/data",),
    "packages": ("polars>=1",),
    "network": True,
    "expect": "a JSON list of primes",
    "execute": False,
    "get": ("out",),
}
NOT_IN_KEY: dict[str, Any] = {}
FILE_IN_KEY = {"name": "b.csv", "sha256": "11", "size": 2}
FILE_NOT_IN_KEY = {"path": Path("/elsewhere/a.csv"), "id": "file_1"}


# --- the key --------------------------------------------------------------------------------------


def test_every_field_is_in_one_list() -> None:
    """D13: a new field of an Execution, or of a File in it, must be said to be in the key or not."""
    assert sorted([*IN_KEY, *NOT_IN_KEY]) == sorted(field.name for field in fields(Execution))
    assert sorted([*FILE_IN_KEY, *FILE_NOT_IN_KEY]) == sorted(field.name for field in fields(File))


@pytest.mark.parametrize("name", [*IN_KEY, *NOT_IN_KEY])
def test_lists_say_what_is(name: str) -> None:
    """D13: a field that is said to be in the key changes it, and one that is said not to does not."""
    asked = Execution("print(1)")

    changed = replace(asked, **{name: (IN_KEY | NOT_IN_KEY)[name]})

    assert (changed.key != asked.key) is (name in IN_KEY)


@pytest.mark.parametrize("name", [*FILE_IN_KEY, *FILE_NOT_IN_KEY])
def test_lists_of_files_say_what_is(name: str) -> None:
    """D13: a file counts by name and content, wherever it lies."""
    file = File("a.csv", "00", 1)

    changed = replace(file, **{name: (FILE_IN_KEY | FILE_NOT_IN_KEY)[name]})

    assert (Execution("x", files=(changed,)).key != Execution("x", files=(file,)).key) is (name in FILE_IN_KEY)


# --- served again ---------------------------------------------------------------------------------


async def ask(bench: Lab, execution: Execution, offer: Offer = PRICED, **how: Any) -> Result:
    return await bench.client.execute(execution, offer, bench.emit, **how)


def test_hit(tmp_path: Path) -> None:
    """D11, D12: a hit sends nothing, costs 0, says what that avoided, and is whole; sums count the first call only."""
    shown = (Stream("stdout", "1\n"), FIGURE, Stream("stderr", "warn\n"))

    async def main() -> None:
        provider = Provider(runs(*shown))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            first = await ask(bench, Execution("x"))
            seen = [event for event in bench.events if isinstance(event, (Stream, Display))]
            bench.events.clear()
            again = await ask(bench, Execution("x"))

            assert (first.source, again.source) == ("live", "cache")
            assert len(provider.requests) == len(bench.attempts) == 1
            assert first.cost.billed is not None and first.cost.billed > 0
            assert (again.cost.billed, again.cost.listed, again.cost.avoided) == (0, 0, first.cost.billed)
            assert (again.parts, again.outcome, again.offer) == (first.parts, first.outcome, first.offer)
            assert (again.usage, again.attempts, again.request_ids) == (Usage(0, 0), 0, ())
            assert bench.events == seen == list(shown)
            assert again.id != first.id

    asyncio.run(main())


def test_hit_is_kept(tmp_path: Path) -> None:
    """A hit is in the journal like any Result, with what it avoided, and later hits still find the first call."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            results = [await ask(bench, Execution("x")) for _ in range(4)]
            assert bench.kept() == results
            assert [result.cost.avoided for result in results] == [None, *[results[0].cost.billed] * 3]

    asyncio.run(main())


def test_hit_of_another_day(tmp_path: Path) -> None:
    """D14: what was kept is there after the program has ended."""

    async def main() -> None:
        for source in ("live", "cache"):
            async with lab(provider, tmp_path / "s.sqlite") as bench:
                assert (await ask(bench, Execution("x"))).source == source

    provider = Provider()
    asyncio.run(main())


@pytest.mark.parametrize(
    ("execution", "offer", "how"),
    [
        pytest.param(Execution("x", container="mine"), PRICED, {}, id="keeps state"),
        pytest.param(Execution("x", after="run_1"), PRICED, {}, id="goes on from another"),
        pytest.param(Execution("x", network=True), PRICED, {}, id="sees the network"),
        pytest.param(Execution("x", mounts=("/data",)), PRICED, {}, id="sees a folder"),
        pytest.param(Execution("x", inputs=(NAMELESS,)), PRICED, {}, id="a file of unknown content"),
        pytest.param(Execution("x"), LOCAL, {}, id="free"),
        pytest.param(Execution("x"), PRICED, {"use_cache": False}, id="run anew"),
    ],
)
def test_not_shared(tmp_path: Path, execution: Execution, offer: Offer, how: dict[str, Any]) -> None:
    """D14: what depends on more than its key is run again, and so is what is free, and whatever is asked anew."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            for _ in range(2):
                assert (await ask(bench, execution, offer, **how)).source == "live"
            assert len(provider.requests) == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("mode", "sources"), [("always", ["live", "cache"]), ("auto", ["live"] * 2), ("off", ["live"] * 2)]
)
def test_modes(tmp_path: Path, mode: str, sources: list[str]) -> None:
    """`always` serves what was free as well, `off` nothing at all."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench, sharing(bench, mode):
            offer = LOCAL if mode != "off" else PRICED
            assert [(await ask(bench, Execution("x"), offer)).source for _ in range(2)] == sources

    asyncio.run(main())


@contextlib.asynccontextmanager
async def sharing(bench: Lab, mode: str) -> AsyncIterator[None]:
    """Another client in the lab, with this mode."""

    async def connect(_: str) -> Any:
        return bench.endpoint

    before = bench.client
    bench.client = Client(connect, bench.database, bench.attempts.append, policies=Policies(sharing=Sharing(mode)))
    try:
        yield
    finally:
        await bench.client.close()
        bench.client = before


@pytest.mark.parametrize("outcome", ["error", "limit", "crashed", "unknown"])
def test_only_what_went_well(tmp_path: Path, outcome: Any) -> None:
    """D14: what did not end well, or of which nobody says how it ended, is not served again."""

    async def main() -> None:
        provider = Provider(runs(Error("ValueError", "no"), outcome=outcome))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            sources = [(await ask(bench, Execution("x"))).source for _ in range(3)]
            assert sources == ["live", "live", "cache"]

    asyncio.run(main())


def test_another_offer(tmp_path: Path) -> None:
    """D13: the answer of one offer is not that of another, also where a model's name has moved."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            asked = Execution("x", model="claude")
            offers = [PRICED, replace(PRICED, provider="elsewhere"), replace(PRICED, model="other")]
            assert [(await ask(bench, asked, offer)).source for offer in offers] == ["live"] * 3

    asyncio.run(main())


def test_age(tmp_path: Path) -> None:
    """D14: an answer serves for so many days after it was made; being served does not make it younger."""
    today = datetime.now(UTC)
    database = Database(tmp_path / "s.sqlite", limit=64 << 20)

    async def asked_after(days: float) -> str:
        cache = Cache(Answers(database.path), Sharing("auto", days=30), now=lambda: today + timedelta(days=days))
        kept = Journal(database)
        with contextlib.closing(cache):
            return (await kept(a_run(), lambda run: cache(run, answers))).source

    async def main() -> None:
        sources = [await asked_after(days) for days in (0, 0, 29.9, 30.1)]
        assert sources == ["live", "cache", "cache", "live"]

    asyncio.run(main())
    database.close()


def a_run() -> Run:
    return Run(Execution("x"), PRICED, ignore)


async def ignore(_: Event) -> None:
    pass


async def answers(run: Run) -> Result:
    return run.result("ok", cost=Cost(Decimal("0.01")))


def test_no_store(tmp_path: Path) -> None:
    """A journal that cannot be read has no answers, and stops nobody."""
    (tmp_path / "file").touch()
    database = Database(tmp_path / "file" / "s.sqlite", limit=1 << 20)

    assert asyncio.run(Cache(Answers(database.path), Sharing("always"))(a_run(), answers)).source == "live"
    database.close()


def test_kept_before_there_was_a_cache() -> None:
    """A Result that was kept without `avoided` can still be read."""
    content = json.loads(journal.encode(Result("run_1", cost=Cost(Decimal(1)))))
    del content["cost"]["avoided"]

    assert journal.decode(json.dumps(content)).cost == Cost(Decimal(1))
