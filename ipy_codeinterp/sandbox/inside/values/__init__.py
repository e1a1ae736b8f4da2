"""A variable's value as the bytes of a file, and back: the same code at both ends, which believes neither.

A file is called NAME.value.SUFFIX, and the suffix says what is in it:

    json    anything, in JSON with tags for what JSON cannot say (plain.py, frames.py, arrays.py)
    npy     a numpy array, for Python (arrays.py)
    arrow   a table of pyarrow or polars, as an Arrow stream (arrow.py)

Nothing is ever pickled. numpy, pandas, polars and pyarrow are imported where a value of theirs is met, and not before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from . import arrays, arrow, plain
from .unfit import Missing, Unfit

__all__ = ["MOST_PARTS", "Missing", "Unfit", "file_name", "missing", "name_and_suffix", "pack", "unpack"]

MOST_PARTS = 8_000_000  # lists, objects and values of a JSON file: each takes many times its text in memory
MOST_WHY = 500  # characters
_NAME = re.compile(r"(?P<name>[^./\0]+)\.value\.(?P<suffix>json|npy|arrow)")
_GONE = "nothing"  # the tag of a value that is not there


def file_name(name: str, suffix: str) -> str:
    """What the file of the variable `name` is called."""
    return f"{name}.value.{suffix}"


def name_and_suffix(file: str) -> tuple[str, str] | None:
    """Which variable is in the file of that name, and how; None where none is."""
    found = _NAME.fullmatch(file)
    return (found["name"], found["suffix"]) if found else None


def pack(value: object, language: str = "python") -> tuple[str, bytes]:
    """The suffix and the bytes of `value`, for code in `language`. Raises `Unfit` for what cannot travel."""
    is_python = language == "python"
    if is_python and arrays.is_array(value):
        return "npy", arrays.to_npy(value)
    if arrow.is_table(value):
        if not is_python:
            raise Unfit(f"a table of {plain.root_of(value)} travels to Python only: send its .to_pandas()")
        return "arrow", arrow.pack(value)
    return "json", _text(plain.encode(value)).encode()


def missing(why: str) -> tuple[str, bytes]:
    """The suffix and the bytes that say why there is no value."""
    return "json", _text({plain.TAG: _GONE, "why": why[:MOST_WHY]}).encode("utf-8", "replace")


def unpack(suffix: str, data: bytes) -> Any:
    """The value. Raises `Missing` where the file says that there is none, and `Unfit` where it holds none."""
    if suffix not in _READERS:
        raise Unfit(f"a file {suffix[:20]!r} is no value")
    try:
        return _READERS[suffix](data)
    except Unfit:
        raise
    except RecursionError:
        raise Unfit("it is nested too deep") from None
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, LookupError, ImportError) as error:
        raise Unfit(f"it is no value: {str(error)[:MOST_WHY] or type(error).__name__}") from None
    except MemoryError:
        raise Unfit("it takes more memory than there is") from None


def _text(content: Any) -> str:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if plain.has_half_characters(text):
        raise Unfit("a text in it has half a character (a lone surrogate): mend it with .encode('utf-8', 'replace')")
    return text


def _read_json(data: bytes) -> Any:
    if sum(map(data.count, (b"[", b"{", b","))) > MOST_PARTS:
        raise Unfit(f"it has more than {MOST_PARTS:,} parts")
    said = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    if isinstance(said, dict) and said.get(plain.TAG) == _GONE:
        raise Missing(str(said.get("why"))[:MOST_WHY])
    return plain.decode(said)


def _no_constant(said: str) -> None:
    raise ValueError(f"{said} is no JSON")


_READERS: dict[str, Callable[[bytes], Any]] = {"json": _read_json, "npy": arrays.of_npy, "arrow": arrow.unpack}
