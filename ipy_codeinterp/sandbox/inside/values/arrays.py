"""numpy's values: an array as .npy or inside JSON, a scalar inside JSON. Of plain kinds only, and never of objects."""

from __future__ import annotations

import io
import math
import sys
from typing import Any

from . import plain
from .unfit import Unfit, no_way

TAGS = ("array", "scalar")
KINDS = "biufcSUMm"  # booleans, numbers, bytes, texts, dates and durations
MOST_DTYPE = 40  # characters of a dtype's name
MOST_DIMENSIONS = 32
MOST_CHARACTER = 0x10FFFF


def is_array(value: object) -> bool:
    """Whether it is an array, without importing numpy."""
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def encode(value: Any) -> Any:
    import numpy as np

    if type(value) is np.ndarray:
        _check(value.dtype)
        return {
            plain.TAG: "array",
            "dtype": value.dtype.str,
            "shape": list(value.shape),
            "v": plain.b64(value.tobytes()),
        }
    if isinstance(value, np.generic) and value.dtype.kind in KINDS:
        return {plain.TAG: "scalar", "dtype": value.dtype.str, "v": plain.b64(value.tobytes())}
    raise no_way(value)


def decode(said: Any) -> Any:
    shape = tuple(said["shape"]) if said[plain.TAG] == "array" else ()
    found = made(said["dtype"], shape, plain.of_b64(said["v"]))
    return found if said[plain.TAG] == "array" else found[()]


def made(dtype: Any, shape: tuple[int, ...], data: bytes, order: Any = "C") -> Any:
    """The array of these bytes: exactly so many, and none that its kind does not have. Raises `Unfit`."""
    import numpy as np

    if not isinstance(dtype, np.dtype):
        if type(dtype) is not str or len(dtype) > MOST_DTYPE:
            raise Unfit("that is no kind of array")
        dtype = np.dtype(dtype)
    _check(dtype)
    if len(shape) > MOST_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise Unfit("an array of no shape")
    if not dtype.itemsize or len(data) != math.prod(shape) * dtype.itemsize:
        raise Unfit(f"an array of {len(data)} bytes that says it is {shape} of {dtype}")
    found = np.ndarray(shape, dtype, bytearray(data), order=order)
    if dtype.kind == "b":
        return np.array(found.view(np.uint8) != 0)
    if dtype.kind == "U" and found.size:
        characters = np.frombuffer(data, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if int(characters.max()) > MOST_CHARACTER:
            raise Unfit("an array of texts with what is no character")
    return found


def to_npy(value: Any) -> bytes:
    import numpy as np

    _check(value.dtype)
    file = io.BytesIO()
    np.lib.format.write_array(file, value, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def of_npy(data: bytes) -> Any:
    """Its header is read by numpy, which bounds it; nothing is made before the size is known to be right."""
    from numpy.lib import format as npy

    file = io.BytesIO(data)
    if npy.read_magic(file) != (1, 0):
        raise Unfit("a .npy of another version")
    shape, is_fortran, dtype = npy.read_array_header_1_0(file)
    return made(dtype, shape, data[file.tell() :], "F" if is_fortran else "C")


def _check(dtype: Any) -> None:
    if dtype.kind not in KINDS or dtype.hasobject or dtype.names or dtype.subdtype:
        hint = "send it as a list: .tolist()" if dtype.hasobject else "send its fields one by one"
        raise Unfit(f"an array of {str(dtype)[:MOST_DTYPE]} cannot travel: {hint}")
