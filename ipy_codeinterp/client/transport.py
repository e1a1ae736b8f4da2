"""The last step: an Execution in its provider's format over HTTP, and the reply as it arrives."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import io
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import aiohttp

from ipy_codeinterp.catalog import LOCAL
from ipy_codeinterp.changed import changed
from ipy_codeinterp.client import loading
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.http import Endpoint, Heard, Http, content, not_json, parsed
from ipy_codeinterp.dialects import completions, lifting, sse
from ipy_codeinterp.dialects.dialect import END_EVENT, Ask, Decoder, Dialect, Reply
from ipy_codeinterp.errors import BadAttachment, BadReply, NotAllowed, ProviderError
from ipy_codeinterp.execution import Event, File, Phase, Result, Step, Timings, Usage
from ipy_codeinterp.keys import masked_in

CONTAINERS = "/ipy_codeinterp/containers"
MOST_REPLY = 512 << 20  # bytes
MOST_FILE = 512 << 20
MOST_ABOUT = 1 << 20  # of what describes something
BLANK = b" \t\r\n"
MARK = codecs.BOM_UTF8  # some put it before a reply
RUNNING = "running"  # the phase in which code runs
SSE_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")


class Transport:
    """Speaks to the gateway that `connect` finds for a provider. One event loop's own; `close()` on the same loop."""

    def __init__(self, connect: Callable[[str], Awaitable[Endpoint]]) -> None:
        self._connect = connect
        self.http = Http()

    async def close(self) -> None:
        await self.http.close()

    def abandon(self) -> None:
        """In a forked child: close our copies of the sockets, and touch nothing else."""
        self.http.abandon()

    async def endpoint(self, provider: str) -> Endpoint:
        return await self._connect(provider)

    async def send(self, run: Run) -> Result:
        """Pass `run` to its provider and its events to `run.emit`; the Result has everything but its cost."""
        try:
            return await self._send(run)
        except ProviderError as error:
            # without the frames below: a traceback that shows variables would show the reply, which may repeat the key
            raise error.with_traceback(None) from error.__cause__

    async def _send(self, run: Run) -> Result:
        await run.emit(Phase("connecting"))
        endpoint = await self._connect(run.offer.provider)
        await run.emit(Phase("asked"))
        sent = time.monotonic()
        dialect = endpoint.dialect
        ask = await ask_of(run, dialect, ours=endpoint.ours)
        body = io.BytesIO(json.dumps(dialect.encode_request(ask)).encode())  # sent in pieces: a cell may be large

        def heard(head: Heard) -> None:
            run.rate_headers = head.rate_headers
            run.timings = Timings(run.timings.queue, head.connect, time.monotonic() - sent)
            if head.status == 200 and head.request_id:
                run.request_ids += (head.request_id,)

        path = dialect.path(ask.model)
        asked = self.http.request(endpoint, "POST", path, data=body, attempt_id=run.attempt_id, heard=heard)
        async with asked as response:
            run.decoder = decoder = dialect.decoder(ask)  # from here on code may have run
            begun = time.monotonic()
            ran = await _read(response, dialect, decoder, run)
            ended = time.monotonic()
            run.reply = decoder.reply()
        run.container_id = run.reply.container
        run.timings = _parted(run, run.reply, ran, waited=ended - sent, arrived=ended - begun)
        return result_of(run, run.reply)

    async def upload(self, file: File, provider: str) -> str:
        """Give the provider a file; returns the id it has there."""
        endpoint = await self._connect(provider)
        uploads = endpoint.dialect.UPLOADS
        if uploads is None:
            raise NotAllowed(f"{provider} takes no files", hint="use another model, or put the data into the cell")
        form = aiohttp.FormData(quote_fields=False)  # names travel as they are, not %-encoded
        for name, value in uploads.fields.items():
            form.add_field(name, value)
        data = await asyncio.to_thread(_content, file)
        form.add_field("file", io.BytesIO(data), filename=file.name, content_type="application/octet-stream")
        async with self.http.request(endpoint, "POST", uploads.path, data=form) as response:
            said = parsed(await content(response, MOST_ABOUT), "the reply to an upload")
        if not isinstance(said, dict) or not isinstance(said.get("id"), str):
            raise BadReply("the reply to an upload names no file")
        return str(said["id"])

    async def takes_files(self, provider: str) -> bool:
        """Whether files are given to `provider` before they are used; else they travel inside each request."""
        return (await self._connect(provider)).dialect.UPLOADS is not None

    async def download(self, id: str, provider: str = LOCAL, most: int = MOST_FILE) -> bytes:
        """The content of a file that code made. Raises `BadReply` for one larger than `most` bytes."""
        endpoint = await self._connect(provider)
        async with self.http.request(endpoint, "GET", endpoint.dialect.content_path(id)) as response:
            return await content(response, most)

    async def about(self, id: str, provider: str) -> File:
        """What a file that code made is called, and how large it is."""
        endpoint = await self._connect(provider)
        async with self.http.request(endpoint, "GET", endpoint.dialect.about_path(id)) as response:
            said = parsed(await content(response, MOST_ABOUT), "the description of a file")
        if not isinstance(said, dict):
            raise BadReply("the description of a file is no object")
        return endpoint.dialect.about(said)

    async def containers(self) -> list[dict[str, Any]]:
        """What our own gateway keeps: id, language, busy, idle, memory."""
        async with self.http.request(await self._connect(LOCAL), "GET", CONTAINERS) as response:
            return list((await response.json())["data"])

    async def end_container(self, id: str) -> None:
        async with self.http.request(await self._connect(LOCAL), "DELETE", f"{CONTAINERS}/{id}"):
            pass


async def ask_of(run: Run, dialect: Dialect, *, ours: bool) -> Ask:
    """What is asked of a provider in this round; our own gateway (`ours`) is told more than others."""
    is_elsewhere = loading.is_needed(run.execution) and not (ours or _runs_here(run, dialect))
    if is_elsewhere and dialect.UPLOADS is None:
        raise NotAllowed(
            f"values of variables are not sent to {run.offer.provider}",
            hint="attach a file, or use a model whose code runs on this machine (--model local)",
        )
    most = dialect.MOST_INLINE
    contents = await asyncio.to_thread(_contents, run.files, most) if most and run.files else {}
    return Ask(
        loading.with_lines(run.execution) if is_elsewhere else run.execution,
        run.offer.request_model,
        run.most_tokens,
        container=run.container_id,
        files=run.files,
        rounds=run.rounds,
        tool=run.offer.tool,
        memory=None if run.offer.is_local else run.offer.memory,
        extension=_extension(run) if ours else None,
        contents=contents,
        before=run.before,
    )


def _runs_here(run: Run, dialect: Dialect) -> bool:
    """Whether the model only writes the code, or passes it on, and it runs in the sandbox on this machine."""
    return dialect.UPLOADS is None and not dialect.MOST_INLINE and run.offer.tool != completions.PASSTHROUGH


def _extension(run: Run) -> dict[str, Any]:
    asked = run.execution
    return {
        "language": asked.language,
        "timeout": asked.timeout or run.offer.timeout,
        "limits": {"memory": run.offer.memory},
        "mounts": list(asked.mounts),
        "packages": list(asked.packages),
        "network": asked.network,
        "figures": {"format": asked.figure_format, "dpi": asked.figure_dpi},
        "keep": asked.container is not None,
        "inputs": [file.id for file in run.inputs],
        "get": list(asked.get),
    }


class _Stopwatch:
    """How long code ran, as far as a stream shows: from when it was whole until something was heard of it."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._since: float | None = None

    def heard(self, event: Event | None) -> None:
        """None is the end."""
        if self._since is not None:
            self.seconds = (self.seconds or 0.0) + time.monotonic() - self._since
            self._since = None
        if isinstance(event, Phase) and event.name == RUNNING:
            self._since = time.monotonic()


def _parted(run: Run, reply: Reply, ran: float | None, *, waited: float, arrived: float) -> Timings:
    """Where the seconds went: `waited` for all of the reply, of which it `arrived` in the last ones.

    On this machine there is no model, and what was not the code was its way here. A vendor's model writes while the
    reply arrives: what was not the code was the model. Where nobody says how long the code ran, and no stream shows it,
    that is all one.
    """
    known = run.timings
    execution = ran if reply.execution_seconds is None else reply.execution_seconds
    model = transfer = None
    if not run.offer.is_local:
        model = max(waited - (known.connect or 0.0) - (execution or 0.0), 0.0)
    elif execution is not None:
        transfer = max(arrived - execution, 0.0)
    return Timings(known.queue, known.connect, known.first_byte, model, execution, transfer)


async def _read(response: aiohttp.ClientResponse, dialect: Dialect, decoder: Decoder, run: Run) -> float | None:
    """Feed the decoder what arrives, and tell what it says. Returns how many seconds code was seen to run.

    What it is shows its beginning: relays call a stream JSON, a JSON reply a stream, and a web page either.
    """
    reader: _Events | _Whole | None = None
    watch = _Stopwatch()
    size, beginning = 0, b""
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MOST_REPLY:
            raise BadReply(f"the reply is larger than {MOST_REPLY >> 20} MB", hint="what had arrived is kept")
        if reader is None:
            chunk = beginning = _unmarked(beginning + chunk)
            if MARK.startswith(beginning):  # nothing, or half of the mark
                continue
        reader = reader or _reader(chunk, response.content_type, dialect)
        for event in reader.feed(chunk):
            for told in decoder.feed(event):
                watch.heard(told)
                await run.emit(told)
    watch.heard(None)
    if reader is None:
        raise BadReply("the reply is empty", hint="try again; if it stays so, look at the base URL")
    for event in reader.close():
        for told in decoder.feed(event):
            await run.emit(told)
    return None if isinstance(reader, _Whole) else watch.seconds  # what came whole does not show it


def _unmarked(beginning: bytes) -> bytes:
    return beginning.lstrip(BLANK).removeprefix(MARK).lstrip(BLANK)


def _reader(beginning: bytes, content_type: str, dialect: Dialect) -> _Events | _Whole:
    if beginning.startswith(b"<") or content_type == "text/html":
        raise BadReply("it answers with a web page", hint="look at the base URL: it should be that of the API")
    is_json = content_type == "application/json" and not beginning.startswith(SSE_BEGINS)
    return _Whole(dialect) if is_json or beginning.startswith((b"{", b"[")) else _Events(dialect)


class _Events:
    """A stream: what has arrived gives what events are whole."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._parser = sse.Parser()

    def feed(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        try:
            found = list(self._parser.feed(chunk))
        except ValueError as error:
            raise not_json(error, "an event") from None
        for data in found:
            yield END_EVENT if self._dialect.is_end(data) else parsed(data, "an event")

    def close(self) -> Iterator[Mapping[str, Any]]:
        return iter(())  # an event that is not whole is none


class _Whole:
    """A JSON reply: it says what a stream would have said when all of it is there."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._lifter = lifting.Lifter()

    def feed(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        try:
            self._lifter.feed(chunk)
        except ValueError as error:
            raise not_json(error, "the reply") from None
        return iter(())

    def close(self) -> Iterator[Mapping[str, Any]]:
        try:
            text = lifting.lifted(self._lifter.close(), self._lifter.texts)
        except ValueError as error:
            raise not_json(error, "the reply") from None
        body = parsed(text, "the reply")
        for each in body if isinstance(body, list) else (body,):  # some say the events of a stream as a list
            if not isinstance(each, dict):
                raise BadReply("the reply is no JSON object")
            yield from self._dialect.events_of(each)


def _contents(files: Sequence[File], most: int) -> dict[str, bytes]:
    """What is in `files`, by name. Raises `BadAttachment` where that is more than `most` bytes."""
    if sum(file.size or 0 for file in files) > most:
        raise BadAttachment(f"files of more than {most >> 20} MB do not go into a request", hint="attach less")
    return {file.name: _content(file) for file in files}


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


def result_of(run: Run, reply: Reply) -> Result:
    """What `reply` means to `run`: everything but its cost."""
    usage, native = (reply.usage, reply.native) if run.offer.is_local else _discreet(reply)
    steps = [part for part in reply.parts if isinstance(part, Step)]
    outcome = steps[-1].outcome if steps else "limit" if reply.stop in ("length", "context") else "unknown"
    return run.result(
        outcome,
        parts=reply.parts,
        limit=reply.limit,
        usage=usage,
        container_new=reply.container_new if run.execution.container else None,
        isolation=reply.isolation,
        warm=reply.warm,
        stop=None if run.offer.is_local else reply.stop,
        native=native,
    )


def _discreet(reply: Reply) -> tuple[Usage, dict[str, Any]]:
    """What is kept as it came, without a key that whoever answers repeats beside what it says."""
    try:
        return changed(reply.usage, native=masked_in(reply.usage.native)), masked_in(reply.native)
    except RecursionError:
        raise BadReply("the reply is nested too deep to be kept", may_have_run=True) from None
