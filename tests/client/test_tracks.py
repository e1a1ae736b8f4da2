"""What the router knows of offers: read once in a while, for all who ask, and nothing where it cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.client import tracks
from ipy_codeinterp.client.tracks import AGE, Tracks
from ipy_codeinterp.execution import Cost
from ipy_codeinterp.store import ledger
from ipy_codeinterp.store.database import connect
from ipy_codeinterp.store.ledger import Attempt

OFFER, OTHER = (Offer(name, "scripted", 60.0, 1 << 30) for name in ("claude", "other"))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def note(path: Path, number: int, model: str = "claude") -> None:
    """A call that went well and cost a cent."""
    attempt = Attempt(f"att_{number}", f"run_{number}", "scripted", model, datetime.now(UTC))
    with contextlib.closing(connect(path, limit=1 << 24)) as connection:
        ledger.reserve(connection, attempt)
        ledger.settle(connection, attempt.settled(outcome="ok", seconds=1.0, cost=Cost(Decimal("0.01"))))


def test_known_for_a_while(tmp_path: Path) -> None:
    """Within its age a track is what was read; after that it is read again."""

    async def main() -> list[int]:
        clock = Clock()
        known, path = Tracks(tmp_path / "s.sqlite", clock=clock), tmp_path / "s.sqlite"
        calls = []
        for number, later in enumerate((0.0, AGE / 2, AGE)):
            note(path, number)
            clock.now += later
            calls.append((await known([OFFER]))[str(OFFER)].calls)
        return calls

    assert asyncio.run(main()) == [1, 1, 3]


def test_each_offer_has_its_own_age(tmp_path: Path) -> None:
    """An offer that was never asked for is read, whatever is known of others."""

    async def main() -> dict[str, int]:
        known = Tracks(tmp_path / "s.sqlite", clock=Clock())
        note(tmp_path / "s.sqlite", 1)
        await known([OFFER])
        note(tmp_path / "s.sqlite", 2)
        note(tmp_path / "s.sqlite", 3, "other")
        return {name: each.calls for name, each in (await known([OFFER, OTHER])).items()}

    assert asyncio.run(main()) == {str(OFFER): 1, str(OTHER): 1}


def test_read_once_for_all_who_ask_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty who ask at the same moment are one reading of the ledger."""
    note(tmp_path / "s.sqlite", 1)
    readings = []
    reading = tracks.reading
    monkeypatch.setattr(tracks, "reading", lambda path: readings.append(path) or reading(path))

    async def main() -> None:
        known = Tracks(tmp_path / "s.sqlite", clock=Clock())
        await asyncio.gather(*(known([OFFER]) for _ in range(50)))

    asyncio.run(main())
    assert len(readings) == 1


@pytest.mark.parametrize("corrupt", [False, True], ids=["none", "corrupt"])
def test_without_a_ledger(tmp_path: Path, corrupt: bool) -> None:
    """Where there is no ledger, or one that cannot be read, nothing is known and nothing fails."""
    path = tmp_path / "s.sqlite"
    if corrupt:
        path.write_bytes(b"nothing that we wrote" * 100)
    assert asyncio.run(Tracks(path)([OFFER])) == {}
