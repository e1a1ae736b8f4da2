"""What a notebook says of its background jobs: how one is begun, and the verbs `jobs`, `wait` and `cancel`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ipy_codeinterp import asked, looking_back, pace
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.notebook.arguments import BadUsage
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.endings import failure, interrupted
from ipy_codeinterp.notebook.jobs import CANCELLED, Job, JobState, Take
from ipy_codeinterp.notebook.place import Place
from ipy_codeinterp.notebook.shown_again import put_again
from ipy_codeinterp.store.history import Kept
from ipy_codeinterp.tables import cell, columns

LOOK_EVERY = 0.1  # seconds: how long an interrupt may have to wait
ALL = "all"
NONE = "no jobs: %%interp --bg makes one"
STARTED = "runs in the background: %interp wait shows what comes of it"


def launch(
    desk: Desk, execution: Execution, *, raises: bool, allow_secrets: bool, take: Take | None = None, **terms: Any
) -> Job:
    """Begin a job in a place under the running cell; what can be refused at once is raised at once.

    `take` is what the notebook takes of its Result, when somebody waits for it.
    """
    if not allow_secrets:
        asked.check_secrets(execution, terms.get("labels") or {})
    offer = desk.session.origin(execution)["offer"]
    place = Place(desk.shell, deterministic=desk.is_deterministic)
    job = desk.jobs.start(execution, offer, place, raises=raises, allow_secrets=allow_secrets, **terms)
    job.take = take
    if desk.is_deterministic:
        place.write({"text/plain": STARTED}, {"job": job.id}, final=True)
    elif not place.can_change:
        desk.say(f"job {job.id} {STARTED}")
    desk.ended(execution)
    return job


# --- jobs -----------------------------------------------------------------------------------------


def add_nothing(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def list_jobs(desk: Desk, options: argparse.Namespace) -> str:
    states = desk.jobs.states()
    return columns(("ID", "STATE", "TIME", "OFFER", "CODE"), map(_row, states)) if states else NONE


def _row(state: JobState) -> tuple[str, ...]:
    return (state.id, state.state, f"{state.seconds:.1f} s", cell(state.offer), cell(state.head))


# --- wait -----------------------------------------------------------------------------------------


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="which ones (default: all that nobody has waited for)")


def wait(desk: Desk, options: argparse.Namespace) -> str | None:
    """Until they are over. Raises what the first of them failed with; an interrupt ends the waiting alone."""
    jobs = [desk.jobs.find(id) for id in options.ids] or desk.jobs.unseen()
    if not jobs:
        return NONE
    try:
        _wait(desk, jobs)
    except KeyboardInterrupt:
        raise interrupted("the waiting was stopped; the jobs go on in the background") from None
    return _told(desk, jobs)


def _wait(desk: Desk, jobs: Sequence[Job]) -> None:
    """Until all are over, and say how far they are whenever that has changed, or a second has passed."""
    progress, said, is_over = Place(desk.shell, deterministic=desk.is_deterministic), "", False
    began, before = time.monotonic(), sum(job.is_over for job in jobs)
    while not is_over:
        is_over = desk.jobs.wait(jobs, LOOK_EVERY)
        if (now := progress_of([job.now for job in jobs], before, time.monotonic() - began)) != said:
            progress.write({"text/plain": now})
            said = now
        if desk.pause:
            desk.pause()


def _told(desk: Desk, jobs: Sequence[Job]) -> str | None:
    """Show what is not in a place of its own, and raise the first error."""
    desk.session.flush()
    errors = [error for job in jobs if (error := _shown(desk, job)) is not None and job.raises]
    cancelled = sum(job.state == CANCELLED for job in jobs)
    if len(errors) > 1:
        desk.remark(f"{len(errors)} jobs failed; this is the first of them")
    if errors:
        raise errors[0]
    return f"{cancelled} of {len(jobs)} cancelled" if cancelled else None


def _shown(desk: Desk, job: Job) -> Exception | None:
    job.is_seen = True
    if job.error or job.state == CANCELLED:  # of the latter `show` has what there is
        return job.error
    kept = _kept(desk, job)
    if not job.place.can_change:
        put_again(desk, kept, with_error=not job.raises)
    failed = failure(kept.result, desk.surroundings(job.execution, kept.result))
    take, job.take = job.take, None  # once: files are not written twice
    lost = take(kept.result) if take else None
    return failed or lost


def _kept(desk: Desk, job: Job) -> Kept:
    if job.kept:
        return Kept(datetime.now(UTC), job.execution, job.kept)
    return looking_back.find(desk.settings, job.id)


def progress_of(states: Sequence[JobState], before: int, seconds: float) -> str:
    """How far they are, after so many seconds of waiting; `before` of them were over when it began."""
    counts, total = Counter("done" if state.is_over else state.state for state in states), len(states)
    done = counts["done"]
    rest = "".join(f", {counts[name]} {name}" for name in ("running", "waiting") if counts[name])
    since = f", {pace.duration(seconds)}" if seconds >= pace.SOON and done < total else ""
    left = pace.remaining(done - before, total - before, seconds)
    return pace.line(f"{done} of {total} done{rest}{since}", done, total, left)


# --- cancel ---------------------------------------------------------------------------------------


def add_cancel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help=f"which one, or {ALL}")


def cancel(desk: Desk, options: argparse.Namespace) -> str:
    if options.id == ALL:
        jobs = [desk.jobs.find(state.id) for state in desk.jobs.states() if not state.is_over]
    else:
        jobs = [desk.jobs.find(options.id)]
        if jobs[0].is_over:
            raise BadUsage(f"{jobs[0].id} is over: %interp show {jobs[0].id} has what came of it")
    for job in reversed(jobs):  # those in line first: none of them is to begin
        desk.jobs.cancel(job.id)
    desk.jobs.settle(jobs)
    return f"{len(jobs)} job{'s' * (len(jobs) != 1)} cancelled"
