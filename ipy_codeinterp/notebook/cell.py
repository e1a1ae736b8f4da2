"""One `%%interp` cell: from its flags and its body to what is shown, kept in a variable, and raised."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ipy_codeinterp import consent, languages, registry, saving
from ipy_codeinterp.errors import CodeError, InterpError, NotSaved
from ipy_codeinterp.execution import Event, Execution, Result
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook import asking, data, multiplied, source
from ipy_codeinterp.notebook.arguments import BadUsage, is_comparison, models
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.endings import LEFT, STOPPED, failure, interrupted, is_second, remarks
from ipy_codeinterp.notebook.hints import hints

if TYPE_CHECKING:
    from ipy_codeinterp.chunks import Report
    from ipy_codeinterp.compare import Comparison
    from ipy_codeinterp.notebook.jobs import Job

T = TypeVar("T")


def run(desk: Desk, options: argparse.Namespace, body: str) -> None:
    """Run the cell in the way that its flags ask for. Raises what it fails with, unless they say otherwise."""
    inputs = data.given(desk, options.inputs)
    execution = asked(desk, options, body, inputs)
    if options.dry_run:
        desk.say(str(desk.session.dry_run(execution, models=models(options), max_cost=options.max_cost)))
        return
    multiplied.check(desk, execution, models(options))
    outcome, error = _way(options, inputs)(desk, execution, options)
    if options.out:
        desk.shell.user_ns[options.out] = outcome
    if error is None:
        return
    if not options.no_raise_error:
        raise error
    desk.shell.showtraceback((type(error), error, None))


def _way(options: argparse.Namespace, inputs: Mapping[str, Any]) -> Callable[..., tuple[Any, InterpError | None]]:
    """How its flags want it to be run."""
    if is_comparison(options):
        return _compared
    if options.bg:
        return partial(_behind, inputs=inputs)
    return _aside if options.batch else _over_chunks if options.chunks else partial(_once, inputs=inputs)


def asked(desk: Desk, options: argparse.Namespace, body: str, inputs: Mapping[str, Any]) -> Execution:
    """What the cell asks for. Raises `BadUsage` for a name on its line that nobody knows."""
    known = consent.bare_names()
    named = models(options)
    for model in named:
        if "@" not in model and model not in known:
            raise BadUsage(f"unknown model {model!r}: {registry.suggestion(model, known)}")
    language = source.language(options)
    if language not in languages.names():
        raise BadUsage(f"unknown language {language!r}: {registry.suggestion(language, languages.names())}")
    return desk.session.execution(
        body,
        model=named[0] if named else None,
        language=language,
        container=options.container,
        timeout=options.timeout,
        files=options.attach,
        mounts=options.mount,
        packages=options.packages,
        network=options.network,
        kind="task" if options.ask else "code",
        expect=options.expect,
        execute=not options.no_execute,
        inputs=inputs,
        get=options.get,
    )


def shown(desk: Desk, execution: Execution, run: Callable[..., T], *, interactive: bool = False, **terms: Any) -> T:
    """What `run` returns; what comes meanwhile is shown under the running cell. An interrupt stops the run."""
    view = desk.view(
        container=execution.container,
        facts=desk.session.origin(execution),
        author=str(execution.model) if execution.kind == "task" else "",
        interactive=interactive,
    )
    progress = desk.progress(view, execution)

    def show(event: Event) -> None:
        if progress:
            progress.note(event)
        view.show(event)

    def idle() -> None:
        desk.look()
        if progress:
            progress.idle()

    try:
        return run(execution, show=show, pause=desk.pause, idle=idle, **terms)
    except KeyboardInterrupt as error:
        raise interrupted(LEFT if is_second(error) else STOPPED) from None
    finally:
        if progress:
            progress.close()
        view.finish()
        if view.partial:
            desk.foot(execution, view.partial)
        desk.ended(execution)


def _terms(options: argparse.Namespace) -> dict[str, Any]:
    terms = {"max_cost": options.max_cost, "labels": options.label, "cache": not options.no_cache}
    return terms | {"policy": options.policy, "critical": options.critical}


def _once(
    desk: Desk, execution: Execution, options: argparse.Namespace, inputs: Mapping[str, Any]
) -> tuple[Result, InterpError | None]:
    folder = saving.opened(Path(options.save).expanduser()) if options.save else None
    if options.ask:
        execution = asking.going_on(desk, execution, options)
    how = {"allow_secrets": options.allow_secrets, "keep": options.ask, "interactive": options.interactive}
    result = shown(desk, execution, desk.session.run, **how, **_terms(options))
    if options.ask:
        asking.remember(desk, execution, result)
    desk.foot(execution, result)
    for remark in remarks(execution, result):
        desk.remark(remark)
    failed = failure(result, desk.surroundings(execution, result))
    lost = data.brought(desk, execution, result, inputs)
    unsaved = _saved(desk, result, folder, options) if folder else None
    return result, failed or lost or unsaved


def _saved(desk: Desk, result: Result, folder: Path, options: argparse.Namespace) -> NotSaved | None:
    """Say what was written; what was not is the cell's error, and has cost the run nothing."""
    saved = saving.save(result, desk.session.content, folder, force=options.force)
    desk.say(f"saved in {options.save}: {saved}")
    if not saved.failed:
        return None
    said = f"not saved in {options.save}: {saving.in_words(saved.failed)}"
    return NotSaved(said, hint="the run itself is kept: --out has its Result")


def _compared(desk: Desk, execution: Execution, options: argparse.Namespace) -> tuple[Comparison, InterpError | None]:
    from ipy_codeinterp.notebook import comparing

    terms = {name: value for name, value in _terms(options).items() if name not in ("policy", "critical")}
    named = models(options) or [desk.settings.model]
    terms["allow_secrets"] = options.allow_secrets
    return comparing.compare(desk, execution, named, options.repeat or 1, interactive=options.interactive, **terms)


def _behind(
    desk: Desk, execution: Execution, options: argparse.Namespace, inputs: Mapping[str, Any]
) -> tuple[Job, None]:
    from ipy_codeinterp.notebook import job_verbs

    folder = saving.opened(Path(options.save).expanduser().absolute()) if options.save else None

    def take(result: Result) -> InterpError | None:
        lost = data.brought(desk, execution, result, inputs)
        unsaved = _saved(desk, result, folder, options) if folder else None
        return lost or unsaved

    how = {"raises": not options.no_raise_error, "allow_secrets": options.allow_secrets}
    how["take"] = take if options.get or options.save else None
    return job_verbs.launch(desk, execution, **how, **_terms(options)), None


def _aside(desk: Desk, execution: Execution, options: argparse.Namespace) -> tuple[str, None]:
    id = desk.session.batch(execution, **_terms(options))
    said = desk.session.words_of_batch(id)
    desk.say(f"{said}; %interp batch collect {id} shows what comes of it")
    return id, None


def _over_chunks(desk: Desk, execution: Execution, options: argparse.Namespace) -> tuple[Report, CodeError | None]:
    from ipy_codeinterp import chunks

    how = {"path": options.chunks, "checkpoint": options.checkpoint, "allow_secrets": options.allow_secrets}
    run = partial(chunks.run, desk.session, **how)
    try:
        how = {"rows": options.rows or chunks.ROWS, "interactive": options.interactive}
        report = shown(desk, execution, run, **how, **_terms(options))
    except chunks.RangeFailed as error:
        if error.result:
            around = desk.surroundings(execution, error.result)
            advice = [safe_text(hint) for hint in hints(error.result.error, error.result.limit, around)]
            error.hint = "\n".join([*advice, error.hint])
        return error.report, error
    desk.say(str(report))
    return report, None
