"""What may leave this machine: which offer a name means, for this user, now.

A key in the environment allows nothing by itself. A name without a provider (`claude`) means this machine, until the
user enables the provider that makes it; a name with one (`claude@anthropic`) is consent for that cell. Where nobody
watches (CI, nbval) only the latter, or a replay, is. `allow` bounds all of it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ipy_codeinterp import catalog, config_files, keys, registry
from ipy_codeinterp.catalog import LOCAL, Offer, Provider
from ipy_codeinterp.errors import InvalidInput, NotAllowed
from ipy_codeinterp.settings import Settings, config_dir, load

COMPATIBLE = "compatible"
PRIVATE_NAMES = (".local", ".lan", ".internal", ".home.arpa")
YES = ("1", "true", "yes")


def resolve(name: str, settings: Settings, environ: Mapping[str, str] = os.environ) -> Offer:
    """The offer that `name` (`claude`, `claude@anthropic`) means, if it may be used.

    Raises `UnknownName` with the nearest name, and `NotAllowed` with what to do where consent, the allow-list, the key,
    the address or a price is missing. A replay sends nothing, and needs none of them.
    """
    offer = meant(name, settings, environ)
    check(offer, settings, environ)
    return offer


def meant(name: str, settings: Settings, environ: Mapping[str, str] = os.environ) -> Offer:
    """The offer that `name` means, whether it may be used or not. Raises `UnknownName`, and `NotAllowed` for none."""
    model, at, where = name.partition("@")
    if not where:
        if at:
            raise InvalidInput(f"{name} names no provider after the @", hint=f"use {model} or {model}@PROVIDER")
        where = _place_of(model, settings, environ)
    found = provider(where, settings)
    return _with_tool(catalog.offer(model, found), found, settings)


def check(offer: Offer, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Whether this offer may be used. Raises `NotAllowed` with what to do."""
    if settings.replay is not None:
        if settings.require in ("live", "local"):
            raise NotAllowed(f"require = {settings.require}, and a recording answers", hint="unset replay, or require")
        return
    if settings.require == "replay":
        raise NotAllowed("require = replay, and no recording answers", hint="set replay to a recording's folder")
    if settings.allow is not None and offer.provider not in settings.allow:
        allowed = ", ".join(settings.allow) or "nobody"
        raise NotAllowed(
            f"{offer} is not allowed: allow = {allowed}; nothing was sent", hint=_other_way(offer, settings)
        )
    if offer.is_local:
        return
    if settings.require == "local":
        raise NotAllowed(f"{offer} is not on this machine, and require = local; nothing was sent", hint=_here(offer))
    if offer.provider in catalog.providers():
        found = provider(offer.provider, settings)
        check_address(found, settings)
        _check_key(offer, found, environ)
    _check_price(offer, settings)


def provider(name: str, settings: Settings) -> Provider:
    """The provider of that name, where the settings say that it is. Raises `UnknownName`, `NotAllowed`."""
    found = catalog.provider(name)
    if name != COMPATIBLE:
        return found
    base_url = settings.base_url or found.base_url
    if not base_url and settings.replay is None:
        raise NotAllowed(
            f"nothing says where the provider {name} is",
            hint="set IPY_CODEINTERP_BASE_URL, as http://127.0.0.1:11434/v1",
        )
    return replace(found, base_url=base_url, keys=(settings.key_variable,) if settings.key_variable else found.keys)


def check_address(provider: Provider, settings: Settings) -> None:
    """Whether its address keeps what is sent from others. Raises `NotAllowed`."""
    scheme, host, _ = keys.origin(provider.base_url)
    if "?" in provider.base_url or "#" in provider.base_url:
        raise NotAllowed(
            f"{provider.name} is at no address that a path can follow: nothing was sent", hint=keys.ADDRESS
        )
    if scheme == "https" or is_loopback(host):
        return
    if is_private(host):
        if settings.plain_http:
            return
        hint = "use https, or set plain_http where the whole network may read keys and code"
    else:
        hint = "use https"
    raise NotAllowed(f"{provider.name} is at an http:// address that others can read: nothing was sent", hint=hint)


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its name or number alone."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether it is in a private network, by its name or number alone."""
    address = _address(host)
    return address.is_private if address else "." not in host or host.endswith(PRIVATE_NAMES)


def is_unattended(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether nobody watches: CI, or a notebook under nbval."""
    return environ.get("CI", "").lower() in YES or "PYTEST_CURRENT_TEST" in environ


def bare_names() -> dict[str, tuple[str, ...]]:
    """Every name that means something without a provider, and the providers that offer it; this machine first."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(catalog.profiles(), (LOCAL,))
    for each in catalog.providers().values():
        for name in () if each.is_local else each.names():
            found[name] = (*found.get(name, ()), each.name)
    return found


# --- the user's word ------------------------------------------------------------------------------


def enable(name: str, folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Let names without a provider mean this one from now on; written down. Returns the settings of now.

    Raises `UnknownName`, and `NotAllowed` where the settings do not allow it.
    """
    found, now = catalog.provider(name), load(environ)
    if found.is_local:
        raise InvalidInput(f"{name} is this machine: it needs nobody's leave", hint="enable a provider")
    if now.allow is not None and name not in now.allow:
        raise NotAllowed(f"{name} is not allowed: allow = {', '.join(now.allow) or 'nobody'}", hint=_ALLOW)
    config_files.write_enabled(dict.fromkeys([*now.enabled, name]), folder or config_dir())
    return replace(now, enabled=tuple(dict.fromkeys([*now.enabled, name])))


def disable(name: str, folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Take that back; written down. Returns the settings of now. Raises `UnknownName`."""
    now = load(environ)
    registry.find("enabled provider", name, dict.fromkeys(now.enabled))
    left = tuple(each for each in now.enabled if each != name)
    config_files.write_enabled(left, folder or config_dir())
    return replace(now, enabled=left)


def hint(offer: Offer, settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """A line for the footer of a run on this machine: its name could mean a provider whose key is there."""
    if not offer.is_local or settings.replay is not None or settings.require == "local" or is_unattended(environ):
        return None
    for name in bare_names().get(offer.model, ()):
        found = catalog.provider(name)
        variable = keys.is_set(found, environ)
        if found.maker and variable and name not in settings.enabled and _is_allowed(name, settings):
            return f"{variable} is set: %interp enable {name} lets {offer.model} mean {found.title}"
    return None


def first_call_notice(offer: Offer, settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """A line before the first call of a session that leaves this machine: where it goes, and with which key."""
    if offer.is_local or settings.replay is not None or offer.provider not in catalog.providers():
        return None
    found = provider(offer.provider, settings)
    _, host, _ = keys.origin(found.base_url)
    key = keys.find(found, environ)
    return f"{offer}: code and files go to {host}, " + (f"with the key in {key.variable}" if key else "without a key")


# --- inside ---------------------------------------------------------------------------------------

_ALLOW = "the setting allow can be widened only where it was set: see docs/settings.md"


def _place_of(model: str, settings: Settings, environ: Mapping[str, str]) -> str:
    """The provider that a name without one means."""
    offered = registry.find("model", model, bare_names())
    remote = [name for name in settings.enabled if name in offered and _is_allowed(name, settings)]
    stays = settings.require == "local" or is_unattended(environ)
    if remote and not (stays and settings.replay is None):
        return remote[0]
    if LOCAL in offered:
        return LOCAL
    if settings.replay is not None:
        return offered[0]
    why = "nobody watches here (CI)" if remote else "no provider of it is enabled"
    raise NotAllowed(
        f"{model} is not on this machine, and {why}; nothing was sent",
        hint=f"use {model}@{offered[0]}" + ("" if remote else f", or %interp enable {offered[0]} once"),
    )


def _is_allowed(provider: str, settings: Settings) -> bool:
    return settings.allow is None or provider in settings.allow


def _with_tool(offer: Offer, provider: Provider, settings: Settings) -> Offer:
    """With the version of the tool that the settings name, if this provider has it."""
    return replace(offer, tool=settings.tool) if settings.tool in provider.tools else offer


def _check_key(offer: Offer, provider: Provider, environ: Mapping[str, str]) -> None:
    if keys.find(provider, environ) is None and provider.key_needed:
        variables = " or ".join(provider.keys)
        raise NotAllowed(
            f"{offer} needs a key of {provider.title}; nothing was sent",
            hint=f"set {variables} (keys are made at {provider.key_page}), or {_here(offer)}",
        )


def _check_price(offer: Offer, settings: Settings) -> None:
    """Under a budget an offer without a price is refused unless allowed by name."""
    limited = settings.budget is not None or settings.budget_day is not None
    if offer.price is None and limited and not {str(offer), f"*@{offer.provider}"} & set(settings.unpriced):
        raise NotAllowed(
            f"nobody knows what {offer} costs, and there is a budget; nothing was sent",
            hint=f'allow it by name: unpriced = ["{offer}"], or IPY_CODEINTERP_UNPRICED={offer}',
        )


def _here(offer: Offer) -> str:
    """How to have it on this machine."""
    family = offer.model.partition("-")[0]
    return f"use {family if family in catalog.profiles() else LOCAL}@{LOCAL}"


def _other_way(offer: Offer, settings: Settings) -> str:
    return _here(offer) if not offer.is_local and _is_allowed(LOCAL, settings) else _ALLOW


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
