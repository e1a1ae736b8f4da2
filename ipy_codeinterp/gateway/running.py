"""From the words of a request to a Job: its JSON, the code in it, the profile it runs under, what it may have.

There is no model here, so all formats ask the same of a text: one fenced block, or code as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from ipy_codeinterp import catalog, languages
from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.gateway.files import Files, Kept
from ipy_codeinterp.gateway.runs import NotCode
from ipy_codeinterp.gateway.sandbox import Ready
from ipy_codeinterp.sandbox import packages
from ipy_codeinterp.sandbox.job import Extras, Input, Job

LONG = 1 << 20  # characters: more than this is not scanned on the event loop
MOST_TIMEOUT = 24 * 3600.0
NO_MODEL = "no model here: send code"
HEADERS = {"x-ipy-codeinterp-model": "none"}  # whoever wants to know can see that no model was asked


class Wanted(Protocol):
    """What every format's request can want of a run."""

    @property
    def timeout(self) -> float | None: ...
    @property
    def memory(self) -> int | None: ...
    @property
    def figure_format(self) -> str: ...
    @property
    def figure_dpi(self) -> float | None: ...
    @property
    def mounts(self) -> tuple[str, ...]: ...
    @property
    def packages(self) -> tuple[str, ...]: ...
    @property
    def network(self) -> bool: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def get(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Code:
    """What is to be run. `must_parse` says that it is still to be seen whether it is code at all."""

    text: str = field(repr=False)
    language: str
    must_parse: bool


async def read_json(request: web.Request) -> Any:
    """The body. Raises `Rejected` for what is no JSON, in an encoding that nobody knows, or nested too deep."""
    try:
        return await request.json()
    except (ValueError, LookupError, RecursionError):
        raise Rejected("the body is not valid JSON") from None


def profile_of(model: str) -> catalog.Profile:
    """The limits that `model` runs under here. Raises `Rejected` (404)."""
    profile = catalog.profile_of(model)
    if profile is None:
        raise Rejected(f"model: {model[:80]!r} is not served here", status=404, param="model")
    return profile


async def code_in(text: str, language: str | None) -> Code:
    """The code in the last user message. Raises `NotCode`, and `Rejected` where its language is not installed."""
    found = await asyncio.to_thread(prompt.blocks, text) if len(text) > LONG else prompt.blocks(text)
    if len(found) > 1:
        raise NotCode(f"{NO_MODEL} in one fenced block, not in {len(found)}")
    if not found and not text.strip():
        raise NotCode(NO_MODEL)
    labelled = languages.of_fence(found[0].label) if found else None
    chosen = languages.find(language or (labelled.name if labelled else "python"))
    if not chosen.is_installed:
        message = f"{chosen.program} is not installed on this machine"
        raise Rejected(message, hint=chosen.install, param="language")
    return Code(found[0].content if found else text, chosen.name, not found)


def inputs_of(files: Iterable[Kept]) -> tuple[Input, ...]:
    """The files as they are laid beside the code, read. Raises `Rejected` where two are called the same."""
    kept = list(files)
    names = [file.name for file in kept]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Rejected(f"container_upload: two files are called {twice!r}")
    return tuple(Input(file.name, file.read()) for file in kept)


async def values_of(files: Files, wanted: Wanted) -> tuple[Input, ...]:
    """The values of variables that go along, read."""
    kept = [files.find(id) for id in wanted.inputs]
    return await asyncio.to_thread(inputs_of, kept) if kept else ()


def job_of(
    code: Code,
    wanted: Wanted,
    profile: catalog.Profile,
    inputs: tuple[Input, ...] = (),
    values: tuple[Input, ...] = (),
) -> Job:
    """The run, within the limits of the profile. Raises `Rejected` where its language has no variables to fill."""
    if (values or wanted.get) and not languages.find(code.language).has_values:
        raise Rejected(f"{code.language} takes no values of variables", hint="attach a file", param="language")
    return Job(
        code.text,
        inputs=inputs,
        timeout=min(wanted.timeout or profile.timeout, MOST_TIMEOUT),
        memory=min(wanted.memory or profile.memory, profile.memory),
        must_parse=code.must_parse,
        figure_format=wanted.figure_format,
        figure_dpi=wanted.figure_dpi,
        values=values,
        get=wanted.get,
    )


def extras_of(sandbox: Ready, wanted: Wanted, language: str) -> Extras:
    """What the container has beyond the others. Raises `NotAllowed`, and `Rejected` for what cannot be."""
    if wanted.packages and language != "python":
        raise Rejected("packages are for Python", hint=f"{language} has what this machine has", param="packages")
    mounted, installed = sandbox.allowed(wanted.mounts), packages.checked(wanted.packages)
    return Extras(mounted, installed, sandbox.may_connect(wanted.network))
