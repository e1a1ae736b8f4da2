"""Python's own values in JSON: what JSON cannot say is an object with the tag `$`.

    {"$": "tuple", "v": [1, 2]}     {"$": "datetime", "v": "2026-01-31T08:00:00", "zone": {"key": "Europe/Paris"}}

Types are exact: a subclass may hold more than its parent, and would come back without it.
"""

from __future__ import annotations

import base64
import datetime as dates
import json
import math
import re
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import Any

from .unfit import Unfit, no_way

TAG = "$"
MOST_DEPTH = 60
SAFE = (1 << 53) - 1  # the largest integer that every language reads as it is
AS_THEY_ARE = {str, bool, NoneType}
LIBRARIES = {"numpy": "arrays", "pandas": "frames"}  # by the package of a type: who knows its values
_HALF = re.compile("[\ud800-\udfff]")


def encode(value: object, depth: int = 0) -> Any:
    """What `json` can write. Raises `Unfit`."""
    kind = type(value)
    if kind in AS_THEY_ARE:
        return value
    if depth > MOST_DEPTH:
        raise Unfit(f"it is nested more than {MOST_DEPTH} deep, or into itself")
    if kind is list:
        return _list(value, depth)
    if kind is dict:
        return _dict(value, depth)
    if coder := _ENCODERS.get(kind):
        return coder(value, depth)
    if library := LIBRARIES.get(root_of(value)):
        return _module(library).encode(value)
    raise no_way(value)


def decode(said: Any) -> Any:
    """The way back. Raises `Unfit`, and what Python raises for a wrong type or value."""
    if type(said) is list:
        return said if set(map(type, said)) <= _DONE else [decode(each) for each in said]
    if type(said) is not dict:
        return said
    if TAG not in said:
        return {name: decode(each) for name, each in said.items()}
    if said[TAG] in _DECODERS:
        return _DECODERS[said[TAG]](said)
    for library in LIBRARIES.values():
        module = _module(library)
        if said[TAG] in module.TAGS:
            return module.decode(said)
    raise Unfit(f"nobody knows {str(said[TAG])[:40]!r}")


def root_of(value: object) -> str:
    """The package that the value's type is of."""
    return type(value).__module__.partition(".")[0]


def has_half_characters(text: str) -> bool:
    return not text.isascii() and _HALF.search(text) is not None


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def of_b64(said: Any) -> bytes:
    return base64.b64decode(one_of(said, str), validate=True)


def zone_of(zone: dates.tzinfo | None) -> dict[str, Any] | None:
    """A time zone by its name, or by its offset in seconds."""
    if zone is None:
        return None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)  # zoneinfo has the one, pytz the other
    if isinstance(name, str):
        return {"key": name}
    if type(zone) is dates.timezone:
        return {"offset": zone.utcoffset(None).total_seconds()}
    raise Unfit(f"a time zone of type {type(zone).__qualname__} has no name: use zoneinfo.ZoneInfo")


def of_zone(said: Any) -> dates.tzinfo | None:
    if said is None:
        return None
    if "key" in one_of(said, dict):
        return zoneinfo.ZoneInfo(one_of(said["key"], str))
    return dates.timezone(dates.timedelta(seconds=one_of(said["offset"], int, float)))


# --- out ------------------------------------------------------------------------------------------


def _list(value: Any, depth: int) -> list[Any]:
    """What is simple all through needs no second look at each."""
    kinds = set(map(type, value))
    is_simple = (
        kinds <= AS_THEY_ARE
        or (kinds == {float} and all(map(math.isfinite, value)))
        or (kinds == {int} and min(value) >= -SAFE and max(value) <= SAFE)
    )
    return list(value) if is_simple else [encode(each, depth + 1) for each in value]


def _dict(value: Any, depth: int) -> Any:
    if all(type(name) is str and name != TAG for name in value):
        return {name: encode(each, depth + 1) for name, each in value.items()}
    return _tagged("dict", [[encode(name, depth + 1), encode(each, depth + 1)] for name, each in value.items()])


def _tagged(tag: str, value: Any, **more: Any) -> dict[str, Any]:
    return {TAG: tag, "v": value, **more}


def _int(value: Any, _: int) -> Any:
    if -SAFE <= value <= SAFE:
        return value
    try:
        return _tagged("int", str(value))
    except ValueError as error:  # Python writes out no more than some thousand digits
        raise Unfit(f"an integer is too long: {error}") from None


def _float(value: Any, _: int) -> Any:
    return value if math.isfinite(value) else _tagged("float", repr(value))


def _set(tag: str) -> Callable[[Any, int], Any]:
    """In an order that is the same every time."""
    return lambda value, depth: _tagged(tag, sorted((encode(each, depth + 1) for each in value), key=json.dumps))


def _datetime(value: Any, _: int) -> Any:
    at = {} if value.tzinfo is None else {"at": value.timestamp()}  # for who knows no zones
    zone = zone_of(value.tzinfo)
    return _tagged("datetime", value.replace(tzinfo=None).isoformat(), zone=zone, fold=value.fold, **at)


def _time(value: Any, _: int) -> Any:
    return _tagged("time", value.replace(tzinfo=None).isoformat(), zone=zone_of(value.tzinfo), fold=value.fold)


_ENCODERS: dict[type, Callable[[Any, int], Any]] = {
    int: _int,
    float: _float,
    complex: lambda value, _: _tagged("complex", [_float(value.real, 0), _float(value.imag, 0)]),
    tuple: lambda value, depth: _tagged("tuple", _list(value, depth)),
    set: _set("set"),
    frozenset: _set("frozenset"),
    bytes: lambda value, _: _tagged("bytes", b64(value)),
    bytearray: lambda value, _: _tagged("bytearray", b64(value)),
    Decimal: lambda value, _: _tagged("decimal", str(value)),
    dates.date: lambda value, _: _tagged("date", value.isoformat()),
    dates.datetime: _datetime,
    dates.time: _time,
    dates.timedelta: lambda value, _: _tagged("timedelta", [value.days, value.seconds, value.microseconds]),
}


# --- back -----------------------------------------------------------------------------------------


def one_of(said: Any, *kinds: type) -> Any:
    if type(said) not in kinds:
        raise TypeError(f"{type(said).__name__} is not expected here")
    return said


def _all(said: Any) -> list[Any]:
    return [decode(each) for each in one_of(said["v"], list)]


def _of_complex(said: Any) -> complex:
    real, imaginary = _all(said)
    return complex(one_of(real, float, int), one_of(imaginary, float, int))


def _of_float(said: Any) -> float:
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[said["v"]]


def _of_datetime(said: Any) -> dates.datetime:
    found = dates.datetime.fromisoformat(one_of(said["v"], str))
    return found.replace(tzinfo=of_zone(said["zone"]), fold=int(bool(said.get("fold"))))


def _of_time(said: Any) -> dates.time:
    found = dates.time.fromisoformat(one_of(said["v"], str))
    return found.replace(tzinfo=of_zone(said["zone"]), fold=int(bool(said.get("fold"))))


def _of_timedelta(said: Any) -> dates.timedelta:
    days, seconds, microseconds = one_of(said["v"], list)
    return dates.timedelta(one_of(days, int), one_of(seconds, int, float), one_of(microseconds, int, float))


_DONE = {str, bool, NoneType, int, float}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda said: int(one_of(said["v"], str)),
    "float": _of_float,
    "complex": _of_complex,
    "tuple": lambda said: tuple(_all(said)),
    "set": lambda said: set(_all(said)),
    "frozenset": lambda said: frozenset(_all(said)),
    "dict": lambda said: {decode(name): decode(each) for name, each in said["v"]},
    "bytes": lambda said: of_b64(said["v"]),
    "bytearray": lambda said: bytearray(of_b64(said["v"])),
    "decimal": lambda said: Decimal(one_of(said["v"], str)),
    "date": lambda said: dates.date.fromisoformat(one_of(said["v"], str)),
    "datetime": _of_datetime,
    "time": _of_time,
    "timedelta": _of_timedelta,
}


KINDS = {*AS_THEY_ARE, list, dict, *_ENCODERS}  # the types that are known here


def _module(name: str) -> Any:
    from . import arrays, frames

    return {"arrays": arrays, "frames": frames}[name]
