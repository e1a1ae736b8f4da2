"""Forged files: what comes from a sandbox is refused without harm where it is no value."""

from __future__ import annotations

import base64
import io
import json
import pickle
import resource
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp.sandbox.inside import values
from ipy_codeinterp.sandbox.inside.values import MOST_PARTS, Missing, Unfit

HUGE = 10 << 30


def npy(header: dict[str, Any], body: bytes = b"") -> bytes:
    """A .npy that says what `header` says."""
    text = repr(header).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


EIGHT = b64(bytes(8))
RANGE = {"i": "range", "start": 0, "stop": 1, "step": 1, "name": None}
NAMES = {"i": "flat", "name": None, "values": {"t": "object", "v": ["a"]}}
FORGED: dict[str, Any] = {
    "unknown tag": {"$": "object", "v": "os.system"},
    "tag of another type": {"$": ["frame"]},
    "no value": {"$": "tuple"},
    "wrong value": {"$": "bytes", "v": 5},
    "no base64": {"$": "bytes", "v": "!"},
    "zone outside": {"$": "datetime", "v": "2026-01-01T00:00:00", "zone": {"key": "../../etc/passwd"}},
    "unhashable": {"$": "set", "v": [[1]]},
    "digits": {"$": "int", "v": "1" * 10_000},
    "array of objects": {"$": "array", "dtype": "O", "shape": [1], "v": EIGHT},
    "array of records": {"$": "array", "dtype": "i4,i4", "shape": [1], "v": EIGHT},
    "array of arrays": {"$": "array", "dtype": "9999999999f8", "shape": [1], "v": EIGHT},
    "array of 10 GB": {"$": "array", "dtype": "<f8", "shape": [HUGE], "v": EIGHT},
    "array of less than nothing": {"$": "array", "dtype": "<f8", "shape": [-1, -1], "v": EIGHT},
    "array of nothing, often": {"$": "array", "dtype": "<U0", "shape": [HUGE], "v": ""},
    "array of no characters": {"$": "array", "dtype": "<U2", "shape": [1], "v": b64(b"\xff" * 8)},
    "frame of nothing": {"$": "frame"},
    "frame with a name too few": {"$": "frame", "columns": RANGE, "index": RANGE, "data": []},
    "column too long": {"$": "frame", "columns": NAMES, "index": RANGE, "data": [{"t": "int8", "v": b64(b"12")}]},
    "column of pickles": {"$": "frame", "columns": NAMES, "index": RANGE, "data": [{"t": "pickle", "v": EIGHT}]},
    "codes of no category": {
        "$": "series",
        "name": None,
        "index": RANGE,
        "values": {"t": "category", "categories": NAMES["values"], "size": "int8", "ordered": False, "v": b64(b"\x07")},
    },
    "index of no level": {
        "$": "index",
        "v": {"i": "multi", "names": [None], "levels": [NAMES["values"]], "codes": [b64(bytes([9] * 8))]},
    },
    "index of a frequency": {"$": "index", "v": {**NAMES, "freq": "D" * 1000}},
    "moment of no unit": {"$": "timestamp", "v": 1, "unit": "century", "zone": None},
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_json(name: str) -> None:
    """JSON that says what no value is, is refused."""
    with pytest.raises(Unfit):
        values.unpack("json", json.dumps(FORGED[name]).encode())


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b"NaN", b"[Infinity]", b'"' + b"x" * 10, b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000],
    ids=["empty", "cut", "no text", "NaN", "Infinity", "open", "deep lists", "deep objects", "digits"],
)
def test_what_is_no_json(text: bytes) -> None:
    """What is no JSON, or nested without end, is refused."""
    with pytest.raises(Unfit):
        values.unpack("json", text)


def test_many_parts() -> None:
    """A file of so many parts that it would take many times its size in memory is refused before it is read."""
    with pytest.raises(Unfit, match="parts"):
        values.unpack("json", b"[" + b"[]," * (MOST_PARTS // 2 + 1) + b"[]]")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no npy at all",
        npy({"descr": "<f8", "fortran_order": False, "shape": (HUGE,)}, bytes(8)),
        npy({"descr": "<f8", "fortran_order": False, "shape": (2,)}, bytes(8)),
        npy({"descr": "|O", "fortran_order": False, "shape": (1,)}, pickle.dumps([print])),
        npy({"descr": [("a", "<i4")], "fortran_order": False, "shape": (1,)}, bytes(4)),
        npy({"descr": "<f8", "fortran_order": False, "shape": (-1,)}),
        npy({"descr": "<f8", "fortran_order": False, "shape": (1.5,)}, bytes(8)),
        npy({"descr": "<f8", "fortran_order": False, "shape": (1,) * 40}, bytes(8)),
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    ],
    ids=["empty", "text", "10 GB", "short", "objects", "records", "negative", "half", "deep", "brackets", "version"],
)
def test_forged_npy(data: bytes) -> None:
    """A .npy whose header lies, or that holds objects, is refused before anything is made of it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unfit):
        values.unpack("npy", data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # kB


def test_pickles_stay_closed() -> None:
    """An array of objects, as numpy writes it, is refused, and nothing in it is run."""
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)

    with pytest.raises(Unfit):
        values.unpack("npy", file.getvalue())
    with pytest.raises(Unfit):
        values.unpack("pickle", pickle.dumps(Bomb()))


class Bomb:
    """Fails the test that unpickles it."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("it was unpickled",)


def test_why_there_is_none() -> None:
    """The other end may say why there is no value: so much of it as anybody reads."""
    with pytest.raises(Missing) as caught:
        values.unpack(*values.missing("gone " * 1000))

    assert str(caught.value).startswith("gone gone") and len(str(caught.value)) == 500


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["$", "v", "t", "i", "index", "columns", "data", "zone", "unit", "name"]), inner
            )
            | st.sampled_from(sorted(FORGED)).map(FORGED.get)
        ),
    ),
    st.sampled_from(["frame", "series", "index", "array", "scalar", "timestamp", "datetime", "dict", "complex"]),
)
@settings(deadline=None)
def test_anything(said: Any, tag: str) -> None:
    """Whatever JSON says, it is a value or refused: nothing else is raised."""
    forged = {**said, "$": tag} if isinstance(said, dict) else said
    try:
        values.unpack("json", json.dumps(forged).encode())
    except Unfit:
        return
