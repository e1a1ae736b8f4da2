"""Tables of pyarrow and polars as an Arrow stream: uncompressed, of plain types, looked at before anything is made.

pyarrow reads and writes them for both libraries; the schema's metadata says which one the table came from.
"""

from __future__ import annotations

import struct
from typing import Any

from . import plain
from .unfit import Unfit, no_way

LEAST_VERSION = 17  # of pyarrow: before 14 a stream could name code that was run
FROM = b"ipy_codeinterp"
KINDS = ("pyarrow.Table", "polars.DataFrame", "polars.Series")
LIBRARIES = ("pyarrow", "polars")
# Of Arrow's own format: which fields of a message's tables say what.
HEADER_TYPE, HEADER, COMPRESSION, DICTIONARY_DATA = 1, 2, 3, 1
DICTIONARY, RECORDS = 2, 3


def is_table(value: object) -> bool:
    """Whether it is of a library whose values travel so, without importing any."""
    return plain.root_of(value) in LIBRARIES


def pack(value: Any) -> bytes:
    pa = _pyarrow()
    table, kind = _as_table(value)
    _check_types(table.schema)
    table = table.replace_schema_metadata({FROM: kind.encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack(data: bytes) -> Any:
    pa = _pyarrow()
    _check_messages(pa, data)
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            _check_types(reader.schema)
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise Unfit(f"it is no Arrow stream: {str(error)[:200]}") from None
    kind = (table.schema.metadata or {}).get(FROM, b"").decode("ascii", "replace")
    table = table.replace_schema_metadata(None)
    if kind == KINDS[0]:
        return table
    if kind not in KINDS:
        raise Unfit("nobody knows whose table it is")
    import polars as pl

    frame: Any = pl.from_arrow(table)
    return frame if kind == KINDS[1] else frame.to_series(0)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise Unfit("it travels as Arrow, and pyarrow is not there: install it, or send .to_pandas()") from None
    if int(pa.__version__.partition(".")[0]) < LEAST_VERSION:
        raise Unfit(f"pyarrow {pa.__version__} is too old to be trusted with it: install {LEAST_VERSION} or later")
    return pa


def _as_table(value: Any) -> tuple[Any, str]:
    import pyarrow as pa

    if type(value) is pa.Table:
        return value, KINDS[0]
    if plain.root_of(value) == "polars":
        import polars as pl

        if type(value) is pl.DataFrame:
            return value.to_arrow(), KINDS[1]
        if type(value) is pl.Series:
            return value.to_frame().to_arrow(), KINDS[2]
        if type(value) is pl.LazyFrame:
            raise Unfit("a LazyFrame is not computed yet: send its .collect()")
    raise no_way(value)


def _check_types(schema: Any) -> None:
    """Extension types are somebody's code: neither sent nor taken."""
    import pyarrow as pa

    waiting = list(schema)
    for field in waiting:  # which grows
        kind = field.type
        if isinstance(kind, pa.BaseExtensionType) or b"ARROW:extension:name" in (field.metadata or {}):
            raise Unfit(f"column {field.name[:80]!r} has an extension type of Arrow: convert it")
        if pa.types.is_dictionary(kind):
            waiting.append(pa.field(field.name, kind.value_type))
        waiting += [kind.field(at) for at in range(kind.num_fields)]


# --- what a stream says of itself -----------------------------------------------------------------


def _check_messages(pa: Any, data: bytes) -> None:
    """A stream that was compressed could be of any size when it is read: ours are not, and others are refused."""
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(data)):
            if _is_compressed(bytes(message.metadata)):
                raise Unfit("it is compressed: its size would be known only when it is read")
    except (struct.error, pa.ArrowException, OSError) as error:
        raise Unfit(f"it is no Arrow stream: {str(error)[:200]}") from None


def _is_compressed(metadata: bytes) -> bool:
    message = _offset(metadata, 0)
    kind = _field(metadata, message, HEADER_TYPE)
    body = _field(metadata, message, HEADER)
    if kind is None or body is None:
        return False
    table = _offset(metadata, body)
    if metadata[kind] == DICTIONARY:
        inner = _field(metadata, table, DICTIONARY_DATA)
        return inner is not None and _field(metadata, _offset(metadata, inner), COMPRESSION) is not None
    return metadata[kind] == RECORDS and _field(metadata, table, COMPRESSION) is not None


def _offset(data: bytes, at: int) -> int:
    """Where the flatbuffer's table is that is named at `at`."""
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is; None where it has its default."""
    if table < 0 or table >= len(data):
        raise struct.error("a table beyond its end")
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise struct.error("a table before its beginning")
    size = struct.unpack_from("<H", data, vtable)[0]
    if 4 + 2 * number + 2 > size:
        return None
    found = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    if not found:
        return None
    if table + found >= len(data):
        raise struct.error("a field beyond its end")
    return int(table + found)
