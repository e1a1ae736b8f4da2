"""Where the code of a cell comes from: its body, or with `--from` a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ipy_codeinterp import languages, registry
from ipy_codeinterp.notebook.arguments import BadUsage

MOST_BODY = 16 << 20  # bytes


def body(options: argparse.Namespace, cell: str | None) -> str:
    """The code that is to be run. Raises `BadUsage` where there is none, or two."""
    if options.source is None:
        if cell is None:
            raise BadUsage("%interp takes flags with --from PATH only: code goes into a cell under %%interp")
        return cell
    if cell is not None and cell.strip():
        raise BadUsage(f"--from {options.source}: the cell has code of its own: %interp --from PATH, without a cell")
    return _read(Path(options.source).expanduser())


def language(options: argparse.Namespace) -> str:
    """As the line says, else as the name of the file does."""
    if options.language:
        return str(options.language)
    return languages.of_file(options.source).name if options.source else "python"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BODY + 1)
    except FileNotFoundError:
        raise BadUsage(f"--from: there is no file {path}: {_nearest(path)}") from None
    except (OSError, ValueError) as error:
        raise BadUsage(f"--from: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MOST_BODY:
        raise BadUsage(f"--from: {path} has more than {MOST_BODY >> 20} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadUsage(f"--from: {path} is no text in UTF-8: {error.reason} at byte {error.start}") from None


def _nearest(path: Path) -> str:
    try:
        files = [each.name for each in path.parent.iterdir() if each.is_file()]
    except OSError:
        return f"looked in {Path.cwd()}"
    return registry.suggestion(path.name, files) if len(files) < 100 else f"looked in {path.parent.absolute()}"
