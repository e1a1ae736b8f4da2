"""Whether each provider could be asked: allowed, reached, opened by its key, its account in order. Nothing is spent.

Those are looked at that are enabled, and those that are named; of others nothing leaves the machine. A finding that
fails says by its name whose fault it is: the key, the network, or the account.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta

from ipy_codeinterp import catalog, consent, keys
from ipy_codeinterp.bridge import Bridge
from ipy_codeinterp.catalog import Offer, Provider
from ipy_codeinterp.client import examine
from ipy_codeinterp.client.examine import Answer, Seen, Way
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.doctor.finding import Finding
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    InterpError,
    NotAllowed,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Unreachable,
)
from ipy_codeinterp.keys import Key
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store.limits import Meter, Stated

SKEW = 60.0  # seconds that clocks may differ
STALE = timedelta(days=60)  # after that a price is old
EXPIRES = timedelta(days=14)  # before that a certificate's end is said
QUIET = "none is enabled, and none named: nothing left this machine"


def chosen(settings: Settings, named: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The providers to look at: the named ones, and where somebody watches, those that are enabled.

    Raises `UnknownName` for one that nobody knows.
    """
    asked = [catalog.provider(name).name for name in named]
    stays = settings.require == "local" or consent.is_unattended(environ)
    enabled = () if stays else settings.enabled
    return tuple(name for name in dict.fromkeys([*asked, *enabled]) if name != catalog.LOCAL)


def check(name: str, settings: Settings, environ: Mapping[str, str], today: date) -> list[Finding]:
    """Everything that can be said of one provider for nothing."""
    try:
        found = consent.provider(name, settings)
        _check_allowed(found, settings)
    except InterpError as error:
        return [Finding(f"{name} settings", False, str(error), error.hint)]
    offers = models(found, settings, environ)
    key, findings = _key(found, environ)
    seen = _look(found, key, offers, ask=not findings)
    findings += _way(found, seen.way, today)
    if seen.listed.body is not None or seen.listed.error is not None:
        findings += _listed(found, key, seen.listed)
    for offer in offers:
        findings += _model(found, offer, seen.models.get(offer.request_model), today)
    return findings


def models(provider: Provider, settings: Settings, environ: Mapping[str, str]) -> tuple[Offer, ...]:
    """What the settings mean of this provider; else its current models, which have an alias; else its first one."""
    named = (settings.model, *settings.fallback)
    own = [model for model, _, where in (name.partition("@") for name in named) if where == provider.name]
    if provider.name in settings.enabled:
        own += [name for name in named if name in provider.names()]
    current = [each.name for each in provider.models if each.aliases]
    return tuple(_offers(provider, own or current or [each.name for each in provider.models[:1]]))


def _offers(provider: Provider, names: Iterable[str]) -> Iterator[Offer]:
    for name in dict.fromkeys(names):
        with contextlib.suppress(InterpError):
            yield catalog.offer(name, provider)


def _check_allowed(provider: Provider, settings: Settings) -> None:
    if settings.allow is not None and provider.name not in settings.allow:
        allowed = ", ".join(settings.allow) or "nobody"
        raise NotAllowed(f"not allowed: allow = {allowed}; nothing was sent", hint="see docs/settings.md")
    if settings.require in ("local", "replay"):
        raise NotAllowed(f"require = {settings.require}: nothing was sent", hint="unset require to ask it")
    consent.check_address(provider, settings)


def _key(provider: Provider, environ: Mapping[str, str]) -> tuple[Key | None, list[Finding]]:
    """Its key; or what stands in the way of one."""
    try:
        key = keys.find(provider, environ)
    except NotAllowed as error:
        return None, [Finding(f"{provider.name} key", False, str(error), error.hint)]
    if key is not None or not provider.key_needed:
        return key, []
    remedy = f"set {' or '.join(provider.keys)}; {_page(provider)}"
    return None, [Finding(f"{provider.name} key", False, "there is none", remedy)]


def _page(provider: Provider) -> str:
    return f"keys are made at {provider.key_page}" if provider.key_page else "whoever runs it gives one"


def _look(provider: Provider, key: Key | None, offers: tuple[Offer, ...], *, ask: bool) -> Seen:
    opens = key.header_for(provider.base_url) if key else {}
    endpoint = Endpoint(
        provider.base_url, "", ours=False, format=provider.dialect, provider=provider.name, auth=opens, silence=15.0
    )
    names = tuple(offer.request_model for offer in offers)
    bridge = Bridge()
    try:
        return bridge.run(
            lambda _: examine.look(endpoint, provider.models_path, names, ask=ask), lambda _: None
        )  # a loop of its own: a notebook's is running
    finally:
        bridge.close()


# --- the network ----------------------------------------------------------------------------------


def _way(provider: Provider, way: Way, today: date) -> Iterator[Finding]:
    name = f"{provider.name} network"
    if way.proxy:
        yield Finding(f"{provider.name} proxy", None, f"{way.proxy}, as HTTPS_PROXY or HTTP_PROXY says")
    elif way.missing:
        remedy = "look at this machine's network and DNS, or set HTTPS_PROXY if there is a proxy"
        yield Finding(name, False, f"{way.host} is not found: {way.missing}", remedy)
    elif way.refused:
        yield Finding(name, False, f"{way.host} cannot be reached: {way.refused}", _way_out(way))
    else:
        how = "TLS" if way.is_encrypted else "not encrypted"
        yield Finding(name, True, f"{way.host} is {way.addresses[0]}, {how}")
        yield from _certificate(provider, way, today)


def _certificate(provider: Provider, way: Way, today: date) -> Iterator[Finding]:
    if way.expires is not None:
        soon = way.expires.date() - today < EXPIRES
        remedy = "its operator must renew it, or calls will fail" if soon else ""
        ok = None if soon else True
        yield Finding(f"{provider.name} certificate", ok, f"good until {way.expires:%Y-%m-%d}", remedy)


def _way_out(way: Way) -> str:
    if "certificate" in way.refused:
        return "set SSL_CERT_FILE to your company's certificates, if that is why; look at this machine's clock"
    return "look at the firewall, set HTTPS_PROXY if there is a proxy, or ask again later"


# --- the key and the account ----------------------------------------------------------------------


def _listed(provider: Provider, key: Key | None, answer: Answer) -> Iterator[Finding]:
    if answer.error is not None:
        yield _failure(provider, key, answer.error)
    else:
        who = f"{key.variable} is accepted" if key else "none is needed"
        count = len(examine.names(answer.body))
        yield Finding(f"{provider.name} key", True, f"{who}; {count} models are listed")
    if answer.error is None or answer.stated.requests != Meter():
        yield from _quota(provider, answer.stated)
    if answer.skew is not None and abs(answer.skew) > SKEW:
        which = "ahead of" if answer.skew > 0 else "behind"
        found = f"this machine's is {abs(answer.skew):.0f} s {which} the provider's"
        yield Finding(f"{provider.name} clock", None, found, "set the clock: timedatectl set-ntp true")
    elif answer.skew is not None:
        yield Finding(f"{provider.name} clock", True, "as the provider's")


def _failure(provider: Provider, key: Key | None, error: InterpError) -> Finding:
    """Whose fault it is."""
    words, status = examine.words_of(error), getattr(error, "status", None)
    if isinstance(error, AuthenticationFailed) and status != 403:
        which = key.variable if key else "a key"
        return Finding(f"{provider.name} key", False, f"{which} is refused: {words}", f"{_page(provider)}, and checked")
    if isinstance(error, AuthenticationFailed | QuotaExceeded):
        what = "has nothing left" if isinstance(error, QuotaExceeded) else "may not do this"
        return Finding(f"{provider.name} account", False, f"it {what}: {words}", f"see to it at {provider.key_page}")
    if isinstance(error, Overloaded):
        return Finding(f"{provider.name} account", None, f"asked to come back later: {words}", "ask again in a while")
    if status in (404, 405, 501):
        return Finding(
            f"{provider.name} key", None, "not known: it has no list of models that would say", "--live asks"
        )
    if isinstance(error, BadReply | Unreachable) or not isinstance(error, ProviderError) or status in range(300, 400):
        remedy = error.hint or "something on the way answers in its place: look at the proxy and the base URL"
        return Finding(f"{provider.name} network", False, words, remedy)
    return Finding(f"{provider.name} account", False, words, error.hint or f"see {provider.key_page or 'its log'}")


def _quota(provider: Provider, stated: Stated) -> Iterator[Finding]:
    meters = {"requests": stated.requests, "tokens": stated.tokens}
    said = [_left(name, meter) for name, meter in meters.items() if meter.remaining is not None]
    empty = [name for name, meter in meters.items() if meter.remaining == 0]
    remedy = f"no {' or '.join(empty)} left: wait until then" if empty else ""
    yield Finding(f"{provider.name} account", None if empty or not said else True, "; ".join(said) or UNSAID, remedy)


UNSAID = "says nothing of its limits"


def _left(name: str, meter: Meter) -> str:
    of = f" of {meter.limit:,}" if meter.limit is not None else ""
    when = f", all of them in {meter.reset:.0f} s" if meter.reset is not None else ""
    return f"{meter.remaining:,}{of} {name} left{when}"


# --- models ---------------------------------------------------------------------------------------


def _model(provider: Provider, offer: Offer, answer: Answer | None, today: date) -> Iterator[Finding]:
    yield _life(offer, answer, today)
    price = offer.price
    if price is None:
        yield Finding(f"{offer} price", None, "not known", "under a budget it is refused: see unpriced")
    elif today - price.checked > STALE:
        remedy = f"compare with {provider.title}'s price page; a newer release has newer ones"
        yield Finding(f"{offer} price", None, f"as of {price.checked}: {(today - price.checked).days} days old", remedy)
    else:
        yield Finding(f"{offer} price", True, f"${price.input} in, ${price.output} out, as of {price.checked}")


def _life(offer: Offer, answer: Answer | None, today: date) -> Finding:
    """Whether it is there, and for how long: by the provider's own word where there is one, else by the catalog's."""
    name = str(offer)
    if answer is not None and getattr(answer.error, "status", None) == 404:
        return Finding(name, False, "the provider does not have it, or not for this account", "name another model")
    body = answer.body if answer else None
    if examine.is_retired(body):
        return Finding(name, False, "the provider says that it is retired", "name another model")
    if day := examine.retires(body):
        remedy = "name another model" if day - today <= catalog.SOON else ""
        return Finding(name, False if day <= today else None, f"the provider retires it on {day}", remedy)
    if warning := catalog.warning_of(offer, today):
        gone = offer.retires is not None and offer.retires <= today
        return Finding(name, False if gone else None, warning, "name another model")
    return Finding(name, True if body is not None else None, "there" if body is not None else "not asked after")


def today_utc() -> date:
    return datetime.now(UTC).date()
