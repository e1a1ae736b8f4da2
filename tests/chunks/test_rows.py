"""Rows of a CSV file: the same as pandas finds, wherever the file is cut."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipy_codeinterp.chunks import rows as module
from ipy_codeinterp.chunks.rows import Splitter, look_at
from ipy_codeinterp.chunks.work import Range, cut
from ipy_codeinterp.errors import InvalidInput

Written = Callable[[bytes], Path]
FIELDS = (
    "",
    "1",
    "-2.5",
    "x",
    '"q"',
    '"a,b"',
    '"a\nb"',
    '"a\r\n\r\nb"',
    '"say ""hi"""',
    '"""\n"""',
    '5" pipe',
    " ",
    'x"y"',
    ' "a\nb"',
)
ENDS = ("\n", "\r\n", "\r", "\n\n", "\n \t\n")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(content: bytes) -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes(content)
        return path

    return write


def frame(content: bytes, separator: str = ",") -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), dtype=str, sep=separator, keep_default_na=False)


row = st.tuples(st.lists(st.sampled_from(FIELDS), min_size=3, max_size=3), st.sampled_from(ENDS))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(row, min_size=1, max_size=12),
    ends_open=st.booleans(),
    size=st.integers(1, 5),
    block=st.integers(1, 40),
    bom=st.booleans(),
)
def test_ranges_are_what_pandas_reads(
    table: list[tuple[list[str], str]],
    ends_open: bool,
    size: int,
    block: int,
    bom: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever is quoted, blank or ended otherwise, the ranges are the whole file's rows, in order (D44, D45)."""
    body = "".join(f"{','.join(fields)}{end}" for fields, end in table)
    content = (b"\xef\xbb\xbf" * bom) + ('id,"b\nb",c\n' + (body.rstrip("\r\n\t ") if ends_open else body)).encode()
    path = tmp_path_factory.mktemp("rows") / "data.csv"
    path.write_bytes(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        patch.setattr(module, "SMALL_BLOCK", block)
        patch.setattr(module, "STEP", 3)
        found = look_at(path, separator=",")
        parts = [frame(found.read(*found.span(each))) for each in cut(0, found.rows, size)]

    whole = frame(content)
    assert found.rows == len(whole)
    assert [len(part) for part in parts] == [each.rows for each in cut(0, found.rows, size)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
def test_blocks_do_not_matter(block: int) -> None:
    """Where a block ends, between \\r and \\n or inside a field, changes nothing."""
    content = b'a,b\r\n1,"x\r\ny"\r\n\r\n2,"z"""\r\n3,4'
    splitter = Splitter(",")

    ends = [end for at in range(0, len(content), block) for end in splitter.feed(content[at : at + block])]

    assert [*ends, *splitter.close()] == [5, 15, 26, len(content)]


@pytest.mark.parametrize(
    ("header", "separator"),
    [(b"a,b", ","), (b"a;b", ";"), (b"a\tb", "\t"), (b"a|b", "|"), (b"a", ","), (b'"a,b";c', ";"), (b"a;b,c", ",")],
    ids=repr,
)
def test_separator(header: bytes, separator: str, written: Written) -> None:
    """It is the first of the usual ones that is in the header, outside quotes."""
    assert look_at(written(header + b"\n1\n")).separator == separator


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b", "has a header and no rows"),
        (b"a,b\n\n \n", "has a header and no rows"),
        (b'a,b\n1,"x\n2,y\n', "a quoted field in the row that begins at byte 4 never ends"),
        (b"\x1f\x8b\x08", "is compressed"),
        (b"\xff\xfea\0", "is not text"),
        (b"PAR1\0\0", "is not text"),
    ],
    ids=repr,
)
def test_no_table(content: bytes, words: str, written: Written) -> None:
    """What is no table of at least one row is refused in words."""
    with pytest.raises(InvalidInput, match=words):
        look_at(written(content))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"separator": ""}, "a separator of ''"),
        ({"separator": "ab"}, "a separator of 'ab'"),
        ({"separator": '"'}, "a separator of"),
        ({"encoding": "utf-16"}, "cannot be cut"),
        ({"encoding": "no-such"}, "unknown encoding"),
    ],
)
def test_wrong_reading(how: dict[str, str], words: str, written: Written) -> None:
    """A way to read it that cannot be is refused."""
    with pytest.raises(InvalidInput, match=words):
        look_at(written(b"a\n1\n"), **how)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there, and a folder, are refused by name."""
    with pytest.raises(InvalidInput, match=r"there is no file .*none\.csv"):
        look_at(tmp_path / "none.csv")
    with pytest.raises(InvalidInput, match="is not a file"):
        look_at(tmp_path)


def test_a_row_that_never_ends(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing quote does not make the host hold the whole file."""
    monkeypatch.setattr(module, "MOST_ROW", 1000)
    monkeypatch.setattr(module, "BLOCK", 100)

    with pytest.raises(InvalidInput, match="the row that begins at byte 2 has more than"):
        look_at(written(b'a\n"' + b"x\n" * 1000))


def test_a_file_that_changes(written: Written) -> None:
    """A file that is another one by now is not read on."""
    path = written(b"a\n1\n2\n")
    table = look_at(path)
    path.write_bytes(b"a\n1\n2\n3\n")

    with pytest.raises(InvalidInput, match="has changed"):
        table.span(Range(0, 1))


def test_content_is_its_name(written: Written) -> None:
    """The hash is that of the whole file, also with a byte order mark."""
    for content in (b"a\n1\n", b"\xef\xbb\xbfa\n1\n"):
        assert look_at(written(content)).sha256 == hashlib.sha256(content).hexdigest()
