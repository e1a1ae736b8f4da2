"""How far one gets towards a provider, without spending: its name, its certificate, and what its lists of models say.

Nothing here runs code or asks a model. What goes wrong is part of the answer: the stage that failed, and how.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from ipy_codeinterp.client import rates
from ipy_codeinterp.client.http import Endpoint, Heard, Http, content, parsed, proxy_of
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.shield import masked_words as masked
from ipy_codeinterp.store.limits import NOTHING_STATED, Stated

TIMEOUT = 15.0  # seconds for each stage
MOST_LIST = 8 << 20  # bytes of a list of models
MOST_MODELS = 8  # that are asked after
PORTS = {"https": 443, "http": 80}
GONE = ("retired", "shutdown")


@dataclass(frozen=True, slots=True)
class Way:
    """The way to an address. `proxy` is HOST:PORT where one is used: then the rest is not seen from here.

    `missing` says why there is no such name, `refused` why no connection came to be; `is_encrypted` is also True where
    the certificate was refused.
    """

    host: str
    proxy: str | None = None
    addresses: tuple[str, ...] = ()
    is_encrypted: bool = False
    expires: datetime | None = None
    missing: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one GET: a body, or the error that it became. `skew` is how many seconds our clock is ahead."""

    body: object = None
    error: InterpError | None = None
    stated: Stated = NOTHING_STATED
    skew: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything learned of one provider; `models` are those that were asked after, by the name requests give them."""

    way: Way
    listed: Answer = field(default_factory=Answer)
    models: Mapping[str, Answer] = field(default_factory=dict)


async def look(endpoint: Endpoint, models_path: str, models: tuple[str, ...] = (), *, ask: bool = True) -> Seen:
    """Go as far as one can: without `ask` only to the door."""
    way = await way_to(endpoint.base_url)
    if way.missing or way.refused or not ask:
        return Seen(way)
    http = Http()
    try:
        listed = await _get(http, endpoint, models_path)
        answers = {}
        for name in () if listed.error else models[:MOST_MODELS]:
            answers[name] = await _get(http, endpoint, f"{models_path}/{quote(name, safe='')}")
        return Seen(way, listed, answers)
    finally:
        await http.close()


async def way_to(url: str) -> Way:
    """The way to the host of `url`: through a proxy, or its addresses and its certificate."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443)
    try:
        proxy = urlsplit(proxy_of(url) or "")
    except InterpError as error:
        return Way(host, refused=str(error))
    if proxy.hostname:
        return Way(host, proxy=f"{proxy.hostname}:{proxy.port or PORTS.get(proxy.scheme, 80)}")
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Way(host, missing=_reason(error))
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    return await _knock(Way(host, None, addresses, parts.scheme == "https"), port)


async def _knock(way: Way, port: int) -> Way:
    """Connect, and say nothing."""
    # made now, not at import: SSL_CERT_FILE may have been set since
    context = ssl.create_default_context() if way.is_encrypted else None
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(way.host, port, ssl=context)
    except (OSError, ssl.SSLError) as error:
        return Way(way.host, None, way.addresses, way.is_encrypted, refused=_reason(error))
    expires = _expiry(writer.get_extra_info("peercert"))
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    return Way(way.host, None, way.addresses, way.is_encrypted, expires)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as it should: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _expiry(certificate: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


async def _get(http: Http, endpoint: Endpoint, path: str) -> Answer:
    """One GET, whatever comes of it."""
    heads: list[Heard] = []
    begun, started = time.time(), time.monotonic()
    body, failed = None, None
    try:
        async with asyncio.timeout(TIMEOUT), http.request(endpoint, "GET", path, heard=heads.append) as response:
            body = parsed(await content(response, MOST_LIST), "its list of models")
    except InterpError as error:
        failed = error
    except TimeoutError:
        failed = InterpError(f"no answer in {TIMEOUT:g} s")
    headers = heads[-1].rate_headers if heads else {}
    middle = begun + (time.monotonic() - started) / 2
    return Answer(body, failed, rates.stated(headers), _skew(headers.get("date", ""), middle))


def _skew(said: str, ours: float) -> float | None:
    """Seconds that our clock is ahead of theirs; HTTP's dates are cut to whole seconds."""
    try:
        return ours - (parsedate_to_datetime(said).timestamp() + 0.5)
    except (ValueError, TypeError, OverflowError):
        return None


# --- what the lists say ---------------------------------------------------------------------------


def names(body: object) -> tuple[str, ...]:
    """The models that a list names; what is no list names none. Google's names have a folder before them."""
    found = body.get("data", body.get("models")) if isinstance(body, Mapping) else None
    rows = found if isinstance(found, list) else []
    said = (row.get("id", row.get("name")) for row in rows if isinstance(row, Mapping))
    return tuple(name.removeprefix("models/")[:200] for name in said if isinstance(name, str))


def is_retired(body: object) -> bool:
    """Whether a model's description says that it is gone."""
    return isinstance(body, Mapping) and body.get("lifecycle") in GONE


def retires(body: object) -> date | None:
    """The day on which it will go, as its description says."""
    for name in ("retires_at", "shutdown_date"):
        said = body.get(name) if isinstance(body, Mapping) else None
        if isinstance(said, str) and (day := re.match(r"\d{4}-\d\d-\d\d", said)):
            with contextlib.suppress(ValueError):
                return date.fromisoformat(day[0])
    return None


def words_of(error: InterpError) -> str:
    """An error in one line, with the request's id, and without a key."""
    request = getattr(error, "request_id", None)
    return masked(" ".join(f"{error}{f' (request {request})' if request else ''}".split()))[:500]
