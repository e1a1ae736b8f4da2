"""The row of limits: what it lets through and when, who comes next, what a provider may correct, and how it is kept."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from ipy_codeinterp.store import limits, owners
from ipy_codeinterp.store.database import connect, transaction
from ipy_codeinterp.store.limits import Grant, Meter, Row, Spent, Stated

TABLE = limits.SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from ipy_codeinterp.catalog import Limits, Offer
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.limit import Limit
from ipy_codeinterp.execution import Execution, Usage
from ipy_codeinterp.store import limits
from ipy_codeinterp.store.database import Database

path, bounds, count, takes = Path(sys.argv[1]), Limits(**json.loads(sys.argv[2])), int(sys.argv[3]), float(sys.argv[4])

async def ignore(event):
    pass

async def handler(run):
    print(limits.clock(), flush=True)
    await asyncio.sleep(takes)
    return run.result("ok", usage=Usage(0, 100))

async def main():
    limit = Limit(database)
    offer = Offer("m", "p", 60.0, 1 << 30, most_tokens=100, limits=bounds)
    await asyncio.gather(*(limit(Run(Execution("x"), offer, ignore), handler) for _ in range(count)))
    await limit.close()

database = Database(path, limit=1 << 24)
asyncio.run(main())
database.close()
"""


@dataclass(frozen=True)
class Bounds:
    concurrency: int | None = None
    requests: int | None = None
    tokens: int | None = None
    window: float = 60.0


Step = tuple[float, list[int], int, float | None]


def everyone_lives(owner: str) -> bool:
    return True


def asked(row: Row, bounds: Bounds, now: float, *wanted: int, owner: str = "a") -> limits.Answer:
    row.prune(now)
    return limits.ask(row, bounds, owner, wanted, now, everyone_lives)


# --- how much -------------------------------------------------------------------------------------


STEPS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from((0.0, 0.01, 0.09, 0.1, 1.0, 9.9, 12.0)),  # seconds before it
        strategies.lists(strategies.integers(1, 400), max_size=8),  # what is asked for
        strategies.integers(0, 7),  # how many are settled then
        strategies.sampled_from((0.0, 0.1, 1.0, None)),  # with what share of their worst case; None was not sent
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, requests=strategies.integers(1, 50), tokens=strategies.sampled_from((None, 400, 3000)))
def test_no_window_is_over(steps: list[Step], requests: int, tokens: int | None) -> None:
    """D30, D31, D34: whatever is asked and settled, no window holds more than the limit, and nothing is held after."""
    bounds = Bounds(concurrency=9, requests=requests, tokens=tokens, window=10.0)
    row, now, held, sent = Row(10.0), 1000.0, deque[Grant](), list[tuple[float, Spent]]()
    for gap, wanted, ends, share in [*steps, (0.0, [], 9, 1.0)]:
        now += gap
        held += asked(row, bounds, now, *wanted).grants
        assert len(held) == len(row.running) <= 9
        for grant in [held.popleft() for _ in range(min(ends, len(held)))]:
            spent = Spent() if share is None else Spent(1, int(grant.tokens * share))
            limits.settle(row, bounds, grant, spent, Stated(), now)
            sent.append((grant.at, spent))
        assert all(count >= 0 for counts in row.slots.values() for count in counts)
    assert row.running == {}
    for at, _ in sent:
        inside = [spent for other, spent in sent if at <= other < at + 10.0]
        assert sum(spent.requests for spent in inside) <= requests
        assert tokens is None or sum(spent.tokens for spent in inside) <= tokens


def test_both_or_none() -> None:
    """D30: a request needs room in both limits; where one has none, nothing is taken from the other."""
    row, bounds = Row(60.0), Bounds(requests=1000, tokens=100)
    asked(row, bounds, 0.0, 80)

    answer = asked(row, bounds, 0.0, 30)

    assert (answer.grants, answer.for_time) == ((), True)
    assert (row.used(0), row.used(1)) == (1, 80)


def test_exact_wait() -> None:
    """D32: what is told to wait can go after exactly that time, and not before."""
    row, bounds = Row(60.0), Bounds(tokens=100)
    asked(row, bounds, 5.0, 80)
    wait = asked(row, bounds, 20.0, 30).wait
    assert wait is not None

    assert asked(row, bounds, 20.0 + wait - 0.01, 30).grants == ()
    assert len(asked(row, bounds, 20.0 + wait, 30).grants) == 1
    assert 60.0 <= 20.0 + wait - 5.0 <= 60.0 * limits.SPAN / limits.SLOTS


def test_whole_limit() -> None:
    """D33: a request as large as the limit goes as soon as nothing else counts."""
    row, bounds = Row(60.0), Bounds(tokens=100)
    asked(row, bounds, 0.0, 1)

    wait = asked(row, bounds, 0.0, 100).wait

    assert wait is not None
    assert len(asked(row, bounds, wait, 100).grants) == 1


def test_settled_too_late() -> None:
    """D34: what is settled after its window changes nothing that still counts."""
    row, bounds = Row(60.0), Bounds(tokens=100)
    (old,) = asked(row, bounds, 0.0, 100).grants
    asked(row, bounds, 100.0, 70)

    limits.settle(row, bounds, old, Spent(), Stated(), 100.0)

    assert row.used(1) == 70


# --- who comes next -------------------------------------------------------------------------------


def test_line() -> None:
    """D35, D42: between owners the first in line is next, one at a time, also where a later one would fit."""
    row, bounds = Row(60.0), Bounds(tokens=100)
    asked(row, bounds, 0.0, 50)

    assert asked(row, bounds, 1.0, 60, owner="large").grants == ()
    assert asked(row, bounds, 2.0, 1, 1, owner="small").grants == ()
    assert len(asked(row, bounds, 61.2, 60, owner="large").grants) == 1
    assert len(asked(row, bounds, 61.2, 1, 1, owner="small").grants) == 2
    assert row.line == []


def test_who_does_not_come() -> None:
    """D42: a place in the line is kept a little longer than its time, then the next one's turn has come."""
    row, bounds = Row(60.0), Bounds(concurrency=5, requests=600)
    row.line = [limits.Place("stopped", 10, 5.0)]

    assert asked(row, bounds, 5.0 + limits.GRACE, 1).grants == ()
    assert len(asked(row, bounds, 5.0 + limits.GRACE + 0.1, 1).grants) == 1


def test_who_has_died() -> None:
    """D42: the dead lose their place in the line and their places among the running, and nothing else changes."""
    row, bounds = Row(60.0), Bounds(concurrency=2)
    for _ in range(2):
        asked(row, bounds, 0.0, 1, owner="dead")
    asked(row, bounds, 0.0, 1, owner="dead")
    assert (len(row.running), len(row.line)) == (2, 1)

    answer = limits.ask(row, bounds, "a", [1], 0.1, lambda owner: owner != "dead")

    assert list(row.running.values()) == ["a"]
    assert (len(answer.grants), row.line, row.used(0)) == (1, [], 3)


def test_places_and_time_together() -> None:
    """D27, D28: who has no place takes no time, and who must wait for time takes no place."""
    row, bounds = Row(60.0), Bounds(concurrency=1, requests=1)
    (first,) = asked(row, bounds, 0.0, 1).grants

    no_time = asked(row, bounds, 1.0, 1, owner="b")
    no_place = asked(row, bounds, 70.0, 1, owner="b")

    assert (no_time.for_time, no_place.for_time) == (True, False)
    assert (list(row.running), row.used(0)) == ([first.id], 0)


def test_alive() -> None:
    """D42: this process lives, one that has ended does not, and a number that was given anew is another process."""
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()

    assert owners.is_alive(owners.this_process() + "/x")
    assert not owners.is_alive(f"{ended.pid}:1")
    assert not owners.is_alive(owners.this_process().partition(":")[0] + ":1")
    assert not owners.is_alive("")


# --- what a provider says -------------------------------------------------------------------------

ROOMY = Bounds(requests=100, tokens=10_000)


def test_lower_limit() -> None:
    """A lower limit than ours holds from then on, until a window has passed without anybody saying so."""
    row = limits.corrected(Row(60.0), ROOMY, Stated(Meter(limit=10)), 0.0)

    assert row.limits(ROOMY, 59.0) == (10, 10_000)
    assert row.limits(ROOMY, 60.0) == (100, 10_000)


def test_only_downwards() -> None:
    """A provider that says there is more than we know changes nothing."""
    row = Row(60.0)
    asked(row, ROOMY, 0.0, *[100] * 5)

    better = limits.corrected(row, ROOMY, Stated(Meter(500, 499, 1.0), Meter(90_000, 90_000, 1.0)), 1.0)

    assert (better.slots, better.limits(ROOMY, 1.0)) == (row.slots, (100, 10_000))


def test_others_use_it_too() -> None:
    """D42: what is missing by the provider's count counts until its own count is at rest again; the input stays."""
    row = Row(60.0)
    asked(row, ROOMY, 0.0, 1000)

    better = limits.corrected(row, ROOMY, Stated(tokens=Meter(10_000, 2000, 30.0)), 0.0)

    assert (row.used(1), better.used(1)) == (1000, 8000)
    assert limits.corrected(better, ROOMY, Stated(tokens=Meter(10_000, 2000, 30.0)), 0.0).slots == better.slots
    better.prune(30.0)
    assert better.used(1) == 8000
    better.prune(32.0)
    assert better.used(1) == 1000


def test_pause() -> None:
    """A provider that wants a pause gets it, but never a longer one than a window."""
    row = limits.corrected(Row(60.0), ROOMY, Stated(closed_for=5.0), 10.0)
    long = limits.corrected(Row(60.0), ROOMY, Stated(closed_for=86400.0), 10.0)

    assert asked(row, ROOMY, 11.0, 1).wait == 4.0
    assert asked(long, ROOMY, 11.0, 1).wait == 59.0


def test_smaller_than_a_request() -> None:
    """D33: where a provider states a limit below one request, it goes when nothing else counts: never a deadlock."""
    row = limits.corrected(Row(60.0), ROOMY, Stated(tokens=Meter(limit=500)), 0.0)

    assert len(asked(row, ROOMY, 0.0, 800).grants) == 1
    wait = asked(row, ROOMY, 1.0, 800).wait
    assert wait is not None
    assert wait < 65


# --- how it is kept -------------------------------------------------------------------------------


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "limits.sqlite", isolation_level=None)) as opened:
        opened.executescript(TABLE)
        yield opened


def kept(connection: sqlite3.Connection, now: float, window: float = 60.0) -> Row:
    return limits.change(connection, "p", "m", window, lambda row, now: None, lambda: now)[1]


def grant_at(connection: sqlite3.Connection, now: float, tokens: int = 5, window: float = 60.0) -> Grant:
    bounds = Bounds(concurrency=9, requests=100, tokens=1000, window=window)
    answer, _ = limits.change(connection, "p", "m", window, lambda row, at: asked(row, bounds, at, tokens), lambda: now)
    return answer.grants[0]


def test_kept(connection: sqlite3.Connection) -> None:
    """A row is the same when it is read again; each account and model has its own."""
    grant_at(connection, 7.0)
    first = kept(connection, 8.0)
    first.line = [limits.Place("a", 1, 2.0)]

    assert limits.decode(limits.encode(first), 60.0, 8.0) == first
    assert limits.change(connection, "p", "other", 60.0, lambda row, now: row.slots, lambda: 8.0)[0] == {}
    assert first.used(1) == 5


def test_another_boot(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """D36: the clock begins anew with each boot; what was counted by another one counts no more."""
    grant_at(connection, 1000.0)

    with monkeypatch.context() as patch:
        patch.setattr(owners, "boot", lambda: "another")
        assert kept(connection, 1001.0).slots == {}


def test_clock_that_began_anew(connection: sqlite3.Connection) -> None:
    """D36: also where nobody names the boots, a count from the future is none of this clock."""
    grant_at(connection, 1000.0)

    assert kept(connection, 5.0).slots == {}


def test_wall_clock_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """D36: steps of the wall clock do not reach the limiter."""
    before = limits.clock()
    monkeypatch.setattr("time.time", lambda: 0.0)

    assert 0 <= limits.clock() - before < 60


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"boot": 1}', '{"boot":"BOOT","slots":{"x":1},"line":[]}'])
def test_nothing_of_ours(text: str) -> None:
    """A row that cannot be read counts nothing: limits must never keep anybody from working."""
    assert limits.decode(text.replace("BOOT", owners.boot()), 60.0, 5.0) == Row(60.0)


@pytest.mark.parametrize("window", [10.0, 61.0, 600.0])
def test_other_window(connection: sqlite3.Connection, window: float) -> None:
    """What was counted in slots of one length still counts in slots of another."""
    for at in (101.0, 105.0, 109.9):
        grant_at(connection, at, 5)

    row = kept(connection, 110.0, window)

    assert (row.used(0), row.used(1), row.window) == (3, 15, window)
    assert kept(connection, 110.0, window) == row


# --- two processes --------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "store.sqlite"
    with closing(connect(made, limit=1 << 24)) as connection, transaction(connection):
        connection.execute(TABLE)
    return made


def process(path: Path, bounds: str, count: int, takes: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(path), bounds, str(count), str(takes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes(path: Path) -> None:
    """D42: two processes on one account stay within the limit together, in any window, and both get on."""
    both = [process(path, '{"requests": 100, "window": 2.0}', 100, 0.0) for _ in range(2)]
    times = [[float(line) for line in one.communicate(timeout=60)[0].split()] for one in both]

    sent = sorted(times[0] + times[1])
    assert [len(each) for each in times] == [100, 100]
    assert max(sum(at <= other < at + 2.0 for other in sent) for at in sent) <= 100
    overlap = min(times[0][-1], times[1][-1]) - max(times[0][0], times[1][0])
    assert overlap > 1.0


@pytest.mark.slow
def test_killed(path: Path) -> None:
    """D42: a process that was killed while it held every place leaves them to the next one."""
    with process(path, '{"concurrency": 2}', 3, 100.0) as first:
        assert first.stdout
        taken = [first.stdout.readline(), first.stdout.readline()]
        first.kill()
    second = process(path, '{"concurrency": 2}', 3, 0.0)

    assert all(taken)
    assert len(second.communicate(timeout=30)[0].split()) == 3
