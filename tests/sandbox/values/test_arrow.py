"""Tables of pyarrow and polars as an Arrow stream, and back; a stream that could do harm is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from ipy_codeinterp.sandbox.inside import values
from ipy_codeinterp.sandbox.inside.values import Unfit

TABLE = pa.table(
    {
        "i": [1, None],
        "s": ["x", "ü\0"],
        "l": [[1], [2, 3]],
        "d": pa.array(["a", "b"]).dictionary_encode(),
        "n": [{"a": 1}, None],
    }
)


def back(value: object) -> Any:
    return values.unpack(*values.pack(value))


def stream(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_tables_come_back() -> None:
    """A table of pyarrow, a frame and a series of polars are the same, with their types."""
    frame = pl.DataFrame({"i": [1, None], "s": ["x", "ü"], "t": [datetime(2026, 1, 1), None], "l": [[1], [2, 3]]})  # noqa: DTZ001
    frame = frame.with_columns(c=pl.Series(["u", "v"], dtype=pl.Categorical))

    assert back(TABLE).equals(TABLE)
    assert back(frame).equals(frame) and back(frame).schema == frame.schema
    assert back(frame["s"]).equals(frame["s"]) and back(frame["s"]).name == "s"
    assert back(frame.clear()).schema == frame.schema


def test_what_is_not_sent() -> None:
    """What is not computed, what is somebody's own type, and what another language cannot read is refused in words."""
    with pytest.raises(Unfit, match=r"\.collect\(\)"):
        values.pack(pl.DataFrame({"a": [1]}).lazy())
    with pytest.raises(Unfit, match="extension type"):
        values.pack(pa.table({"u": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))}))
    with pytest.raises(Unfit, match=r"to_pandas\(\)"):
        values.pack(TABLE, "r")


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed(codec: str) -> None:
    """A stream that was compressed is refused before it is read: a few bytes could become any number."""
    zeros = pa.table({"a": pa.array([0] * 100_000)})
    for table in (zeros, pa.table({"a": zeros["a"].combine_chunks().dictionary_encode()})):
        with pytest.raises(Unfit, match="compressed"):
            values.unpack("arrow", stream(table, compression=codec))


def test_extension_types() -> None:
    """An extension type in a stream is refused, on top and inside, also one that nobody knows."""
    field = pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "evil", "ARROW:extension:metadata": "x"})
    inner = pa.schema([pa.field("s", pa.struct([field]))])
    for schema, data in ((pa.schema([field]), [[1]]), (inner, [[{"x": 1}]])):
        with pytest.raises(Unfit, match="extension type"):
            values.unpack("arrow", stream(pa.table(data, schema=schema)))


def test_nobodys_table() -> None:
    """A stream that does not say whose table it is, is no value."""
    with pytest.raises(Unfit, match="whose"):
        values.unpack("arrow", stream(TABLE))


def test_any_byte_changed() -> None:
    """A stream with a byte changed, or cut short, is a table or refused: nothing else is raised."""
    data = values.pack(pa.table({"i": [1, 2], "s": ["x", "yz"]}))[1]
    for at in range(0, len(data), 3):
        for forged in (data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :], data[:at]):
            try:
                values.unpack("arrow", forged)
            except Unfit:
                continue
