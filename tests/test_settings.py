"""Settings: defaults, then files, then the environment, then what the caller says; a project may say little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp import catalog, settings
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.settings import Places, Settings

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
    "interactive": ("yes", True),
    "batches": ("own", "own"),
    "cache": ("off", "off"),
    "cache_days": ("7", 7.0),
    "record": ("~/study", Path.home() / "study"),
    "record_runs": ("missing", "missing"),
    "replay": ("~/study", Path.home() / "study"),
    "policy": ("cheapest", "cheapest"),
    "fallback": ("claude, gpt@local, batch", ("claude", "gpt@local", "batch")),
    "attempts": ("2", 2),
    "jobs": ("2", 2),
    "concurrency": ("3", 3),
    "footer": ("no", False),
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
    "value_limit": ("5", 5),
    "allow": ("local, anthropic", ("local", "anthropic")),
    "enabled": ("anthropic,openai", ("anthropic", "openai")),
    "require": ("local", "local"),
    "base_url": ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
    "key_variable": ("RELAY_KEY", "RELAY_KEY"),
    "plain_http": ("yes", True),
    "tool": ("code_execution_20250522", "code_execution_20250522"),
    "unpriced": ("llama3@compatible", ("llama3@compatible",)),
}


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own files do not count."""
    monkeypatch.setattr(Places, "here", classmethod(lambda cls: Places()))


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


# --- files ----------------------------------------------------------------------------------------

Write = Callable[..., Places]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the files of a machine, a user and a project, and says where they are."""

    def written(*, system: str = "", user: str = "", enabled: str = "", project: str = "") -> Places:
        home = tmp_path / "home"
        places = Places(tmp_path / "etc", home / ".config", home / "clone" / "notebooks", home)
        files = {
            places.system / "config.toml": system,  # type: ignore[operator]
            places.user / "config.toml": user,  # type: ignore[operator]
            places.user / "enabled.toml": enabled,  # type: ignore[operator]
            home / "clone" / "pyproject.toml": project and f"[tool.ipy_codeinterp]\n{project}\n",
        }
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if text:
                path.write_text(text)
        places.work.mkdir(exist_ok=True)  # type: ignore[union-attr]
        return places

    return written


def test_order(write: Write) -> None:
    """Later wins: default, system, user, project, environment; who said what is known."""
    each = {who: f'model = "{who}"\nfigure_dpi = 9{n}' for n, who in enumerate(("system", "user", "project"))}
    places = write(
        system=each["system"] + "\nattempts = 3\ncache_days = 2.5", user=each["user"], project=each["project"]
    )

    found = settings.read({"IPY_CODEINTERP_MODEL": "mine"}, places)

    assert (found.settings.model, found.settings.figure_dpi) == ("mine", 92.0)
    assert (found.settings.attempts, found.settings.cache_days) == (3, 2.5)
    assert found.sources["model"] == "IPY_CODEINTERP_MODEL"
    assert found.sources["figure_dpi"].endswith("clone/pyproject.toml")
    assert found.sources["attempts"].endswith("etc/config.toml")
    assert found.sources["timeout"] == "default"
    assert found.sources.keys() == {field.name for field in fields(Settings)}
    assert settings.load({}, write(user='budget = 0.1\nmounts = ["/data"]')).budget == Decimal("0.1")


# One row a setting that a project may not have, and what it would do with it.
FORBIDDEN = {
    "base_url": '"https://evil.example"',
    "key_variable": '"AWS_SECRET_ACCESS_KEY"',
    "enabled": '["anthropic"]',
    "unpriced": '["x@compatible"]',
    "plain_http": "true",
    "fallback": '["claude@anthropic"]',
    "isolation": '"bare"',
    "python": '"./python"',
    "mounts": '["/home"]',
    "network": "true",
    "data_dir": '"."',
    "cache_dir": '"."',
    "record": '"."',
    "replay": '"."',
    "may_run_twice": "true",
    "policy": '"measured"',
}


@pytest.mark.parametrize("name", sorted(set(WRITTEN) - {*settings.PROJECT_MAY, *settings.PROJECT_MAY_LOWER}))
def test_project_may_not(name: str, write: Write) -> None:
    """A cloned repository cannot set what could send a key or a cell elsewhere: one line says so, and work goes on."""
    found = settings.read({}, write(project=f"{name} = {FORBIDDEN.get(name, 1)}\nfigure_format = 'svg'"))

    assert getattr(found.settings, name) == getattr(Settings(), name)
    assert found.settings.figure_format == "svg"
    (line,) = found.refused
    assert f"{name} is refused: a project may not set it" in line
    assert "pyproject.toml" in line


@pytest.mark.parametrize(
    ("said", "user"),
    [
        ('model = "claude@anthropic"', ""),
        ('require = "any"', 'require = "local"'),
        ("budget = 1.01", ""),
        ('budget = "none"', ""),
        ("budget = 3", "budget = 2"),
        ("attempts = 5", ""),
        ("timeout = 121", ""),
        ("timeout = 60", "timeout = 30"),
        ("deadline = 61", "deadline = 60"),
        ("deadline = nan", "deadline = 60"),
        ("attempts = 0", ""),
        ('render = "mine"', ""),
        ("render = 5", ""),
        ("model = []", ""),
        ("allow = 1", ""),
        ("attempts = 2.5", ""),
        ('figure_dpi = "x"', ""),
        ("providers = {}", ""),
        ('"\\u001b[31m" = 1', ""),
    ],
)
def test_project_is_refused(said: str, user: str, write: Write) -> None:
    """A project may lower limits, never lift them; what it says wrongly is refused, and stops nobody."""
    places = write(project=said, user=user)

    found = settings.read({}, places)

    assert found.settings == settings.load({}, replace(places, work=None))
    (line,) = found.refused
    assert "\x1b" not in line and "\n" not in line


def test_project_may(write: Write) -> None:
    """A project sets how things look, the default model, and lower limits."""
    said = (
        'model = "claude"\nrequire = "local"\nbudget = 0.5\nbudget_day = 3\ntimeout = 20\nattempts = 1\ndeadline = 60'
    )
    found = settings.read({}, write(project=said))

    assert found.refused == ()
    assert found.settings == Settings().changed(
        model="claude", require="local", budget="0.5", budget_day=3, timeout=20, attempts=1, deadline=60
    )


def test_least_timeout() -> None:
    """Where no timeout is set, a project may ask for what every profile gives."""
    assert min(profile.timeout for profile in catalog.profiles().values()) == settings.LEAST_TIMEOUT


def test_narrower_only(write: Write) -> None:
    """Each who sets the allow-list can make it narrower, nobody wider."""
    places = write(
        system='allow = ["local", "openai"]', user='allow = ["openai", "anthropic"]', project="allow = ['x']"
    )

    assert settings.load({}, Places(system=places.system)).allow == ("local", "openai")
    assert settings.load({}, Places(places.system, places.user)).allow == ("openai",)
    assert settings.load({}, places).allow == ()
    assert settings.load({"IPY_CODEINTERP_ALLOW": "anthropic"}, Places(system=places.system)).allow == ()
    assert Settings().changed(allow="local").changed(allow="anthropic,local").changed(allow=None).allow == ("local",)


def test_nearest_project(write: Write, tmp_path: Path) -> None:
    """The nearest file with a table of ours counts, and none in the home folder or above it."""
    places = write(project="figure_dpi = 90")
    assert places.work and places.home
    (places.home / "pyproject.toml").write_text("[tool.ipy_codeinterp]\nfigure_dpi = 91\n")
    (tmp_path / "pyproject.toml").write_text("[tool.ipy_codeinterp]\nfigure_dpi = 92\n")
    (places.work / "pyproject.toml").write_text("[project]\nname = 'x'\n")

    assert settings.load({}, places).figure_dpi == 90.0
    (places.home / "clone" / "pyproject.toml").unlink()
    assert settings.load({}, places).figure_dpi is None


@pytest.mark.parametrize(
    "text", [b"[tool", b"\xff\xfe", b"x = " + b"[" * 20_000, b"#" * (1 << 20) + b"#"], ids=range(4)
)
def test_broken_project(text: bytes, write: Write) -> None:
    """A project's file that cannot be read is named in one line, and stops nobody."""
    places = write()
    assert places.work
    (places.work / "pyproject.toml").write_bytes(text)

    found = settings.read({}, places)

    assert found.settings == Settings()
    (line,) = found.refused
    assert "pyproject.toml is not read: " in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = 'x'\nbudget = ,\n", "line 2"),
        ("modle = 'x'", "modle"),
        ("isolation = 'none'", "isolation"),
        ("budget = []", "config.toml: budget = "),
        ("record = '~nobody-here/x'", "record"),
    ],
)
def test_broken_user(text: str, words: str, write: Write) -> None:
    """A mistake in the user's own file is an error with the file, and the line or the name."""
    with pytest.raises(InvalidInput, match=r"config\.toml") as caught:
        settings.load({}, write(user=text))

    assert words in str(caught.value)
    assert caught.value.hint
