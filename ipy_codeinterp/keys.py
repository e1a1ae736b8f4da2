"""Keys of providers: found, checked, bound to where they may be sent, and masked wherever text is kept or shown.

A key is never printed: it has no text but `Key(VARIABLE, …)`, it cannot be pickled, and `masked` takes every key that
was found here out of a text. How a key looks is its provider's business: no prefix and no length is asked of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Protocol
from urllib.parse import quote, urlsplit

from ipy_codeinterp.errors import NotAllowed

SERVICE = "ipy-codeinterp"  # under which a keyring keeps them, by the variable's name
MASK = "•••"
SHORTEST = 6  # characters: what is shorter is found in any text, and is no secret
ADDRESS = "use https://HOST, as in its docs; a key goes into its variable, not into the address"
PORTS = {"https": 443, "http": 80}
PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\{.*\}|\$\{?\w+\}?|(.)\1*|\W*|.*\.\.\.|.*…"
    r"|(?:my|your|the|insert|enter|paste|add|put|replace)[-_ ][-\w ]*(?:key|token|secret)(?:[-_ ]here)?"
    r"|(?:sk-)?(?:xxx+|placeholder|change[-_]?me|todo|none|null|undefined|example|test|dummy|fake|secret)"
    r"|(?:api[-_ ]?key|token|key)(?:[-_ ]?here)?",
    re.IGNORECASE,
)

_found: set[str] = set()  # every key of this process, in each way that a text may write it


class Holder(Protocol):
    """What is asked of a provider."""

    @property
    def title(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def key_page(self) -> str: ...
    @property
    def key_header(self) -> str: ...
    @property
    def key_scheme(self) -> str: ...


class Key:
    """A key from `variable`, for `origin` (scheme, host and port) alone."""

    __slots__ = ("_header", "_value", "origin", "variable")

    def __init__(self, variable: str, value: str, url: str, header: str, scheme: str = "") -> None:
        remember(value)
        self.variable = variable
        self.origin = origin(url)
        self._value = f"{scheme} {value}" if scheme else value
        self._header = header

    def header_for(self, url: str) -> dict[str, str]:
        """The header that opens `url`. Raises `NotAllowed` for any other origin than the key's own."""
        asked = origin(url)
        if asked != self.origin:
            raise NotAllowed(
                f"the key in {self.variable} is for {_written(self.origin)}, not {_written(asked)}: nothing was sent",
                hint="give the other place a provider and a key of its own (docs/providers.md)",
            )
        return {self._header: self._value}

    def __repr__(self) -> str:
        return f"Key({self.variable}, …)"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key is neither pickled nor copied")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of `url`. Raises `NotAllowed` for what has none, or could be read in two ways."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    doubtful = re.search(r"[\s\\\x00-\x1f\x7f]", url) or "@" in parts.netloc
    if doubtful or not host or parts.scheme not in PORTS:
        raise NotAllowed("this is no address of a provider: nothing was sent", hint=ADDRESS)
    return parts.scheme, host, port if port is not None else PORTS[parts.scheme]


def from_keyring(variable: str) -> str | None:
    """What the system's keyring has under that name; None without one, or without the package `keyring`."""
    try:
        import keyring

        found: str | None = keyring.get_password(SERVICE, variable)
    except Exception:  # its backends raise what they like: a keyring that does not answer has no key
        return None
    return found


def find(provider: Holder, environ: Mapping[str, str], ring: Callable[[str], str | None] = from_keyring) -> Key | None:
    """The provider's key: from the first of its variables that is set, else from the keyring; None without one.

    Raises `NotAllowed` for one that no request could carry, with its variable and the page where keys are made.
    """
    empty = next((name for name in provider.keys if name in environ and not environ[name]), None)
    for read in (environ.get, ring):
        for variable in provider.keys:
            if value := read(variable):
                return _checked(provider, variable, value)
    if empty is not None and provider.key_page:
        raise _refused(provider, empty, "is empty")
    return None


def is_set(provider: Holder, environ: Mapping[str, str]) -> str | None:
    """The first of its variables that has something in it."""
    return next((name for name in provider.keys if environ.get(name)), None)


def _checked(provider: Holder, variable: str, value: str) -> Key:
    if fault := _fault(value, vendor=bool(provider.key_page)):
        raise _refused(provider, variable, fault)
    return Key(variable, value, provider.base_url, provider.key_header, provider.key_scheme)


def _fault(value: str, *, vendor: bool) -> str:
    """Why no request could carry this; empty where one could. A server of one's own may well take `test` for a key."""
    if not value.strip():
        return "is blank"
    if vendor and PLACEHOLDER.fullmatch(value.strip()):
        return "holds a placeholder, not a key"
    if re.search(r"\s", value):
        return "holds a blank or a line end, which no key has"
    if not all("!" <= letter <= "~" for letter in value):
        return "holds characters that no request can carry: was it copied from formatted text?"
    return ""


def _refused(provider: Holder, variable: str, why: str) -> NotAllowed:
    page = f"; keys are made at {provider.key_page}" if provider.key_page else ""
    return NotAllowed(f"{variable} {why}: nothing was sent", hint=f"set {variable} to a key of {provider.title}{page}")


# --- masking --------------------------------------------------------------------------------------


def remember(value: str) -> None:
    """From now on `masked` takes this out of texts, as it is, as JSON and as a part of a URL."""
    if len(value) >= SHORTEST:
        _found.update((value, json.dumps(value)[1:-1], quote(value, safe="", errors="replace")))


def learn(environ: Mapping[str, str], variables: Iterable[str]) -> None:
    """Remember what stands in these variables, whether it is ever used or not."""
    for variable in variables:
        value = environ.get(variable, "").strip()
        if value and not PLACEHOLDER.fullmatch(value):
            remember(value)


def values(least: int) -> tuple[str, ...]:
    """The keys that are known here, in each way that a text may write them, of `least` characters or more."""
    return tuple(value for value in _found if len(value) >= least)


def masked(text: str) -> str:
    """The text without any key that is known here."""
    if len(text) < SHORTEST or not (found := [value for value in _found if value in text]):
        return text
    for value in sorted(found, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def masked_in(value: Any) -> Any:
    """JSON with every text in it masked. Raises `RecursionError` for what is nested some hundred levels deep."""
    if not _found:
        return value
    if isinstance(value, str):
        return masked(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return {masked(name): masked_in(each) for name, each in value.items()}
    return [masked_in(each) for each in value] if isinstance(value, list) else value


def _written(where: tuple[str, str, int]) -> str:
    scheme, host, port = where
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port == PORTS[scheme] else f":{port}")
