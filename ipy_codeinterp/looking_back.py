"""The verbs that look back, `history`, `show` and `export`: what was run once is there again, for nothing."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ipy_codeinterp import exports
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import CodeDelta, Display, Error, Event, Output, Step, Stream, TextDelta
from ipy_codeinterp.mime import safe_bundle, safe_text
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.shield import masked_event, masked_words
from ipy_codeinterp.store import database, history, place, stats
from ipy_codeinterp.store.history import Entry, Kept
from ipy_codeinterp.store.journal import ALWAYS
from ipy_codeinterp.tables import cell, columns, usd

MOST_ROWS = 20
NOTHING = "nothing is kept yet"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# --- history --------------------------------------------------------------------------------------


def add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", metavar="2d", help="only Results of this long: minutes, hours, days, weeks (m h d w)"
    )
    parser.add_argument("--notebook", metavar="NAME", help="only those of this notebook")
    parser.add_argument("--limit", type=int, default=MOST_ROWS, metavar="N", help=f"so many (default: {MOST_ROWS})")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def listed(settings: Settings, options: argparse.Namespace) -> str:
    """A line for each Result, the newest first."""
    if options.limit < 1:
        raise InvalidInput(f"--limit {options.limit} shows nothing", hint="use 1 or more")
    since = datetime.now(UTC) - window(options.since) if options.since else ALWAYS
    with database.reading(place.of(settings.data_dir).path) as connection:
        if connection is None:
            return "[]" if options.json else NOTHING
        found = history.entries(connection, since=since, notebook=options.notebook, limit=options.limit)
    if options.json:
        rows = [{**asdict(each), "head": None, "first_line": each.first_line} for each in found]
        return masked_words(json.dumps([_without(row, "head") for row in rows], default=str, indent=2))
    return masked_words(columns(HEAD, map(_row, found))) if found else NOTHING


HEAD = ("ID", "WHEN", "OFFER", "OUTCOME", "COST", "CODE")


def _row(entry: Entry) -> tuple[str, ...]:
    when = f"{entry.created_at.astimezone():%Y-%m-%d %H:%M}"
    served = "" if entry.source == "live" else f" ({entry.source})"
    cost = usd(entry.billed, entry.at_most)
    return (entry.id, when, cell(entry.offer), f"{entry.outcome}{served}", cost, cell(entry.first_line))


def _without(row: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in row.items() if key != name}


def window(said: str) -> timedelta:
    """How long ago `--since` is. Raises `InvalidInput`."""
    try:
        return stats.window(said)
    except ValueError as error:
        raise InvalidInput(f"--since {said}: {error}", hint="write 30d, 12h, 90m or 4w") from None


# --- show -----------------------------------------------------------------------------------------


def add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="which one, by its id or a part of it (default: the last)")
    parser.add_argument("-o", "--out", metavar="NAME", help="put the Result into this variable, in a notebook")


def shown(settings: Settings, options: argparse.Namespace) -> str:
    """Its outputs as one text: what a shell can show of them."""
    if options.out is not None:
        raise InvalidInput("--out: a shell has no variables", hint="export ID FILE keeps it in a file")
    kept = find(settings, options.id)
    text = "".join(_plainly(event) for event in again(kept)).strip("\n")
    return "\n".join(filter(None, (text, kept.result.ending))) or f"{kept.result.id} printed nothing"


def find(settings: Settings, said: str | None) -> Kept:
    """The one of that id, or of a part of it; without one, the last. Raises `UnknownName` and `InvalidInput`."""
    return find_all(settings, [said])[0]


def find_all(settings: Settings, ids: Iterable[str | None]) -> list[Kept]:
    """The same for several, each once."""
    found: dict[str, Kept] = {}
    with database.reading(place.of(settings.data_dir).path) as connection:
        for said in ids:
            id = said if said is not None or connection is None else history.newest(connection)
            if id is None or connection is None:
                raise UnknownName(NOTHING if said is None else f"unknown result {said!r}", hint="%%interp runs a cell")
            kept = history.find(connection, id)
            found[kept.result.id] = kept
    return list(found.values())


def again(kept: Kept, *, with_error: bool = True) -> Iterator[Event]:
    """The events that show it once more, without any secret: of a task the code and the words, too.

    An error is text here: what failed then does not fail the cell that looks back at it. Without it the last one is
    left out.
    """
    result, is_task = kept.result, kept.execution.kind == "task"
    for part in result.parts:
        if not isinstance(part, Step):
            if is_task or not result.steps:
                yield TextDelta(masked_words(part.text))
            continue
        if is_task:
            yield CodeDelta(masked_words(part.code))
        for output in part.outputs:
            if output is result.error and not with_error:
                continue
            yield masked_event(_told(output, is_last=output is result.error))


def _told(output: Output, *, is_last: bool) -> Output:
    if not isinstance(output, Error):
        return output
    lines = output.traceback if is_last and output.traceback else (f"{output.ename}: {output.evalue}",)
    return Stream("stderr", "".join(f"{line}\n" for line in lines))


def _plainly(event: Event) -> str:
    match event:
        case CodeDelta(text) | TextDelta(text):
            said = f"{text}\n"
        case Stream(_, said):
            pass
        case Display(data, metadata):
            said = f"{safe_bundle(data, metadata)[0].get('text/plain', '')}\n"
        case _:
            said = ""
    return _COLOUR.sub("", safe_text(said))


# --- export ---------------------------------------------------------------------------------------


def add_export(parser: argparse.ArgumentParser) -> None:
    forms = ", ".join(exports.FORMATS)
    parser.add_argument("ids", nargs="+", metavar="ID", help="which ones, by their ids or parts of them")
    parser.add_argument("file", type=Path, metavar="FILE", help=f"its name says how: {forms}")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def exported(settings: Settings, options: argparse.Namespace) -> str:
    kept = find_all(settings, options.ids)
    path = options.file.expanduser()
    exports.write(kept, path, force=options.force)
    return f"{len(kept)} result{'s' * (len(kept) != 1)} in {path}"
