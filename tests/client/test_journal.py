"""The journal in the chain: what came of a run is kept before anybody is told, and a full disk costs a notice."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.journal import Journal
from ipy_codeinterp.dialects.messages import encode_error
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import Event, Execution, Notice, Phase, Result, Stream
from ipy_codeinterp.store.database import Database

from .provider import Provider, hang_up, lab, refuses, runs, says

SMALL = 200_000  # bytes a store may take: room for its tables and little else
MUCH = "x" * 200_000


def test_kept_before_told(tmp_path: Path) -> None:
    """When a run returns, its Result is in the journal, as another process sees it."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            for i in range(5):
                result = await bench.run(f"print({i})")
                assert bench.kept()[-1] == result

    asyncio.run(main())


def test_kept_by_key(tmp_path: Path) -> None:
    """A Result is found by the key of what was asked."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            await bench.run("print(1)", timeout=5.0)
            (row,) = bench.rows("results")
            assert row["key"] == Execution("print(1)", timeout=5.0).key

    asyncio.run(main())


def test_cancelled(tmp_path: Path) -> None:
    """A cancelled run leaves a `cancelled` Result with what it had printed, and a settled attempt."""

    async def main() -> None:
        provider = Provider(runs(Stream("stdout", "so far\n"), until=asyncio.Event()))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            running = bench.start()
            while not bench.said(Stream):
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

            (result,) = bench.kept()
            (attempt,) = bench.attempts
            assert (result.outcome, result.stdout, result.isolation) == ("cancelled", "so far\n", "bubblewrap")
            assert (result.steps[0].outcome_source, attempt.outcome) == ("inferred", "cancelled")
            await bench.settle()
            assert [(row["state"], row["outcome"]) for row in bench.rows("attempts")] == [("settled", "cancelled")]

    asyncio.run(main())


def test_cancelled_before_the_reply(tmp_path: Path) -> None:
    """A run that is cancelled before its reply began leaves a Result that has nothing in it."""

    async def main() -> None:
        never = asyncio.Event()

        async def silent(request: object, asked: object) -> None:
            await never.wait()

        provider = Provider(silent)  # type: ignore[arg-type]
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            running = bench.start()
            await provider.has(1)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

            (result,) = bench.kept()
            assert (result.outcome, result.parts) == ("cancelled", ())

    asyncio.run(main())


def test_cancelled_again_and_again(tmp_path: Path) -> None:
    """An impatient user loses nothing: further runs work, and all are kept."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            for steps in range(30):
                running = bench.start(f"print({steps})")
                for _ in range(steps):
                    await asyncio.sleep(0)
                running.cancel()
                running.cancel()
                await asyncio.wait([running])
            assert (await asyncio.wait_for(bench.run("last"), 10)).stdout == "last"
            assert bench.kept()[-1].stdout == "last"

    asyncio.run(main())


def test_cancelled_while_it_is_kept(tmp_path: Path) -> None:
    """A run that is cancelled while its Result is being written is kept, and the store lives on."""
    database = Database(tmp_path / "s.sqlite", limit=1 << 20)
    run = Run(Execution("x"), catalog.find("claude"), ignore)

    async def handler(run: Run) -> Result:
        running.cancel()  # takes effect at the next await: that of the store
        return run.result("ok")

    async def main() -> None:
        nonlocal running
        running = asyncio.create_task(Journal(database)(run, handler))
        await asyncio.wait([running])
        assert running.cancelled()
        await asyncio.wait_for(Journal(database)(Run(Execution("y"), catalog.find("claude"), ignore), replies), 10)

    running: asyncio.Task[Result]
    asyncio.run(main())
    database.close()
    with sqlite3.connect(database.path) as connection:
        kept = connection.execute("SELECT id, outcome FROM results ORDER BY rowid").fetchall()
    connection.close()
    assert kept[0] == (run.id, "ok")
    assert len(kept) == 2


async def ignore(_: Event) -> None:
    pass


async def replies(run: Run) -> Result:
    return run.result("ok")


@pytest.mark.parametrize("after_start", [False, True], ids=["refused", "cut short"])
def test_failed(tmp_path: Path, after_start: bool) -> None:
    """A run that fails is kept as `unknown`, with a step only if a reply had begun, and its error goes on upward."""
    refused = refuses(400, encode_error("invalid_request_error", "no", "req_1"))

    async def main() -> None:
        async with lab(Provider(says(then=hang_up) if after_start else refused), tmp_path / "s.sqlite") as bench:
            with pytest.raises(Exception) as caught:
                await bench.run()
            (result,) = bench.kept()
            assert isinstance(caught.value, Rejected) is not after_start
            assert result.outcome == "unknown"
            assert len(result.steps) == after_start

    asyncio.run(main())


def test_full_disk(tmp_path: Path) -> None:
    """When the disk is full the run goes on, nothing is raised, and the user is told once."""

    async def main() -> None:
        provider = Provider(*[runs(Stream("stdout", MUCH)) for _ in range(3)])
        async with lab(provider, tmp_path / "s.sqlite", limit=SMALL) as bench:
            results = [await bench.run() for _ in range(3)]

            assert [result.stdout for result in results] == [MUCH] * 3
            (notice,) = bench.said(Notice)
            assert "results are not being kept" in notice.text
            assert "IPY_CODEINTERP_DATA_DIR" in notice.text

    asyncio.run(main())


def test_room_again(tmp_path: Path) -> None:
    """When results are kept again, the next failure is told again."""

    async def main() -> None:
        provider = Provider(runs(Stream("stdout", MUCH)), runs(), runs(Stream("stdout", MUCH)))
        async with lab(provider, tmp_path / "s.sqlite", limit=SMALL) as bench:
            for _ in range(3):
                await bench.run()
            assert len(bench.said(Notice)) == 2
            assert [result.stdout for result in bench.kept()] == ["x"]

    asyncio.run(main())


@pytest.mark.parametrize("corrupt", [False, True], ids=["newer", "corrupt"])
def test_store_of_others(tmp_path: Path, corrupt: bool) -> None:
    """A store that is not ours to write costs a notice, and is not touched."""
    path = tmp_path / "s.sqlite"
    if corrupt:
        path.write_bytes(b"not a database" * 1000)
    else:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    before = path.read_bytes()

    async def main() -> list[Event]:
        async with lab(Provider(), path) as bench:
            for _ in range(2):
                assert (await bench.run("print(1)")).stdout == "print(1)"
            return bench.events

    events = asyncio.run(main())
    assert len([event for event in events if isinstance(event, Notice)]) == 1
    assert Phase("running") in events
    assert path.read_bytes() == before
