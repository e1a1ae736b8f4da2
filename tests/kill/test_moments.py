"""Killed at the moments that matter: what was billed is in the ledger, what was not sent is not billed."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ipy_codeinterp.session import Session
from tests.test_engine import At, rows, served, settings_in

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.test_engine import At, settings_in
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.session import Session
from ipy_codeinterp.store import journal, ledger, schema

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def then_die(work):
    def both(*args, **how):
        work(*args, **how)
        die()
    return both

folder, url, moment = sys.argv[1:]
if moment == "the first write":
    schema.migrate = then_die(schema.migrate)
elif moment == "noted, not committed":
    ledger.reserve = then_die(ledger.reserve)
elif moment == "noted, not sent":
    Transport.send = die
elif moment == "answered, not settled":
    ledger.settle = die
elif moment == "settled, not committed":
    ledger.settle = then_die(ledger.settle)
elif moment == "settled, not kept":
    journal.insert = die

async def main():
    async with Session(settings_in(Path(folder)), providers=[At(url)]) as session:
        await session.execute("print(1)", model="claude@scripted")

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "states", "bills"),
    [
        ("the first write", [[]], 0),
        ("noted, not committed", [[]], 0),
        ("noted, not sent", [["unknown"]], 0),
        ("answered, not settled", [["unknown"]], 1),
        ("settled, not committed", [["unknown"]], 1),
        ("settled, not kept", [["unknown"], ["settled"]], 1),  # one transaction may have held both
    ],
)
def test_killed_between(tmp_path: Path, moment: str, states: list[list[str]], bills: int) -> None:
    """What is in the ledger then is what can be known; the next session finds the file whole, and settles its own."""
    with served() as (provider, url):
        command = [sys.executable, "-c", KILLED, str(tmp_path), url, moment]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        billed = {each.attempt_id for each in provider.bill}
        with Session(settings_in(tmp_path), providers=[At(url)]) as session:
            assert session.run("print(2)", model="claude@scripted").ok

    *found, last = rows(tmp_path)
    assert len(billed) == bills and billed <= {row["id"] for row in found}
    assert last["state"] == "settled"
    assert [row["state"] for row in found] in states
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
