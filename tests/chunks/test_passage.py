"""A cell over a file: what it sees, what is collected of it, what is shown, and how it fails."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ipy_codeinterp import chunks
from ipy_codeinterp.chunks import RangeFailed, Report
from ipy_codeinterp.errors import BadAttachment, GatewayLost, InvalidInput
from ipy_codeinterp.execution import Display, Event, Notice, Stream, Update

from .here import Here, ended, raised, too_much


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """100 rows: a whole number, one with a late gap, a word, a number that is a word in the last row, truth."""
    path = tmp_path / "data.csv"
    frame = pd.DataFrame({"id": range(100), "gap": range(100), "word": 'a,"b"\nc', "mixed": range(100), "yes": True})
    table = frame.astype({"gap": object, "mixed": object})
    table.loc[97, "gap"], table.loc[99, "mixed"] = None, "n/k"
    table.to_csv(path, index=False)
    return path


def run(session: Here, code: str, path: Path, **how: Any) -> Report:
    return asyncio.run(chunks.execute(session, code, path, **{"rows": 10, **how}))  # type: ignore[arg-type]


def ids(reports: list[list[int]]) -> list[int]:
    return list(itertools.chain(*reports))


# --- what the cell sees ---------------------------------------------------------------------------


def test_chunk_is_a_part_of_the_whole(data: Path, tmp_path: Path) -> None:
    """Header, types and index of every range are those of the whole file (D45)."""
    whole = pd.read_csv(data, low_memory=False)

    report = run(Here(tmp_path), "{'types': chunk.dtypes.astype(str), 'rows': chunk.to_json()}", data, rows=30)

    for each in report.done:
        part = whole.iloc[each.rows.start : each.rows.stop]
        assert each.value["rows"] == part.to_json()
    assert [each.rows.rows for each in report.done] == [30, 30, 30, 10]


def test_each_byte_is_attached_once(data: Path, tmp_path: Path) -> None:
    """A range travels with the header and its own rows, not with the file (D45, D47)."""
    session = Here(tmp_path)

    run(session, "len(chunk)", data)

    sent = [file.size or 0 for each in session.executions for file in each.files if "'code': None" not in each.body]
    header = len(b"id,gap,word,mixed,yes\n")
    assert sum(sent) == data.stat().st_size - header + 10 * header


def test_given_types(data: Path, tmp_path: Path) -> None:
    """A type that the user names counts."""
    report = run(Here(tmp_path), "chunk['id'].iloc[0] + '!'", data, rows=50, dtypes={"id": "str"})

    assert report.values == ("0!", "50!")


def test_attached_files_and_terms_go_along(data: Path, tmp_path: Path) -> None:
    """What is attached is there for each range, and what is said of cost or cache goes with each run."""
    (tmp_path / "more.txt").write_text("7")
    session = Here(tmp_path)

    report = run(
        session,
        "import pathlib\nint(pathlib.Path('more.txt').read_text())",
        data,
        rows=50,
        files=[tmp_path / "more.txt"],
        cache=False,
    )

    assert report.values == (7, 7)
    assert session.terms == [{"cache": False, "aside": False}] * 3


# --- what is collected ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "value"),
    [
        ("x = 1", "value", None),
        ("len(chunk)", "value", 2),
        ("chunk['id'].sum()", "value", 1),
        ("chunk['id'].mean()", "value", 0.5),
        ("'é\U0001f600\\udc80'", "value", "é\U0001f600\udc80"),
        ("[1, (2, None)], {3: True}", "value", [[1, [2, None]], {"3": True}]),
        ("chunk['id'].to_numpy()", "value", [0, 1]),
        ("import pandas\n[pandas.Timestamp('2026-01-02'), pandas.NaT, pandas.Timedelta('1min'), pandas.NA]", "value",
         ["2026-01-02T00:00:00", None, 60.0, None]),
        ("chunk.groupby('yes')['id'].sum()", "series", {True: 1}),
        ("chunk.groupby(['yes', 'mixed'])['id'].sum()", "series", {(True, "0"): 0, (True, "1"): 1}),
        ("chunk[['id', 'yes']]", "table", [{"id": 0, "yes": True}, {"id": 1, "yes": True}]),
        ("chunk.groupby('mixed')[['id']].max()", "table", [{"mixed": "0", "id": 0}, {"mixed": "1", "id": 1}]),
        ("print('x')\nraise SystemExit(0)", "value", None),
    ],
)  # fmt: skip
def test_last_value(code: str, kind: str, value: Any, data: Path, tmp_path: Path) -> None:
    """The last expression of the cell is collected as plain data."""
    report = run(Here(tmp_path), code, data, rows=2)

    assert (report.done[0].kind, report.values[0]) == (kind, value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("object()", "a object cannot be collected"),
        ("[print]", "cannot be collected"),
        ("chunk.set_index('yes')['id']", "repeated labels"),
        ("chunk[['id', 'id']]", "repeated names"),
        ("'x' * 5_000_000", "at most 4,000,000"),
        ("raise SystemExit(1)", "without telling a value"),
    ],
)
def test_what_cannot_be_collected(code: str, words: str, data: Path, tmp_path: Path) -> None:
    """A last value that is no plain data fails in words, and is not dropped (D51)."""
    with pytest.raises(RangeFailed, match=words):
        run(Here(tmp_path), code, data, rows=100, least=100)


def test_summary(data: Path, tmp_path: Path) -> None:
    """Summaries of all ranges are merged into pandas' own figures of the whole (D46)."""
    whole = pd.read_csv(data)["gap"]

    report = run(Here(tmp_path), "summarize(chunk)", data, rows=7)

    assert report.summary is not None
    found = report.summary["gap"]
    assert list(report.summary) == ["id", "gap"]
    assert (found.count, found.min, found.max) == (99, whole.min(), whole.max())
    assert (found.mean, found.std) == (pytest.approx(whole.mean()), pytest.approx(whole.std()))
    assert "gap" in str(report)


def test_report_as_text(data: Path, tmp_path: Path) -> None:
    """A report says what is done, then a line for each value; long ones are cut."""
    report = run(Here(tmp_path), "'x' * 100 if chunk.index[0] else 1", data, rows=50)

    assert str(report).splitlines() == [
        "100 rows in 2 ranges",
        "rows 0 to 49   1",
        f"rows 50 to 99  '{'x' * 58}…",
    ]


# --- how it fails ---------------------------------------------------------------------------------


def test_a_limit_halves(data: Path, tmp_path: Path) -> None:
    """Ranges that are too much are halved until they are not; every row is there once, in order (D44, D51)."""
    session = Here(tmp_path, lambda ids: too_much() if len(ids) > 3 else None)

    report = run(session, "chunk['id'].tolist()", data)

    assert ids(list(report.values)) == ids(session.ran) == list(range(100))
    assert report.halved == 2
    assert report.failed is None


@pytest.mark.parametrize("outcome", ["crashed", "cancelled", "unknown"])
def test_other_ends_halve_too(outcome: str, data: Path, tmp_path: Path) -> None:
    """No end but a good one passes for done (D51)."""
    session = Here(tmp_path, lambda ids: ended(outcome) if len(ids) > 5 else None)

    assert ids(list(run(session, "chunk['id'].tolist()", data).values)) == list(range(100))


def test_the_bad_row_is_named(data: Path, tmp_path: Path) -> None:
    """An error is followed to the row it comes from; what is done before is in the report (D44, D51)."""
    session = Here(tmp_path)

    with pytest.raises(RangeFailed) as caught:
        run(session, "chunk['mixed'].astype(int).sum()", data)

    error = caught.value
    assert (str(error.rows), error.report.failed) == ("row 99", error.rows)
    assert "ValueError: invalid literal for int() with base 10: 'n/k'" in str(error)
    assert error.report.rows_done == 99
    assert error.result is not None
    assert "99 of 100 rows are done" in error.hint
    assert any("n/k" in line for line in error._render_traceback_())


def test_least(data: Path, tmp_path: Path) -> None:
    """No range gets fewer rows than the least there may be."""
    session = Here(tmp_path, lambda ids: raised() if 42 in ids else None)

    with pytest.raises(RangeFailed, match="rows 40 to 44 failed: ValueError: bad row"):
        run(session, "1", data, least=4)

    assert [len(ids) for ids in session.asked] == [10, 10, 10, 10, 10, 5]


def test_what_cannot_be_run_ends_it(data: Path, tmp_path: Path) -> None:
    """An error of ours is raised as it is, and says what is done."""
    session = Here(tmp_path, lambda ids: GatewayLost("gone", hint="again") if 50 in ids else None)

    with pytest.raises(GatewayLost, match="gone") as caught:
        run(session, "1", data)

    assert caught.value.hint.startswith("again; 50 of 100 rows are done")


@pytest.mark.parametrize("line", ["100,1,x,1,True,6", "100,1,x,1,True,6,7"])
def test_a_row_that_cannot_be_read_is_named(line: str, data: Path, tmp_path: Path) -> None:
    """A row with more fields than the header is found before the cell runs anywhere (D45)."""
    with data.open("a") as file:
        file.write(line + "\n101,1,x,1,True\n")
    session = Here(tmp_path)

    with pytest.raises(RangeFailed, match="row 100 failed: Unreadable: pandas cannot read it: "):
        run(session, "1", data)

    assert session.asked == []


def test_rows_that_pandas_counts_otherwise(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host and pandas do not see the same rows, nothing is skipped: it fails (D44)."""
    monkeypatch.setattr(pd, "read_csv", lambda *args, read=pd.read_csv, **how: read(*args, **how).iloc[1:])

    with pytest.raises(RangeFailed, match="pandas reads 0 rows where there should be 1"):
        run(Here(tmp_path), "1", data)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"rows": 0}, "rows = 0"),
        ({"rows": 1.5}, "rows = 1.5"),
        ({"least": 0}, "least = 0"),
        ({"concurrency": True}, "concurrency = True"),
        ({"language": "r"}, "neither language nor container"),
        ({"container": "a"}, "neither language nor container"),
        ({"dtypes": {"zap": "str"}}, "no column 'zap'"),
        ({"separator": "::"}, "a separator of"),
    ],
    ids=str,
)
def test_wrong_terms(how: dict[str, Any], words: str, data: Path, tmp_path: Path) -> None:
    """What cannot be is refused before the cell runs."""
    session = Here(tmp_path)

    with pytest.raises(InvalidInput, match=words):
        run(session, "1", data, **how)

    assert session.asked == []


def test_a_name_that_is_taken(data: Path, tmp_path: Path) -> None:
    """An attached file may not be called as ranges are."""
    (tmp_path / "chunk.csv").touch()

    with pytest.raises(BadAttachment, match="an attached file is called"):
        run(Here(tmp_path), "1", data, files=[tmp_path / "chunk.csv"])


def test_nothing_is_left(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of ranges are gone at the end, also of one that failed."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    run(Here(tmp_path), "1", data)
    with pytest.raises(RangeFailed):
        run(Here(tmp_path), "1 / 0", data)

    assert os.listdir(folder) == []


# --- what is shown --------------------------------------------------------------------------------


def shown(session: Here, code: str, data: Path, **how: Any) -> list[Event]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    run(session, code, data, emit=emit, **how)
    return events


def test_prints_are_shown_below_their_rows(data: Path, tmp_path: Path) -> None:
    """What a range printed comes when it is done, once, below a line that names it; its value does not."""
    session = Here(tmp_path, lambda ids: too_much() if len(ids) > 50 else None)

    events = shown(session, "print(len(chunk))\n42", data, rows=100)

    assert [each.text for each in events if isinstance(each, Stream)] == [
        "rows 0 to 49:\n", "50\n", "rows 50 to 99:\n", "50\n",
    ]  # fmt: skip
    assert [each.data for each in events if isinstance(each, Display)] == [
        {"text/plain": "0 of 100 rows, 0 ranges done"}
    ]


def test_progress(data: Path, tmp_path: Path) -> None:
    """Progress is one display: at most ten updates a second, and the last one is there."""
    session = Here(tmp_path, lambda ids: too_much() if len(ids) > 2 else None)
    ticks = itertools.count()

    events = shown(session, "1", data, clock=lambda: next(ticks) * 0.03)

    updates = [each.data["text/plain"] for each in events if isinstance(each, Update)]
    assert 10 < len(updates) < 30
    assert updates[-1].startswith("100 of 100 rows, 60 ranges done, 3 halved\n")
    assert "rows 0 to 9 halved: the code was stopped at its memory limit of 512 MB" in updates[-1]


def test_notices_pass(data: Path, tmp_path: Path) -> None:
    """What the session has to say is shown at once."""

    class Talkative(Here):
        async def execute(self, execution: Any, *, emit: Any, **terms: Any) -> Any:
            await emit(Notice("the journal cannot be written"))
            return await super().execute(execution, emit=emit, **terms)

    events = shown(Talkative(tmp_path), "1", data, rows=100)

    assert [each.text for each in events if isinstance(each, Notice)] == ["the journal cannot be written"] * 2


def test_display_ids_are_a_ranges_own(data: Path, tmp_path: Path) -> None:
    """Displays of two ranges with the same id do not meet."""
    told = ended("ok", Display({"text/plain": "x"}, display_id="a"))

    class Showing(Here):
        async def execute(self, execution: Any, *, emit: Any, **terms: Any) -> Any:
            result = await super().execute(execution, emit=emit, **terms)
            steps = tuple(replace(step, outputs=(*told.outputs, *step.outputs)) for step in result.steps)
            return replace(result, parts=steps)

    events = shown(Showing(tmp_path), "1", data, rows=50)

    assert [each.display_id for each in events if isinstance(each, Display)] == ["chunks", None, None]


def test_several_at_once(data: Path, tmp_path: Path) -> None:
    """However many run at once, the report is in the order of the rows."""
    report = run(Here(tmp_path), "chunk['id'].tolist()", data, rows=3, concurrency=7)

    assert ids(list(report.values)) == list(range(100))


def test_synchronously(data: Path, tmp_path: Path) -> None:
    """`run` does the same from synchronous code, and shows on the calling thread."""
    events: list[Event] = []

    report = chunks.run(Here(tmp_path), "len(chunk)", data, rows=50, show=events.append)  # type: ignore[arg-type]

    assert report.values == (50, 50)
    assert isinstance(events[0], Display)
