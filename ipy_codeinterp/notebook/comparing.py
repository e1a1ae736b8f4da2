"""A cell at several offers: the table of what each made of it, then each one's outputs under its name.

The cell fails when no run went well, with what the first one failed with; else a side that failed is a row of the
table, and `--out` has what there is to ask of it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

from ipy_codeinterp.bench import shown
from ipy_codeinterp.bench.compared import sections_of
from ipy_codeinterp.bench.sections import Section
from ipy_codeinterp.compare import Comparison, Side, report
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Display, Event, Execution, Result, Update
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.endings import failure, interrupted
from ipy_codeinterp.notebook.place import Place
from ipy_codeinterp.notebook.shown_again import put_again
from ipy_codeinterp.store.history import Kept


def compare(
    desk: Desk, execution: Execution, models: Sequence[str], repeat: int, *, interactive: bool = False, **terms: Any
) -> tuple[Comparison, InterpError | None]:
    """Run the cell at all of `models`, and show what came of it."""
    place = Place(desk.shell, deterministic=desk.is_deterministic)

    def show(event: Event) -> None:
        if isinstance(event, Display | Update):
            place.write(event.data)

    work = lambda emit: desk.session.compare(execution, models, repeat=repeat, emit=emit, **terms)  # noqa: E731
    try:
        comparison = desk.session.through(work, show, desk.pause)
    except KeyboardInterrupt:
        raise interrupted("the comparison was stopped; what had ended is in the journal") from None
    finally:
        desk.ended(execution)
    place.write(_table(desk, comparison), {"comparison": report.facts(comparison)}, final=True)
    for side in comparison.sides:
        _show_side(desk, comparison, side, interactive)
    return comparison, _failure(desk, comparison) if comparison.failed else None


def _table(desk: Desk, comparison: Comparison) -> dict[str, str]:
    figures = not desk.is_deterministic
    text, page = report.text(comparison, figures=figures), report.html_of(comparison, figures=figures)
    for section in _measured(comparison) if figures else ():
        text, page = f"{text}\n\n{shown.text_of(section)}", page + shown.html_of(section)
    return {"text/plain": text, "text/html": page}


def _measured(comparison: Comparison) -> list[Section]:
    """Of several runs each figure with its interval, where what works them out is installed."""
    if comparison.repeat == 1 or find_spec("numpy") is None:
        return []
    return sections_of(comparison)


def _show_side(desk: Desk, comparison: Comparison, side: Side, interactive: bool) -> None:
    """What its first run gave, under its name; of one that gave nothing, why."""
    shown = side.error or side.result
    view = desk.view(facts={"offer": side.offer})
    name = side.offer if comparison.repeat == 1 else f"{side.offer}, the first of {comparison.repeat} runs"
    view.show(Display({"text/plain": name, "text/html": f"<p><b>{html.escape(name)}</b></p>"}))
    view.finish()
    if isinstance(shown, InterpError):
        desk.remark(safe_text("\n".join(shown._render_traceback_())))
    elif shown is not None:
        put_again(desk, Kept(datetime.now(UTC), comparison.execution, shown), interactive=interactive)


def _failure(desk: Desk, comparison: Comparison) -> InterpError | None:
    """What the first one failed with."""
    first = comparison.sides[0].runs[0]
    if isinstance(first, Result):
        return failure(first, desk.surroundings(comparison.execution, first))
    return first
