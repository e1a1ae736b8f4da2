"""From TOML to the catalog's values: what is wrong in a file is said with the file and its line.

A file of the user's is laid over ours of the same provider: its values count, its models are added, or changed by name.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from ipy_codeinterp import registry
from ipy_codeinterp.catalog.facts import Limits, Model, Profile, Provider
from ipy_codeinterp.catalog.prices import ContainerPrice, Price, Rates
from ipy_codeinterp.errors import InvalidInput

HINT = "see docs/providers.md"
DIALECTS = ("messages", "responses", "completions", "gemini")
LEAST_MEMORY = 1 << 30  # bytes that a share of the machine's is at least
MOST_BYTES = 1 << 20  # of a file

TEXTS = ("name", "title", "dialect", "base_url", "key_header", "key_scheme", "key_page", "models_path", "tool")
LISTS = ("keys", "tools", "languages")
SWITCHES = ("key_needed", "any_model", "maker")
COUNTS = ("memory", "most_tokens")
PROVIDER_KEYS = (*TEXTS, *LISTS, *SWITCHES, *COUNTS, "timeout", "limits", "container", "models", "profiles")
MODEL_KEYS = ("name", "aliases", "prices", "retires", "sent_as", "tool", "most_tokens")
RATE_KEYS = ("input", "output", "cached", "cache_write", "above")
PRICE_KEYS = (*RATE_KEYS, "batch", "source", "checked", "since")
CONTAINER_KEYS = ("unit", "prices", "source", "checked", "whole", "least", "free")
PROFILE_KEYS = ("name", "timeout", "memory", "memory_share", "listed_as")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file. `near` is the name of the model it belongs to: its lines are looked for from there on."""

    raw: Mapping[str, Any]
    file: str
    text: str
    near: str | None = None

    def below(self, raw: object, key: str, known: Sequence[str]) -> Table:
        """A table in this one."""
        if not isinstance(raw, Mapping):
            raise self.wrong(key, "is not a table")
        name = raw.get("name")
        found = Table(raw, self.file, self.text, name if isinstance(name, str) else self.near)
        for each in raw:
            if each not in known:
                raise found.wrong(each, f"is not known here: {registry.suggestion(each, known)}")
        return found

    def tables(self, key: str, known: Sequence[str]) -> list[Table]:
        rows = self.raw.get(key, [])
        if not isinstance(rows, list):
            raise self.wrong(key, "is not a list of tables")
        return [self.below(row, key, known) for row in rows]

    def word(self, key: str, default: str | None = None) -> str:
        value = self.raw.get(key, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.wrong(key, "is not a text" if key in self.raw else "is missing")
        return value

    def optional_word(self, key: str) -> str | None:
        return self.word(key) if key in self.raw else None

    def words(self, key: str) -> tuple[str, ...]:
        value = self.raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise self.wrong(key, "is not a list of texts")
        return tuple(value)

    def switch(self, key: str) -> bool:
        value = self.raw[key]
        if not isinstance(value, bool):
            raise self.wrong(key, "is neither true nor false")
        return value

    def amount(self, key: str) -> Decimal:
        """Money or any other number that is not negative; as a text, so that no digit is lost, or as a number."""
        value = self.raw.get(key)
        try:
            if isinstance(value, bool):
                raise ValueError
            found = Decimal(value)  # type: ignore[arg-type]
            if not found.is_finite() or not 0 <= found < Decimal("1e15"):
                raise ValueError
        except (ArithmeticError, TypeError, ValueError):
            raise self.wrong(key, "is not an amount" if key in self.raw else "is missing") from None
        return found

    def count(self, key: str) -> int:
        found = self.amount(key)
        if found < 1 or found != int(found):
            raise self.wrong(key, "is not a whole number above 0")
        return int(found)

    def day(self, key: str) -> date:
        value = self.raw.get(key)
        if type(value) is not date:
            raise self.wrong(key, "is not a day, as 2026-11-23" if key in self.raw else "is missing")
        return value

    def wrong(self, key: str, what: str) -> InvalidInput:
        line = line_of(self.text, key, self.near)
        return InvalidInput(f"{self.file}, line {line}: {key} {what}", hint=HINT)


def line_of(text: str, key: str, near: str | None) -> int:
    """The line, from 1, of `key` in the table that has the name `near`, or of that table; 1 where there is neither."""
    lines = text.splitlines()
    start = 0
    if near is not None:
        named = re.compile(rf"""\bname\s*=\s*["']{re.escape(near)}["']""")
        start = next((number for number, line in enumerate(lines) if named.search(line)), 0)
        while start and not lines[start].lstrip().startswith("["):
            start -= 1
    said = re.compile(rf"""(?<![\w-])["']?{re.escape(key)}["']?\s*=|^\s*\[+\s*{re.escape(key)}\s*\]""")
    return next((number for number in range(start, len(lines)) if said.search(lines[number])), start) + 1


def parse(text: str, file: str) -> dict[str, Any]:
    """The TOML of a file. Raises `InvalidInput` with the file and the line."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{file} is no TOML: {error}", hint=HINT) from None
    except (ArithmeticError, RecursionError, ValueError):
        raise InvalidInput(f"{file} is no TOML that can be read", hint=HINT) from None


def text_of(path: Path) -> str:
    """What stands in a file. Raises `InvalidInput`."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{path} is not a file of less than {MOST_BYTES >> 20} MB", hint=HINT)
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint=HINT) from None


def laid_over(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Ours with what `theirs` says instead; of models and profiles by name."""
    merged = {**ours, **theirs}
    for key in ("models", "profiles"):
        if isinstance(theirs.get(key), list) and key in ours:
            merged[key] = _by_name(ours[key], theirs[key])
    return merged


def _by_name(ours: list[dict[str, Any]], theirs: list[Any]) -> list[Any]:
    rows: dict[str, Any] = {row["name"]: row for row in ours}
    for number, row in enumerate(theirs):
        name = row.get("name") if isinstance(row, Mapping) else None
        key = name if isinstance(name, str) else f"\0{number}"  # a wrong one is kept, to be complained of
        rows[key] = {**rows[key], **row} if key in rows else row
    return list(rows.values())


# --- values ---------------------------------------------------------------------------------------


def provider(raw: Mapping[str, Any], file: str, text: str) -> Provider:
    """A provider of a file's tables. Raises `InvalidInput` with the file and the line."""
    empty = Table({}, file, text)
    table = Table(empty.below({key: raw[key] for key in raw}, "provider", PROVIDER_KEYS).raw, file, text)
    name = table.word("name")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise table.wrong("name", "is not a name of small letters")
    if table.word("dialect") not in DIALECTS:
        raise table.wrong("dialect", f"is not one of {', '.join(DIALECTS)}")
    given: dict[str, Any] = {key: table.word(key, "") for key in TEXTS if key in raw}
    given |= {key: table.words(key) for key in LISTS if key in raw}
    given |= {key: table.switch(key) for key in SWITCHES if key in raw}
    given |= {key: table.count(key) for key in COUNTS if key in raw}
    if "timeout" in raw:
        given["timeout"] = float(table.amount("timeout"))
    if "limits" in raw:
        given["limits"] = _limits(table.below(raw["limits"], "limits", [f.name for f in fields(Limits)]))
    if "container" in raw:
        given["container"] = _container(table.below(raw["container"], "container", CONTAINER_KEYS))
    models = tuple(_model(row, name) for row in table.tables("models", MODEL_KEYS))
    given |= {"title": given.get("title", name), "base_url": given.get("base_url", "")}
    return Provider(**given, models=models)


def profiles(raw: Mapping[str, Any], file: str, text: str) -> dict[str, Profile]:
    """The profiles of the local sandbox, by name."""
    rows = Table(raw, file, text).tables("profiles", PROFILE_KEYS)
    return {row.word("name"): _profile(row) for row in rows}


def _profile(row: Table) -> Profile:
    if "memory_share" in row.raw:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = max(int(physical * row.amount("memory_share")), LEAST_MEMORY)
    else:
        memory = row.count("memory")
    return Profile(row.word("name"), float(row.amount("timeout")), memory, row.optional_word("listed_as"))


def _limits(table: Table) -> Limits:
    numbers: dict[str, Any] = {key: table.count(key) for key in table.raw if key != "window"}
    return Limits(**numbers, window=float(table.amount("window")) if "window" in table.raw else 60.0)


def _model(row: Table, provider: str) -> Model:
    return Model(
        name=row.word("name"),
        provider=provider,
        aliases=row.words("aliases"),
        prices=tuple(_price(each) for each in row.tables("prices", PRICE_KEYS)),
        retires=row.day("retires") if "retires" in row.raw else None,
        sent_as=row.optional_word("sent_as"),
        tool=row.optional_word("tool"),
        most_tokens=row.count("most_tokens") if "most_tokens" in row.raw else None,
    )


def _price(row: Table) -> Price:
    rates = _rates(row)
    batch = _rates(row.below(row.raw["batch"], "batch", RATE_KEYS)) if "batch" in row.raw else None
    since = row.day("since") if "since" in row.raw else None
    stated = row.word("source"), row.day("checked")
    return Price(rates.input, rates.output, *stated, rates.cached, rates.cache_write, rates.above, batch, since)


def _rates(row: Table) -> Rates:
    steps = row.tables("above", ("tokens", *RATE_KEYS[:-1]))
    return Rates(
        row.amount("input"),
        row.amount("output"),
        row.amount("cached") if "cached" in row.raw else None,
        row.amount("cache_write") if "cache_write" in row.raw else None,
        tuple(sorted(((step.count("tokens"), _rates(step)) for step in steps), key=lambda each: each[0])),
    )


def _container(table: Table) -> ContainerPrice:
    sizes = [(row.count("memory"), row.amount("price")) for row in table.tables("prices", ("memory", "price"))]
    if not sizes or table.amount("unit") == 0:
        raise table.wrong("prices" if not sizes else "unit", "is empty")
    return ContainerPrice(
        unit=float(table.amount("unit")),
        prices=tuple(sorted(sizes)),
        source=table.word("source"),
        checked=table.day("checked"),
        whole=table.switch("whole") if "whole" in table.raw else False,
        least=float(table.amount("least")) if "least" in table.raw else 0.0,
        free=float(table.amount("free")) if "free" in table.raw else 0.0,
    )
