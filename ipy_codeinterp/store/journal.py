"""The journal: every Result, by id and by the key of its Execution, as JSON that says what it is.

Texts of more than `LONG` characters stand apart (artifacts.py): figures, pages, what was printed for hours.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any

from ipy_codeinterp.execution import Cost, Execution, File, Limit, Result, Step, Text, Timings, Usage
from ipy_codeinterp.outputs import Collector, from_nbformat, to_nbformat
from ipy_codeinterp.shield import masked_execution
from ipy_codeinterp.store import artifacts, packing
from ipy_codeinterp.store.packing import Artifact

ALWAYS = datetime.min.replace(tzinfo=UTC)
LONG = 1 << 16  # characters
APART = '{"artifacts": '  # how the JSON of a Result begins that has something apart
INSERT = "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)"


def insert(connection: sqlite3.Connection, execution: Execution, result: Result, key: str | None = None) -> None:
    """Keep `result` under its id, in the transaction of the caller; `key` is the execution's, where it is known.

    Raises `StoreError` for a text that is larger than the file can take.
    """
    text, found = _apart(result)
    row = (result.id, key or execution.key, datetime.now(UTC).isoformat(), result.offer, result.outcome)
    try:
        _insert(connection, (*row, to_json(masked_execution(execution)), text))
    except (sqlite3.DataError, OverflowError):  # "string or blob too big"
        raise artifacts.too_large(len(text), connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)) from None
    for artifact in found:
        artifacts.keep(connection, artifact, result.id)


def _insert(connection: sqlite3.Connection, row: tuple[str, ...]) -> None:
    try:
        connection.execute(INSERT, row)
    except sqlite3.IntegrityError:  # REPLACE would fire no triggers: what the last Result used would stay
        connection.execute("DELETE FROM results WHERE id = ?", row[:1])
        connection.execute(INSERT, row)


def find(connection: sqlite3.Connection, id: str, since: datetime = ALWAYS) -> Result | None:
    """The Result kept under `id`, if that was not before `since`."""
    row = connection.execute(
        "SELECT result FROM results WHERE id = ? AND created_at >= ?", (id, since.isoformat())
    ).fetchone()
    return _whole(connection, row[0]) if row else None


def has(connection: sqlite3.Connection, id: str) -> bool:
    """Whether a Result is kept under `id`."""
    return connection.execute("SELECT 1 FROM results WHERE id = ?", (id,)).fetchone() is not None


def find_answer(connection: sqlite3.Connection, key: str, offer: str, since: datetime) -> Result | None:
    """The newest Result of that key by that offer that may serve again: run live, not before `since`, and ok."""
    row = connection.execute(
        "SELECT result FROM results WHERE key = ? AND offer = ? AND outcome = 'ok' AND created_at >= ?"
        " AND json_extract(result, '$.source') = 'live' ORDER BY created_at DESC LIMIT 1",
        (key, offer, since.isoformat()),
    ).fetchone()
    return _whole(connection, row[0]) if row else None


def newest(connection: sqlite3.Connection, most: int) -> list[str]:
    """The ids of the Results that were kept last."""
    return [id for (id,) in connection.execute("SELECT id FROM results ORDER BY rowid DESC LIMIT ?", (most,))]


def encode(result: Result) -> str:
    """A Result as JSON text."""
    return to_json(content_of(result))


def decode(text: str) -> Result:
    """The way back."""
    return result_of(json.loads(text))


def content_of(result: Result) -> dict[str, Any]:
    """A Result as what `to_json` can write, with every text that somebody else chose in dicts and lists."""
    content = _fields(result)
    content["parts"] = [_part(part) for part in result.parts]
    content["usage"] = _fields(result.usage)
    return content


def result_of(content: Mapping[str, Any]) -> Result:
    """The way back, from what JSON made of it."""
    told = dict(content)
    told["parts"] = tuple(_part_of(part) for part in told["parts"])
    told["limit"] = Limit(**told["limit"]) if told["limit"] else None
    told["usage"] = Usage(**told["usage"])
    told["cost"] = _cost_of(told["cost"])
    told["timings"] = Timings(**told["timings"])
    told["request_ids"] = tuple(told["request_ids"])
    return Result(**told)


def _apart(result: Result) -> tuple[str, list[Artifact]]:
    """A Result as JSON text, and what stands apart from it.

    A text that has anything apart begins with `artifacts`, which is no field of a Result: only there a form is one.
    """
    content = content_of(result)
    if not _has_long(content["parts"]):  # else there would be a copy of it now
        text = to_json(content)
        if len(text) <= LONG or not _has_long(content):
            return text, []
    found: dict[str, Artifact] = {}
    try:
        packed = packing.packed(content, lambda each: found.setdefault(each.sha256, each), long=LONG, lines=False)
        return to_json({"artifacts": list(found), **packed}), list(found.values())
    except RecursionError:  # JSON itself goes deeper
        return to_json(content), []


def _whole(connection: sqlite3.Connection, text: str) -> Result | None:
    """The Result of a row; None where it was deleted since the row was read."""
    if not text.startswith(APART):
        return decode(text)

    @cache  # what stands in a Result twice is there once
    def read(sha256: str, form: packing.Form) -> str:
        return artifacts.read(connection, sha256, form)

    try:
        content = json.loads(text, object_hook=lambda value: packing.plain(value, read))
    except LookupError:
        return None
    del content["artifacts"]
    return result_of(content)


def _has_long(content: Any) -> bool:
    """Whether there is a text to be kept apart."""
    waiting = [content]
    for value in waiting:  # which grows
        kind = type(value)
        if kind is str:
            if len(value) > LONG:
                return True
        elif kind is dict:
            waiting += value.values()
        elif kind is list or kind is tuple:
            waiting += value
    return False


def _plain(value: object) -> Any:
    """One level of what JSON does not know: `asdict` would copy everything below it as well."""
    return _fields(value) if is_dataclass(value) else str(value)


def _fields(value: object) -> dict[str, Any]:
    kind: type = type(value)
    names, values = _reader(kind)
    return dict(zip(names, values(value), strict=True))


@cache
def _reader(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(f.name for f in fields(kind))
    return names, attrgetter(*names)


# `json.dumps` would make an encoder for each value; what is nested without end is still a RecursionError.
to_json = json.JSONEncoder(default=_plain, check_circular=False).encode


def _part(part: Text | Step) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    content = _fields(part)
    content["outputs"] = [to_nbformat(output) for output in part.outputs]
    content["files"] = [{"name": f.name, "sha256": f.sha256, "size": f.size, "id": f.id} for f in part.files]
    return {"type": "step", **content}


def _part_of(part: Mapping[str, Any]) -> Text | Step:
    content = {name: value for name, value in part.items() if name != "type"}
    if part["type"] == "text":
        return Text(**content)
    content["outputs"] = Collector(from_nbformat(output) for output in content["outputs"]).outputs
    content["files"] = tuple(File(**file) for file in content["files"])
    return Step(**content)


def _cost_of(cost: Mapping[str, Any]) -> Cost:
    amounts = ("billed", "listed", "avoided")  # the last came later: what was kept before it has none
    items = {name: Decimal(amount) for name, amount in cost.get("items", {}).items()}
    return Cost(**{**cost, **{name: _money(cost.get(name)) for name in amounts}, "items": items})


def _money(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)
