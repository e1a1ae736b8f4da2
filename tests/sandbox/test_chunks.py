"""A cell over a file, in the real sandbox: the whole file's figures under a limit that the file would not fit into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ipy_codeinterp import chunks
from ipy_codeinterp.chunks import RangeFailed
from ipy_codeinterp.session import Session

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def session(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(cache_dir=cache_dir, data_dir=tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    pd.DataFrame({"id": range(100), "x": 0.5}).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_million_rows_in_512_mb(session: Session, tmp_path: Path) -> None:
    """Mean, std and max of 1,000,000 rows under the profile of 512 MB are pandas' own of the whole file (D46, D51)."""
    random, n = np.random.default_rng(5), 1_000_000
    whole = pd.DataFrame({"id": np.arange(n), "x": random.normal(1e6, 2.5, n), "word": random.choice(["a,b", "c"], n)})
    whole.loc[n - 1, "x"] = None
    whole.to_csv(tmp_path / "data.csv", index=False)

    report = chunks.run(session, "summarize(chunk)", tmp_path / "data.csv", model="gpt", rows=50_000, concurrency=2)

    expected = pd.read_csv(tmp_path / "data.csv")[["id", "x"]].agg(["mean", "std", "max"])
    assert report.summary is not None
    for column, summary in report.summary.items():
        assert summary.mean == pytest.approx(expected[column]["mean"], rel=1e-12)
        assert summary.std == pytest.approx(expected[column]["std"], rel=1e-9)
        assert summary.max == expected[column]["max"]
    assert (report.rows_done, report.summary["x"].count) == (n, n - 1)


def test_too_much_memory_halves(session: Session, data: Path) -> None:
    """A range that hits the memory limit is halved; the ranges that follow are cut at once (D44, D51)."""
    code = "block = bytearray(len(chunk) * (12 << 20))\nchunk['id'].tolist()"

    report = chunks.run(session, code, data, model="gpt", rows=100)

    assert [row for rows in report.values for row in rows] == list(range(100))
    assert report.halved == 2


def test_too_much_time_halves(session: Session, data: Path) -> None:
    """So is one that hits the time limit (D44)."""
    report = chunks.run(session, "import time\ntime.sleep(len(chunk) * 0.02)\nlen(chunk)", data, rows=100, timeout=1.5)

    assert report.values == (50, 50)


def test_the_line_and_the_row_of_an_error(session: Session, data: Path) -> None:
    """A failing cell is followed to its row, with the cell's own traceback."""
    with pytest.raises(RangeFailed, match="row 77 failed: ZeroDivisionError") as caught:
        chunks.run(session, "rows = chunk['id']\n\n[1 // (row - 77) for row in rows]", data, rows=50)

    shown = "\n".join(caught.value._render_traceback_())
    assert "line 3" in shown
    assert "run_cell" not in shown
    assert caught.value.report.rows_done == 77


def test_a_cell_is_a_cell(session: Session, data: Path) -> None:
    """Magics, semicolons and top-level await work as in any cell, and its name-space holds nothing of ours."""
    names = "sorted(name for name in globals() if name in ('chunk', 'summarize', 'plan', 'main', 'tell'))"

    values = [
        chunks.run(session, code, data, rows=100).values
        for code in ("%%time\nlen(chunk)", "len(chunk);", "import asyncio\nawait asyncio.sleep(0, 100)", names)
    ]

    assert values == [(100,), (100,), (100,), (["chunk", "summarize"],)]


def test_each_range_is_fresh(session: Session, data: Path) -> None:
    """Nothing is carried from one range to the next: any of them can be done again alone (D47)."""
    report = chunks.run(session, "seen = globals().get('seen', 0) + 1\nseen", data, rows=25)

    assert report.values == (1, 1, 1, 1)
