"""`%interp bench`: how far it is, in one place, and then the report there, with its plots.

In deterministic mode the report has only what another run of it shows, too, and its figures are in the output's
metadata. A replay is the same every time, so there the whole report is shown.
"""

from __future__ import annotations

import argparse
import base64
from typing import TYPE_CHECKING

from ipy_codeinterp.bench import bench_verb
from ipy_codeinterp.execution import Display, Event, Update
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.endings import interrupted
from ipy_codeinterp.notebook.place import Place

if TYPE_CHECKING:
    from ipy_codeinterp.bench.report import Report


def bench(desk: Desk, options: argparse.Namespace) -> str | None:
    """Measure, or show again what was. Raises `NotMet` after the report where that is not as expected."""
    if bench_verb.needs_session(options):
        place = Place(desk.shell, deterministic=desk.is_deterministic)
        report = _measured(desk, options, place)
    elif options.action == "report":
        report = bench_verb.reported(desk.settings, bench_verb.named(options))
        place = Place(desk.shell, deterministic=desk.is_deterministic)
    else:
        return bench_verb.looked_up(desk.settings, options)
    show(desk, report, options, place)
    return bench_verb.ended(report, options)


def _measured(desk: Desk, options: argparse.Namespace, place: Place) -> Report:
    from ipy_codeinterp.bench import running

    run = bench_verb.prepared(desk.session, options)

    def show(event: Event) -> None:
        if isinstance(event, Display | Update):
            place.write(event.data)

    try:
        return desk.session.through(lambda emit: running.go(desk.session, run, emit=emit), show, desk.pause)
    except KeyboardInterrupt:
        kept = f"what is done is kept: %interp bench --resume {run.folder.name} goes on"
        raise interrupted(f"the benchmark was stopped; {kept}") from None


def show(desk: Desk, report: Report, options: argparse.Namespace, place: Place) -> None:
    """The report in its place, and its plots below."""
    from ipy_codeinterp.bench import plots, shown

    thresholds = bench_verb.expected(options.expect)
    is_same_always = report.provenance["source"] == "replay"
    figures = is_same_always or not desk.is_deterministic
    if options.json:
        desk.say(shown.as_json(report, thresholds))
        return
    data = {
        "text/plain": shown.as_text(report, thresholds, figures=figures, provenance=not desk.is_deterministic),
        "text/html": shown.as_html(report, thresholds, figures=figures, provenance=not desk.is_deterministic),
    }
    place.write(data, {"bench": shown.facts(report, thresholds)}, final=True)
    for words, png in plots.plots(report) if figures else ():
        picture = {"image/png": base64.b64encode(png).decode(), "text/plain": words}
        desk.shell.display_pub.publish(picture, {"image/png": {"alt": words}})
