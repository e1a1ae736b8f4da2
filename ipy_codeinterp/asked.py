"""What a user asks, checked, as an Execution: before anything is sent, and again before it is sent late."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

from ipy_codeinterp import attachments, exchange, languages, registry, shield
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.errors import BadAttachment, BadValue, HoldsSecret, InvalidInput, NotAllowed, NothingToRun
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.settings import Settings

# What of the arguments of a run is part of its Execution, and what it is where nothing is said.
DEFAULTS: Mapping[str, Any] = {
    "model": None,
    "language": "python",
    "container": None,
    "timeout": None,
    "files": (),
    "mounts": (),
    "packages": (),
    "network": False,
    "kind": "code",
    "expect": None,
    "execute": True,
    "inputs": {},
    "get": (),
    "after": None,
}


def execution(settings: Settings, code: str | Execution, how: Mapping[str, Any]) -> Execution:
    """`code` and `how` it is to be run; what is not said is as the settings have it.

    Raises `InvalidInput` for what cannot be run.
    """
    for name in how.keys() - DEFAULTS.keys():
        registry.find("argument", name, DEFAULTS)
    said = {**DEFAULTS, **how}
    folders = tuple(sorted({os.path.abspath(os.path.expanduser(folder)) for folder in said["mounts"]}))
    if isinstance(code, Execution):
        lists = {name: tuple(said[name]) for name in ("files", "packages", "get")}
        if {**said, **lists, "mounts": folders, "inputs": dict(said["inputs"])} != DEFAULTS:
            raise InvalidInput("an Execution says itself how it is run", hint="make another: dataclasses.replace")
        return checked(code)
    language = languages.find(said["language"])
    _check_values(said, language)
    found = Execution(
        code,
        kind=said["kind"],
        language=language.name,
        model=said["model"] or settings.model,
        container=said["container"],
        timeout=settings.timeout if said["timeout"] is None else said["timeout"],
        files=attachments.read(said["files"]),
        figure_format=settings.figure_format,
        figure_dpi=settings.figure_dpi,
        mounts=folders,
        packages=tuple(said["packages"]),
        network=said["network"],
        expect=said["expect"],
        execute=said["execute"],
        inputs=exchange.sent(said["inputs"], language.name, settings.data_dir, settings.value_limit << 20),
        get=tuple(dict.fromkeys(map(exchange.checked_name, said["get"]))),
        after=said["after"],
    )
    return checked(found)


def _check_values(said: Mapping[str, Any], language: languages.Language) -> None:
    """Raises `BadValue` where values of variables have nowhere to go."""
    if not (said["inputs"] or said["get"]):
        return
    if not language.has_values:
        raise BadValue(f"{language.name} takes no values of variables", hint="attach a file, or write one")
    if said["kind"] == "task":
        raise BadValue("values go along with code, not with a task in words", hint="attach a file")


def checked(execution: Execution) -> Execution:
    """The same. Raises `InvalidInput` for what nobody can run."""
    is_task = execution.kind == "task"
    if is_task and not execution.body.strip():
        raise NothingToRun("nothing to ask: there are no words", hint="write the task below the first line")
    if not is_task and (execution.expect is not None or not execution.execute):
        raise InvalidInput("expect and execute are for tasks", hint="ask for a task: --ask")
    if not is_task and is_blank(execution.body, languages.find(execution.language).comment):
        raise NothingToRun("nothing to run: there is no code", hint="write some code below the first line")
    if not is_task and execution.after is not None:
        raise InvalidInput("only a task goes on from what was said before", hint="keep variables with --container NAME")
    timeout = execution.timeout
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidInput(f"timeout of {timeout} seconds", hint="use a positive number")
    return execution


def check_can(execution: Execution, offer: Offer) -> None:
    """Raises `NotAllowed` for a task that no model is asked to do."""
    if execution.kind == "task" and offer.is_local:
        raise NotAllowed(
            "a task in words needs a model, and on this machine there is none: nothing was run",
            hint="name one, as --model claude@anthropic (key in ANTHROPIC_API_KEY) or --model gpt@openai"
            " (OPENAI_API_KEY); for a server of your own set IPY_CODEINTERP_BASE_URL and --model NAME@compatible",
        )


def check_secrets(execution: Execution, labels: Mapping[str, str]) -> None:
    """Raises `HoldsSecret` for what looks like a key: in the code, in any other word of the user's, in what goes along.

    Files are read for it.
    """
    said = itertools.chain(
        shield.texts_of(execution),
        (("label", text) for text in (*labels, *labels.values())),
        exchange.texts_of(execution.inputs),
        attachments.texts_of(execution.files),
    )
    for name, text in said:
        if found := shield.find(text):
            where = _where(name, text, found[0].start)
            raise HoldsSecret(
                f"{where} holds what looks like {found[0].what}: nothing was sent, run or kept",
                hint="take it out; if it is meant, or is none: --allow-secrets (in Python allow_secrets=True)",
            )


def _where(name: str, text: str, start: int) -> str:
    line = f"line {text.count(chr(10), 0, start) + 1}"
    if name == "body":
        return line
    return f"{line} of the {name}" if name.startswith(attachments.CALLED) else f"the {name}"


def check_unchanged(execution: Execution) -> None:
    """Raises `BadAttachment` where a file is no longer what was attached."""
    for file in (*execution.files, *execution.inputs):
        assert file.path is not None
        if attachments.describe(file.path).sha256 != file.sha256:
            raise BadAttachment(f"{file.path} has changed since it was attached", hint="put it aside again")


def is_blank(code: str, comment: str) -> bool:
    """Whether there is nothing but space and comments."""
    return all(not line.strip() or line.lstrip().startswith(comment) for line in code.splitlines())
