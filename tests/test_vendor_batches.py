"""Vendors' own batches: half the price, gathered, fetched in any order, and billed once whenever a process ends."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.batch import Batches
from ipy_codeinterp.batch.courier import Times
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.errors import BatchCancelled, BatchExpired, BatchFailed, NotAllowed
from ipy_codeinterp.session import Session
from ipy_codeinterp.store.batches import MAY_HAVE_RUN
from ipy_codeinterp.testing import batches as vendor
from ipy_codeinterp.testing.batches import ScriptedBatches
from tests.test_engine import rows, settings_in

CLAUDE = "claude@scripted"
FAST = Times(gather=0.05, gather_most=0.5, first=0.02, most=0.05, arrives=0.3, rest=0.05)
HALF, WHOLE = Decimal("0.00225"), Decimal("0.0045")  # USD of what the vendor counts


class At:
    """The vendor, as another process knows it."""

    name = "scripted"

    def __init__(self, url: str) -> None:
        self._url = url
        self.offers = {"claude": vendor.offer()}

    def endpoint(self) -> Endpoint:
        return Endpoint(self._url, vendor.TOKEN, ours=False, provider=self.name)


def session_in(folder: Path, provider: Any, times: Times = FAST, **changes: Any) -> Session:
    session = Session(settings_in(folder, **changes), providers=[provider])
    session.batch_times = times
    return session


def until(condition: Callable[[], object]) -> None:
    time_out = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < time_out
        time.sleep(0.01)


def ledger(folder: Path) -> list[tuple[str, int | None, int]]:
    """State, nano-dollars that were billed, and what is held, of each attempt."""
    return [(row["state"], row["billed"], row["held"]) for row in rows(folder)]


def test_together_for_half(tmp_path: Path) -> None:
    """Several that wait are one batch of the vendor's; each Result is kept, costs half, and is billed once."""
    with ScriptedBatches(looks=3) as there, session_in(tmp_path, there) as session:
        ids = [session.batch(f"print({number})", model=CLAUDE, labels={"task": "x"}) for number in range(5)]
        ended = session.batches.wait(ids)
        results = [session.batches.collect(id) for id in ids]

    assert [each.state for each in ended] == ["done"] * 5
    assert [result.stdout for result in results] == [f"print({number})" for number in range(5)]
    assert [(result.cost.billed, result.cost.listed) for result in results] == [(HALF, WHOLE)] * 5
    assert [list(made.requests) for made in there.made.values()] == [ids]
    assert all("stream" not in params for made in there.made.values() for params in made.requests.values())
    assert ledger(tmp_path) == [("settled", int(HALF * 10**9), 0)] * 5
    assert there.billed == 5 * HALF


def test_said_before(tmp_path: Path) -> None:
    """Who puts something aside is told where it goes and what it may cost at most, beside the price of now."""
    with ScriptedBatches() as there, session_in(tmp_path, there, Times(gather=60, gather_most=60)) as session:
        said = session.words_of_batch(session.batch("print(1)", model=CLAUDE))

    half, whole = (Decimal(word.strip("$(),")) for word in said.split() if "$" in word)
    assert "scripted's batches" in said
    assert whole == pytest.approx(2 * half, abs=Decimal("0.0002"))


def test_own(tmp_path: Path) -> None:
    """With `batches = own` it is run from here, at the price of an ordinary call."""
    with ScriptedBatches() as there, session_in(tmp_path, there, batches="own") as session:
        id = session.batch("print(1)", model=CLAUDE)
        session.batches.wait([id])

        assert session.words_of_batch(id) == f"{id} is put aside"
    assert not there.made
    assert len(there.asked) == 1


@pytest.mark.parametrize(
    ("outcome", "state", "error", "words"),
    [
        (vendor.errored, "failed", BatchFailed, "Rejected: says the script"),
        (vendor.expired, "expired", BatchExpired, "not billed"),
    ],
)
def test_ends_without_a_result(tmp_path: Path, outcome: Any, state: str, error: type[Exception], words: str) -> None:
    """What the vendor could not do, or did not come to, is told apart by type, and costs nothing."""
    with ScriptedBatches(outcome) as there, session_in(tmp_path, there) as session:
        id = session.batch("print(1)", model=CLAUDE)
        (ended,) = session.batches.wait([id])

        assert ended.state == state
        with pytest.raises(error, match=words):
            session.batches.collect(id)
    assert ledger(tmp_path) == [("settled", 0, 0)]


@pytest.mark.parametrize(
    "result",
    [
        {"type": "succeeded", "message": {"content": "none"}},
        {"type": "succeeded", "message": {}},
        {"type": "of a later year"},
        {"type": ["succeeded"]},
    ],
)
def test_what_is_no_reply(tmp_path: Path, result: Any) -> None:
    """A result that cannot be read is the end of that one, and its cost is unknown; the others are not touched."""

    def outcome(custom_id: str, params: Any) -> Any:
        return result if "print(0)" in str(params) else vendor.succeeded(custom_id, params)

    with ScriptedBatches(outcome) as there, session_in(tmp_path, there) as session:
        ids = [session.batch(f"print({number})", model=CLAUDE) for number in range(2)]
        ended = session.batches.wait(ids)

    assert [each.state for each in ended] == ["failed", "done"]
    assert [state for state, _, _ in ledger(tmp_path)] == ["unknown", "settled"]


def test_a_request_without_a_result(tmp_path: Path) -> None:
    """What the results leave out has failed, says that it may have been billed, and is held against the budget."""
    with ScriptedBatches(looks=10**6) as there, session_in(tmp_path, there, budget=Decimal(1)) as session:
        id = session.batch("print(1)", model=CLAUDE)
        until(lambda: there.made)
        there.made["msgbatch_0"].has_ended = True
        (ended,) = session.batches.wait([id])

    assert (ended.state, MAY_HAVE_RUN in (ended.error or "")) == ("failed", True)
    ((state, billed, held),) = ledger(tmp_path)
    assert (state, billed) == ("unknown", None)
    assert held > 0


# --- paused ---------------------------------------------------------------------------------------


def test_paused_and_continued(tmp_path: Path) -> None:
    """What was paused is continued by an ordinary call: one Result, and the ledger has both prices."""
    with ScriptedBatches(vendor.paused) as there, session_in(tmp_path, there) as session:
        id = session.batch("print(1)", model=CLAUDE)
        session.batches.wait([id])
        result = session.batches.collect(id)

    assert (result.stdout, result.text) == ("print(1)", "and that is all")
    assert result.cost.billed == HALF + WHOLE == there.billed
    assert [billed for _, billed, _ in ledger(tmp_path)] == [int(HALF * 10**9), int(WHOLE * 10**9)]
    assert there.asked[0]["messages"][1]["role"] == "assistant"


def test_paused_and_not_affordable(tmp_path: Path) -> None:
    """Where the budget does not allow the rest, what was paid for is kept, with a word on why it ends there."""
    with ScriptedBatches(vendor.paused) as there, session_in(tmp_path, there, budget=Decimal("0.08")) as session:
        id = session.batch("print(1)", model=CLAUDE)
        (ended,) = session.batches.wait([id])
        result = session.batches.collect(id)

    assert (result.stdout, result.cost.billed) == ("print(1)", HALF)
    assert "paused" in (ended.error or "")
    assert "is left of the session's" in (ended.error or "")
    assert not there.asked


# --- money ----------------------------------------------------------------------------------------


def test_held_until_it_ends(tmp_path: Path) -> None:
    """What it may cost, at the price of a batch, is held while the vendor has it; a second one finds no room."""
    with ScriptedBatches(looks=10**6) as there, session_in(tmp_path, there, budget=Decimal("0.08")) as session:
        session.batch("print(1)", model=CLAUDE)
        until(lambda: there.made)
        second = session.batch("print(2)", model=CLAUDE)
        until(lambda: session.batches.find(second).error)

        assert "OverBudget" in (session.batches.find(second).error or "")
        ((state, _, held),) = ledger(tmp_path)
        assert state == "reserved"
        assert Decimal(held) / 10**9 < Decimal("0.08")
        assert len(there.made) == 1


def test_never_affordable(tmp_path: Path) -> None:
    """What could never be sent for its `max_cost`, also at half the price, is refused at once."""
    with ScriptedBatches() as there, session_in(tmp_path, there) as session:
        with pytest.raises(NotAllowed):
            session.batch("print(1)", model=CLAUDE, max_cost=0.001)
        assert session.batches.all() == []


# --- cancelled ------------------------------------------------------------------------------------


def test_cancelled_at_the_vendor(tmp_path: Path) -> None:
    """The vendor is asked to cancel when nobody wants any of it; what it did not do by then costs nothing."""
    with ScriptedBatches(looks=10**6) as there, session_in(tmp_path, there) as session:
        ids = [session.batch(f"print({number})", model=CLAUDE) for number in range(2)]
        until(lambda: there.made and session.batches.find(ids[1]).state == "sent")
        assert "at its vendor" in session.batches.cancel(ids[0])
        time.sleep(0.2)
        assert not there.made["msgbatch_0"].is_cancelled
        session.batches.cancel(ids[1])
        ended = session.batches.wait(ids)

        assert [each.state for each in ended] == ["cancelled"] * 2
        with pytest.raises(BatchCancelled):
            session.batches.collect(ids[0])
    assert there.made["msgbatch_0"].is_cancelled
    assert ledger(tmp_path) == [("settled", 0, 0)] * 2


def test_too_late_to_cancel(tmp_path: Path) -> None:
    """What was done before the vendor heard is there, and was paid for."""
    with ScriptedBatches(looks=10**6) as there, session_in(tmp_path, there) as session:
        id = session.batch("print(1)", model=CLAUDE)
        until(lambda: session.batches.find(id).state == "sent")
        there.looks = 0
        with contextlib.suppress(Exception):
            session.batches.cancel(id)
        (ended,) = session.batches.wait([id])
        assert (ended.state, session.batches.collect(id).stdout) == ("done", "print(1)")


# --- lost and found -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["request", "answer"])
def test_a_lost_connection(tmp_path: Path, loss: Any) -> None:
    """Where nobody knows whether it arrived, the vendor's list decides: fetched, or sent again; one bill."""
    with ScriptedBatches(losses=[loss], looks=2) as there, session_in(tmp_path, there) as session:
        ids = [session.batch(f"print({number})", model=CLAUDE) for number in range(3)]
        session.batches.wait(ids)
        found = [session.batches.collect(id).stdout for id in ids]

    assert found == [f"print({number})" for number in range(3)]
    assert len(there.made) == 1
    assert Counter(each.attempt_id for each in there.bill) == dict.fromkeys(ids, 1)
    assert sum(billed or 0 for _, billed, _ in ledger(tmp_path)) == there.billed * 10**9


def test_others_of_that_account(tmp_path: Path) -> None:
    """Batches of somebody else, as large and as young, are not taken for ours; one still under way is waited for."""
    with (
        ScriptedBatches(losses=["", "request"], looks=40) as there,
        session_in(tmp_path / "other", there) as other,
        session_in(tmp_path / "mine", there) as session,
    ):
        other.batch("print(1)", model=CLAUDE)
        until(lambda: there.made)
        id = session.batch("print(2)", model=CLAUDE)
        session.batches.wait([id])

        assert session.batches.collect(id).stdout == "print(2)"
    assert there.made["msgbatch_0"].has_ended
    assert len(there.made) == 2


def test_another_session_fetches(tmp_path: Path) -> None:
    """What a closed session has sent, the next one fetches, and sends nothing."""
    with ScriptedBatches(looks=10**6) as there:
        with session_in(tmp_path, there) as session:
            id = session.batch("print(1)", model=CLAUDE)
            until(lambda: session.batches.find(id).state == "sent" and there.made)
        there.looks = 0
        with session_in(tmp_path, there) as session:
            assert session.batches.find(id).state == "sent"
            session.batches.wait([id])
            assert session.batches.collect(id).stdout == "print(1)"
    assert len(there.made) == 1
    assert ledger(tmp_path) == [("settled", int(HALF * 10**9), 0)]


def test_sent_when_it_closes(tmp_path: Path) -> None:
    """A session that closes gives what it has gathered to the vendor first."""
    with ScriptedBatches() as there:
        with session_in(tmp_path, there, Times(gather=60, gather_most=60)) as session:
            session.batch("print(1)", model=CLAUDE)
            time.sleep(0.2)
            assert not there.made
        assert len(there.made) == 1


KILLED = """
import sys, time
from pathlib import Path
from tests.test_vendor_batches import At, CLAUDE, session_in
from ipy_codeinterp.store import sendings

def die(*_, **__):
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] != "never":
    setattr(sendings, sys.argv[3], die)
with session_in(Path(sys.argv[1]), At(sys.argv[2])) as session:
    for number in range(3):
        print(session.batch(f"print({number})", model=CLAUDE), flush=True)
    session.batches.wait()
"""


@pytest.mark.parametrize("moment", ["begin", "arrived", "land", "close"])
def test_killed(tmp_path: Path, moment: str) -> None:
    """Killed before it notes that it sends, that it sent, what came, or the end: sent once, one bill, every Result."""
    with ScriptedBatches(looks=2) as there:
        command = [sys.executable, "-c", KILLED, str(tmp_path), there.base_url, moment]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], timeout=60)
        assert done.returncode == -signal.SIGKILL
        with session_in(tmp_path, there) as session:
            found = session.batches.wait()
            results = [session.batches.collect(each.id).stdout for each in found]

    ids = done.stdout.split()
    assert set(ids) <= {each.id for each in found}
    assert results == [f"print({number})" for number in range(3)][: len(found)]
    assert Counter(id for made in there.made.values() for id in made.requests) == {each.id: 1 for each in found}
    assert Counter(each.attempt_id for each in there.bill) == {each.id: 1 for each in found}
    assert sum(billed or 0 for _, billed, _ in ledger(tmp_path)) == there.billed * 10**9
    assert sums(tmp_path)["held"] == 0


def sums(folder: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        spent, held = connection.execute("SELECT SUM(spent), SUM(held) FROM budgets").fetchone()
    return {"spent": spent or 0, "held": held or 0}


def test_not_the_key_elsewhere(tmp_path: Path) -> None:
    """Results are fetched at the base URL, whatever address a batch gives: a key is not sent where a reply says."""
    with ScriptedBatches() as there, session_in(tmp_path, there) as session:
        there.results_at = "https://example.invalid/results"
        id = session.batch("print(1)", model=CLAUDE)
        session.batches.wait([id])
        assert session.batches.collect(id).ok


def test_no_price_any_more(tmp_path: Path) -> None:
    """Where the price of batches is gone when its turn comes, it is not sent."""
    later = replace(FAST, gather=1.0, gather_most=6.0)
    with ScriptedBatches() as there, session_in(tmp_path, there, later) as session:
        id = session.batch("print(1)", model=CLAUDE)
        there.offers["claude"] = replace(there.offers["claude"], batch_price=None)
        session.settings = replace(session.settings)
        (ended,) = session.batches.wait([id])

    assert (ended.state, there.made) == ("failed", {})
    assert "no price for batches" in (ended.error or "")


@pytest.mark.parametrize(("offer", "expected"), [("claude@anthropic", True), ("gpt@openai", False), ("local", False)])
def test_who_has_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offer: str, expected: bool) -> None:
    """Anthropic's models go to its batches; those of a vendor of which it is not known that code runs there do not."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-planted-0123456789abcdef")
    monkeypatch.setattr(Batches, "start", lambda self: None)  # nothing is sent
    with Session(settings_in(tmp_path, budget=Decimal(1))) as session:
        id = session.batch("print(1)", model=offer)

        assert session.batches.find(id).by_vendor is expected
        assert ("anthropic's batches" in session.words_of_batch(id)) is expected


def test_recorded_here(tmp_path: Path) -> None:
    """What is to be recorded is run from here: only what passes here can be."""
    with ScriptedBatches() as there, session_in(tmp_path, there, record=tmp_path / "record") as session:
        id = session.batch("print(1)", model=CLAUDE)
        session.batches.wait([id])

    assert (there.made, len(there.asked)) == ({}, 1)
