"""A gateway as a process of its own, as `python -m ipy_codeinterp gateway --json` starts it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """Where it listens, its token, and its process."""

    base_url: str
    token: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def served(cache_dir: Path, environment: dict[str, str], *options: str) -> Iterator[Served]:
    """Started, and ended at the end."""
    command = [sys.executable, "-m", "ipy_codeinterp", "gateway", "--json", "--cache-dir", str(cache_dir), *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout:
        try:
            said = json.loads(process.stdout.readline())
            yield Served(said["base_url"], said["token"], process)
        finally:
            process.terminate()
            process.wait(20)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"
