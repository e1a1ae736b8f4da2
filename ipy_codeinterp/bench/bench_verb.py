"""The verb `bench`: its grammar, what it does in a shell, and what a notebook needs of it to do it there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ipy_codeinterp import registry
from ipy_codeinterp.errors import InvalidInput, NotMet
from ipy_codeinterp.execution import Kind
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.tables import columns
from ipy_codeinterp.verbs import Verb

if TYPE_CHECKING:  # no notebook that measures nothing pays for any of it
    from ipy_codeinterp.bench.plan import Question
    from ipy_codeinterp.bench.report import Report
    from ipy_codeinterp.bench.rows import Run
    from ipy_codeinterp.bench.thresholds import Threshold
    from ipy_codeinterp.bench.workload import Case
    from ipy_codeinterp.session import Session

ACTIONS = {
    "run": "measure, and show the report (default)",
    "report": "show one again: report [RUN or report.json]",
    "diff": "say whether it has become worse: diff BEFORE AFTER",
    "runs": "list what was measured here",
    "workloads": "list what can be measured",
}
QUICK_REPEAT = 5
KINDS: dict[str, tuple[Kind, ...]] = {"code": ("code",), "task": ("task",), "both": ("code", "task")}


def add(parser: argparse.ArgumentParser) -> None:
    """What it takes, in groups."""
    actions = "; ".join(f"{name}: {words}" for name, words in ACTIONS.items())
    parser.add_argument("action", nargs="?", default="run", metavar="ACTION", help=actions)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a run, or a report.json, of report and diff")
    parser.add_argument("-m", "--model", metavar="A,B", help="which interpreters (default: the setting model)")
    parser.add_argument(
        "--quick", action="store_true", help=f"the smallest size of each, {QUICK_REPEAT} times: minutes"
    )
    _add_work(parser.add_argument_group("what is asked"))
    _add_how(parser.add_argument_group("how it is measured"))
    _add_report(parser.add_argument_group("what is shown"))


def _add_work(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--work", metavar="NAMES", help="workloads or categories, several with commas (default: all)")
    group.add_argument("--sizes", metavar="N", help="the first N sizes of each, or all (default: 1)")
    group.add_argument("--language", metavar="NAMES", help="python, r, node, or all (default: python)")
    group.add_argument("--kind", choices=KINDS, default="code", help="given code, a task in words, or both")
    own = group.add_mutually_exclusive_group()
    own.add_argument("--cells", type=Path, metavar="DIR", help="your own: a folder with a file for each cell")
    own.add_argument("--notebook", type=Path, metavar="NB", help="your own: cells of a notebook that are tagged bench")
    own.add_argument("--history", type=int, metavar="N", help="your own: the last N different cells of the journal")


def _add_how(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--repeat", type=int, metavar="N", help="how often each question is asked (default: 10)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of data, order and arrivals (default: 0)")
    group.add_argument("--concurrency", type=int, default=1, metavar="N", help="calls at a time (default: 1)")
    group.add_argument("--rate", type=float, metavar="R", help="calls a second, as chance has it: an open loop")
    group.add_argument("--warm-up", type=int, default=1, metavar="N", help="calls of each offer before it counts")
    group.add_argument("--until", metavar="SHARE", help="end early when each interval is as narrow as this: 5%%")
    group.add_argument("--budget", metavar="USD", help="end before more could be spent")
    group.add_argument("--idle", metavar="S,S", help="afterwards: how long a call takes after so many seconds of quiet")
    group.add_argument("--burst", type=int, default=0, metavar="N", help="afterwards: N calls at once")
    group.add_argument("--resume", nargs="?", const="", metavar="RUN", help="go on with a run that was cut short")


def _add_report(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="TEXT",
        help="fail unless so: 'p95 <= 2 s', 'success >= 95 %%'",
    )
    group.add_argument(
        "--save",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="also as .json .md .html .txt; calls: .csv",
    )
    group.add_argument("--json", action="store_true", help="the same as JSON")
    group.add_argument("--alpha", type=float, default=0.05, metavar="P", help="of diff: how often equals look worse")


# --- what needs nobody to run anything ------------------------------------------------------------


def needs_session(options: argparse.Namespace) -> bool:
    """Whether code is run for it. Raises `UnknownName` for an action that is none."""
    registry.find("action", options.action, ACTIONS)
    return bool(options.action == "run")


def looked_up(settings: Settings, options: argparse.Namespace) -> str:
    """What `diff`, `runs` and `workloads` print."""
    if options.action == "diff":
        return compared(settings, options)
    _check_names(options, 0)
    return _runs(settings) if options.action == "runs" else _workloads()


def compared(settings: Settings, options: argparse.Namespace) -> str:
    """What `diff` prints. Raises `NotMet`, with the same text, where something has become worse."""
    from ipy_codeinterp.bench.difference import difference

    _check_names(options, 2)
    before, after = (reported(settings, name) for name in options.names)
    found = difference(before, after, alpha=options.alpha)
    if found.is_regression:
        raise NotMet(f"worse than before\n{found!r}", hint="look at the rows that say worse")
    return repr(found)


def reported(settings: Settings, name: str | None) -> Report:
    """The report of a run, or of a file. Raises `InvalidInput` or `UnknownName`."""
    from ipy_codeinterp.bench import running, shown
    from ipy_codeinterp.bench.rows import REPORT

    path = Path(name).expanduser() if name else None
    if path is not None and path.suffix == ".json":
        return shown.read(path)
    run = running.found(settings.data_dir, name)
    if not (run.folder / REPORT).exists():
        raise InvalidInput(f"{run.folder.name} has not ended", hint=f"bench --resume {run.folder.name}")
    return shown.read(run.folder / REPORT)


def named(options: argparse.Namespace) -> str | None:
    """Which report is to be shown; None for the last one."""
    _check_names(options, 1, 0)
    return options.names[0] if options.names else None


def _check_names(options: argparse.Namespace, wanted: int, least: int | None = None) -> None:
    least = wanted if least is None else least
    if not least <= len(options.names) <= wanted:
        raise InvalidInput(
            f"bench {options.action} takes {wanted} names, not {len(options.names)}", hint=ACTIONS[options.action]
        )


def _runs(settings: Settings) -> str:
    from ipy_codeinterp.bench import running
    from ipy_codeinterp.bench.rows import REPORT, Run, runs

    rows = []
    for folder in runs(running.folder_of(settings.data_dir)):
        run = Run.found(folder)
        done = sum(row.phase == "measured" for row in run.rows.values())
        state = "ended" if (folder / REPORT).exists() else "cut short"
        rows.append((folder.name, state, f"{done} of {run.plan.total}", ", ".join(run.plan.offers)))
    return columns(("RUN", "STATE", "CALLS", "OFFERS"), rows) if rows else "nothing was measured here: bench does"


def _workloads() -> str:
    from ipy_codeinterp.bench import workloads

    rows = [
        (each.category, name, ", ".join(f"{size:,}" for size in each.sizes), " ".join(each.code), each.title)
        for name, each in workloads.known().items()
    ]
    return columns(("CATEGORY", "NAME", "SIZES", "LANGUAGES", "WHAT"), rows)


# --- what runs code -------------------------------------------------------------------------------


def prepared(session: Session, options: argparse.Namespace) -> Run:
    """The run to make, or to go on with. Raises `InterpError` for what cannot be measured."""
    from ipy_codeinterp.bench import running

    _check_names(options, 0)
    running.check_able()
    expected(options.expect)
    if options.resume is not None:
        return running.found(session.settings.data_dir, options.resume or None)
    plan = running.planned(
        session,
        [name.strip() for name in (options.model or "").split(",") if name.strip()],
        _questions(session, options),
        repeat=options.repeat or (QUICK_REPEAT if options.quick else running.DEFAULT_REPEAT),
        seed=options.seed,
        concurrency=options.concurrency,
        rate=options.rate,
        warm_up=options.warm_up,
        until=_share(options.until),
        budget=options.budget,
        idle=_seconds(options.idle),
        burst=options.burst,
    )
    return running.begun(session, plan)


def _questions(session: Session, options: argparse.Namespace) -> tuple[Question, ...]:
    from ipy_codeinterp.bench import plan, running
    from ipy_codeinterp.languages import LANGUAGES

    if options.cells or options.notebook or options.history:
        return plan.of_cases(_own(session, options))
    languages = list(LANGUAGES) if options.language == "all" else _names(options.language or "python")
    sizes = None if options.sizes == "all" else _whole("--sizes", options.sizes or "1")
    return running.asked(_names(options.work or ""), languages, sizes, KINDS[options.kind])


def _own(session: Session, options: argparse.Namespace) -> list[Case]:
    from ipy_codeinterp.bench import own

    if options.cells:
        return own.of_folder(options.cells)
    if options.notebook:
        return own.of_notebook(options.notebook)
    return own.of_history(session.store, options.history)


def expected(said: Iterable[str]) -> list[Threshold]:
    """Raises `InvalidInput` for what is no threshold."""
    from ipy_codeinterp.bench.thresholds import threshold

    return [threshold(each) for each in said]


def ended(report: Report, options: argparse.Namespace) -> str | None:
    """Save what was asked for, and say where. Raises `NotMet` where a threshold does not hold."""
    thresholds = expected(options.expect)
    for path in options.save:
        save(report, thresholds, path)
    missed = [each.text for each in thresholds if not each.holds(report)]
    if missed:
        raise NotMet(f"not met: {'; '.join(missed)}", hint="the report says what was measured")
    return f"written: {', '.join(map(str, options.save))}" if options.save else None


def save(report: Report, thresholds: list[Threshold], path: Path) -> None:
    """Write it in the form that the file's name says. Raises `InvalidInput`."""
    from ipy_codeinterp.bench import plots, shown

    if path.suffix == ".html":
        text = shown.page(report, thresholds, plots.plots(report))
    elif path.suffix in shown.FORMS:
        text = shown.FORMS[path.suffix](report, thresholds)
    else:
        raise InvalidInput(f"{path} is none of .html, {', '.join(shown.FORMS)}", hint=f"name it {path.stem}.html")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}", hint="name another file") from None


def _names(said: str) -> list[str]:
    return [name.strip() for name in said.split(",") if name.strip()]


def _whole(flag: str, said: str) -> int:
    if not said.isdecimal() or int(said) < 1:
        raise InvalidInput(f"{flag} {said} makes no sense", hint="write a number from 1 on, or all")
    return int(said)


def _share(said: str | None) -> float | None:
    if said is None:
        return None
    try:
        return float(said.removesuffix("%")) / 100 if said.endswith("%") else float(said)
    except ValueError:
        raise InvalidInput(f"--until {said} is no share", hint="write 5%") from None


def _seconds(said: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in _names(said or ""))
    except ValueError:
        raise InvalidInput(f"--idle {said} are no seconds", hint="write 1,10,60") from None


# --- in a shell -----------------------------------------------------------------------------------


def in_shell(settings: Settings, options: argparse.Namespace) -> str:
    """Do it, with how far it is on stderr, and return what to print after the report."""
    from ipy_codeinterp.bench import shown

    if needs_session(options):
        report = _measured(settings, options)
    elif options.action == "report":
        report = reported(settings, named(options))
    else:
        return looked_up(settings, options)
    form = shown.as_json if options.json else shown.as_text
    print(form(report, expected(options.expect)))  # noqa: T201 - before anything says that it is not good enough
    return ended(report, options) or ""


def _measured(settings: Settings, options: argparse.Namespace) -> Report:
    from ipy_codeinterp.bench import running
    from ipy_codeinterp.session import Session
    from ipy_codeinterp.terminal import Line

    changes = {} if options.budget is None else {"budget": options.budget}
    with Session(settings.changed(**changes)) as session, Line(sys.stderr) as line:
        run = prepared(session, options)
        line.say(f"{run.folder.name}: {run.plan.total} calls of {', '.join(run.plan.offers)}")
        try:
            return session.through(lambda emit: running.go(session, run, emit=emit), line.show)
        except KeyboardInterrupt:
            line.say(f"cut short; what is done is kept: bench --resume {run.folder.name} goes on")
            raise


VERB = Verb("bench", "measure which interpreter is faster, more often right, and cheaper", add, in_shell)
