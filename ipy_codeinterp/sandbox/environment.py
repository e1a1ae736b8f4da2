"""The Python environment that code runs in: the user's own, found here and mounted read-only into the sandbox."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipy_codeinterp.errors import NoIsolation

SECRET_NAMES = ("pip.conf", ".netrc", ".pypirc", "etc/pip.conf")
SYSTEM_PREFIXES = (Path("/usr"), Path("/bin"), Path("/lib"))

# Asked of the interpreter itself, since another one (`python = PATH`) has other answers than ours.
_QUESTION = """
import importlib.util, json, site, sys
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix],
    "user_site": site.getusersitepackages() if site.ENABLE_USER_SITE else None,
    "user_base": site.getuserbase() if site.ENABLE_USER_SITE else None,
    "cached": [s is None or s.cached is None or __import__("os").path.exists(s.cached)
               for s in map(importlib.util.find_spec, ("IPython", "numpy", "pandas"))],
    "ipython": importlib.util.find_spec("IPython") is not None,
}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter and the folders it needs, nothing of them writable and nothing else of home visible."""

    python: Path
    version: str
    prefixes: tuple[Path, ...]
    secrets: tuple[Path, ...]
    user_base: Path | None
    has_bytecode: bool
    key: str


def find(python: Path | None = None, home: Path | None = None) -> Environment:
    """Describe the environment of `python` (default: the one running this).

    Raises `NoIsolation` when it cannot be mounted without mounting the user's home, or lacks IPython.
    """
    executable = Path(os.path.abspath(python or sys.executable))  # a venv's python is a link: do not resolve it
    facts = _ask(executable)
    if not facts["ipython"]:
        raise NoIsolation(
            f"{executable} has no IPython", hint=f"install it there: {executable} -m pip install ipython matplotlib"
        )
    user_base = Path(facts["user_base"]) if facts["user_site"] and os.path.isdir(facts["user_site"]) else None
    prefixes = _prefixes([*map(Path, facts["prefixes"]), *([Path(facts["user_site"])] if user_base else [])])
    for place in (home, _home(os.environ.get("HOME")), _home(None)):
        _refuse_home(prefixes, place)
    return Environment(
        python=executable,
        version=facts["version"],
        prefixes=prefixes,
        secrets=_secrets(prefixes),
        user_base=user_base,
        has_bytecode=all(facts["cached"]),
        key=_key(executable, facts["version"], prefixes),
    )


def _ask(python: Path) -> dict[str, Any]:
    try:
        reply = subprocess.run(
            [python, "-P", "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return dict(json.loads(reply.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NoIsolation(f"{python} is not a Python that answers: {error}", hint="name one with python=PATH") from None


def _prefixes(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Each folder once, with where its links lead, and none that lies in another or in what is mounted anyway."""
    candidates = {p for path in paths for p in (path, path.resolve()) if p.is_dir()}
    wanted = [p for p in candidates if not any(p == s or s in p.parents for s in SYSTEM_PREFIXES)]
    return tuple(sorted(p for p in wanted if not any(other in p.parents for other in wanted)))


def _secrets(prefixes: tuple[Path, ...]) -> tuple[Path, ...]:
    """What is to be masked. A link that leads out of what is mounted leads nowhere inside."""
    found = {(prefix / name).resolve() for prefix in prefixes for name in SECRET_NAMES if (prefix / name).is_file()}
    return tuple(sorted(path for path in found if any(prefix in path.parents for prefix in prefixes)))


def _refuse_home(prefixes: Iterable[Path], home: Path | None) -> None:
    for prefix in prefixes:
        if home and (prefix == home or prefix in home.parents):
            raise NoIsolation(
                f"the Python environment {prefix} is or contains the home folder",
                hint="make a virtual environment of its own: python -m venv .venv",
            )


def _home(said: str | None) -> Path | None:
    """The home folder that is said, else the one in the system's list of users; a user may be in neither."""
    try:
        return Path(said) if said else Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def key_of(environment: Environment) -> str:
    """Its key as it would be now."""
    return _key(environment.python, environment.version, environment.prefixes)


def _key(python: Path, version: str, prefixes: Iterable[Path]) -> str:
    """Changes when something is installed: the folders of packages are touched then."""
    marks = [str(python), version]
    for prefix in prefixes:
        for folder in sorted(prefix.glob("lib/python*/site-packages")):
            marks += [str(folder), str(folder.stat().st_mtime_ns)]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]
