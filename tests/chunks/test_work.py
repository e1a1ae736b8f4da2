"""The queue of ranges: whatever fails, every row is done once or the passage says where it stopped."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.chunks.work import Failure, Queue, Range, cut, gaps, work_through


class Work:
    """Does ranges but for those with a bad row, or too many rows; each `Failure` may be of either kind."""

    def __init__(self, bad: set[int], most: int, flaky: list[bool]) -> None:
        self.bad, self.most, self.flaky = bad, most, flaky
        self.done: list[Range] = []
        self.tried: list[Range] = []

    async def attempt(self, rows: Range) -> Failure | None:
        self.tried.append(rows)
        await asyncio.sleep(0)
        if self.bad & set(range(rows.start, rows.stop)):
            return Failure("a bad row")
        if rows.rows > self.most or (self.flaky and self.flaky.pop() and rows.rows > 1):
            return Failure("too much", too_much=True)
        self.done.append(rows)
        return None

    def run(self, queue: Queue, concurrency: int = 1) -> tuple[Range, Failure] | None:
        halved: list[Range] = []
        return asyncio.run(
            work_through(
                queue, self.attempt, concurrency=concurrency, on_halved=lambda rows, failure: halved.append(rows)
            )
        )


def numbers(ranges: list[Range]) -> list[int]:
    return sorted(row for each in ranges for row in range(each.start, each.stop))


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(1, 300),
    rows=st.integers(1, 120),
    most=st.integers(1, 150),
    flaky=st.lists(st.booleans(), max_size=40),
    concurrency=st.integers(1, 5),
)
def test_no_row_is_skipped_or_doubled(total: int, rows: int, most: int, flaky: list[bool], concurrency: int) -> None:
    """Whatever pattern of failures, every row is done exactly once (D44)."""
    work = Work(set(), most, flaky)

    stuck = work.run(Queue(cut(0, total, rows)), concurrency)

    assert stuck is None
    assert numbers(work.done) == list(range(total))


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(1, 200),
    rows=st.integers(1, 120),
    least=st.integers(1, 10),
    bad=st.sets(st.integers(0, 199), min_size=1, max_size=3),
    concurrency=st.integers(1, 4),
)
def test_a_bad_row_is_named(total: int, rows: int, least: int, bad: set[int], concurrency: int) -> None:
    """A row that always fails ends it with a range at the minimum that has it; nothing done is doubled (D44)."""
    bad = {each % total for each in bad}
    work = Work(bad, 1000, [])

    stuck = work.run(Queue(cut(0, total, rows), least=least), concurrency)

    assert stuck is not None
    assert stuck[0].rows < 2 * least
    assert bad & set(range(stuck[0].start, stuck[0].stop))
    assert len(set(numbers(work.done))) == len(numbers(work.done))
    assert not bad & set(numbers(work.done))
    assert all(each.rows >= min(least, rows, total % rows or rows) for each in work.tried)
    if concurrency == 1:
        assert numbers(work.done) == list(range(stuck[0].start))


@settings(max_examples=100, deadline=None)
@given(cuts=st.lists(st.integers(0, 100), unique=True), chosen=st.lists(st.booleans(), min_size=101, max_size=101))
def test_gaps(cuts: list[int], chosen: list[bool]) -> None:
    """What is done and what is left are the whole, once (D47)."""
    edges = sorted({0, *cuts, 100})
    ranges = [Range(a, b) for a, b in itertools.pairwise(edges)]
    done = [each for each, is_done in zip(ranges, chosen, strict=False) if is_done]

    assert numbers([*done, *gaps(done, 100)]) == list(range(100))


def test_what_was_too_much_is_not_tried_again() -> None:
    """A limit is met once: ranges that wait are cut to the size that passed (D51)."""
    work = Work(set(), 25, [])

    work.run(Queue(cut(0, 1000, 100)))

    assert [each.rows for each in work.tried if each.rows > 25] == [100, 50]


def test_an_error_halves_its_own_range_only() -> None:
    """An exception says nothing of the other ranges' size."""
    flaws = [Failure("KeyError")]

    async def attempt(rows: Range) -> Failure | None:
        tried.append(rows)
        return flaws.pop() if flaws else None

    tried: list[Range] = []
    asyncio.run(work_through(Queue(cut(0, 40, 10)), attempt, concurrency=1, on_halved=lambda *_: None))

    assert [each.rows for each in tried] == [10, 5, 5, 10, 10, 10]


def test_an_error_everywhere_costs_little() -> None:
    """A cell that is wrong for every row is tried log2 times, the first row first."""
    work = Work(set(range(10_000)), 10_000, [])

    stuck = work.run(Queue(cut(0, 1_000_000, 10_000)))

    assert stuck is not None
    assert stuck[0] == Range(0, 1)
    assert len(work.tried) == 15


def test_what_runs_is_cancelled_at_the_end() -> None:
    """When one range cannot be halved, the others do not run on; what it raises is raised."""

    async def attempt(rows: Range) -> Failure | None:
        if rows.start:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(rows)
        if is_raising:
            raise OSError("gone")
        return Failure("no")

    for is_raising in (False, True):
        ended: list[Range] = []
        queue = Queue(cut(0, 3, 1))
        if is_raising:
            with pytest.raises(OSError, match="gone"):
                asyncio.run(work_through(queue, attempt, concurrency=3, on_halved=lambda *_: None))
        else:
            asyncio.run(work_through(queue, attempt, concurrency=3, on_halved=lambda *_: None))
        assert sorted(ended) == [Range(1, 2), Range(2, 3)]


@pytest.mark.parametrize(("rows", "words"), [(Range(0, 1), "row 0"), (Range(9999, 20000), "rows 9,999 to 19,999")])
def test_words(rows: Range, words: str) -> None:
    """A range is named by its first and its last row."""
    assert str(rows) == words


# --- the article's loop -----------------------------------------------------------------------------


class TheirClient:
    """Runs code in this process on data.csv in the working directory; the call with this number fails."""

    def __init__(self, failing: int) -> None:
        self.failing, self.calls = failing, 0
        self.rows: list[int] = []
        self.columns: list[list[str]] = []

    async def execute_code(self, code: str) -> Any:
        self.calls += 1
        if self.calls == self.failing:
            return SimpleNamespace(success=False)
        space: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, space)
        chunk = space["chunk_data"]
        self.rows += chunk.iloc[:, 0].tolist()
        self.columns.append(list(chunk.columns))
        return SimpleNamespace(success=True)


async def their_loop(client: Any, data_size: int) -> list[Any]:
    """The article's `safe_long_computation`, as it stands."""
    chunk_size = 10000
    results = []
    for i in range(0, data_size, chunk_size):
        code = f"""
import pandas as pd
chunk_data = pd.read_csv('data.csv', skiprows={i}, nrows={chunk_size})
result = chunk_data.agg(['mean', 'std', 'max'])
print(result.to_json())
"""
        result = await client.execute_code(code=code)
        if not result.success:
            chunk_size = chunk_size // 2
            continue
        results.append(result)
    return results


def test_their_loop_skips_ours_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure makes the article's loop leave out 45,000 of 100,000 rows, and name columns by data; ours none (D44,
    D45)."""
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"id": range(100_000), "x": 1.5}).to_csv("data.csv", index=False)
    client, work = TheirClient(failing=3), Work(set(), 10_000, [False] * 7 + [True] + [False] * 2)

    asyncio.run(their_loop(client, 100_000))
    work.run(Queue(cut(0, 100_000, 10_000)))

    assert 100_000 - len(client.rows) == 45_000
    assert client.columns[:2] == [["id", "x"], ["9999", "1.5"]]
    assert [each.rows for each in work.tried[:4]] == [10_000, 10_000, 10_000, 5_000]
    assert numbers(work.done) == list(range(100_000))
