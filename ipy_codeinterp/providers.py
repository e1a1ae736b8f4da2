"""Who may be asked, as the settings of the moment have it: offers by name, and where their providers listen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from ipy_codeinterp import catalog, consent, keys, registry
from ipy_codeinterp.catalog import LOCAL, Offer, warning_of
from ipy_codeinterp.dry_run import Place
from ipy_codeinterp.errors import InterpError, InvalidInput, NotAllowed
from ipy_codeinterp.settings import BATCH, Settings

if TYPE_CHECKING:  # aiohttp costs more to import than everything else here: only the first run pays for it
    from ipy_codeinterp.client.http import Endpoint
    from ipy_codeinterp.client.route import Rules


BATCH_FORMAT = "messages"  # the only one of whose batches it is known that code runs in them


class Provider(Protocol):
    """Somebody who runs code for us: what it is called, its offers by model, and where it listens."""

    @property
    def name(self) -> str: ...

    @property
    def offers(self) -> Mapping[str, Offer]: ...

    def endpoint(self) -> Endpoint: ...


class Providers:
    """Those `given` to a session, the catalog's, and the gateway on this machine (`local`).

    What was found is kept until `settings` are others: a map of thousands asks for one name.
    """

    def __init__(
        self, given: Iterable[Provider], settings: Callable[[], Settings], local: Callable[[], Awaitable[Endpoint]]
    ) -> None:
        self._given = {provider.name: provider for provider in given}
        self._settings = settings
        self._local = local
        self._known: Settings | None = None
        self._offers: dict[str, Offer] = {}  # by the name that asks for them
        self._endpoints: dict[str, Endpoint] = {}  # by provider
        self._told: set[str] = set()  # offers of which it was said that they are elsewhere

    def offer(self, name: str) -> Offer:
        """What `name` (`claude`, `claude@anthropic`) means now.

        Raises `UnknownName` with the nearest one, and `NotAllowed` with what to do.
        """
        self._look()
        if name not in self._offers:
            self._offers[name] = self._found(name)
        return self._offers[name]

    async def endpoint(self, provider: str) -> Endpoint:
        """Where it listens, and what opens it. Raises `NotAllowed` for a key that no request could carry."""
        if provider in self._given:
            return self._given[provider].endpoint()
        if provider == LOCAL:
            return await self._local()
        self._look()
        if provider not in self._endpoints:
            self._endpoints[provider] = remote(provider, self._settings())
        return self._endpoints[provider]

    def meant(self, name: str) -> Offer:
        """The offer that `name` means, also without a key or leave to ask it. Raises `UnknownName`, `NotAllowed`."""
        is_given = name.partition("@")[2] in self._given
        return self.offer(name) if is_given else consent.meant(name, self._settings())

    def place(self, provider: str) -> Place:
        """Where requests to it go, without what opens it."""
        if provider in self._given:
            endpoint = self._given[provider].endpoint()
            return Place(endpoint.base_url, endpoint.format, endpoint.ours)
        if provider == LOCAL:
            return Place("http://127.0.0.1", BATCH_FORMAT, True)
        found = consent.provider(provider, self._settings())
        return Place(found.base_url.rstrip("/").removesuffix("/v1"), found.dialect, False)

    def rules(self) -> Rules:
        """How the router chooses. Fallbacks that may not be asked do not stop the one that is."""
        from ipy_codeinterp.client.route import Rules

        others, refused = [], {}
        for name in self._settings().fallback:
            try:
                others += [self.offer(name)] if name != BATCH else []
            except NotAllowed as error:
                refused[name] = str(error)
        return Rules(self._settings().policy, tuple(others), refused, self.askable)

    def askable(self) -> list[Offer]:
        """Those that a cell may name now: this machine's, those given, and the catalog's whose key is here."""
        found = [self._given[name].offers.values() for name in self._given if self.is_here(name)]
        given = [offer for offers in found for offer in offers]
        elsewhere = [each for each in catalog.providers().values() if not each.is_local and self.is_here(each.name)]
        names = [LOCAL, *(f"{model.name}@{each.name}" for each in elsewhere for model in each.models)]
        allowed = [self.offer(name) for name in names if self.is_known(name)]
        return [*allowed[:1], *given, *allowed[1:]]

    def first_words(self, offer: Offer) -> list[str]:
        """What is said before the first call that leaves this machine."""
        if offer.is_local or str(offer) in self._told:
            return []
        self._told.add(str(offer))
        words = (consent.first_call_notice(offer, self._settings()), warning_of(offer, datetime.now(UTC).date()))
        return [each for each in words if each]

    def is_known(self, name: str) -> bool:
        """Whether that offer may be asked now."""
        try:
            return bool(self.offer(name))
        except InterpError:
            return False

    def is_here(self, provider: str) -> bool:
        """Whether a provider can be asked about what it has."""
        known = self._settings()
        if known.allow is not None and provider not in known.allow:
            return False
        if provider in self._given:
            return True
        try:
            found = consent.provider(provider, known)
            return not found.key_needed or keys.find(found, os.environ) is not None
        except InterpError:
            return False

    def has_batches(self, offer: Offer) -> bool:
        """Whether the provider takes what may wait, at a price of its own."""
        if offer.is_local or offer.batch_price is None:
            return False
        if offer.provider in self._given:
            endpoint = self._given[offer.provider].endpoint()
            return endpoint.format == BATCH_FORMAT and not endpoint.ours
        return consent.provider(offer.provider, self._settings()).dialect == BATCH_FORMAT

    def _found(self, name: str) -> Offer:
        model, _, provider = name.partition("@")
        if provider not in self._given:
            return consent.resolve(name, self._settings())
        found = registry.find("model", model, self._given[provider].offers)
        consent.check(found, self._settings())
        return found

    def _look(self) -> None:
        """Forget what was found under other settings."""
        if self._known is not self._settings():
            self._known, self._offers, self._endpoints = self._settings(), {}, {}


def remote(provider: str, known: Settings) -> Endpoint:
    """Where a provider of the catalog is, with its key. Raises `NotAllowed` for a key that no request could carry."""
    from ipy_codeinterp.client.http import SILENCE, Endpoint

    found = consent.provider(provider, known)
    key = keys.find(found, os.environ)
    opens = key.header_for(found.base_url) if key else {}
    return Endpoint(
        found.base_url, "", ours=False, format=found.dialect, provider=provider, auth=opens, silence=SILENCE
    )


def learn_keys(known: Settings) -> None:
    """From now on every key in the environment is masked, whether it is ever used or not."""
    names = [known.key_variable] if known.key_variable else []
    with contextlib.suppress(InvalidInput):  # a file of the catalog is wrong: who asks for an offer is told so
        names += [name for provider in catalog.providers().values() for name in provider.keys]
    keys.learn(os.environ, names)
