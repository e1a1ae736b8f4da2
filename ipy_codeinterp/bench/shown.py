"""A report in the forms it is read in: text, Markdown, HTML, CSV (its rows), and JSON, which has all of it.

`what` is told on to `sections`: whether there are `figures`, and their `provenance`.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from ipy_codeinterp.bench import plan as plans
from ipy_codeinterp.bench import rows as rows_
from ipy_codeinterp.bench.decision import decisions
from ipy_codeinterp.bench.report import Report, report
from ipy_codeinterp.bench.sections import Section, sections
from ipy_codeinterp.bench.summary import summary
from ipy_codeinterp.bench.thresholds import Threshold
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.tables import columns

SCHEMA = 1
CELL = "text-align: left; padding: 3px 12px; white-space: nowrap"
NONE: tuple[Threshold, ...] = ()


def as_text(report: Report, thresholds: Sequence[Threshold] = NONE, **what: bool) -> str:
    """For a terminal."""
    return "\n\n".join(text_of(section) for section in sections(report, thresholds, **what))


def text_of(section: Section) -> str:
    """Its title, its lines, its table."""
    table = (
        [columns([name if "@" in name else name.upper() for name in section.head], section.rows)]
        if section.rows
        else []
    )
    title = [] if section.title == "Benchmark" else [section.title]
    return "\n".join([*title, *map(safe_text, section.lines), *table])


def as_markdown(report: Report, thresholds: Sequence[Threshold] = NONE, **what: bool) -> str:
    """For a README, an issue, a pull request."""
    return "\n\n".join(_markdown(section) for section in sections(report, thresholds, **what)) + "\n"


def _markdown(section: Section) -> str:
    parts = [f"{'#' if section.title == 'Benchmark' else '##'} {section.title}", *map(_plain, section.lines)]
    if section.rows:
        lines = (section.head, ("---",) * len(section.head), *section.rows)
        parts.append("\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """As Markdown shows it, whatever is in it."""
    return "".join(f"\\{each}" if each in r"\`*_{}[]<>|#~" else each for each in safe_text(text))


def as_html(
    report: Report,
    thresholds: Sequence[Threshold] = NONE,
    *,
    plots: Sequence[tuple[str, bytes]] = (),
    **what: bool,
) -> str:
    """Tables with inline styles only, so that it looks alike in a notebook, on GitHub and in a file.

    `plots` are what each shows, in words, and its PNG.
    """
    made = [html_of(section) for section in sections(report, thresholds, **what)]
    return "".join(made) + "".join(_picture(*plot) for plot in plots)


def page(report: Report, thresholds: Sequence[Threshold] = NONE, plots: Sequence[tuple[str, bytes]] = ()) -> str:
    """A file of its own, that needs no other."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Benchmark</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="color-scheme" content="light dark"></head>'
    )
    body = as_html(report, thresholds, plots=plots)
    return f'{head}<body style="font: 14px system-ui, sans-serif; margin: 2em">{body}</body></html>\n'


def html_of(section: Section) -> str:
    """The same, with inline styles only."""
    lines = "".join(f"<p>{html.escape(safe_text(line))}</p>" for line in section.lines)
    title = f"<h3>{html.escape(section.title)}</h3>"
    if not section.rows:
        return title + lines
    head = "".join(f'<th scope="col" style="{CELL}">{html.escape(name)}</th>' for name in section.head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
    table = f'<table style="border-collapse: collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'{title}{lines}<div style="overflow-x: auto">{table}</div>'


def _cell(text: str) -> str:
    return f'<td style="{CELL}">{html.escape(safe_text(text))}</td>'


def _picture(words: str, png: bytes) -> str:
    import base64

    data = base64.b64encode(png).decode()
    return f'<p><img alt="{html.escape(words)}" style="max-width: 100%" src="data:image/png;base64,{data}"></p>'


def as_csv(report: Report) -> str:
    """A row a call, warm-ups and all: for whoever wants other figures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows_.NAMES)
    writer.writerows([_no_formula(value) for value in rows_.values_of(row)] for row in report.rows)
    return text.getvalue()


def _no_formula(value: Any) -> Any:
    """A spreadsheet runs what begins so, and a terminal obeys escapes; what a program printed may be among it."""
    if not isinstance(value, str):
        return value
    plain = safe_text(value).replace("\x1b", "")
    return f"'{plain}" if plain[:1] in ("=", "+", "-", "@", "\t", "\r") else plain


# --- JSON -----------------------------------------------------------------------------------------


def as_json(report: Report, thresholds: Sequence[Threshold] = NONE) -> str:
    """All of it: figures to read, and the plan and rows that they can be made of again."""
    content = facts(report, thresholds) | {"plan": plans.to_json(report.plan)}
    head = json.dumps(content, indent=1, ensure_ascii=False).removesuffix("\n}")
    rows = {"columns": rows_.NAMES, "data": [rows_.values_of(row) for row in report.rows]}
    # on one line: with line ends it takes ten times as long to write, and nobody reads so many
    return f'{head},\n "rows": {json.dumps(rows, ensure_ascii=False, allow_nan=False)}\n}}'


def facts(report: Report, thresholds: Sequence[Threshold] = NONE) -> dict[str, Any]:
    """The figures, as JSON has them."""
    content = {
        "schema": SCHEMA,
        "provenance": report.provenance,
        "stopped": report.stopped,
        "thresholds": [{"text": each.text, "met": each.holds(report)} for each in thresholds],
        "figures": [asdict(each) for each in report.figures],
        "pairs": [asdict(each) for each in report.pairs],
        "decisions": [asdict(each) for each in decisions(report)],
        "cold": [asdict(each) for each in report.cold],
        "article": [asdict(each) for each in summary(report)],
    }
    return dict(_finite(content))


def _finite(content: Any) -> Any:
    """JSON knows no infinity: what has no end is null."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(name): _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return str(content) if isinstance(content, Decimal) else content


def read(path: Path) -> Report:
    """A report that was kept as JSON, worked out again from its rows. Raises `InvalidInput` for what is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise InvalidInput(f"{path} has schema {content['schema']!r}", hint=f"this version reads {SCHEMA}")
        kept = [rows_.row_of(values) for values in content["rows"]["data"]]
        return report(plans.from_json(content["plan"]), kept, content["provenance"], content["stopped"])
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", hint="name a report.json") from None
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise InvalidInput(f"{path} is no report of a benchmark: {error}", hint="name a report.json") from None


FORMS: dict[str, Callable[..., str]] = {
    ".json": as_json,
    ".md": as_markdown,
    ".txt": as_text,
    ".csv": lambda report, thresholds=NONE: as_csv(report),
}
