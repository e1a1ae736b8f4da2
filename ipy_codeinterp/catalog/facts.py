"""What the catalog knows, as values: limits, models, providers, and offers with what they cost.

What nobody knows is None, never 0. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from ipy_codeinterp.catalog.prices import NOTHING, Charge, ContainerPrice, Price, container_cost
from ipy_codeinterp.execution import Cost, Usage

LOCAL = "local"
MOST_TOKENS = 8192  # that a reply may hold, where the catalog does not say


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
    """A model at a provider. `sent_as` is what requests call it (None: its name); `tool` what runs code for it."""

    name: str
    provider: str
    aliases: tuple[str, ...] = ()
    prices: tuple[Price, ...] = ()
    retires: date | None = None
    sent_as: str | None = None
    tool: str | None = None
    most_tokens: int | None = None

    @property
    def price(self) -> Price | None:
        """What it costs today (UTC); None where that is not known."""
        return self.price_on(datetime.now(UTC).date())

    def price_on(self, day: date) -> Price | None:
        """What it costs on that day; None where that is not known."""
        valid = [price for price in self.prices if price.since is None or price.since <= day]
        return max(valid, key=lambda price: price.since or date.min, default=None)


@dataclass(frozen=True, slots=True)
class Profile:
    """The limits under which the local sandbox runs as one of its models."""

    name: str
    timeout: float
    memory: int
    listed_as: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """Who offers models: where it listens, what it speaks, which key opens it, and what it does not do.

    `keys` are the environment variables that may hold the key, `key_header` and `key_scheme` how it is sent. A provider
    with `any_model` serves models that the catalog does not know; a `maker` says what its models cost at list price.
    """

    name: str
    title: str
    dialect: str
    base_url: str
    keys: tuple[str, ...] = ()
    key_header: str = "Authorization"
    key_scheme: str = "Bearer"
    key_page: str = ""
    key_needed: bool = True
    models_path: str = "/v1/models"
    tool: str | None = None
    tools: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    timeout: float = 120.0
    memory: int = 1 << 30
    most_tokens: int = MOST_TOKENS
    any_model: bool = False
    maker: bool = False
    limits: Limits = NO_LIMITS
    container: ContainerPrice | None = None
    models: tuple[Model, ...] = field(default=(), repr=False)

    @property
    def is_local(self) -> bool:
        return self.name == LOCAL

    def names(self) -> Mapping[str, Model]:
        """Its models by name and by alias."""
        return {name: model for model in self.models for name in (model.name, *model.aliases)}

    def url(self, path: str) -> str:
        """Where `path` (`/v1/...`) is: a base URL may end in the version, as the makers of SDKs write it."""
        return joined(self.base_url, path)


def joined(base_url: str, path: str) -> str:
    """`path` (`/v1/...`) at a base URL, which may end in the version, as the makers of SDKs write it."""
    base = base_url.rstrip("/")
    return base + (path.removeprefix("/v1") if re.search(r"/v\d\w*$", base) else path)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at a provider, written `claude@local`.

    `listed` is whose list price its tokens are shown at, `price` what the account is billed (None: nothing on this
    machine, else unknown), `most_tokens` what one reply may hold, `limits` what the provider lets its account do,
    `tool` what runs the code there, and `sent_as` what requests call the model (None: its name).
    """

    model: str
    provider: str
    timeout: float
    memory: int
    listed: Model | None = None
    price: Price | None = None
    most_tokens: int = MOST_TOKENS
    limits: Limits = NO_LIMITS
    languages: tuple[str, ...] = ()  # none named: all of ours
    tool: str | None = None
    sent_as: str | None = None
    batch_price: Price | None = None
    container_price: ContainerPrice | None = None
    retires: date | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is the sandbox on this machine."""
        return self.provider == LOCAL

    @property
    def request_model(self) -> str:
        """What a request calls the model."""
        return self.sent_as or self.model

    def __str__(self) -> str:
        return f"{self.model}@{self.provider}"

    def cost(self, usage: Usage, container: Charge | None = None, *, batch: bool = False) -> Cost:
        """What `usage` and a container cost here.

        Nothing is billed on this machine: its list price is what a vendor would take. Elsewhere an unknown price, or an
        unknown number of tokens, is an unknown cost.
        """
        if not self.is_local or self.price:
            return self._billed(usage, container, self.batch_price if batch else self.price)
        price = self.listed.price if self.listed else None
        if self.listed is None or price is None:
            return Cost(billed=NOTHING)
        return Cost(NOTHING, price.of(usage), usage.estimated, _stated(self.listed.name, price))

    def _billed(self, usage: Usage, container: Charge | None, price: Price | None) -> Cost:
        items = price.items(usage) if price else {}
        amount = sum(items.values(), NOTHING) if price and usage.is_known else None
        estimated = usage.estimated
        if container is not None:
            items["container"] = container.most
            amount = None if amount is None else amount + container.most
            estimated = estimated or not container.is_exact
        return Cost(amount, amount, estimated, _stated(self.model, price) if price else None, items=items)

    def at_most(self, usage: Usage) -> Decimal | None:
        """The most that so many tokens can cost here, cached or not, with a container of its own; None: unknown."""
        if self.is_local and not self.price:
            return NOTHING
        tokens = self.price.rates.at_most(usage) if self.price else None
        if tokens is None or self.container_price is None:
            return tokens
        container = container_cost(self.container_price, self.timeout, memory=self.memory)
        return None if container is None else tokens + container.most


def _stated(model: str, price: Price) -> str:
    return f"{model}, {price.source}, {price.checked}"
