"""A benchmark from its beginning to its report: planned, begun, gone on with after whatever happened."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from ipy_codeinterp import ids, registry
from ipy_codeinterp.bench import plan as plans
from ipy_codeinterp.bench import shown, workloads
from ipy_codeinterp.bench.loop import Bench, Emit, execution_of, ignore, opened
from ipy_codeinterp.bench.plan import Plan, Question
from ipy_codeinterp.bench.provenance import gather
from ipy_codeinterp.bench.report import Report, report
from ipy_codeinterp.bench.rows import Run, runs
from ipy_codeinterp.bench.workload import Case, Workload
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Kind
from ipy_codeinterp.languages import find as known_language
from ipy_codeinterp.session import Session

NEEDED = "pip install 'ipy-codeinterp[bench]'"
DEFAULT_REPEAT = 10
HOW = {name: name for name in ("repeat", "seed", "concurrency", "rate", "warm_up", "until", "budget", "idle", "burst")}


async def run(
    session: Session,
    *,
    models: Iterable[str] = (),
    work: Iterable[str] | Sequence[Case] = (),
    languages: Iterable[str] = ("python",),
    sizes: int | None = 1,
    kinds: Sequence[Kind] = ("code",),
    emit: Emit = ignore,
    **how: Any,
) -> Report:
    """Measure `models` (offers; none: the setting `model`) on `work`, and work out the report.

    `work` names workloads or categories (none: all of them), at their first `sizes` (None: all), in `languages`, as
    given code or as tasks in words (`kinds`); or it is cases of one's own. `how` is `repeat`, `seed`, `concurrency`,
    `rate`, `warm_up`, `until`, `budget` (USD), `idle` and `burst` of a Plan. `emit` is told how far it is, in one
    display. Calls that fail are rows like any other. What is done is kept: `found` and `go` go on with it. Raises
    `InterpError` where nothing can be measured.
    """
    check_able()
    plan = planned(session, models, asked(work, languages, sizes, kinds), **how)
    return await go(session, begun(session, plan), emit=emit)


def asked(
    work: Iterable[str] | Sequence[Case], languages: Iterable[str], sizes: int | None, kinds: Sequence[Kind]
) -> tuple[Question, ...]:
    """The questions that `work` means. Raises `UnknownName`, and `InvalidInput` where nothing is left to ask."""
    named = list(work)
    if named and isinstance(named[0], Case):
        return plans.of_cases([each for each in named if isinstance(each, Case)])
    chosen = workloads.choose([str(name) for name in named])
    spoken = [known_language(name).name for name in languages]
    found = plans.questions(chosen, languages=spoken, sizes=sizes, kinds=kinds)
    if not found:
        words = f"none of {', '.join(each.name for each in chosen)} is written in {', '.join(spoken)}"
        raise InvalidInput(words, hint="see bench workloads")
    return found


def planned(session: Session, models: Iterable[str], questions: Sequence[Question], **how: Any) -> Plan:
    """A plan of its own, checked. Raises `InvalidInput`, and `UnknownName` for a model that is none."""
    names = list(models) or [session.settings.model]
    if "budget" in how and how["budget"] is not None:
        how["budget"] = Decimal(str(how["budget"]))
    for name in how:
        registry.find("word of a plan", name, HOW)
    written = Plan("", tuple(names), tuple(questions), **{"repeat": DEFAULT_REPEAT, **how})
    written.check()
    offers = tuple(_offer(session, written, name) for name in names)
    if len(set(offers)) < len(offers):
        raise InvalidInput(f"{', '.join(names)} name one offer twice", hint="name others, or raise --repeat")
    plan = replace(written, offers=offers, asked=tuple(names))
    if session.is_replay:  # one after the other, and named the same every time
        plan = replace(plan, concurrency=1)
        return replace(plan, id=f"bench_{_named(plan)}")
    return replace(plan, id=ids.new("bench"))


def _offer(session: Session, written: Plan, name: str) -> str:
    """What `name` means here; in a replay, what it meant when it was recorded."""
    if not session.is_replay:
        return str(session.offer(name))
    first = next(call for call in next(plans.rounds(written)) if call.offer == name)
    case = plans.asker(_workloads(written))(first)
    return session.origin(execution_of(session, first, case))["offer"]


def _named(plan: Plan) -> str:
    content = json.dumps(plans.to_json(plan), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


async def go(
    session: Session,
    run: Run,
    *,
    emit: Emit = ignore,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Report:
    """Make what is missing of a run, and work out its report. Raises `InterpError` where nothing can be measured."""
    ask = plans.asker(_workloads(run.plan))
    async with opened(run):
        bench = Bench(session, run, ask, emit, sleep)
        await bench.all()
    return await asyncio.to_thread(_reported, session, run, bench.stopped)


def _reported(session: Session, run: Run, stopped: str) -> Report:
    """Worked out, and kept beside the rows: `bench report` shows it again."""
    made = report(run.plan, run.rows.values(), gather(session, run.plan), stopped)
    run.keep(shown.as_json(made))
    return made


def _workloads(plan: Plan) -> dict[str, Workload]:
    """Those that it may name; of cases of one's own nobody has to be asked."""
    return workloads.known() if any(question.case is None for question in plan.questions) else {}


def begun(session: Session, plan: Plan) -> Run:
    """The run's folder, with nothing in it but the plan; that of a replay is forgotten each time."""
    folder = folder_of(session.settings.data_dir) / plan.id
    if session.is_replay and folder.is_dir():
        import shutil

        shutil.rmtree(folder)
    return Run.begun(folder, plan)


def found(data_dir: Path, id: str | None = None) -> Run:
    """The run of that id, or a part of it, or the last one. Raises `UnknownName`."""
    known = {folder.name: folder for folder in runs(folder_of(data_dir))}
    if id is None and known:
        return Run.found(next(iter(known.values())))
    meant = [name for name in known if id and (name == id or name.endswith(id) or name.startswith(f"bench_{id}"))]
    if len(meant) != 1:
        named = f"no run {id!r}" if id else "no run was begun here"
        raise UnknownName(named, hint=f"there are: {', '.join(list(known)[:5])}" if known else "begin one: bench")
    return Run.found(known[meant[0]])


def folder_of(data_dir: Path) -> Path:
    """Where runs are kept, a folder each."""
    return data_dir / "bench"


def check_able() -> None:
    """Raises `InvalidInput` where what a report is worked out with is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("numpy", "matplotlib") if find_spec(name) is None]
    if missing:
        raise InvalidInput(f"a benchmark needs {' and '.join(missing)}", hint=NEEDED)
