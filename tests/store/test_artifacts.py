"""What is long in a Result stands apart from it, once, for as long as a Result uses it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.execution import Display, Error, Execution, Output, Result, Step, Stream, Text, Usage
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.store import database, journal, packing, retention, schema
from ipy_codeinterp.store.answers import Answers
from ipy_codeinterp.store.database import Database, transaction

PATIENCE = 10  # seconds
ASKED = Execution("x")
ALWAYS = datetime.min.replace(tzinfo=UTC)
BYTES = bytes(range(256)) * 400
FIGURE = base64.b64encode(BYTES).decode()
TWO = f"{'A' * (packing.PIECE - 2)}=={FIGURE}"
PAGE = "<p>\N{SNOWMAN}\ud800</p>\n" * 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(path, limit=1 << 24)) as opened:
        yield opened


def shown(id: str, *texts: str, **more: Any) -> Result:
    outputs = tuple(Display({"image/png": text}) for text in texts)
    return Result(id, (Step("x", outputs=outputs, outcome="ok"),), "ok", provider="p", model="m", **more)


def kept(connection: sqlite3.Connection) -> dict[str, bytes]:
    return dict(connection.execute("SELECT sha256, content FROM artifacts"))


def count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "content"),
    [
        pytest.param(FIGURE, BYTES, id="base64"),
        pytest.param(PAGE, PAGE.encode("utf-8", "surrogatepass"), id="text"),
        pytest.param(base64.encodebytes(BYTES).decode(), base64.encodebytes(BYTES), id="base64 in lines"),
        pytest.param(FIGURE + "AB==", (FIGURE + "AB==").encode(), id="bits that base64 does not write"),
        pytest.param("AA==" + FIGURE, ("AA==" + FIGURE).encode(), id="an end in the middle"),
        pytest.param(TWO, TWO.encode(), id="an end between two pieces"),
    ],
)
def test_apart(connection: sqlite3.Connection, text: str, content: bytes) -> None:
    """A long text is kept by its content, as the bytes it stands for if it comes back from them to the letter."""
    result = shown("run_1", text)

    journal.insert(connection, ASKED, result)

    assert kept(connection) == {hashlib.sha256(content).hexdigest(): content}
    assert connection.execute("SELECT size FROM artifacts").fetchone() == (len(content),)
    assert len(connection.execute("SELECT result FROM results").fetchone()[0]) < 2000
    assert journal.find(connection, "run_1") == result


def test_short_stays(connection: sqlite3.Connection) -> None:
    """A Result without a long text is the JSON that it always was, also if it is long in all."""
    result = shown("run_1", *["a" * journal.LONG] * 3)

    journal.insert(connection, ASKED, result)

    assert connection.execute("SELECT result FROM results").fetchone() == (journal.encode(result),)
    assert (count(connection, "artifacts"), count(connection, "uses")) == (0, 0)


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(Result("run_1", native={"content": [{"data": FIGURE}]}), id="native"),
        pytest.param(Result("run_1", usage=Usage(native={"a": FIGURE})), id="usage"),
        pytest.param(Result("run_1", (Text(PAGE),)), id="words"),
        pytest.param(Result("run_1", (Step(PAGE),)), id="code"),
        pytest.param(Result("run_1", (Step("x", outputs=(Error("E", PAGE, (PAGE, FIGURE)),)),)), id="error"),
        pytest.param(Result("run_1", request_ids=(FIGURE,)), id="names"),
    ],
)
def test_wherever(connection: sqlite3.Connection, result: Result) -> None:
    """It does not matter where in a Result a long text stands."""
    journal.insert(connection, ASKED, result)

    assert count(connection, "artifacts") > 0
    assert len(connection.execute("SELECT result FROM results").fetchone()[0]) < 2000
    assert journal.find(connection, "run_1") == result


def test_before_artifacts(connection: sqlite3.Connection) -> None:
    """A Result that was kept whole by an earlier version is read as it is, also where it looks like a form."""
    form = {"$artifact": "0" * 64, "$as": "base64"}
    result = Result("run_1", (Step("x", outputs=(Display({"image/png": FIGURE, "application/json": form}),)),))
    row = ("run_1", "key", "2026", "m@p", "ok", "{}", journal.encode(result))
    connection.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    assert journal.find(connection, "run_1") == result


def test_answers(connection: sqlite3.Connection, path: Path) -> None:
    """Who only reads is answered with what stands apart, too."""
    journal.insert(connection, ASKED, shown("run_1", FIGURE, PAGE))

    with closing(Answers(path)) as answers:
        assert answers.find(ASKED.key, "m@p", ALWAYS) == shown("run_1", FIGURE, PAGE)


def test_deep(connection: sqlite3.Connection) -> None:
    """What is nested too deep to be taken apart is kept whole."""
    native: dict[str, Any] = {"data": FIGURE}
    for _ in range(sys.getrecursionlimit() // 2):
        native = {"a": native}

    journal.insert(connection, ASKED, Result("run_1", native=native))

    row = connection.execute("SELECT result FROM results").fetchone()[0]
    assert (count(connection, "artifacts"), FIGURE in row) == (0, True)


# --- any Result -----------------------------------------------------------------------------------

# Two halves of a surrogate pair become one character on their way through JSON.
TEXTS = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=40).filter(
    lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
)
BASE64 = st.binary(max_size=40).map(lambda content: base64.b64encode(content).decode())
NEARLY = st.from_regex(r"([A-Za-z0-9+/]{4}){0,6}[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2}\n?([AB=]{4})?", fullmatch=True)
NAMES = st.sampled_from(["$artifact", "$as", "$pairs", "$lines", "$", "artifacts", "text"])
HALVES = st.text("\udfff\udc80\u20aca", max_size=40)
WORDS = TEXTS | BASE64 | NEARLY | NAMES | HALVES
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=3)
OUTPUTS: st.SearchStrategy[Output] = st.one_of(
    st.builds(Stream, st.sampled_from(["stdout", "stderr"]), WORDS),
    st.builds(Display, OBJECTS, OBJECTS, st.sampled_from(["display_data", "execute_result"]), st.none() | st.just("d")),
    st.builds(Error, WORDS, WORDS, st.lists(WORDS, max_size=3).map(tuple)),
)
STEPS = st.builds(Step, WORDS, outputs=st.lists(OUTPUTS, max_size=4).map(lambda outputs: Collector(outputs).outputs))
RESULTS = st.builds(
    Result,
    st.just("run_1"),
    st.lists(st.builds(Text, WORDS) | STEPS, max_size=3).map(tuple),
    usage=st.builds(Usage, native=OBJECTS),
    native=OBJECTS,
)


@pytest.fixture(scope="module")
def memory() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        yield connection


@settings(max_examples=100, deadline=None)
@given(result=RESULTS, long=st.integers(0, 20), piece=st.sampled_from([4, 8, 20, 1 << 18]))
def test_any_result(memory: sqlite3.Connection, result: Result, long: int, piece: int) -> None:
    """Whatever a Result holds comes back, wherever texts begin to be long and however they fall into pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "LONG", long)
        patch.setattr(packing, "PIECE", piece)

        journal.insert(memory, ASKED, result)

        assert journal.find(memory, "run_1") == result
    row = json.loads(memory.execute("SELECT result FROM results").fetchone()[0])
    assert sorted(row.get("artifacts", [])) == sorted(kept(memory))
    assert all(hashlib.sha256(content).hexdigest() == sha256 for sha256, content in kept(memory).items())


# --- how long they stay ---------------------------------------------------------------------------


def test_once(connection: sqlite3.Connection) -> None:
    """Equal contents are kept once, in one Result and in several; the last that uses one takes it along."""
    journal.insert(connection, ASKED, shown("run_1", FIGURE, PAGE, FIGURE, native={"a": [FIGURE]}))
    journal.insert(connection, ASKED, shown("run_2", FIGURE))
    assert (count(connection, "artifacts"), count(connection, "uses")) == (2, 3)

    connection.execute("DELETE FROM results WHERE id = 'run_1'")
    assert list(kept(connection).values()) == [BYTES]
    assert journal.find(connection, "run_2") == shown("run_2", FIGURE)

    connection.execute("DELETE FROM results")
    assert (count(connection, "artifacts"), count(connection, "uses")) == (0, 0)


def test_kept_again(connection: sqlite3.Connection) -> None:
    """The last word on a run lets go of what the one before used, and keeps what both use."""
    journal.insert(connection, ASKED, shown("run_1", FIGURE, PAGE))
    journal.insert(connection, ASKED, shown("run_1", FIGURE))

    assert list(kept(connection).values()) == [BYTES]
    assert journal.find(connection, "run_1") == shown("run_1", FIGURE)


def test_gone_meanwhile(connection: sqlite3.Connection) -> None:
    """A Result whose artifacts were deleted after its row was read is one that is not there."""
    journal.insert(connection, ASKED, shown("run_1", FIGURE))
    connection.execute("DELETE FROM artifacts")

    assert journal.find(connection, "run_1") is None


def test_retention(connection: sqlite3.Connection) -> None:
    """Results that are too old, or make room, take their artifacts along."""
    limit = 1 << 20
    for number in range(12):
        journal.insert(connection, ASKED, shown(f"run_{number:02}", base64.b64encode(BYTES + bytes([number])).decode()))
    connection.execute("UPDATE results SET created_at = ? || id", (datetime.now(UTC).isoformat(),))

    retention.make_room(connection, limit)
    assert (count(connection, "artifacts"), count(connection, "uses")) == (0, 0)

    journal.insert(connection, ASKED, shown("run_1", FIGURE))
    retention.tidy(connection, datetime.now(UTC) + timedelta(days=2), timedelta(days=1), limit)
    assert (count(connection, "results"), count(connection, "artifacts")) == (0, 0)


# --- what does not fit ----------------------------------------------------------------------------


def test_too_large(path: Path) -> None:
    """What no row can hold is said to be too large, is not kept in part, and takes no other along."""
    few = sqlite3.connect(":memory:").getlimit(sqlite3.SQLITE_LIMIT_LENGTH) // 10_000

    def insert(connection: sqlite3.Connection, *results: Result) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, few)
        for result in results:
            journal.insert(connection, ASKED, result)

    with closing(Database(path, limit=1 << 24)) as store:
        large = store.write(lambda c: insert(c, shown("run_1", FIGURE, FIGURE[:-4])))
        many = store.write(lambda c: insert(c, shown("run_2", *["a" * 1000] * 200)))
        small = store.write(lambda c: insert(c, shown("run_3", "a")))

        for refused in (large, many):
            with pytest.raises(StoreError, match="this result is not kept"):
                refused.result(PATIENCE)
        small.result(PATIENCE)
        rows = store.run(lambda c: [count(c, table) for table in ("results", "artifacts", "uses")]).result(PATIENCE)
    assert rows == [1, 0, 0]


def test_full(path: Path) -> None:
    """An artifact for which there is no room leaves nothing behind; when it has come, older Results have gone."""
    with closing(Database(path, limit=1 << 20)) as store:
        with pytest.raises(StoreError, match="results are not being kept"):
            store.write(lambda c: journal.insert(c, ASKED, shown("run_0", PAGE * 6))).result(PATIENCE)
        for number in range(30):
            figure = base64.b64encode(BYTES + bytes([number])).decode()
            store.write(lambda c, n=number, f=figure: journal.insert(c, ASKED, shown(f"run_{n}", f))).result(PATIENCE)
        left = store.run(lambda c: journal.find(c, "run_29")).result(PATIENCE)
        rows = store.run(lambda c: [count(c, table) for table in ("results", "artifacts", "uses")]).result(PATIENCE)
    assert left == shown("run_29", base64.b64encode(BYTES + bytes([29])).decode())
    assert len(set(rows)) == 1
    assert path.stat().st_size <= 1 << 20


# --- processes ------------------------------------------------------------------------------------


def test_taken_back(connection: sqlite3.Connection) -> None:
    """A transaction that fails leaves neither the Result nor its artifacts."""
    with pytest.raises(KeyError), transaction(connection):
        journal.insert(connection, ASKED, shown("run_1", FIGURE))
        raise KeyError

    assert [count(connection, table) for table in ("results", "artifacts", "uses")] == [0, 0, 0]


KILLED = """
import os, signal, sys
from pathlib import Path
from ipy_codeinterp.execution import Display, Execution, Result, Step
from ipy_codeinterp.store import database, journal, packing

def pieces(artifact):
    yield artifact.text[:1000].encode()
    os.kill(os.getpid(), signal.SIGKILL)

connection = database.connect(Path(sys.argv[1]), limit=1 << 24)
packing.Artifact.pieces = pieces
with database.transaction(connection):
    journal.insert(connection, Execution("x"), Result("run_1", (Step("x", outputs=(Display({"a": "x " * 40_000}),)),)))
"""


def test_killed(path: Path) -> None:
    """A process that is killed while it writes an artifact leaves neither that nor the Result."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)

    assert ended.returncode == -signal.SIGKILL
    with closing(database.connect(path, limit=1 << 24)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert [count(connection, table) for table in ("results", "artifacts", "uses")] == [0, 0, 0]


LARGE = """
import base64, json, os, sys
from pathlib import Path
from ipy_codeinterp.execution import Display, Execution, Result, Step, Stream
from ipy_codeinterp.store import database, journal
from ipy_codeinterp.store.database import Database

def memory(name):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(name)]
    return int(line.split()[1]) * 1024

def costs(work):
    open("/proc/self/clear_refs", "w").write("5")  # the peak is what is used now
    before = memory("VmRSS")
    work()
    return memory("VmHWM") - before

figure = base64.b64encode(os.urandom(3 << 10)).decode() * (50 * (1 << 20) // (3 << 10))
result = Result("run_1", (Step("x", outputs=(Display({"image/png": figure}),)),), native={"content": [figure]})
path = Path(sys.argv[1])
store = Database(path, limit=1 << 30)
store.write(lambda c: journal.insert(c, Execution("x"), Result("run_0"))).result()
written = costs(lambda: store.write(lambda c: journal.insert(c, Execution("x"), result)).result())
with database.reading(path) as connection:
    found = []
    read = costs(lambda: found.append(journal.find(connection, "run_1")))
store.close()
assert found == [result]
print(json.dumps({"text": len(figure), "written": written, "read": read, "file": path.stat().st_size}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux's way to ask for memory")
def test_large_figure(path: Path) -> None:
    """Keeping a figure of 50 MB takes less than 10 MB beside the Result, reading it no more than its text twice."""
    ended = subprocess.run(
        [sys.executable, "-c", LARGE, str(path)], check=True, timeout=100, stdout=subprocess.PIPE, text=True
    )

    said = json.loads(ended.stdout)
    assert said["text"] > 66_000_000
    assert said["written"] < 10_000_000
    assert said["read"] < 2 * said["text"] + 10_000_000
    assert said["file"] < 0.76 * said["text"]
