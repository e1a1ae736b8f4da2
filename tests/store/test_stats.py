"""Stats: figures of calls, not of attempts; nothing is claimed that the number of calls does not bear."""

from __future__ import annotations

import csv
import io
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.execution import Cost, Usage
from ipy_codeinterp.store import database, ledger, stats
from ipy_codeinterp.store.ledger import Attempt, Origin
from ipy_codeinterp.store.stats import Call, Stats
from ipy_codeinterp.store.tracks import LATELY, Track, track

NOW = datetime(2026, 1, 31, tzinfo=UTC)
NANO = 10**9


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(tmp_path / "store.sqlite", limit=1 << 24)) as opened:
        yield opened


def call(**facts: Any) -> Call:
    known: dict[str, Any] = {"id": "run_1", "started_at": "2026-01-01T00:00:00+00:00", "provider": "test"}
    known |= {"model": "claude", "source": "live", "notebook": "", "label": "", "outcome": "ok", "seconds": 1.0}
    known |= {"billed": 0, "least": 0, "avoided": 0, "attempts": 1, "input_tokens": 1, "output_tokens": 1}
    return Call(**{**known, **facts})


def only(rows: list[Call], **how: Any) -> Stats:
    (found,) = stats.stats(rows, now=NOW, **how)
    return found


def attempted(connection: sqlite3.Connection, id: str, run: str, **facts: Any) -> None:
    origin = facts.pop("origin", Origin())
    attempt = Attempt.begun(id, run, "test", "claude", origin=origin)
    ledger.reserve(connection, attempt)
    ledger.settle(connection, attempt.settled(**facts))


def test_retries_are_one_call(connection: sqlite3.Connection) -> None:
    """Attempts for one Result are one call that took, and cost, what all of them did; one that went well is enough."""
    attempted(connection, "a", "run_1", outcome=None, seconds=1.0, cost=Cost(Decimal("0.25")))
    attempted(connection, "b", "run_1", outcome="ok", seconds=2.0, cost=Cost(Decimal("0.5")), usage=Usage(3, 4))
    attempted(connection, "c", "run_2", outcome="error", seconds=3.0, cost=Cost(Decimal(0)))

    first, second = stats.calls(connection, NOW - timedelta(days=3000))

    assert (first.outcome, first.seconds, first.billed, first.attempts) == ("ok", 3.0, 3 * NANO // 4, 2)
    assert (second.outcome, second.attempts) == ("error", 1)
    found = only([first, second])
    assert (found.calls, found.ok, found.failed, found.success_rate) == (2, 1, 1, 0.5)
    assert found.cost == Decimal("0.75")


def test_failures_stay_in_the_rate() -> None:
    """D38: what did not end well is a failure whatever ended it; what nobody knows the end of is neither."""
    outcomes = ["ok", "ok", "ok", "error", "limit", "crashed", "cancelled", "", "unknown"]

    found = only([call(outcome=outcome) for outcome in outcomes])

    assert (found.calls, found.ok, found.failed, found.success_rate) == (9, 3, 5, 3 / 8)
    assert only([]).success_rate is None


def test_what_has_not_ended_has_not_failed(connection: sqlite3.Connection) -> None:
    """D38: a call that is under way, or was when its process was killed, is no failure; a lost one is."""
    for id in ("open", "lost"):
        ledger.reserve(connection, Attempt.begun(id, id, "test", "claude", reserved=Decimal(1)))
    ledger.settle(connection, Attempt.begun("lost", "lost", "test", "claude").settled(seconds=1.0))

    (found,) = stats.stats(stats.calls(connection, datetime.min.replace(tzinfo=UTC)), now=NOW)

    assert (found.calls, found.ok, found.failed, found.success_rate) == (2, 0, 1, 0.0)


def test_the_pace_says_what_it_rests_on() -> None:
    """A pace is told with the time that it was reckoned from: a minute that is called a month says little."""
    calls = [call(billed=NANO, least=NANO)] * 20

    for since, words in ((timedelta(days=30), "30 d"), (timedelta(hours=5), "5 h"), (timedelta(seconds=61), "61 s")):
        assert f"at the rate of {words}" in stats.table([only(calls, since=NOW - since)])


def test_unknown_cost_makes_a_lower_bound(connection: sqlite3.Connection) -> None:
    """D9: what nobody knows is not zero: the sum says that it is the least."""
    attempted(connection, "a", "run_1", outcome="ok", cost=Cost(Decimal("0.5")))
    attempted(connection, "b", "run_2", outcome="cancelled", cost=Cost())

    found = only(list(stats.calls(connection, NOW - timedelta(days=3000))))

    assert (found.cost, found.unknown) == (Decimal("0.5"), 1)
    assert ">= $0.5000" in stats.table([found])


@pytest.mark.parametrize(
    ("number", "known"), [(4, ""), (5, "p50"), (58, "p50"), (59, "p50 p95"), (298, "p50 p95"), (299, "p50 p95 p99")]
)
def test_percentiles_need_calls(number: int, known: str) -> None:
    """D58: a percentile that so few calls cannot bound is blank."""
    found = only([call(seconds=float(i + 1)) for i in range(number)])

    assert [name for name in ("p50", "p95", "p99") if getattr(found, name) is not None] == known.split()


def test_percentiles_are_right() -> None:
    """D40: percentiles of a long tail are those of all calls, to one percent."""
    source = random.Random(1)
    seconds = [source.lognormvariate(0, 1) for _ in range(5000)]

    found = only([call(seconds=each) for each in seconds])

    exact = [sorted(seconds)[int(len(seconds) * share)] for share in (0.5, 0.95, 0.99)]
    assert [found.p50, found.p95, found.p99] == pytest.approx(exact, rel=0.02)


def test_served_again() -> None:
    """What was served again costs nothing, says what it saved, and is no latency of the provider."""
    rows = [call(seconds=5.0, billed=NANO, least=NANO)] * 5
    rows += [call(seconds=0.001, source="cache", avoided=NANO)] * 10

    found = only(rows)

    assert (found.cost, found.avoided) == (Decimal(5), Decimal(10))
    assert found.p50 == pytest.approx(5.0, rel=0.011)


def test_pace() -> None:
    """D39: the pace is what was spent over the time it was spent in, with an interval that narrows with more calls."""
    few = [call(billed=NANO, least=NANO)] * 25
    many = [call(billed=NANO // 100, least=NANO // 100)] * 2500

    narrow, wide = only(many, since=NOW - timedelta(days=10)).pace, only(few, since=NOW - timedelta(days=10)).pace

    assert narrow and wide
    assert narrow.expected == wide.expected == pytest.approx(Decimal("25") * Decimal("3.04375"))
    assert (wide.high - wide.low) == pytest.approx(10 * (narrow.high - narrow.low))
    assert wide.low < wide.expected < wide.high
    assert only(few[:19], since=NOW - timedelta(days=10)).pace is None


def test_pace_from_the_first_call() -> None:
    """Without a beginning the window is the time since the first call."""
    pace = only([call(billed=NANO, least=NANO)] * 20).pace

    assert pace
    assert pace.window == timedelta(days=30).total_seconds()


def test_the_interval_holds() -> None:
    """Of many histories with calls by chance, the interval holds the true pace in about 95 of a hundred."""
    source, held = random.Random(2), 0
    for _ in range(300):
        at, rows = 0.0, []
        while (at := at + source.expovariate(10)) < 30:  # ten calls a day
            cost = int(source.lognormvariate(0, 0.8) * NANO)
            rows.append(call(billed=cost, least=cost))
        pace = only(rows, since=NOW - timedelta(days=30)).pace
        assert pace
        true = 10 * 30.4375 * 2.718281828 ** (0.8**2 / 2)
        held += pace.low <= Decimal(true) <= pace.high
    assert 0.91 <= held / 300 <= 0.99


def test_groups(connection: sqlite3.Connection) -> None:
    """Calls are grouped by what is asked for, the largest group first."""
    for i, (notebook, label) in enumerate([("a.ipynb", "x"), ("a.ipynb", "y"), ("b.ipynb", "x")]):
        origin = Origin("s", notebook, {"task": label})
        attempted(connection, f"att_{i}", f"run_{i}", outcome="ok", origin=origin)
    rows = list(stats.calls(connection, NOW - timedelta(days=3000)))

    by_notebook = stats.stats(rows, ["notebook"], now=NOW)
    assert [(dict(group.group), group.calls) for group in by_notebook] == [
        ({"notebook": "a.ipynb"}, 2),
        ({"notebook": "b.ipynb"}, 1),
    ]
    assert {group.group["label"] for group in stats.stats(rows, ["label"], now=NOW)} == {"task=x", "task=y"}


def test_exports() -> None:
    """An export has every call with every field, money in dollars."""
    rows = [call(), call(id="run_2", billed=NANO // 2, least=NANO // 2, label='a="b", c')]

    lines = list(csv.DictReader(io.StringIO(stats.as_csv(rows))))
    objects = [json.loads(line) for line in stats.as_jsonl(rows).splitlines()]

    assert [line["billed"] for line in lines] == ["0", "0.5"]
    assert lines[1]["label"] == objects[1]["label"] == 'a="b", c'
    assert set(lines[0]) == set(objects[0])


def test_as_a_frame() -> None:
    """A frame has a row a call, with types to reckon with; what nobody knows is missing, not zero."""
    pandas = pytest.importorskip("pandas")
    frame = stats.as_frame([call(billed=NANO // 2, label="x=1"), call(billed=None)])

    assert frame["started_at"].dt.year.tolist() == [2026, 2026]
    assert frame["billed"].sum() == 0.5 and frame["billed"].isna().tolist() == [False, True]
    assert (frame["label"][0], "least" in frame) == ("x=1", False)
    assert list(stats.as_frame([])) == list(frame) and isinstance(frame, pandas.DataFrame)


@pytest.mark.parametrize(
    ("text", "duration"), [("30d", timedelta(30)), ("12h", timedelta(hours=12)), ("1.5w", timedelta(10.5))]
)
def test_window(text: str, duration: timedelta) -> None:
    """A window is a number and a unit."""
    assert stats.window(text) == duration


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "nand", "infd", "0h", "1y"])
def test_no_window(text: str) -> None:
    """What is not a number and a unit is refused."""
    with pytest.raises(ValueError, match=r".+"):
        stats.window(text)


def test_track(connection: sqlite3.Connection) -> None:
    """An offer is judged by its last calls: how many went well, what one costs, how long the good ones take."""
    for number in range(LATELY):
        attempted(connection, f"old_{number}", f"old_{number}", outcome="error", cost=Cost(Decimal(100)), seconds=99.0)
    for number in range(LATELY):
        outcome, cost = ("ok", "0.5") if number % 4 else (None, "0.1")
        attempted(connection, f"{number}", f"{number}", outcome=outcome, cost=Cost(Decimal(cost)), seconds=2.0)

    found = track(connection, "test", "claude")

    assert found == Track(LATELY, 3 * LATELY // 4, Decimal("0.4"), 2.0)
    assert track(connection, "test", "gpt") == Track()
    assert Track().success == 0.5
