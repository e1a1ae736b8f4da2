"""Options of pytest for notebooks that nbval runs: their cells are answered from a recording, or recorded into one.

`pytest --nbval --interp-replay study.recording` needs no key, no network and no sandbox. It is loaded by every pytest
of an environment that has this package, so it imports nothing before one of its options is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNS = ("missing", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ipy_codeinterp", "cells of %%interp in notebooks")
    group.addoption("--interp-replay", metavar="DIR", help="answer cells from this recording: nothing is run")
    group.addoption("--interp-record", metavar="DIR", help="run cells, and record what comes into this folder")
    group.addoption(
        "--interp-record-runs",
        choices=RUNS,
        metavar="WHICH",
        help=f"with --interp-record: {' or '.join(RUNS)} (default: missing; what is there is replayed)",
    )
    parser.addini("interp_replay", "the recording that answers where no option says otherwise", type="string")


def pytest_configure(config: pytest.Config) -> None:
    """What the options say stands in the environment, which kernels inherit, to the end. Raises `pytest.UsageError`."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for name, value in _asked(config).items():
        patch.setenv(name, value)


def _asked(config: pytest.Config) -> Mapping[str, str]:
    replay, record = config.getoption("--interp-replay"), config.getoption("--interp-record")
    runs = config.getoption("--interp-record-runs")
    if replay and record:
        raise pytest.UsageError("--interp-replay and --interp-record: a replay makes no run to record")
    if runs and not record:
        raise pytest.UsageError("--interp-record-runs goes with --interp-record DIR")
    if record:
        return {
            "IPY_CODEINTERP_RECORD": str(Path(record).absolute()),
            "IPY_CODEINTERP_RECORD_RUNS": runs or "missing",
            "IPY_CODEINTERP_REPLAY": "",
        }
    if said := replay or config.getini("interp_replay"):
        return {"IPY_CODEINTERP_REPLAY": str(_existing(said, config)), "IPY_CODEINTERP_RECORD": ""}
    return {}


def _existing(said: str, config: pytest.Config) -> Path:
    """The recording that is meant: an option is read from where one stands, a file from where it lies."""
    from ipy_codeinterp.errors import BadRecording
    from ipy_codeinterp.store.recording import Recording

    folder = (Path() if config.getoption("--interp-replay") else config.rootpath) / said
    try:
        Recording.existing(folder.absolute())
    except BadRecording as error:
        raise pytest.UsageError(f"{error}: {error.hint}") from None
    return folder.absolute()
