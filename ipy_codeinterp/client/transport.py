"""The last step: the dialect's JSON over HTTP, and foreign errors made ours."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import socket
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from ipy_codeinterp.catalog import LOCAL
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.rates import headers_of_limits
from ipy_codeinterp.dialects import messages, retry_after, sse
from ipy_codeinterp.errors import (
    BadAttachment,
    BadReply,
    GatewayLost,
    InterpError,
    NoIsolation,
    NotAllowed,
    SandboxError,
    Unreachable,
)
from ipy_codeinterp.execution import File, Phase, Result, Step

CONNECT_TIMEOUT = 10.0
CONTAINERS = "/ipy_codeinterp/containers"

# What aiohttp raises (the system's errors too, in its own clothes), and what it means to us; the first match counts.
FOREIGN: tuple[tuple[type[BaseException], type[InterpError]], ...] = (
    (aiohttp.ClientPayloadError, BadReply),
    (aiohttp.ClientResponseError, BadReply),
    (aiohttp.ClientError, Unreachable),
)
# Those after which nothing can have run: no connection was made.
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway listens, what opens it, whether it still lives, and whether it is ours.

    A vendor's is not told of our extension, and its 503 is a wish to be asked later, not a word about the sandbox.
    """

    base_url: str
    token: str
    is_alive: Callable[[], bool]
    ours: bool = True

    @property
    def headers(self) -> dict[str, str]:
        name, version = messages.VERSION_HEADER
        extension = {messages.EXTENSION: "1"} if self.ours else {}
        return {"Authorization": f"Bearer {self.token}", name: version, **extension}


class Transport:
    """Speaks to the gateway that `connect` finds for a provider. One event loop's own; `close()` on the same loop."""

    def __init__(self, connect: Callable[[str], Awaitable[Endpoint]]) -> None:
        self._connect = connect
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        connector = aiohttp.TCPConnector(limit=0, socket_factory=self._make_socket)
        self._http = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.close()

    def abandon(self) -> None:
        """In a forked child: close our copies of the sockets by number, and touch nothing that shares a loop."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                os.close(sock.fileno())

    async def endpoint(self, provider: str) -> Endpoint:
        return await self._connect(provider)

    async def send(self, run: Run) -> Result:
        """Pass `run` to the gateway and its events to `run.emit`; the Result has everything but its cost."""
        endpoint = await self._connect(run.offer.provider)
        await run.emit(Phase("queued"))
        sent = time.monotonic()
        body = _request(run, extended=endpoint.ours)
        async with self._post(endpoint, "/v1/messages", data=body, run=run) as response:
            run.decoder = messages.Decoder(run.execution.body, run.execution.language)  # from here on code may have run
            run.request_ids += _request_id(response)
            run.timings = replace(run.timings, first_byte=time.monotonic() - sent)
            with _hung_up_on_cancel(response):
                await self._read_events(response, run)
            reply = run.decoder.reply()
        run.container_id = reply.container
        return _result(run, reply)

    async def _read_events(self, response: aiohttp.ClientResponse, run: Run) -> None:
        assert run.decoder is not None
        parser = sse.Parser()
        async for chunk in response.content.iter_any():
            for data in parser.feed(chunk):
                for event in run.decoder.feed(_parsed(data)):
                    await run.emit(event)

    async def upload(self, file: File, provider: str) -> str:
        """Give the provider a file; returns the id it has there."""
        form = aiohttp.FormData(quote_fields=False)  # names travel as they are, not %-encoded
        data = await asyncio.to_thread(_content, file)
        form.add_field("file", io.BytesIO(data), filename=file.name, content_type="application/octet-stream")
        async with self._post(await self._connect(provider), "/v1/files", data=form) as response:
            return str((await response.json())["id"])

    async def download(self, id: str) -> bytes:
        """The content of a file that code made."""
        endpoint = await self._connect(LOCAL)
        async with self._request(endpoint, "GET", f"/v1/files/{id}/content") as response:
            return await response.read()

    async def containers(self) -> list[dict[str, Any]]:
        """What the gateway keeps: id, language, busy, idle, memory."""
        async with self._request(await self._connect(LOCAL), "GET", CONTAINERS) as response:
            return list((await response.json())["data"])

    async def end_container(self, id: str) -> None:
        async with self._request(await self._connect(LOCAL), "DELETE", f"{CONTAINERS}/{id}"):
            pass

    def _post(
        self, endpoint: Endpoint, path: str, **what: Any
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._request(endpoint, "POST", path, **what)

    @contextlib.asynccontextmanager
    async def _request(
        self, endpoint: Endpoint, method: str, path: str, run: Run | None = None, **what: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of status 200; any other, and whatever aiohttp raises, becomes one of our errors.

        What goes wrong inside the block is a reply that began and has no good end: whatever was asked has run.
        """
        begun = False
        attempt = {messages.ATTEMPT_HEADER: run.attempt_id} if run and run.attempt_id else {}
        headers = _headers(endpoint, what) | attempt
        try:
            async with self._http.request(method, endpoint.base_url + path, headers=headers, **what) as response:
                if run:
                    run.rate_headers = headers_of_limits(response.headers)
                if response.status != 200:
                    raise await _error(response, endpoint)
                begun = True
                yield response
        except tuple(foreign for foreign, _ in FOREIGN) as error:
            raise _translated(error, endpoint, begun) from error
        except BadReply as error:
            error.may_have_run = True
            raise

    def _make_socket(self, address: Any) -> socket.socket:
        family, kind, proto, _, _ = address
        sock = socket.socket(family=family, type=kind, proto=proto)
        self._sockets.add(sock)
        return sock


def _content(file: File) -> bytes:
    """What is in `file` now. Raises `BadAttachment` where that is not what was asked with."""
    if file.path is None:
        raise BadAttachment(f"{file.name} is not on this machine", hint="fetch it, and attach the copy")
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise BadAttachment(f"{file.path} cannot be read: {error.strerror}", hint="attach it again") from None
    if file.sha256 not in (None, hashlib.sha256(data).hexdigest()):
        raise BadAttachment(f"{file.path} has changed since it was attached", hint="attach it again")
    return data


def _headers(endpoint: Endpoint, what: dict[str, Any]) -> dict[str, str]:
    is_json = isinstance(what.get("data"), io.BytesIO)
    return endpoint.headers | ({"Content-Type": "application/json"} if is_json else {})


def _request(run: Run, *, extended: bool) -> io.BytesIO:
    limits: dict[str, Any] = {"memory": run.offer.memory}
    extension = {
        "language": run.execution.language,
        "timeout": run.execution.timeout or run.offer.timeout,
        "limits": limits,
        "mounts": list(run.execution.mounts),
        "packages": list(run.execution.packages),
        "network": run.execution.network,
        "figures": {"format": run.execution.figure_format, "dpi": run.execution.figure_dpi},
        "keep": run.execution.container is not None,
    }
    body = messages.encode_request(
        run.execution,
        run.offer.model,
        container=run.container_id,
        file_ids=run.file_ids,
        extension=extension if extended else None,
        most_tokens=run.offer.most_tokens,
    )
    return io.BytesIO(json.dumps(body).encode())  # sent in pieces: a cell may be large


def _parsed(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadReply("an event is not valid JSON") from None


def _result(run: Run, reply: messages.Reply) -> Result:
    steps = [part for part in reply.parts if isinstance(part, Step)]
    outcome = steps[-1].outcome if steps else "unknown"
    run.timings = replace(run.timings, execution=reply.execution_seconds)
    return run.result(
        outcome,
        parts=reply.parts,
        limit=reply.limit,
        usage=reply.usage,
        container_new=reply.container_new if run.execution.container else None,
        isolation=reply.isolation,
        warm=reply.warm,
        native=reply.native,
    )


@contextlib.contextmanager
def _hung_up_on_cancel(response: aiohttp.ClientResponse):  # type: ignore[no-untyped-def]
    """Leave a stream so that the other end notices.

    A worker that user code forked holds a copy of the socket: closing ours alone would send no FIN, and the run would
    go on.
    """
    try:
        yield
    except BaseException:
        connection = response.connection
        transport = connection.transport if connection else None
        sock = transport.get_extra_info("socket") if transport else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        raise


def _request_id(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    said = response.headers.get("request-id")
    return (said,) if said else ()


async def _error(response: aiohttp.ClientResponse, endpoint: Endpoint) -> InterpError:
    try:
        body = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        body = None
    request_id = next(iter(_request_id(response)), None)
    error = body.get("error") if isinstance(body, dict) else None
    said: dict[str, Any] = error if isinstance(error, dict) else {}
    if said.get("type") == "no_isolation":
        return NoIsolation(said.get("message", ""), hint=said.get("hint", ""))
    if said.get("type") == "not_allowed":
        return NotAllowed(said.get("message", ""), hint=said.get("hint", ""))
    if response.status == 503 and endpoint.ours:
        return SandboxError(said.get("message", "the sandbox is not ready"), hint=said.get("hint", ""))
    advice = retry_after.read(response.headers, datetime.now(UTC))
    return messages.error_of(body, response.status, request_id, advice=advice)


def _translated(error: BaseException, endpoint: Endpoint, begun: bool) -> InterpError:
    if not endpoint.is_alive():
        return GatewayLost("the local gateway ended while the code ran", hint="run the cell again: it starts another")
    kind = next(ours for foreign, ours in FOREIGN if isinstance(error, foreign))
    words = f"{type(error).__name__}: {error}"
    if begun or kind is BadReply:
        return BadReply(words, may_have_run=True)
    return Unreachable(words, may_have_run=not isinstance(error, NOT_SENT))
