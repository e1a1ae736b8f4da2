"""Consent: which offer a name means, what is refused before anything is sent, and what to do then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ipy_codeinterp import catalog, config_files, consent, keys
from ipy_codeinterp.errors import InvalidInput, NotAllowed, UnknownName
from ipy_codeinterp.settings import Places, Settings, load

KEYS = {
    "ANTHROPIC_API_KEY": "planted-anthropic-1",
    "OPENAI_API_KEY": "planted-openai-1",
    "GEMINI_API_KEY": "planted-gemini-1",
    "HOLYSHEEP_API_KEY": "cr_planted",
}
ANTHROPIC = Settings(enabled=("anthropic",))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No keyring, no files of the developer's."""
    monkeypatch.setattr(keys, "_found", set())
    monkeypatch.setattr(keys.find, "__defaults__", (lambda variable: None,))
    monkeypatch.setattr(consent, "config_dir", lambda: tmp_path)
    monkeypatch.setattr(consent, "load", lambda environ: load(environ, Places(user=tmp_path)))
    monkeypatch.setattr("ipy_codeinterp.settings.config_dir", lambda: tmp_path)
    catalog.forget()
    yield
    catalog.forget()


def offer(name: str, settings: Settings = Settings(), environ: Mapping[str, str] = KEYS) -> str:  # noqa: B008 - frozen
    return str(consent.resolve(name, settings, environ))


def current(alias: str, provider: str) -> str:
    return f"{catalog.provider(provider).names()[alias].name}@{provider}"


@pytest.mark.parametrize("name", ["claude", "gpt", "local", "claude@local"])
def test_a_key_changes_nothing(name: str) -> None:
    """A key in the environment changes nothing by itself: a name without a provider means this machine."""
    assert offer(name) == offer(name, environ={}) == f"{name.partition('@')[0]}@local"


def test_enabled() -> None:
    """Once its provider is enabled, a name means its current model there, and no other name does."""
    assert offer("claude", ANTHROPIC) == current("claude", "anthropic")
    assert offer("gpt", ANTHROPIC) == "gpt@local"
    assert offer("claude@local", ANTHROPIC) == "claude@local"
    assert offer("gpt", Settings(enabled=("holysheep", "openai"))) == "gpt-4.1@holysheep"


def test_named() -> None:
    """A name with a provider is consent for that cell."""
    assert offer("claude@anthropic") == current("claude", "anthropic")
    assert offer("gpt-4.1@holysheep") == "gpt-4.1@holysheep"
    assert offer("gemini@gemini") == current("gemini", "gemini")


@pytest.mark.parametrize("environ", [{"CI": "true"}, {"CI": "1"}, {"PYTEST_CURRENT_TEST": "x"}], ids=str)
def test_nobody_watches(environ: dict[str, str]) -> None:
    """In CI and under nbval only a name with a provider leaves this machine."""
    assert offer("claude", ANTHROPIC, KEYS | environ) == "claude@local"
    assert offer("claude@anthropic", ANTHROPIC, KEYS | environ) == current("claude", "anthropic")
    with pytest.raises(NotAllowed, match="nobody watches") as caught:
        offer("gemini", Settings(enabled=("gemini",)), KEYS | environ)
    assert caught.value.hint == "use gemini@gemini"


def test_not_enabled() -> None:
    """A model that this machine does not stand in for says how to allow it."""
    with pytest.raises(NotAllowed, match="nothing was sent") as caught:
        offer("gemini")

    assert caught.value.hint == "use gemini@gemini, or %interp enable gemini once"


def test_allow() -> None:
    """What is not on the allow-list is refused where it is named, and not meant where it is not."""
    narrow = Settings(enabled=("anthropic",), allow=("local",))

    assert offer("claude", narrow) == "claude@local"
    with pytest.raises(NotAllowed, match="allow = local; nothing was sent") as caught:
        offer("claude@anthropic", narrow)
    assert caught.value.hint == "use claude@local"
    with pytest.raises(NotAllowed, match="local@local is not allowed") as caught:
        offer("local", Settings(allow=("openai",)))
    assert "docs/settings.md" in caught.value.hint


def test_require() -> None:
    """What is required is served, or refused: this machine, a recording, or neither."""
    replay = Path("study")

    assert offer("claude", Settings(enabled=("anthropic",), require="local")) == "claude@local"
    for name, wrong in [
        ("claude@anthropic", Settings(require="local")),
        ("claude", Settings(require="replay")),
        ("claude", Settings(require="live", replay=replay)),
        ("claude", Settings(require="local", replay=replay)),
    ]:
        with pytest.raises(NotAllowed, match=f"require = {wrong.require}") as caught:
            offer(name, wrong)
        assert caught.value.hint


def test_replay() -> None:
    """A replay sends nothing: it needs no key, no consent and no price."""
    replay = Settings(replay=Path("study"), allow=("local",), enabled=("anthropic",))

    assert offer("gpt@openai", replay, {}) == current("gpt", "openai")
    assert offer("gemini", replay, {}) == current("gemini", "gemini")
    assert offer("claude", replay, {"CI": "true"}) == "claude@local"
    assert offer("llama@compatible", replay, {}) == "llama@compatible"


@pytest.mark.parametrize(("name", "variable"), [("claude@anthropic", "ANTHROPIC_API_KEY"), ("gpt@openai", "OPENAI")])
def test_no_key(name: str, variable: str) -> None:
    """Without a key the variable, the page where keys are made, and the way without a key are said."""
    with pytest.raises(NotAllowed, match="nothing was sent") as caught:
        offer(name, environ={})

    assert variable in caught.value.hint
    assert "https://" in caught.value.hint
    assert f"{name.partition('@')[0]}@local" in caught.value.hint


def test_placeholder() -> None:
    """A placeholder is found out before anything is sent."""
    with pytest.raises(NotAllowed, match="HOLYSHEEP_API_KEY holds a placeholder"):
        offer("gpt@holysheep", environ={"HOLYSHEEP_API_KEY": "YOUR_HOLYSHEEP_API_KEY"})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("claud", "did you mean claude?"), ("claude@antropic", "did you mean anthropic?"), ("gtp-4.1@openai", "gpt-4.1?")],
)
def test_unknown(name: str, hint: str) -> None:
    """A name nobody offers is answered with the nearest one."""
    with pytest.raises(UnknownName) as caught:
        offer(name)

    assert hint in caught.value.hint


def test_no_provider() -> None:
    """An @ with nothing after it is a mistake, not consent."""
    with pytest.raises(InvalidInput, match="no provider after the @"):
        offer("claude@")


# --- servers of one's own -------------------------------------------------------------------------

OWN = {"unpriced": ("llama3:8b@compatible",)}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:11434/v1", "http://localhost:1/v1", "http://[::1]:8/", "https://x.example/v1"]
)
def test_own_server(url: str) -> None:
    """A server of one's own needs an address that others cannot read, and no key; any model may be asked for."""
    assert offer("llama3:8b@compatible", Settings(base_url=url, **OWN), {}) == "llama3:8b@compatible"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8000/v1", "http://box/v1", "http://box.lan/v1", "http://[fd00::1]/v1"]
)
def test_private_network(url: str) -> None:
    """Plain HTTP in a private network is for whoever says so."""
    with pytest.raises(NotAllowed, match="others can read") as caught:
        offer("llama3:8b@compatible", Settings(base_url=url, **OWN), {})  # type: ignore[arg-type]

    assert "plain_http" in caught.value.hint
    assert offer("llama3:8b@compatible", Settings(base_url=url, plain_http=True, **OWN), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["http://api.example.com/v1", "http://93.184.216.34/", "ftp://localhost", "localhost:11434"]
)
def test_open_network(url: str) -> None:
    """Plain HTTP through the world, and what is no address, is refused whoever says so."""
    with pytest.raises(NotAllowed, match="nothing was sent"):
        offer("llama3:8b@compatible", Settings(base_url=url, plain_http=True, **OWN), {})  # type: ignore[arg-type]


def test_own_key() -> None:
    """The variable that holds the key of one's own server is named by a setting."""
    settings = Settings(base_url="https://relay.example/v1", key_variable="RELAY_KEY")
    key = keys.find(consent.provider("compatible", settings), {"RELAY_KEY": "relay-planted"})

    assert key is not None
    assert key.header_for("https://relay.example/v1/chat/completions") == {"Authorization": "Bearer relay-planted"}


def test_no_address() -> None:
    """Without an address the setting that gives it is named."""
    with pytest.raises(NotAllowed) as caught:
        offer("llama3@compatible", environ={})

    assert "IPY_CODEINTERP_BASE_URL" in caught.value.hint


def test_no_price() -> None:
    """Under a budget what nobody knows the price of is refused, unless it is allowed by name."""
    own = {"base_url": "http://localhost:1"}

    with pytest.raises(NotAllowed, match="nobody knows what llama3@compatible costs") as caught:
        offer("llama3@compatible", Settings().changed(**own), {})
    assert 'unpriced = ["llama3@compatible"]' in caught.value.hint
    for leave in ({"unpriced": "llama3@compatible"}, {"unpriced": "*@compatible"}, {"budget": None}):
        assert offer("llama3@compatible", Settings().changed(**own, **leave), {})


def test_tool() -> None:
    """The version of the tool is the model's, unless the settings name another that its provider has."""
    older = Settings(tool="code_execution_20250522")

    assert consent.resolve("claude@anthropic", Settings(), KEYS).tool == "code_execution_20260521"
    assert consent.resolve("claude@anthropic", older, KEYS).tool == older.tool
    assert consent.resolve("gpt@openai", older, KEYS).tool == "code_interpreter"


# --- the user's word ------------------------------------------------------------------------------


def test_enable(tmp_path: Path) -> None:
    """What is enabled is written down, counts in every session, and can be taken back."""
    (tmp_path / "config.toml").write_text('model = "claude"\nenabled = ["openai"]\n')

    now = consent.enable("anthropic", tmp_path, {})

    assert now.enabled == load({}, Places(user=tmp_path)).enabled == ("openai", "anthropic")
    assert offer("claude", load({}, Places(user=tmp_path))) == current("claude", "anthropic")
    assert consent.disable("openai", tmp_path, {}).enabled == load({}, Places(user=tmp_path)).enabled == ("anthropic",)
    assert (tmp_path / "config.toml").read_text() == 'model = "claude"\nenabled = ["openai"]\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "enabled.toml"]


def test_enable_refused(tmp_path: Path) -> None:
    """What is unknown, not allowed or this machine is not enabled, and nothing is written."""
    with pytest.raises(UnknownName, match="antropic"):
        consent.enable("antropic", tmp_path, {})
    with pytest.raises(NotAllowed, match="allow = local"):
        consent.enable("anthropic", tmp_path, {"IPY_CODEINTERP_ALLOW": "local"})
    with pytest.raises(InvalidInput, match="this machine"):
        consent.enable("local", tmp_path, {})
    with pytest.raises(UnknownName):
        consent.disable("anthropic", tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_enabled_is_whole(tmp_path: Path) -> None:
    """Where it cannot be written, nothing is half written."""
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidInput, match="cannot be written"):
        config_files.write_enabled(["anthropic"], tmp_path / "file")


def test_hint() -> None:
    """Where a key is there and its provider is not enabled, the footer says how; and only there."""
    here = catalog.find("claude")

    assert consent.hint(here, Settings(), KEYS) == (
        "ANTHROPIC_API_KEY is set: %interp enable anthropic lets claude mean Anthropic"
    )
    assert consent.hint(here, Settings(), {}) is None
    assert consent.hint(here, ANTHROPIC, KEYS) is None
    assert consent.hint(here, Settings(allow=("local",)), KEYS) is None
    assert consent.hint(here, Settings(), KEYS | {"CI": "true"}) is None
    assert consent.hint(catalog.find("local"), Settings(), KEYS) is None


def test_first_call() -> None:
    """The first call that leaves says host and variable, and no key."""
    remote = consent.resolve("claude@anthropic", Settings(), KEYS)
    line = consent.first_call_notice(remote, Settings(), KEYS)

    assert line == f"{remote}: code and files go to api.anthropic.com, with the key in ANTHROPIC_API_KEY"
    assert consent.first_call_notice(catalog.find("claude"), Settings(), KEYS) is None
    assert consent.first_call_notice(remote, Settings(replay=Path("study")), {}) is None


def test_passthrough() -> None:
    """The article's own request form is a model of its own, sent under the name the gateway knows."""
    found = consent.resolve("gpt-4.1-passthrough@holysheep", Settings(), KEYS)

    assert (found.request_model, found.tool) == ("gpt-4.1", "passthrough")
    assert consent.resolve("gpt-4.1@holysheep", Settings(), KEYS).tool == "function"
