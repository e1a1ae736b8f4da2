"""The shell's face: `python -m ipy_codeinterp VERB`, also installed as `ipy-codeinterp`."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipy_codeinterp import languages, settings, warm
from ipy_codeinterp import verbs as verbs_
from ipy_codeinterp.bench.verbs import SHARED
from ipy_codeinterp.errors import InterpError, InvalidInput, NoIsolation, NotAllowed, NotMet
from ipy_codeinterp.execution import Result
from ipy_codeinterp.providers import learn_keys

OK, CODE_RAISED, USAGE, NO_ISOLATION, LIMIT_OR_CRASH = range(5)
FAILED = CODE_RAISED  # of doctor and models: something does not work
INTERRUPTED, BROKEN_PIPE = 130, 141  # as shells say it: 128 and the number of the signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        for line in settings.read().refused:
            _tell(line)
        return int(options.verb(options))
    except NoIsolation as error:
        return _complain(error, NO_ISOLATION)
    except (InvalidInput, NotAllowed) as error:
        return _complain(error, USAGE)
    except NotMet as error:
        return _complain(error, FAILED)
    except InterpError as error:
        return _complain(error, LIMIT_OR_CRASH)
    except BrokenPipeError:  # whoever read our output has enough: there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser(
        prog="ipy-codeinterp", description="Run code in an isolated interpreter on this machine.", allow_abbrev=False
    )
    verbs = top.add_subparsers(required=True, metavar="VERB")

    run = verbs.add_parser(
        "run",
        help="run a file of code and show what it produces",
        description="Exit codes: 0 ok, 1 the code raised, 2 usage, 3 no isolation on this machine, 4 limit or crash.",
        allow_abbrev=False,
    )
    run.add_argument("file", metavar="FILE", help="a file of code, or - for standard input")
    run.add_argument("-m", "--model", help="which interpreter: local, claude (default: local)")
    run.add_argument("-t", "--timeout", type=float, metavar="S", help="seconds the code may run")
    run.add_argument("-l", "--language", metavar="NAME", help="language (default: by the name of the file)")
    run.add_argument("--attach", action="append", default=[], metavar="PATH", help="lay a file beside the code")
    run.add_argument(
        "--with", action="append", default=[], dest="packages", metavar="PACKAGE", help="install this package for it"
    )
    run.add_argument("--mount", action="append", default=[], metavar="DIR", help="let the code read this folder")
    run.add_argument("--network", action="store_true", help="let the code speak to public addresses")
    _add_isolation(run)
    run.set_defaults(verb=_run)

    gateway = verbs.add_parser(
        "gateway",
        help="serve the wire formats on loopback until Ctrl-C",
        description="Serve on a free port of 127.0.0.1 and print the base URL and the token that opens it.",
        allow_abbrev=False,
    )
    gateway.add_argument("--json", action="store_true", help="print one line of JSON with base_url and token")
    gateway.add_argument("--port", type=int, default=0, help="listen here instead of on a free port")
    gateway.add_argument("--python", type=Path, metavar="PATH", help="the Python whose environment the code sees")
    gateway.add_argument("--cache-dir", type=Path, metavar="DIR", help="where the sandbox keeps its caches")
    gateway.add_argument("--home", type=Path, metavar="DIR", help="a home folder to keep out of the sandbox")
    gateway.add_argument(
        "--allow-mount", type=Path, action="append", metavar="DIR", help="let requests mount this folder, read-only"
    )
    gateway.add_argument("--allow-network", action="store_true", help="let requests speak to public addresses")
    gateway.add_argument("--rpm", type=int, metavar="N", help="refuse more than N requests a minute, as vendors do")
    gateway.add_argument("--owner-fd", type=int, metavar="FD", help="end when the process of this pidfd ends")
    _add_isolation(gateway)
    gateway.set_defaults(verb=_gateway)

    models = verbs.add_parser(
        "models",
        help="list the interpreters there are, here and elsewhere; --probe asks one by running code in it",
        description="List the interpreters of this machine, with what each last said of itself, and the models of"
        " providers, with their prices; of keys only the variable's name. Nothing leaves the machine for it.",
        allow_abbrev=False,
    )
    models.add_argument("name", nargs="?", metavar="NAME", help="one of them: local, claude, anthropic")
    models.add_argument("--probe", action="store_true", help="run code in it: languages, packages, limits, walls")
    models.add_argument("--json", action="store_true", help="the same as JSON")
    warm.add_arguments(models)
    models.set_defaults(verb=_models)

    doctor = verbs.add_parser("doctor", help="say what works on this machine, and what to do about what does not")
    doctor.add_argument("providers", nargs="*", metavar="PROVIDER", help="look at these, too (default: the enabled)")
    doctor.add_argument("--live", action="store_true", help="run a line of code at each provider, which is paid for")
    doctor.add_argument("--json", action="store_true", help="the same as JSON")
    doctor.set_defaults(verb=_doctor)
    _add_record(verbs)
    for verb in SHARED.values():
        shared = verbs.add_parser(
            verb.name, help=verb.help, description=verb.help.capitalize() + ".", allow_abbrev=False
        )
        verb.add(shared)
        shared.set_defaults(verb=functools.partial(_shared, verb))
    return top


def _add_record(verbs: Any) -> None:
    record = verbs.add_parser(
        "record",
        help="run notebooks and record what comes, so that they replay without a key, a network or a sandbox",
        description="Run notebooks, record what comes, and write their outputs. Exit codes: 0 ok, 1 a cell failed.",
        allow_abbrev=False,
    )
    record.add_argument("notebooks", nargs="+", type=Path, metavar="NB", help="a notebook")
    record.add_argument("--to", type=Path, metavar="DIR", help="the recording (default: NB.recording beside each)")
    which = record.add_mutually_exclusive_group()
    which.add_argument("--missing", action="store_true", help="make only runs that are not recorded yet (default)")
    which.add_argument("--all", action="store_true", help="make every run anew, and forget all other recorded ones")
    which.add_argument("--outputs-only", action="store_true", help="make no run: write the outputs from the recording")
    record.set_defaults(verb=_record)


def _record(options: argparse.Namespace) -> int:
    from ipy_codeinterp.notebook import recorder

    how: recorder.How = "all" if options.all else "replay" if options.outputs_only else "missing"
    reports = recorder.record(options.notebooks, options.to, how)
    for report in reports:
        print(report)
    return FAILED if any(report.failure for report in reports) else OK


def _shared(verb: verbs_.Verb, options: argparse.Namespace) -> int:
    if verbs_.needs_session(verb.name, options):
        return _with_session(options)
    known = settings.load()
    learn_keys(known)  # what is shown again holds none of them
    if said := verb.run(known, options):
        print(said)
    return OK


def _with_session(options: argparse.Namespace) -> int:
    from ipy_codeinterp.session import Session
    from ipy_codeinterp.terminal import Terminal

    screen = Terminal()
    with Session() as session:
        try:
            said = verbs_.with_session(session, options, screen.show, _tell)
        except KeyboardInterrupt:
            _tell("what is under way ends first, the rest stays put aside; Ctrl-C again cuts it short")
            session.batches.finish()
            raise
    screen.close()
    if said:
        _tell(said)
    return OK


def _tell(said: str) -> None:
    print(said, file=sys.stderr)


def _add_isolation(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--isolation",
        choices=settings.CHOICES["isolation"],
        help="auto isolates or refuses (default); bare runs the code as you, on this machine, without isolation",
    )


def _run(options: argparse.Namespace) -> int:
    from ipy_codeinterp.session import Session
    from ipy_codeinterp.terminal import Terminal

    code = _read(options.file)
    said = {"isolation": options.isolation} if options.isolation else {}
    screen = Terminal()
    with Session(**said) as session:
        result = session.run(
            code,
            show=screen.show,
            model=options.model,
            language=options.language or languages.of_file(options.file).name,
            timeout=options.timeout,
            files=options.attach,
            mounts=options.mount,
            packages=options.packages,
            network=options.network,
        )
        screen.close()
    return _tell_end(result)


def _read(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}", hint="give a file of code, or -") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: {error}", hint="convert it first") from None


def _tell_end(result: Result) -> int:
    if result.ending:
        print(result.ending, file=sys.stderr)
    return {"ok": OK, "error": CODE_RAISED}.get(result.outcome, LIMIT_OR_CRASH)


def _least_one(rpm: int | None) -> int | None:
    if rpm is not None and rpm < 1:
        raise InvalidInput(f"--rpm {rpm} lets nothing through", hint="use 1 or more, or leave it out")
    return rpm


def _gateway(options: argparse.Namespace) -> int:
    from ipy_codeinterp.gateway import serve

    known = settings.load()
    return serve.main(
        serve.Options(
            cache_dir=options.cache_dir or known.cache_dir,
            isolation=options.isolation or known.isolation,
            python=options.python or known.python,
            home=options.home,
            port=options.port,
            as_json=options.json,
            owner_fd=options.owner_fd,
            mountable=tuple(options.allow_mount or known.mounts),
            network=options.allow_network or known.network,
            rpm=_least_one(options.rpm),
        )
    )


def _models(options: argparse.Namespace) -> int:
    from ipy_codeinterp import elsewhere, probe
    from ipy_codeinterp.session import Session

    known = settings.load()
    if options.warm:
        return _warm(options)
    if not options.probe:
        print(elsewhere.listed(known, options.name, as_json=options.json))
        return OK
    with Session(known.live) as session:  # health is never served from what is kept
        report = probe.examine(session, options.name or known.model)
    print(probe.as_json(report) if options.json else probe.text(report))
    probe.keep(known.data_dir, report)
    return FAILED if report.failed else OK


def _warm(options: argparse.Namespace) -> int:
    from ipy_codeinterp.session import Session

    with Session() as session:
        plan, most = warm.planned(session, options)
        print(plan, flush=True)
        print(warm.run(session, plan, most))
    return OK


def _doctor(options: argparse.Namespace) -> int:
    from ipy_codeinterp import doctor

    findings = doctor.examine(settings.load().live, options.providers, live=options.live, tell=_tell)
    print(doctor.as_json(findings) if options.json else doctor.report(findings))
    failed = [finding.name for finding in findings if finding.ok is False]
    return NO_ISOLATION if "isolation" in failed else FAILED if failed else OK


def _complain(error: InterpError, status: int) -> int:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
