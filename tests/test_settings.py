"""Settings: defaults, then the environment, then what the caller says."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import settings
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.settings import Settings

# One row a setting: how it is written in the environment, and what that means.
WRITTEN: dict[str, tuple[str, Any]] = {
    "model": ("claude", "claude"),
    "timeout": ("2.5", 2.5),
    "isolation": ("bare", "bare"),
    "python": ("~/env/bin/python", Path.home() / "env/bin/python"),
    "render": ("deterministic", "deterministic"),
    "mounts": ("/data:/more", (Path("/data"), Path("/more"))),
    "network": ("1", True),
    "figure_format": ("svg", "svg"),
    "figure_dpi": ("150", 150.0),
    "cache": ("off", "off"),
    "cache_days": ("7", 7.0),
    "record": ("~/study", Path.home() / "study"),
    "record_runs": ("missing", "missing"),
    "replay": ("~/study", Path.home() / "study"),
    "policy": ("cheapest", "cheapest"),
    "fallback": ("claude, gpt@local, batch", ("claude", "gpt@local", "batch")),
    "attempts": ("2", 2),
    "may_run_twice": ("yes", True),
    "budget": ("2.5", Decimal("2.5")),
    "budget_day": ("10", Decimal(10)),
    "deadline": ("60", 60.0),
    "warm": ("never", "never"),
    "bridge": ("nest", "nest"),
    "data_dir": ("/data", Path("/data")),
    "cache_dir": ("/cache", Path("/cache")),
    "data_days": ("30", 30.0),
    "data_limit": ("5", 5),
}


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_environment(name: str) -> None:
    """Every setting can be given in the environment."""
    text, value = WRITTEN[name]

    assert getattr(settings.load({f"IPY_CODEINTERP_{name.upper()}": text}), name) == value


def test_other_variables() -> None:
    """Variables of other programs change nothing."""
    assert settings.load({"MODEL": "claude", "IPY_CODE": "1", "ANTHROPIC_API_KEY": "x"}) == Settings()


def test_real_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the environment of the process of now counts."""
    monkeypatch.setenv("IPY_CODEINTERP_MODEL", "claude")

    assert settings.load().model == "claude"


def test_unknown_variable() -> None:
    """A variable of ours that is no setting is an error with the nearest one, not ignored."""
    with pytest.raises(UnknownName) as caught:
        settings.load({"IPY_CODEINTERP_MODLE": "claude"})

    assert caught.value.hint == "did you mean IPY_CODEINTERP_MODEL?"


def test_caller_wins() -> None:
    """What the caller says counts more than the environment."""
    found = settings.load({"IPY_CODEINTERP_MODEL": "claude"}).changed(model="local", timeout=3)

    assert (found.model, found.timeout) == ("local", 3.0)


def test_unknown_change() -> None:
    """A change of what is no setting is an error with the nearest one."""
    with pytest.raises(UnknownName) as caught:
        Settings().changed(isolaton="bare")

    assert caught.value.hint == "did you mean isolation?"


def test_nothing_said() -> None:
    """An empty value of what may be None is None."""
    found = settings.load({"IPY_CODEINTERP_TIMEOUT": "", "IPY_CODEINTERP_PYTHON": ""})

    assert (found.timeout, found.python) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, "other") for name in settings.CHOICES],
        *[("timeout", value) for value in ("soon", "0", "-1", "nan", "inf")],
        *[("network", value) for value in ("maybe", "2")],
        *[("data_limit", value) for value in ("much", "0", "1.5")],
    ],
)
def test_wrong_value(name: str, value: str) -> None:
    """A value that is none is refused, with the name it was given under and a way out."""
    with pytest.raises(InvalidInput) as caught:
        settings.load({f"IPY_CODEINTERP_{name.upper()}": value})

    assert name in str(caught.value).lower()
    assert caught.value.hint


def test_wrong_type() -> None:
    """A value of a wrong type is refused in our words."""
    with pytest.raises(InvalidInput, match="data_dir = 5 cannot be read"):
        Settings().changed(data_dir=5)
