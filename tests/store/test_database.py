"""One file, one writing thread: what is written is kept, what cannot be written says so, strangers stay untouched."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.store import database, schema
from ipy_codeinterp.store.database import Database, transaction

PATIENCE = 10  # seconds until a future that never comes fails the test
ROW = "INSERT INTO results VALUES (?, 'key', 'now', 'claude@local', 'ok', '{}', ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Database]:
    opened = Database(path, limit=1 << 20)
    yield opened
    opened.close()


def row(id: str, text: str = "{}") -> Callable[[sqlite3.Connection], None]:
    return lambda connection: connection.execute(ROW, (id, text)) and None


def ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM results ORDER BY rowid")]


def test_opened_by_the_first_write(store: Database, path: Path) -> None:
    """Nothing is made on disk before there is something to keep; then only its owner may read it."""
    assert not path.parent.exists()

    store.write(row("a")).result(PATIENCE)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ids(path) == ["a"]


def test_kept_when_it_says_so(store: Database, path: Path) -> None:
    """When the future is done, another process can read what was written."""
    for id in "abc":
        store.write(row(id)).result(PATIENCE)

        assert ids(path)[-1] == id


def test_order(store: Database, path: Path) -> None:
    """What many threads write is kept, each thread's in its order."""

    def write(name: str) -> None:
        for i in range(50):
            store.write(row(f"{name}{i:02}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()

    found = ids(path)
    assert len(found) == 200
    assert all([id for id in found if id[0] == name] == [f"{name}{i:02}" for i in range(50)] for name in "abcd")


def test_close_writes_what_waits(store: Database, path: Path) -> None:
    """Nothing that was handed in before `close()` is lost, and no thread is left."""
    written = [store.write(row(f"{i:04}")) for i in range(3 * database.MOST_TOGETHER)]

    store.close()

    assert all(future.done() for future in written)
    assert len(ids(path)) == len(written)
    assert "ipy-codeinterp-store" not in [thread.name for thread in threading.enumerate()]
    assert not path.with_name(path.name + "-wal").exists()


def test_close_twice(store: Database, path: Path) -> None:
    """Closing again does nothing, and a write after it opens again."""
    store.close()
    store.write(row("a")).result(PATIENCE)
    store.close()
    store.close()
    store.write(row("b")).result(PATIENCE)

    assert ids(path) == ["a", "b"]


@pytest.mark.parametrize(
    "guilty",
    [
        pytest.param(row("a"), id="sqlite"),
        pytest.param(lambda connection: 1 / 0, id="a bug"),
        pytest.param(lambda connection: connection.execute("SELECT ?", (1 << 80,)), id="too large a number"),
        pytest.param(lambda connection: connection.execute(ROW, ("x", "\ud800")), id="a surrogate"),
    ],
)
def test_only_the_guilty_fails(store: Database, path: Path, guilty: Callable[[sqlite3.Connection], None]) -> None:
    """One write that goes wrong takes no other along, and whatever it raises is said as a StoreError."""
    first, wrong, last = store.write(row("a")), store.write(guilty), store.write(row("b"))

    with pytest.raises(StoreError, match="results are not being kept"):
        wrong.result(PATIENCE)

    first.result(PATIENCE)
    last.result(PATIENCE)
    assert ids(path) == ["a", "b"]


def test_nobody_waits(store: Database, path: Path) -> None:
    """A write whose caller was interrupted is made all the same, and the next ones too."""
    entered, go_on = threading.Event(), threading.Event()
    store.write(lambda connection: entered.set() or (go_on.wait(PATIENCE) and None))
    entered.wait(PATIENCE)
    abandoned = store.write(row("a"))

    abandoned.cancel()
    go_on.set()
    store.write(row("b")).result(PATIENCE)

    assert ids(path) == ["a", "b"]


def test_full(path: Path) -> None:
    """A store that has reached its limit refuses with a way out, and takes again what still fits."""
    with closing(Database(path, limit=160_000)) as store:
        full = store.write(row("large", "x" * 200_000))

        with pytest.raises(StoreError, match="full") as caught:
            full.result(PATIENCE)

        assert "IPY_CODEINTERP_DATA_DIR" in caught.value.hint
        store.write(row("small")).result(PATIENCE)
        assert ids(path) == ["small"]


def test_no_folder(tmp_path: Path) -> None:
    """A folder that cannot be made is a StoreError at each write, until it can be made."""
    (tmp_path / "data").touch()
    with closing(Database(tmp_path / "data" / "store.sqlite", limit=1 << 20)) as store:
        with pytest.raises(StoreError, match=r"store\.sqlite"):
            store.write(row("a")).result(PATIENCE)

        (tmp_path / "data").unlink()
        store.write(row("b")).result(PATIENCE)
    assert ids(tmp_path / "data" / "store.sqlite") == ["b"]


def test_held_by_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process holds is waited for once; then each write fails at once, until it is free again."""
    monkeypatch.setattr(database, "BUSY", 0.2)
    with closing(Database(path, limit=1 << 20)) as store:
        store.write(row("a")).result(PATIENCE)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                store.write(row("b")).result(PATIENCE)
            assert store._patience == database.IMPATIENT
        store.write(row("c")).result(PATIENCE)

        assert store._patience == 0.2
    assert ids(path) == ["a", "c"]


def test_opened_while_another_holds_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the file in order when it is opened is a wait like any other: there is no second one."""
    monkeypatch.setattr(database, "BUSY", 0.2)
    with closing(Database(path, limit=1 << 20)) as store:
        store.write(row("a")).result(PATIENCE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, closing(Database(path, limit=1 << 20)) as store:
        other.execute("BEGIN IMMEDIATE")
        store._opened()

        assert store._patience == database.IMPATIENT


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_newer_version_is_untouched(store: Database, path: Path, mode: str) -> None:
    """A file of a newer version is refused and stays as it is, to the byte."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as newer:
        newer.executescript(f"PRAGMA journal_mode = {mode}; CREATE TABLE t (x); PRAGMA user_version = 99")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="newer version") as caught:
        store.write(row("a")).result(PATIENCE)

    store.close()
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000], ids=["text", "torn"]
)
def test_corrupt_file_is_untouched(store: Database, path: Path, content: bytes) -> None:
    """A file that is no database is refused and stays as it is, to the byte."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(StoreError):
        store.write(row("a")).result(PATIENCE)

    store.close()
    assert path.read_bytes() == content


def test_opened_again(path: Path) -> None:
    """What one session kept is there in the next."""
    for id in "ab":
        with closing(Database(path, limit=1 << 20)) as store:
            store.write(row(id)).result(PATIENCE)

    assert ids(path) == ["a", "b"]


def test_two_at_once(path: Path) -> None:
    """Two notebooks can write into one file."""
    with closing(Database(path, limit=1 << 20)) as one, closing(Database(path, limit=1 << 20)) as other:
        written = [store.write(row(f"{name}{i}")) for i in range(20) for name, store in (("a", one), ("b", other))]
        for future in written:
            future.result(PATIENCE)

    assert len(ids(path)) == 40


def test_transaction_that_cannot_be_committed() -> None:
    """A transaction that fails at its very end leaves nothing behind, and the next one works."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("CREATE TABLE a (id PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)")

        with pytest.raises(sqlite3.IntegrityError), transaction(connection):
            connection.execute("INSERT INTO b VALUES (1)")

        with transaction(connection):
            connection.execute("INSERT INTO a VALUES (1)")
        assert connection.execute("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").fetchone() == (1, 0)


# --- earlier formats --------------------------------------------------------------------------------


def test_an_earlier_format(path: Path) -> None:
    """A file of the first format becomes one of today's, with all that was in it, and is kept as it was beside it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(schema.FIRST + "PRAGMA user_version = 1;")
        old.execute(ROW, ("a", "{}"))
        attempt = "INSERT INTO attempts VALUES ('t', 'a', 'local', 'claude', 'settled', 'ok', '2026-01-01', 0.5,"
        old.execute(attempt + " 10, 20, 1, '0.000000001', '0.10', 'p', 'req', 1)")

    with closing(database.connect(path, limit=1 << 20)) as new:
        assert schema.version_of(new) == schema.VERSION
        assert new.execute("SELECT id, billed, listed, seconds FROM attempts").fetchall() == [("t", 1, 10**8, 0.5)]
    assert ids(path) == ["a"]
    with closing(sqlite3.connect(path.with_name("store-format-1.sqlite"))) as kept:
        assert schema.version_of(kept) == 1
        assert kept.execute("SELECT billed FROM attempts").fetchall() == [("0.000000001",)]


def test_the_format_before(path: Path) -> None:
    """What waited in a file of the second format still waits in one of today's, for a run from here."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript("".join(schema.FORMATS[:2]).replace("nano(", "abs(") + "PRAGMA user_version = 2;")
        old.execute(
            "INSERT INTO batches VALUES ('batch_1', '2026-01-01', 'waiting', '{}', 'claude@local', '{}', 0, '2026',"
            " NULL, NULL, NULL, 5, 'a.ipynb')"
        )

    with closing(database.connect(path, limit=1 << 20)) as new:
        assert schema.version_of(new) == schema.VERSION
        found = new.execute("SELECT id, state, spent, notebook, by_vendor, sending FROM batches").fetchall()
        assert found == [("batch_1", "waiting", 5, "a.ipynb", 0, None)]


def test_damaged(path: Path) -> None:
    """A file that is no database is left as it is, with a way out."""
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)

    with closing(Database(path, limit=1 << 20)) as store, pytest.raises(StoreError, match="not a database") as caught:
        store.write(row("a")).result(PATIENCE)

    assert "aside" in caught.value.hint
    assert path.read_bytes() == b"not a database" * 1000
