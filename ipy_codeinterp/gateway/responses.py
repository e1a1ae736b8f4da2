"""/v1/responses: OpenAI's Responses with `code_interpreter`, answered without a model by running the code."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from ipy_codeinterp.dialects import extension, sse
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.dialects.openai_errors import Invalid
from ipy_codeinterp.dialects.responses import requested, serving
from ipy_codeinterp.dialects.responses.requested import Asked, Room
from ipy_codeinterp.gateway import running, shapes, streaming, tokens
from ipy_codeinterp.gateway.answers import ANSWERS
from ipy_codeinterp.gateway.files import FILES
from ipy_codeinterp.gateway.rooms import CONTAINERS, Container
from ipy_codeinterp.gateway.runs import NotCode, Passage, Place, place
from ipy_codeinterp.gateway.sandbox import SANDBOX, Ready
from ipy_codeinterp.sandbox.frames import Begun, file_name
from ipy_codeinterp.sandbox.job import Input, Job
from ipy_codeinterp.sandbox.pool import Pool

PATH = "/v1/responses"
AUTO = "auto"  # what a container is called that was made for a request


def add_routes(app: web.Application) -> None:
    app.router.add_post(PATH, answer)
    app.router.add_post(PATH + "/input_tokens", count_tokens)
    app.router.add_get(PATH + "/{id}", retrieve)
    app.router.add_delete(PATH + "/{id}", delete)
    app.router.add_get(PATH + "/{id}/input_items", list_items)
    app.router.add_post(PATH + "/{id}/cancel", cancel)


async def answer(request: web.Request) -> web.StreamResponse:
    """One request, from its JSON to the last event."""
    asked = requested.decode_request(await running.read_json(request))
    profile = running.profile_of(asked.model)
    if not asked.has_tool:
        raise NotCode(f"{running.NO_MODEL}, with a code_interpreter tool")
    earlier = (*_containers_before(request, asked), *asked.earlier)
    code = await running.code_in(asked.text, asked.wanted.language)
    sandbox = await request.app[SANDBOX].ready()
    extras = running.extras_of(sandbox, asked.wanted, code.language)
    with _in_container(request, asked, earlier, sandbox.pool) as container:
        most = min(profile.memory, container.room.memory or profile.memory)
        async with container.turn:  # two that come first at the same time must not both make it
            inputs = await _inputs(request, asked, container)
            values = await running.values_of(request.app[FILES], asked.wanted)
            job = running.job_of(code, asked.wanted, replace(profile, memory=most), inputs, values)
            known, keep = container.id if container.begun else None, asked.wanted.keep
            made = place(sandbox.pool, known, code.language, job.memory, extras, keep=keep, new_id=container.id)
            async with made as where:
                return await _run(request, asked, sandbox, where, job, container)


async def _run(
    request: web.Request, asked: Asked, sandbox: Ready, where: Place, job: Job, container: Container
) -> web.StreamResponse:
    passage = Passage(where, job, request.app[FILES], sandbox.pool)
    counted = serving.Tokens(await tokens.count(asked.all_text), await tokens.count(job.code))
    envelope = _envelope(request, asked, job.code, where, sandbox, counted)
    headers = {**running.HEADERS, **tokens.headers()}
    async with contextlib.aclosing(passage.events()) as events:
        await anext(events, None)  # from here on it is known that the text is code
        container.begun, container.to_lay = True, []
        story = _Story(request, envelope, container)
        if asked.stream:
            return await streaming.tell(request, story, passage, events, headers)
        async for _ in events:
            pass
    return web.json_response(story.reply(passage.ran), headers=headers)


def _containers_before(request: web.Request, asked: Asked) -> Iterator[str]:
    """Those that the reply before this one ran code in. Raises `Invalid` for a reply that is not known."""
    if asked.previous is None:
        return
    previous = request.app[ANSWERS].get(asked.previous)
    if previous is None:
        message = f"Previous response with id '{asked.previous[:80]}' not found."
        raise Invalid(message, param="previous_response_id", code="previous_response_not_found")
    yield from (item["container_id"] for item in previous["output"] if "container_id" in item)


@contextlib.contextmanager
def _in_container(request: web.Request, asked: Asked, earlier: tuple[str, ...], pool: Pool) -> Iterator[Container]:
    """The container that is named, else the latest of the context that lives, else a new one."""
    container = _named_or_new(request, asked, earlier, pool)
    container.busy += 1
    try:
        yield container
    except NotCode:
        if not container.begun and container.id != asked.container:
            request.app[CONTAINERS].remove(container.id)  # nobody has heard of it
        raise
    finally:
        container.busy -= 1
        container.used = time.time()


def _named_or_new(request: web.Request, asked: Asked, earlier: tuple[str, ...], pool: Pool) -> Container:
    containers = request.app[CONTAINERS]
    if asked.container:
        return containers.live(asked.container, pool)
    for id in reversed(earlier):
        with contextlib.suppress(Invalid):
            found = containers.live(id, pool)
            for file_id in asked.room.file_ids if asked.room else ():
                found.add(request.app[FILES].find(file_id), "user")
            return found
    return containers.make(AUTO, asked.room or Room())


async def _inputs(request: web.Request, asked: Asked, container: Container) -> tuple[Input, ...]:
    """What is to lie beside the code: what was laid into the container since its last run, and what the input has."""
    files = request.app[FILES]
    named = [files.find(id) for id in asked.file_ids]
    about: dict[str, Any] = {"downloadable": True, "prefix": "file-"}
    carried = [await asyncio.to_thread(files.add, _name(each.name), each.data, **about) for each in asked.carried]
    for kept in (*named, *carried):
        container.add(kept, "user")
    latest = {file.kept.name: file.kept.id for file in container.laying()}  # of two with one name the later counts
    return await asyncio.to_thread(running.inputs_of, map(files.find, latest.values())) if latest else ()


def _name(said: str) -> str:
    try:
        return file_name(said)
    except ValueError as error:
        raise Invalid(f"filename: {error}", param="input.content.filename") from None


def _envelope(
    request: web.Request, asked: Asked, code: str, where: Place, sandbox: Ready, counted: serving.Tokens
) -> serving.Envelope:
    return serving.Envelope(
        response_id=f"resp_{secrets.token_hex(24)}",
        call_id=f"ci_{secrets.token_hex(24)}",
        message_id=f"msg_{secrets.token_hex(24)}",
        created=int(time.time()),
        asked=asked,
        code=code,
        container=where.id,
        container_new=where.new,
        isolation=sandbox.isolation_with(where.container.extras),
        warm=where.container.warm,
        extended=request.headers.get(extension.HEADER) == "1",
        tokens=counted,
    )


@dataclass(frozen=True, slots=True)
class _Story:
    """A run in the events of the Responses format, and as one reply; either is kept where it is to be stored."""

    request: web.Request
    envelope: serving.Envelope
    container: Container
    numbers: Iterator[int] = field(default_factory=itertools.count)
    keep_alive: bytes = streaming.COMMENT

    def begin(self) -> Iterator[bytes]:
        return map(self._numbered, serving.encode_start(self.envelope))

    def more(self, event: Any) -> Iterator[bytes]:
        if self.envelope.extended and not isinstance(event, Begun):
            yield sse.encode(extension.encode_output(event))

    def end(self, ran: Ran) -> Iterator[bytes]:
        ran, cited = self._cite(ran)
        self._keep(ran, cited)
        return map(self._numbered, serving.encode_end(self.envelope, ran, cited))

    def fail(self, message: str) -> Iterator[bytes]:
        return map(self._numbered, serving.encode_failure(self.envelope, message))

    def reply(self, ran: Ran) -> dict[str, Any]:
        ran, cited = self._cite(ran)
        self._keep(ran, cited)
        return serving.encode_reply(self.envelope, ran, cited)

    def _numbered(self, event: Mapping[str, Any]) -> bytes:
        """Events of ours have no number: those of the vendor's are counted without a gap."""
        of_ours = event["type"].startswith(f"{extension.FIELD}.")
        return sse.encode(event if of_ours else {**event, "sequence_number": next(self.numbers)})

    def _cite(self, ran: Ran) -> tuple[Ran, tuple[serving.Cited, ...]]:
        """The files that code left become files of the container, and are called so in all that is said."""
        files = self.request.app[FILES]
        added = [self.container.add(files.find(file.id or ""), "assistant") for file in ran.files]
        cited = tuple(serving.Cited(file.id, file.kept.name, file.path) for file in added)
        named = tuple(replace(file, id=by.id) for file, by in zip(ran.files, added, strict=True))
        return replace(ran, files=named), cited

    def _keep(self, ran: Ran, cited: tuple[serving.Cited, ...]) -> None:
        if self.envelope.asked.store:
            with_outputs = replace(self.envelope, asked=replace(self.envelope.asked, with_outputs=True), extended=False)
            items = serving.encode_items(self.envelope.asked.items, lambda prefix: f"{prefix}_{secrets.token_hex(24)}")
            self.request.app[ANSWERS].add(serving.encode_reply(with_outputs, ran, cited), items)


async def retrieve(request: web.Request) -> web.Response:
    found = request.app[ANSWERS].find(request.match_info["id"])
    if request.query.get("stream") == "true":
        message = "This response cannot be streamed because it was not created with background=true."
        raise Invalid(message, param="stream")
    return web.json_response(found if _with_outputs(request) else serving.without_outputs(found))


def _with_outputs(request: web.Request) -> bool:
    """Raises `Invalid` for an `include` that nobody knows."""
    wanted = requested.includes([*request.query.getall("include[]", []), *request.query.getall("include", [])])
    return requested.OUTPUTS in wanted


async def list_items(request: web.Request) -> web.Response:
    """The input of a reply that was kept, the latest item first unless it is asked for otherwise."""
    items = list(reversed(request.app[ANSWERS].items_of(request.match_info["id"])))
    shown = items if _with_outputs(request) else serving.items_without_outputs(items)
    return web.json_response(shapes.page(shown, request.query))


async def delete(request: web.Request) -> web.Response:
    id = request.match_info["id"]
    request.app[ANSWERS].remove(id)
    return web.json_response({"id": id, "object": "response", "deleted": True})


async def cancel(request: web.Request) -> web.Response:
    request.app[ANSWERS].find(request.match_info["id"])
    raise Invalid("Cannot cancel a synchronous response.")


async def count_tokens(request: web.Request) -> web.Response:
    text = requested.text_of_request(await running.read_json(request))
    body = {"object": "response.input_tokens", "input_tokens": await tokens.count(text)}
    return web.json_response(body, headers={**running.HEADERS, **tokens.headers()})
