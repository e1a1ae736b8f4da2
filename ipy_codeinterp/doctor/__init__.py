"""What works on this machine, and what to do about what does not.

Nothing here costs anything. Nothing leaves the machine but questions to providers that are enabled or named
(`doctor.providers`), and, where it is asked for, one paid call to each (`doctor.live`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ParamSpec

from ipy_codeinterp import catalog, consent
from ipy_codeinterp import settings as settings_files
from ipy_codeinterp.doctor.finding import Finding
from ipy_codeinterp.errors import InterpError, NoIsolation
from ipy_codeinterp.execution import NOT_ISOLATED
from ipy_codeinterp.languages import LANGUAGES, SYSTEM_PATH
from ipy_codeinterp.sandbox import environment, isolation, network
from ipy_codeinterp.sandbox.scratch import Scratch
from ipy_codeinterp.settings import Settings

P = ParamSpec("P")
Check = Callable[[Settings], Iterator[Finding]]


def examine(
    settings: Settings,
    named: Sequence[str] = (),
    *,
    live: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> list[Finding]:
    """Every finding, of this machine in the order of CHECKS, then of the providers; a check that fails is one too.

    `named` providers are looked at beside the enabled ones. With `live` each runs a line of code, which is paid for:
    `tell` hears first what it may cost. Raises `UnknownName` for a provider that nobody knows.
    """
    from ipy_codeinterp.doctor import providers

    chosen = providers.chosen(settings, named, environ)
    findings = [finding for check in CHECKS for finding in _tried(check.__name__.lstrip("_"), check, settings)]
    if not chosen:
        return [*findings, Finding("providers", None, providers.QUIET)]
    for name in chosen:
        own = _tried(name, providers.check, name, settings, environ, providers.today_utc())
        findings += own
        if live and all(finding.ok is not False for finding in own):
            findings += _tried(name, _live, name, settings, environ, tell)
    return findings


def _tried(name: str, check: Callable[P, Iterable[Finding]], *of: P.args, **how: P.kwargs) -> list[Finding]:
    """What it finds, or what it failed with."""
    try:
        return list(check(*of, **how))
    except NoIsolation as error:
        return [Finding("isolation", False, str(error), error.hint)]
    except (InterpError, OSError) as error:
        return [Finding(name, False, str(error), getattr(error, "hint", ""))]


def _live(name: str, settings: Settings, environ: Mapping[str, str], tell: Callable[[str], None]) -> Iterator[Finding]:
    from ipy_codeinterp.doctor import live, providers

    found = consent.provider(name, settings)
    if not (offers := providers.models(found, settings, environ)):
        yield Finding(f"{name} live", None, "no model of it is known", f"set model to NAME@{name}")
    for offer in offers[:1]:
        yield live.ask(settings, offer, tell)


def report(findings: Sequence[Finding]) -> str:
    """The findings as text."""
    marks = {True: "ok  ", False: "FAIL", None: "    "}
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.ok]} {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"     {'':<{width}}  -> {finding.remedy}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([finding.as_json() for finding in findings], indent=1)


def _python(_: Settings) -> Iterator[Finding]:
    ok = sys.version_info >= (3, 11)
    yield Finding(
        "python", ok, f"{platform.python_version()} ({sys.executable})", "" if ok else "use Python 3.11 or later"
    )
    ok = sys.platform == "linux"
    remedy = "" if ok else "use Linux for isolated execution: a container, a virtual machine or WSL2"
    yield Finding("platform", ok, platform.platform(), remedy)


def _ipykernel(_: Settings) -> Iterator[Finding]:
    version = _version("ipykernel")
    lossy = version and (version.startswith("7.0.") or version == "6.30.0")
    remedy = "pip install -U ipykernel: this release loses output of queued cells" if lossy else ""
    yield Finding("ipykernel", not lossy, version or "not installed", remedy)


def _nested_loops(_: Settings) -> Iterator[Finding]:
    import asyncio

    old = hasattr(asyncio, "_nest_patched") and importlib.util.find_spec("nest_asyncio2") is None
    found = "the original nest_asyncio is applied" if old else "nothing in the way"
    yield Finding("nested loops", not old, found, "use nest_asyncio2: the original loses queued cells" if old else "")


def _sandbox(settings: Settings) -> Iterator[Finding]:
    """The interpreter's environment, and the walls around it, found by starting it once."""
    found = environment.find(settings.python)
    yield Finding("environment", True, f"Python {found.version} in {', '.join(map(str, found.prefixes)) or '/usr'}")
    closed = isolation.unreadable(found.prefixes)
    if closed:
        yield Finding(
            "permissions",
            False,
            f"others may not read {closed[0]}",
            f"chmod -R o+rX {closed[0]}: as root the code is somebody else",
        )
    started = time.monotonic()
    chosen = isolation.find(settings.isolation, found, Scratch(settings.cache_dir))
    if chosen.name == NOT_ISOLATED:
        yield Finding("isolation", None, NOT_ISOLATED, "the setting isolation='bare' asks for this")
    else:
        how = "forked from a zygote" if getattr(chosen, "forks", False) else "one start a run"
        yield Finding("isolation", True, f"{chosen.name}, {how}; found in {time.monotonic() - started:.2f} s")
        if chosen.program is None:
            remedy = "none of the sandbox's other walls is missing; ask for this machine's kind in an issue"
            yield Finding("system calls", None, f"not filtered: no filter for {platform.machine()}", remedy)


def _network(settings: Settings) -> Iterator[Finding]:
    """Whether a run could have a network, and may."""
    try:
        helper = network.helper()
    except NoIsolation as error:
        yield Finding("network", None, "neither slirp4netns nor passt is installed: no --network", error.hint)
        return
    if (complaint := network.complaint(helper)) is not None:
        yield Finding("network", False if settings.network else None, complaint, network.remedy(complaint))
    elif settings.network:
        yield Finding("network", True, f"{helper.program}; cells may use --network")
    else:
        yield Finding("network", None, f"{helper.program}; not allowed", "to allow --network: IPY_CODEINTERP_NETWORK=1")


def _languages(_: Settings) -> Iterator[Finding]:
    """What can be run besides Python."""
    for language in LANGUAGES.values():
        if language.program and language.is_installed:
            yield Finding(language.name, True, str(shutil.which(language.program, path=SYSTEM_PATH)))
        elif language.program:
            yield Finding(language.name, None, f"{language.program} is not installed", language.install)


def _gateway(settings: Settings) -> Iterator[Finding]:
    """A whole round trip through a gateway of its own."""
    from ipy_codeinterp.session import Session

    started = time.monotonic()
    with Session(settings, warm="never") as session:
        result = session.run("print(6 * 7)")
        ok = result.ok is True and result.stdout == "42\n"
        warm = session.run("print(6 * 7)")
    said = f"{result.outcome} after {time.monotonic() - started:.1f} s, cold"
    yield Finding(
        "gateway", ok, f"{said}; then a {'warm' if warm.warm else 'cold'} start in {warm.timings.total:.3f} s"
    )


def _store(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    ok = os.access(existing, os.W_OK)
    yield Finding("journal", ok, str(folder), "" if ok else "set IPY_CODEINTERP_DATA_DIR to a folder you can write")


def _keys(settings: Settings) -> Iterator[Finding]:
    """Which variables hold one; never what is in them."""
    variables = [name for provider in catalog.providers().values() for name in provider.keys]
    there = [name for name in dict.fromkeys([*variables, settings.key_variable]) if name and os.environ.get(name)]
    used = "each is sent to its own provider alone, once that is enabled or named"
    yield Finding("keys", None, f"{', '.join(there)} set; {used}" if there else "none set, none needed here")


def _files(_: Settings) -> Iterator[Finding]:
    """What a project's file asks for, and may not."""
    for line in settings_files.read().refused:
        yield Finding("settings", False, line, "put it into your own config.toml, if you want it (docs/settings.md)")


# To add a check, add a function that yields findings.
CHECKS: tuple[Check, ...] = (
    _python,
    _ipykernel,
    _nested_loops,
    _sandbox,
    _network,
    _languages,
    _gateway,
    _store,
    _keys,
    _files,
)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
