"""Values of files in a folder, for an interpreter that is not ours: lines around its code call this."""

from __future__ import annotations

import os
from typing import Any

from . import file_name, missing, name_and_suffix, pack, unpack
from .unfit import Unfit

IN = (os.environ.get("INPUT_DIR") or ".", "/mnt/data", ".")
OUT = (os.environ.get("OUTPUT_DIR") or "", "/mnt/data", ".")


def load(namespace: dict[str, Any], *names: str) -> None:
    """Give what lies there its names. Some put an id before the name of a file."""
    for name in names:
        path = next((path for path in _files() if _is_of(path, name)), None)
        if path is None:
            raise FileNotFoundError(f"the value of {name} is not among the files")
        with open(path, "rb") as file:
            namespace[name] = unpack(path.rpartition(".")[2], file.read())


def save(namespace: dict[str, Any], *names: str) -> None:
    """Leave the values of these names, or why there is none."""
    folder = next(folder for folder in OUT if folder and os.path.isdir(folder))
    for name in names:
        try:
            suffix, data = pack(namespace[name])
        except KeyError:
            suffix, data = missing(f"the code left no variable {name}")
        except Unfit as error:
            suffix, data = missing(str(error))
        with open(os.path.join(folder, file_name(name, suffix)), "wb") as file:
            file.write(data)


def _files() -> list[str]:
    folders = [folder for folder in IN if os.path.isdir(folder)]
    return [os.path.join(folder, name) for folder in folders for name in sorted(os.listdir(folder))]


def _is_of(path: str, name: str) -> bool:
    found = name_and_suffix(os.path.basename(path))
    return found is not None and (found[0] == name or found[0].endswith(f"-{name}"))
