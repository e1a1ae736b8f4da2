"""The way back of `extension`: what our own gateway says beside a vendor's format, as the client hears it.

Whoever answers may have made it up: what has not the right type raises `ValueError`, or counts as not said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args

from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.execution import Clear, File, Limit, Outcome, Output, Update
from ipy_codeinterp.outputs import Collector, from_nbformat

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Start:
    """What is said before the code runs."""

    container: str | None = None
    new: bool | None = None
    isolation: str | None = None
    warm: bool | None = None


def decode_start(event: Mapping[str, Any]) -> Start:
    return Start(
        _of(str, event.get("container")),
        _of(bool, event.get("new")),
        _of(str, event.get("isolation")),
        _of(bool, event.get("warm")),
    )


def decode_output(event: Mapping[str, Any]) -> Output | Update | Clear:
    return from_nbformat(_an_object(event.get("output")))


def decode_ran(said: object, exit_status: int = 0) -> Ran:
    """The field of a result."""
    field = _an_object(said)
    outcome, timings = field.get("outcome"), field.get("timings")
    if outcome not in get_args(Outcome):
        raise ValueError("not an outcome")
    return Ran(
        outputs=Collector(from_nbformat(_an_object(each)) for each in _a_list(field.get("outputs"))).outputs,
        outcome=cast(Outcome, outcome),
        exit_status=exit_status,
        files=tuple(map(_file, _a_list(field.get("files")))),
        limit=_limit(field.get("limit")),
        seconds=_number(timings.get("execution") if isinstance(timings, Mapping) else None) or 0.0,
        note=_of(str, field.get("note")) or "",
    )


def _file(said: object) -> File:
    file = _an_object(said)
    id, name, size = file.get("file_id"), file.get("name"), file.get("size")
    if not isinstance(id, str) or not isinstance(name, str):
        raise ValueError("not a file")
    known = isinstance(size, int) and not isinstance(size, bool)
    return File(name, _of(str, file.get("sha256")), size if known else None, id=id)


def _limit(said: object) -> Limit | None:
    if said is None:
        return None
    limit = _an_object(said)
    name, unit, allowed = limit.get("name"), limit.get("unit"), _number(limit.get("allowed"))
    if not isinstance(name, str) or not isinstance(unit, str) or allowed is None:
        raise ValueError("not a limit")
    return Limit(name, allowed, unit, _number(limit.get("reached")), _of(int, limit.get("line")))


def _an_object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"an object expected, not {type(value).__name__}")
    return value


def _a_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a list expected, not {type(value).__name__}")
    return value


def _number(value: object) -> float | None:
    """A finite number, whole or not, as it was said."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _of(kind: type[T], value: object) -> T | None:
    return value if isinstance(value, kind) else None
