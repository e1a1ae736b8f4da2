"""Looking through the journal: lines of what was run, and one Result by its id or its beginning."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp import ids
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.store import database, history, place

from .kept import ASKED, TASK, fill, result


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    fill(tmp_path)
    with database.reading(place.of(tmp_path).path) as connection:
        assert connection is not None
        yield connection


def test_newest_first(store: sqlite3.Connection) -> None:
    """Each Result is a line, the newest first, with what its code begins with."""
    found = history.entries(store)

    assert [each.id for each in found] == ["run_c0ffee", "run_b3", "run_a2", "run_a1"]
    assert [each.first_line for each in found][-1] == "# one"
    assert [each.id for each in history.entries(store, limit=1)] == ["run_c0ffee"]


def test_cost(store: sqlite3.Connection) -> None:
    """What the attempts cost counts; where nobody knows, what was held for them; where there are none, the Result's."""
    by_id = {each.id: each for each in history.entries(store)}

    assert (by_id["run_c0ffee"].billed, by_id["run_a1"].billed) == (Decimal("0.25"), Decimal(0))
    assert (by_id["run_b3"].billed, by_id["run_b3"].at_most) == (None, Decimal("0.5"))


def test_filters(store: sqlite3.Connection) -> None:
    """Of one notebook, or since then; a notebook that has nothing is answered with the nearest."""
    assert [each.id for each in history.entries(store, notebook="draw.ipynb")] == ["run_c0ffee"]
    assert history.entries(store, since=datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(UnknownName, match="drw") as caught:
        history.entries(store, notebook="drw.ipynb")
    assert "draw.ipynb" in caught.value.hint


@pytest.mark.parametrize("said", ["run_c0ffee", "run_c0", "c0ff", "run_c", "fee", "ee"])
def test_found(store: sqlite3.Connection, said: str) -> None:
    """A beginning or an end that no other id has is enough."""
    kept = history.find(store, said)

    assert (kept.execution, kept.result) == (TASK, ASKED)


def test_own_first(tmp_path: Path) -> None:
    """Of several that end so, that of this process is meant."""
    own, other = ids.new("run"), "run_eeeeeeeeeeee"
    other += own[-6:]
    fill(tmp_path, tuple((Execution("1"), result(id)) for id in (own, other)))
    with database.reading(place.of(tmp_path).path) as connection:
        assert connection is not None
        assert history.find(connection, own[-6:]).result.id == own


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        ("run_a", InvalidInput, "run_a1, run_a2"),
        ("", UnknownName, "`history` lists them"),
        ("run_c0fee", UnknownName, "did you mean run_c0ffee?"),
        ("%", UnknownName, "`history` lists them"),
        ("zzz", UnknownName, "`history` lists them"),
    ],
)
def test_not_found(store: sqlite3.Connection, said: str, kind: type[Exception], hint: str) -> None:
    """What is none is answered with the nearest, what is several with their names."""
    with pytest.raises(kind) as caught:
        history.find(store, said)
    assert hint in caught.value.hint  # type: ignore[attr-defined]
