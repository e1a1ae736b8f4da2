"""One request over HTTP: where it goes, what opens the door, and foreign errors made ours.

Nothing that a key opens is ever sent elsewhere: redirects are refused. Proxies of the environment are honoured, never
for this machine itself.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import os
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from ipy_codeinterp.catalog import LOCAL, joined
from ipy_codeinterp.client.rates import headers_of_limits
from ipy_codeinterp.dialects import extension, formats, lifting, retry_after
from ipy_codeinterp.dialects.dialect import Dialect
from ipy_codeinterp.errors import (
    BadReply,
    GatewayLost,
    InterpError,
    NoIsolation,
    NotAllowed,
    ProviderError,
    Rejected,
    SandboxError,
    Unreachable,
)
from ipy_codeinterp.keys import remember
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.shield import masked_words as masked

CONNECT_TIMEOUT = 10.0  # seconds
SILENCE = 300.0  # seconds: a vendor's interpreter may work for minutes before it says a word
OPENERS = ("authorization", "x-api-key", "x-goog-api-key")
MOST_ERROR = 1 << 16  # bytes of a reply that is an error

# What aiohttp raises (the system's errors too, in its own clothes), and what it means to us; the first match counts.
FOREIGN: tuple[tuple[type[BaseException], type[InterpError]], ...] = (
    (aiohttp.ClientHttpProxyError, Unreachable),
    (aiohttp.ClientPayloadError, BadReply),
    (aiohttp.ClientResponseError, BadReply),
    (aiohttp.ClientError, Unreachable),
)
# Those after which nothing can have run: no connection was made.
NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
PROXY = "the proxy is that of HTTPS_PROXY, as http://HOST:PORT; NO_PROXY names hosts that need none"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway listens, what opens it, which format it speaks, whether it still lives, and whether it is ours.

    A vendor's is not told of our extension, and its 503 is a wish to be asked later, not a word about the sandbox.
    `auth` are the headers that open it, where those of its format with `token` do not; `silence` is how many seconds it
    may say nothing before it is given up.
    """

    base_url: str
    token: str
    is_alive: Callable[[], bool] = lambda: True
    ours: bool = True
    format: str = "messages"
    provider: str = LOCAL
    auth: Mapping[str, str] | None = None
    silence: float | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.format!r})"  # never the token

    @property
    def dialect(self) -> Dialect:
        return formats.find(self.format)

    @property
    def headers(self) -> dict[str, str]:
        own = self.dialect.headers(self.token)
        if self.auth is not None:
            own = {name: value for name, value in own.items() if name.lower() not in OPENERS} | dict(self.auth)
        return own | ({extension.HEADER: "1"} if self.ours else {})

    def url(self, path: str) -> str:
        """Where `path` (`/v1/...`) is: a base URL may end in the version."""
        return joined(self.base_url, path)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the head of a reply says, and how many seconds it took to connect (0: a connection was there)."""

    status: int
    request_id: str | None
    content_type: str
    rate_headers: Mapping[str, str]
    connect: float = 0.0


_connecting: ContextVar[float] = ContextVar("connecting", default=0.0)  # seconds, of the request that is being made


class Connector(aiohttp.TCPConnector):
    """Notes how long each new connection takes to be made."""

    async def _create_connection(self, *what: Any) -> Any:
        began = time.monotonic()
        try:
            return await super()._create_connection(*what)
        finally:
            _connecting.set(_connecting.get() + time.monotonic() - began)


class Http:
    """Connections of one event loop's own; `close()` on the same loop."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._proxies: dict[str, str | None] = {}  # by base URL
        self._trust: ssl.SSLContext | None = None  # made when first needed: aiohttp's own is as old as its import
        self._http = aiohttp.ClientSession(
            connector=Connector(limit=0, socket_factory=self._make_socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            trust_env=False,  # it would also read ~/.netrc, and send what is there
        )

    async def close(self) -> None:
        await self._http.close()

    def abandon(self) -> None:
        """In a forked child: close our copies of the sockets by number, and touch nothing that shares a loop."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                os.close(sock.fileno())

    @contextlib.asynccontextmanager
    async def request(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        attempt_id: str = "",
        heard: Callable[[Heard], None] = lambda _: None,
        **what: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of status 200; any other, and whatever aiohttp raises, becomes one of our errors.

        `heard` is told its head, whatever its status. What goes wrong inside the block is a reply that began and has no
        good end: whatever was asked has run.
        """
        head: Heard | None = None
        response: aiohttp.ClientResponse | None = None
        begun = False
        _connecting.set(0.0)
        try:
            async with self._http.request(
                method,
                endpoint.url(path),
                headers=_headers(endpoint, attempt_id, what.get("data")),
                allow_redirects=False,
                ssl=self._trusted() if endpoint.base_url.startswith("https:") else True,
                timeout=_timeout(endpoint.silence),
                proxy=self._proxy(endpoint.base_url),
                **what,
            ) as response:
                head = _head(response, endpoint.dialect)
                heard(head)
                if response.status != 200:
                    raise await _error(response, endpoint, head)
                begun = True
                try:
                    yield response
                except BaseException:
                    _hang_up(response)
                    raise
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _told(_translated(error, endpoint, begun), endpoint, head) from _bared(error)
        except ProviderError as error:
            error.may_have_run = error.may_have_run or isinstance(error, BadReply)
            raise _told(error, endpoint, head) from error.__cause__
        finally:
            response = None  # a traceback that shows variables would show its headers, and they may repeat the key

    def _proxy(self, url: str) -> str | None:
        """The environment is read once for each provider."""
        if url not in self._proxies:
            self._proxies[url] = proxy_of(url)
        return self._proxies[url]

    def _trusted(self) -> ssl.SSLContext:
        """Whose certificates count: the system's, or those that SSL_CERT_FILE names now."""
        self._trust = self._trust or ssl.create_default_context()
        return self._trust

    def _make_socket(self, address: Any) -> socket.socket:
        family, kind, proto, _, _ = address
        sock = socket.socket(family=family, type=kind, proto=proto)
        self._sockets.add(sock)
        return sock


@cache
def _timeout(silence: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine itself, by its name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def proxy_of(url: str) -> str | None:
    """The proxy that the environment wants for `url`; without a scheme it is `http://`.

    Its password is masked as keys are. Raises `Unreachable` for one that is not spoken here.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    said = (proxies.get(parts.scheme) or proxies.get("all") or "").strip()
    if not said:
        return None
    proxy = said if "://" in said else f"http://{said}"
    try:
        there = urlsplit(proxy)
        remember(unquote(there.password or ""))
        is_spoken = there.scheme in ("http", "https") and there.hostname and there.port != 0
    except ValueError:
        is_spoken = False
    if not is_spoken:
        raise Unreachable("the proxy that the environment names is no address of an HTTP proxy", hint=PROXY)
    return proxy


async def content(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body. Raises `BadReply` as soon as it is more than `most` bytes."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            raise BadReply(f"the reply is larger than {most >> 20} MB", hint="what had arrived was dropped")
        pieces.append(piece)
    return b"".join(pieces)


def parsed(data: str | bytes, what: str) -> Any:
    """JSON, of `what`. Raises `BadReply` for what is none."""
    try:
        return lifting.loads(data if isinstance(data, str) else data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise not_json(error, what) from None


def not_json(error: ValueError | RecursionError, what: str) -> BadReply:
    """What JSON and text raise for what is none, as ours."""
    if isinstance(error, lifting.TooLong):
        return BadReply(f"{what} is too long: {error}", hint="let the code print less")
    if isinstance(error, UnicodeDecodeError):
        return BadReply(f"{what} is not text: it is no UTF-8")
    return BadReply(f"{what} is not valid JSON")


def _headers(endpoint: Endpoint, attempt_id: str, data: object) -> dict[str, str]:
    attempt = {endpoint.dialect.ATTEMPT_HEADER: attempt_id} if attempt_id else {}
    kind = {"Content-Type": "application/json"} if isinstance(data, io.BytesIO) else {}
    return {**endpoint.headers, "Accept-Encoding": "identity", **attempt, **kind}


def _head(response: aiohttp.ClientResponse, dialect: Dialect) -> Heard:
    named = response.headers.get(dialect.REQUEST_ID_HEADER) or response.headers.get("x-request-id")
    request_id = safe_text(masked(named)) if named else None
    limits = headers_of_limits(response.headers)
    return Heard(response.status, request_id, response.content_type, limits, _connecting.get())


async def _error(response: aiohttp.ClientResponse, endpoint: Endpoint, head: Heard) -> InterpError:
    body = await _error_body(response)
    error = body.get("error") if isinstance(body, dict) else None
    said: dict[str, Any] = error if isinstance(error, dict) else {}
    if endpoint.ours and said.get("type") in ("no_isolation", "not_allowed"):
        kind = NoIsolation if said["type"] == "no_isolation" else NotAllowed
        return kind(str(said.get("message", "")), hint=str(said.get("hint", "")))
    if endpoint.ours and head.status == 503:
        return SandboxError(str(said.get("message", "the sandbox is not ready")), hint=str(said.get("hint", "")))
    if 300 <= head.status < 400:
        where = response.headers.get("Location", "")[:200]
        return Rejected(
            f"it redirects to {where or 'nowhere'}: not followed, since a key is not sent elsewhere",
            hint="set that base URL, if it is right",
            status=head.status,
        )
    advice = retry_after.read(response.headers, datetime.now(UTC))
    return endpoint.dialect.error_of(body, head.status, head.request_id, advice=advice)


async def _error_body(response: aiohttp.ClientResponse) -> object:
    """As far as it is worth reading; one that is no JSON is its own text, without markup."""
    text = b""
    with contextlib.suppress(aiohttp.ClientError):
        async for piece in response.content.iter_any():
            text += piece
            if len(text) > MOST_ERROR:
                break
    if response.content_type == "text/html":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text[:MOST_ERROR].decode("utf-8", "replace").strip() or None


def _translated(error: BaseException, endpoint: Endpoint, begun: bool) -> InterpError:
    if not endpoint.is_alive():
        return GatewayLost("the local gateway ended while the code ran", hint="run the cell again: it starts another")
    if isinstance(error, TimeoutError) and not isinstance(error, NOT_SENT):
        words = f"it said nothing for {endpoint.silence:g} s" if endpoint.silence else "it took too long"
        return BadReply(words, may_have_run=True) if begun else Unreachable(words, may_have_run=True)
    kind = next(ours for foreign, ours in FOREIGN if isinstance(error, foreign))
    words = f"{type(error).__name__}: {error}"
    if begun or kind is BadReply:
        return BadReply(words, may_have_run=True)
    return Unreachable(words, may_have_run=not isinstance(error, NOT_SENT), hint=_way_out(error))


def _way_out(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted: set SSL_CERT_FILE to your company's, if that is why"
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return PROXY
    return ""


def _told(error: InterpError, endpoint: Endpoint, head: Heard | None) -> InterpError:
    """`error` with what the head of the reply said; its words are foreign, may repeat the key, and will be shown."""
    error.args = tuple(safe_text(masked(str(word))) for word in error.args)
    error.hint = safe_text(masked(error.hint))
    if isinstance(error, ProviderError):
        error.provider = error.provider or endpoint.provider
        error.hint = error.hint or error.advice
        if head:
            error.status = error.status if error.status is not None else head.status
            error.request_id = error.request_id or head.request_id
        error.param = error.param and masked(error.param)
        error.request_id = error.request_id and masked(error.request_id)
    return error


def _bared(error: BaseException) -> BaseException | None:
    """A foreign error without the frames that it comes from: their variables hold the headers that open a door.

    None where its own words repeat a key: ours say what they say.
    """
    chain, waiting = list[BaseException](), [error]
    for each in waiting:  # which grows
        if each not in chain:
            chain.append(each.with_traceback(None))
            waiting += filter(None, (each.__cause__, each.__context__))
    words = " ".join(map(repr, chain))
    return error if masked(words) == words else None


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Leave a stream so that the other end notices.

    A worker that user code forked holds a copy of the socket: closing ours alone would send no FIN, and the run would
    go on.
    """
    connection = response.connection
    transport = connection.transport if connection else None
    sock = transport.get_extra_info("socket") if transport else None
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
