"""Results of the journal as a file of one's own: a notebook, code, Markdown or JSON, by the file's name.

What comes from a sandbox is hostile here, too: a notebook holds only what may be shown, a text nothing that a terminal
obeys, and no secret is in any of them. Nothing in an export runs by being opened.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ipy_codeinterp import languages, shield
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.exports import as_code, as_markdown, as_notebook
from ipy_codeinterp.store import journal
from ipy_codeinterp.store.history import Kept

Format = Callable[[Sequence[Kept], Path], str]


def _json(kept: Sequence[Kept], path: Path) -> str:
    """Everything as the journal has it."""
    found = [
        {"created_at": k.created_at, "execution": k.execution, "result": journal.content_of(k.result)} for k in kept
    ]
    return json.dumps(json.loads(journal.to_json(found)), indent=1) + "\n"


# To export another way, add a row: a function from Results, and the file's name, to its text.
FORMATS: Mapping[str, Format] = {
    ".ipynb": as_notebook.text,
    ".md": as_markdown.text,
    ".json": _json,
    ".py": as_code.text,
    **dict.fromkeys((f".{suffix}" for suffix in languages.SUFFIXES), as_code.text),
}


def write(kept: Sequence[Kept], path: Path, *, force: bool = False) -> None:
    """All of them into `path`, which is whole or not there; one that is there is written over with `force` only.

    Raises `InvalidInput` for a name that says no format, a file that is there, and one that cannot be written.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise InvalidInput(f"{path} is none of {', '.join(FORMATS)}", hint=f"name it {path.stem or 'results'}.ipynb")
    if not force and os.path.lexists(path):
        raise InvalidInput(f"{path} is there already: nothing was written", hint="--force writes over it")
    _put(path, shield.masked_words(form(kept, path)), force=force)


def _put(path: Path, text: str, *, force: bool) -> None:
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        passing.write_text(text, encoding="utf-8", errors="replace")
        if force:
            os.replace(passing, path)
        else:
            os.link(passing, path)  # fails where another has been there first
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}", hint="name another file") from None
    finally:
        passing.unlink(missing_ok=True)
