"""Facts about the world outside: who offers what, under which limits, at what price and since when.

The facts are TOML files beside this one; this module loads them and answers questions about them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from ipy_codeinterp import registry
from ipy_codeinterp.errors import NotAllowed
from ipy_codeinterp.execution import Cost, Usage

MILLION = Decimal(1_000_000)
LOCAL = "local"
FAMILIES = ("claude", "gpt")  # profiles that serve every model called so and something more
LEAST_MEMORY = 1 << 30  # bytes that a share of the machine's is at least


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, and where that comes from."""

    input: Decimal
    output: Decimal
    source: str
    checked: date

    def of(self, usage: Usage) -> Decimal | None:
        """What the tokens cost; None when their number is unknown."""
        if None in (usage.input_tokens, usage.output_tokens):
            return None
        return sum(self.items(usage).values(), Decimal(0))

    def items(self, usage: Usage) -> dict[str, Decimal]:
        """The same by line."""
        lines = (("input", usage.input_tokens, self.input), ("output", usage.output_tokens, self.output))
        return {name: tokens * price / MILLION for name, tokens, price in lines if tokens is not None}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider lets an account do: at once, and in any `window` of seconds. None is no limit."""

    concurrency: int | None = None
    requests: int | None = None
    tokens: int | None = None
    window: float = 60.0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    provider: str
    aliases: tuple[str, ...]
    price: Price


@dataclass(frozen=True, slots=True)
class Profile:
    """The limits under which the local sandbox runs as one of its models."""

    name: str
    timeout: float
    memory: int
    listed_as: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at a provider, written `claude@local`.

    `listed` is whose list price its tokens are shown at, `price` what the account is billed (None: nothing),
    `most_tokens` what one reply may hold, and `limits` what the provider lets its account do.
    """

    model: str
    provider: str
    timeout: float
    memory: int
    listed: Model | None = None
    price: Price | None = None
    most_tokens: int = 8192
    limits: Limits = NO_LIMITS
    languages: tuple[str, ...] = ()  # none named: all of ours

    @property
    def is_local(self) -> bool:
        """Whether it is the sandbox on this machine."""
        return self.provider == LOCAL

    def __str__(self) -> str:
        return f"{self.model}@{self.provider}"

    def cost(self, usage: Usage) -> Cost:
        """What `usage` costs here: nothing is billed on this machine, the list price is what a vendor would take."""
        if self.price:
            amount, stated = self.price.of(usage), f"{self.model}, {self.price.source}, {self.price.checked}"
            return Cost(amount, amount, usage.estimated, stated, items=self.price.items(usage))
        if self.listed is None:
            return Cost(billed=Decimal(0))
        price = self.listed.price
        stated = f"{self.listed.name}, {price.source}, {price.checked}"
        return Cost(Decimal(0), price.of(usage), usage.estimated, stated)


@cache
def models() -> Mapping[str, Model]:
    """Every model with a price, by name and by alias."""
    found = [_model(row, "anthropic") for row in _load("anthropic")["models"]]
    return {name: model for model in found for name in (model.name, *model.aliases)}


@cache
def profiles() -> Mapping[str, Profile]:
    """The models of the local sandbox."""
    return {row["name"]: _profile(dict(row)) for row in _load(LOCAL)["profiles"]}


def find(name: str) -> Offer:
    """The offer that `name` (`claude`, `claude@local`) means.

    Raises `UnknownName` with the nearest one, and `NotAllowed` for a provider that is not on this machine.
    """
    model, _, provider = name.partition("@")
    if provider and provider != LOCAL:
        registry.find("provider", provider, {LOCAL: None, "anthropic": None})
        raise NotAllowed(
            f"{name} is not available: this version runs code on this machine only; nothing was sent",
            hint=f"use {model}@local",
        )
    profile = registry.find("model", model, profiles())
    listed = models()[profile.listed_as] if profile.listed_as else None
    return Offer(profile.name, LOCAL, profile.timeout, profile.memory, listed)


def profile_of(model: str) -> Profile | None:
    """The profile a gateway serves under a vendor's model name: `claude-sonnet-5` runs as `claude`."""
    family, _, version = model.partition("-")
    known = profiles().get(family)
    return known if not version or (known and family in FAMILIES) else None


def _profile(row: dict[str, Any]) -> Profile:
    share = row.pop("memory_share", None)
    if share is not None:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        row["memory"] = max(int(physical * share), LEAST_MEMORY)
    return Profile(**row)


def _model(row: Mapping[str, Any], provider: str) -> Model:
    price = Price(Decimal(row["input"]), Decimal(row["output"]), row["source"], row["checked"])
    return Model(row["name"], provider, tuple(row["aliases"]), price)


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text("utf-8"))
