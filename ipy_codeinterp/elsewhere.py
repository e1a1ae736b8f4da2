"""What `models` lists: the interpreters of this machine, and what could be asked elsewhere, at which price.

Nothing leaves the machine for it. Of keys only the variable's name is told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from ipy_codeinterp import catalog, consent, keys, probe
from ipy_codeinterp.catalog import LOCAL, Model, Provider
from ipy_codeinterp.errors import UnknownName
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.tables import columns

ANY = "*"  # of a provider that serves models the catalog does not know
HEADINGS = ("ELSEWHERE", "ALSO", "IN", "OUT", "AS OF", "ENABLED", "KEY", "RETIRES")
NOTE = "IN and OUT: USD per million tokens. NAME@PROVIDER asks it for one cell, %interp enable PROVIDER from now on"


@dataclass(frozen=True, slots=True)
class Remote:
    """A model at a provider: USD per million tokens as of a day (None: not known), and whether it could be asked.

    `key` is the variable that holds one; None where none is set, `""` where none is needed.
    """

    name: str
    offer: str
    provider: str
    aliases: tuple[str, ...]
    input: Decimal | None
    output: Decimal | None
    checked: date | None
    enabled: bool
    key: str | None
    retires: date | None


def listed(
    settings: Settings, name: str | None = None, *, as_json: bool = False, environ: Mapping[str, str] = os.environ
) -> str:
    """All there is, or what `name` may mean: a model, an offer, a provider. Raises `UnknownName`."""
    away = remotes(settings, name, environ)
    try:
        here = probe.interpreters(settings.data_dir, name) if _may_be_here(name) else []
    except UnknownName:
        if not away:
            raise
        here = []
    if as_json:
        rows = json.loads(probe.as_json(here)) + [asdict(each) for each in away]
        return json.dumps(rows, indent=1, default=str)
    tables = ([probe.table(here)] if here else []) + ([table(away)] if away else [])
    return "\n\n".join(tables)


def remotes(settings: Settings, name: str | None, environ: Mapping[str, str]) -> list[Remote]:
    """Every offer that is not on this machine, or those that `name` may mean."""
    model, _, where = (name or "").partition("@")
    return [
        _remote(each, provider, settings, environ)
        for provider in catalog.providers().values()
        if not provider.is_local and where in ("", provider.name)
        for each in _models(provider, model if where else "")
        if model in ("", provider.name, each.name, *each.aliases)
    ]


def _may_be_here(name: str | None) -> bool:
    where = (name or "").partition("@")[2]
    return where in ("", LOCAL) or where not in catalog.providers()


def _models(provider: Provider, asked: str) -> Iterator[Model]:
    yield from provider.models
    if provider.any_model and asked not in provider.names():
        yield Model(asked or ANY, provider.name)


def _remote(model: Model, provider: Provider, settings: Settings, environ: Mapping[str, str]) -> Remote:
    price = model.price
    if provider.name == consent.COMPATIBLE and settings.key_variable:
        held = settings.key_variable if environ.get(settings.key_variable) else None
    else:
        held = keys.is_set(provider, environ)
    return Remote(
        model.name,
        f"{model.name}@{provider.name}",
        provider.name,
        model.aliases,
        price.input if price else None,
        price.output if price else None,
        price.checked if price else None,
        provider.name in settings.enabled,
        held if held or provider.key_needed else "",
        model.retires,
    )


def table(away: Sequence[Remote]) -> str:
    """One row an offer; what nobody knows is a `?`."""
    today = datetime.now(UTC).date()
    return f"{columns(HEADINGS, (_row(each, today) for each in away))}\n{NOTE}"


def _row(each: Remote, today: date) -> tuple[str, ...]:
    known = [str(value) if value is not None else "?" for value in (each.input, each.output, each.checked)]
    key = {None: "none set", "": "none needed"}.get(each.key, each.key or "")
    gone = "" if each.retires is None else f"{each.retires} (gone)" if each.retires <= today else str(each.retires)
    return each.offer, ", ".join(each.aliases), *known, "yes" if each.enabled else "no", key, gone
