"""Imports go down the floors of the house, never up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_floors() -> None:
    """The contracts in pyproject.toml are kept by every import."""
    linter = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_has_a_floor() -> None:
    """A new module cannot be forgotten: the floors are exhaustive."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")

    assert "exhaustive = true" in text
    assert "ignore_imports = []" in text
