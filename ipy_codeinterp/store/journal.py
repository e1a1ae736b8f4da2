"""The journal: every Result, by id and by the key of its Execution, as JSON that says what it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from ipy_codeinterp.execution import Cost, Execution, File, Limit, Result, Step, Text, Timings, Usage
from ipy_codeinterp.outputs import Collector, from_nbformat, to_nbformat

ALWAYS = datetime.min.replace(tzinfo=UTC)


def insert(connection: sqlite3.Connection, execution: Execution, result: Result, key: str | None = None) -> None:
    """Keep `result` under its id; `key` is the execution's, where it is known already."""
    connection.execute(
        "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            result.id,
            key or execution.key,
            datetime.now(UTC).isoformat(),
            result.offer,
            result.outcome,
            _encode(execution),
            encode(result),
        ),
    )


def find(connection: sqlite3.Connection, id: str, since: datetime = ALWAYS) -> Result | None:
    """The Result kept under `id`, if that was not before `since`."""
    row = connection.execute(
        "SELECT result FROM results WHERE id = ? AND created_at >= ?", (id, since.isoformat())
    ).fetchone()
    return decode(row[0]) if row else None


def find_answer(connection: sqlite3.Connection, key: str, offer: str, since: datetime) -> Result | None:
    """The newest Result of that key by that offer that may serve again: run live, not before `since`, and ok."""
    row = connection.execute(
        "SELECT result FROM results WHERE key = ? AND offer = ? AND outcome = 'ok' AND created_at >= ?"
        " AND json_extract(result, '$.source') = 'live' ORDER BY created_at DESC LIMIT 1",
        (key, offer, since.isoformat()),
    ).fetchone()
    return decode(row[0]) if row else None


def encode(result: Result) -> str:
    """A Result as JSON text."""
    content = {**_plain(result), "parts": [_part(part) for part in result.parts]}
    return _encode(content)


def decode(text: str) -> Result:
    """The way back."""
    content = json.loads(text)
    content["parts"] = tuple(_part_of(part) for part in content["parts"])
    content["limit"] = Limit(**content["limit"]) if content["limit"] else None
    content["usage"] = Usage(**content["usage"])
    content["cost"] = _cost_of(content["cost"])
    content["timings"] = Timings(**content["timings"])
    content["request_ids"] = tuple(content["request_ids"])
    return Result(**content)


def _plain(value: object) -> Any:
    """One level of what JSON does not know: `asdict` would copy everything below it as well."""
    if is_dataclass(value):
        kind: type = type(value)
        return {name: getattr(value, name) for name in _names(kind)}
    return str(value)


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


_encode = json.JSONEncoder(default=_plain).encode  # `json.dumps` would make one for each value


def _part(part: Text | Step) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    content = _plain(part)
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
