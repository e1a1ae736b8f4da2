"""What our own client and gateway say beside a vendor's format: a field of the request, a field of each result.

Both are called FIELD, in every format, and events of our own have types that begin with `ipy_codeinterp.`. The gateway
says them only to a client that sent the header HEADER.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ipy_codeinterp import languages
from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import Clear, Display, Error, File, Limit, Outcome, Output, Stream, Update
from ipy_codeinterp.outputs import to_nbformat

HEADER = "x-ipy-codeinterp"
FIELD = "ipy_codeinterp"
MOST_DPI = 1200.0
IMAGES = ("image/png", "image/jpeg")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants beyond its format. `timeout` in seconds, `memory` in bytes."""

    language: str | None = None
    timeout: float | None = None
    memory: int | None = None
    figure_format: str = "png"
    figure_dpi: float | None = None
    mounts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    network: bool = False
    keep: bool = True
    inputs: tuple[str, ...] = ()  # ids of files that hold values of variables
    get: tuple[str, ...] = ()  # names of variables


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run, for the reply. `files` have ids; `seconds` is how long the code ran."""

    outputs: tuple[Output, ...]
    outcome: Outcome
    exit_status: int
    files: tuple[File, ...] = ()
    limit: Limit | None = None
    seconds: float = 0.0
    note: str = ""  # a last line of stderr: why the interpreter ended


# --- what is asked --------------------------------------------------------------------------------


def decode(said: object) -> Wanted:
    """The field of a request; one that is no object counts as none.

    Raises `Rejected` for a value of the wrong kind, and `UnknownName` for a language that nobody runs here.
    """
    field = said if isinstance(said, Mapping) else {}
    language, figures = field.get("language"), field.get("figures")
    return Wanted(
        language=languages.find(str(language)).name if language else None,
        timeout=_positive(field.get("timeout"), "timeout"),
        memory=_memory(field.get("limits")),
        figure_format=_figure_format(figures),
        figure_dpi=_figure_dpi(figures),
        mounts=_strings(field.get("mounts"), "mounts"),
        packages=_strings(field.get("packages"), "packages"),
        network=_truth(field.get("network"), "network"),
        keep=field.get("keep") is not False,
        inputs=_strings(field.get("inputs"), "inputs"),
        get=_strings(field.get("get"), "get"),
    )


def _memory(limits: object) -> int | None:
    if limits is None:
        return None
    if not isinstance(limits, Mapping):
        raise Rejected(f"{FIELD}.limits: an object")
    memory = _positive(limits.get("memory"), "limits.memory")
    return None if memory is None else int(memory)


def _strings(said: object, name: str) -> tuple[str, ...]:
    if not isinstance(said, list | None) or not all(isinstance(each, str) for each in said or ()):
        raise Rejected(f"{FIELD}.{name}: a list of strings")
    return tuple(said or ())


def _truth(said: object, name: str) -> bool:
    if not isinstance(said, bool | None):
        raise Rejected(f"{FIELD}.{name}: true or false")
    return bool(said)


def _figure_format(figures: object) -> str:
    said = figures.get("format") if isinstance(figures, Mapping) else None
    if said not in (None, "png", "svg"):
        raise Rejected(f"{FIELD}.figures.format: png or svg")
    return str(said or "png")


def _figure_dpi(figures: object) -> float | None:
    dpi = _positive(figures.get("dpi"), "figures.dpi") if isinstance(figures, Mapping) else None
    return None if dpi is None else min(dpi, MOST_DPI)


def _positive(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise Rejected(f"{FIELD}.{name}: a positive number")
    return value


# --- what is answered -----------------------------------------------------------------------------


def encode_output(output: Output | Update | Clear) -> dict[str, Any]:
    """The event for an output while the code runs."""
    return {"type": f"{FIELD}.output", "output": to_nbformat(output)}


def encode_ran(ran: Ran) -> dict[str, Any]:
    """The field of a result."""
    return {
        "outputs": [to_nbformat(output) for output in ran.outputs],
        "outcome": ran.outcome,
        "limit": _limit(ran.limit),
        "files": [{"file_id": f.id, "name": f.name, "sha256": f.sha256, "size": f.size} for f in ran.files],
        "timings": {"execution": ran.seconds},
        "note": ran.note,
    }


def _limit(limit: Limit | None) -> dict[str, Any] | None:
    names = ("name", "allowed", "unit", "reached", "line")
    return {name: getattr(limit, name) for name in names} if limit else None


def logs(ran: Ran) -> Iterator[str | tuple[str, str]]:
    """What was printed and shown, in its order: texts, and images as (MIME type, base64 text).

    As the formats have it that know one text only: tracebacks are in it, and so is why the run was ended.
    """
    for output in ran.outputs:
        yield image_of(output) or text_of(output)
    yield end_of(ran)


def image_of(output: object) -> tuple[str, str] | None:
    """The image that an output is, if it is one."""
    data = output.data if isinstance(output, Display) else {}
    found = ((mime, data.get(mime)) for mime in IMAGES)
    return next(((mime, encoded) for mime, encoded in found if isinstance(encoded, str)), None)


def text_of(output: object) -> str:
    """The text that an output is: of an expression and of what is no image, its plain text."""
    match output:
        case Stream():
            return output.text
        case Error():
            return _COLOURS.sub("", "\n".join(output.traceback)) + "\n"
        case Display() if not image_of(output) and "text/plain" in output.data:
            return f"{output.data['text/plain']}\n"
    return ""


def end_of(ran: Ran) -> str:
    """A last line for a run that did not end by itself."""
    reached = f"[{ran.limit} reached]\n" if ran.limit else ""
    return reached + (f"[{ran.note}]\n" if ran.note else "")
