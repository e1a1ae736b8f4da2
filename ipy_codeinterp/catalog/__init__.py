"""Facts about the world outside: who offers what, under which limits, at what price and since when.

The facts are TOML files beside this one, one a provider; the user's own, in the folder `catalog` of the configuration,
are laid over them. This module loads them and answers questions about them: it allows nothing (`consent` does) and
sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ipy_codeinterp import registry, settings
from ipy_codeinterp.catalog import reading
from ipy_codeinterp.catalog.facts import LOCAL, MOST_TOKENS, NO_LIMITS, Limits, Model, Offer, Profile, Provider, joined
from ipy_codeinterp.catalog.prices import Charge, ContainerPrice, Price, Rates, container_cost
from ipy_codeinterp.errors import InvalidInput, NotAllowed

__all__ = [
    "LOCAL",
    "MOST_TOKENS",
    "NO_LIMITS",
    "Charge",
    "ContainerPrice",
    "Limits",
    "Model",
    "Offer",
    "Price",
    "Profile",
    "Provider",
    "Rates",
    "container_cost",
    "find",
    "forget",
    "joined",
    "models",
    "offer",
    "profile_of",
    "profiles",
    "provider",
    "providers",
    "warning_of",
]

FAMILIES = ("claude", "gpt")  # profiles that serve every model called so and something more
ORDER = (LOCAL, "anthropic", "openai", "gemini", "holysheep", "compatible")  # the user's own come after
SOON = timedelta(days=90)  # before a model is retired it is said


def providers() -> Mapping[str, Provider]:
    """Every provider by name. Raises `InvalidInput`, with file and line, for a file of the user's that is wrong."""
    return _providers(settings.config_dir() / "catalog")


def provider(name: str) -> Provider:
    """The provider of that name. Raises `UnknownName` with the nearest one."""
    return registry.find("provider", name, providers())


def profiles() -> Mapping[str, Profile]:
    """The models of the local sandbox."""
    return _profiles(settings.config_dir() / "catalog")


def models() -> Mapping[str, Model]:
    """Every model of a maker, by name and by alias: whose list price is the list price."""
    makers = [each for each in providers().values() if each.maker]
    return {name: model for each in makers for name, model in each.names().items()}


def find(name: str) -> Offer:
    """The offer on this machine that `name` (`claude`, `claude@local`) means.

    Raises `UnknownName` with the nearest one, and `NotAllowed` for a provider that is not on this machine: those are
    asked for through `consent`.
    """
    model, _, where = name.partition("@")
    if where and where != LOCAL:
        provider(where)
        raise NotAllowed(f"{name} is not on this machine; nothing was sent", hint=f"use {model}@local")
    profile = registry.find("model", model, profiles())
    listed = models().get(profile.listed_as) if profile.listed_as else None
    return Offer(profile.name, LOCAL, profile.timeout, profile.memory, listed)


def offer(model: str, provider: Provider) -> Offer:
    """What `provider` offers under that name or alias. Raises `UnknownName` with the nearest one."""
    if provider.is_local:
        return find(model)
    known = provider.names()
    if provider.any_model and model and model not in known:
        found = Model(model, provider.name)
    else:
        found = registry.find("model", model, known)
    price = found.price
    return Offer(
        found.name,
        provider.name,
        provider.timeout,
        provider.memory,
        listed=found,
        price=price,
        most_tokens=found.most_tokens or provider.most_tokens,
        limits=provider.limits,
        languages=provider.languages,
        tool=found.tool or provider.tool,
        sent_as=found.sent_as,
        batch_price=price.batched if price else None,
        container_price=provider.container,
        retires=found.retires,
    )


def profile_of(model: str) -> Profile | None:
    """The profile a gateway serves under a vendor's model name: `claude-sonnet-5` runs as `claude`."""
    family, _, version = model.partition("-")
    known = profiles().get(family)
    return known if not version or (known and family in FAMILIES) else None


def warning_of(offer: Offer, today: date) -> str | None:
    """A line about a model that is retired, or soon will be; else None."""
    if offer.retires is None or today + SOON < offer.retires:
        return None
    when = "was" if offer.retires <= today else "will be"
    return f"{offer} {when} retired on {offer.retires}: name another model"


# --- files ----------------------------------------------------------------------------------------


Source = tuple[dict[str, Any], str, str]  # tables, the file that is complained of, its text


def forget() -> None:
    """Read the files anew when they are next asked for."""
    for read in (_theirs, _source, _profiles, _providers):
        read.cache_clear()


@cache
def _providers(folder: Path) -> Mapping[str, Provider]:
    sources = {name: _source(folder, name) for name in (*ORDER, *_theirs(folder))}
    found = {name: reading.provider(*source) for name, source in sources.items()}
    for each in found.values():
        _check_names(each, sources[each.name][1])
    return found


@cache
def _profiles(folder: Path) -> Mapping[str, Profile]:
    return reading.profiles(*_source(folder, LOCAL))


@cache
def _source(folder: Path, name: str) -> Source:
    """Our file of a provider, with the user's laid over it."""
    source: Source = {}, name, ""
    if name in ORDER:
        text = (resources.files(__name__) / f"{name}.toml").read_text("utf-8")
        source = reading.parse(text, f"{name}.toml"), f"{name}.toml", text
    for tables, file, text in _theirs(folder).get(name, ()):
        source = reading.laid_over(source[0], tables), file, text
    return source


@cache
def _theirs(folder: Path) -> Mapping[str, tuple[Source, ...]]:
    """The user's files by the provider that each is about."""
    found: dict[str, tuple[Source, ...]] = {}
    for path in sorted(folder.glob("*.toml")):
        text = reading.text_of(path)
        tables = reading.parse(text, str(path))
        name = tables.setdefault("name", path.stem)
        if not isinstance(name, str):
            line = reading.line_of(text, "name", None)
            raise InvalidInput(f"{path}, line {line}: name is not a text", hint=reading.HINT)
        found[name] = (*found.get(name, ()), (tables, str(path), text))
    return found


def _check_names(provider: Provider, file: str) -> None:
    seen: set[str] = set()
    for name in (name for model in provider.models for name in (model.name, *model.aliases)):
        if name in seen or "@" in name:
            what = "has an @" if "@" in name else "stands for two models"
            raise InvalidInput(f"{file}: the name {name} {what}", hint=reading.HINT)
        seen.add(name)
