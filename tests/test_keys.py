"""Keys: found, refused before they are sent, bound to one origin, and never to be read in any text."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp import keys
from ipy_codeinterp.errors import NotAllowed

PLANTED = "cr_3f/PLANTED+key=0123"


@dataclass(frozen=True, slots=True)
class Maker:
    """A provider, as far as keys go."""

    title: str = "Maker"
    base_url: str = "https://api.maker.example/v1"
    keys: tuple[str, ...] = ("MAKER_API_KEY", "MAKER_KEY")
    key_page: str = "https://maker.example/keys"
    key_header: str = "Authorization"
    key_scheme: str = "Bearer"


MAKER = Maker()


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test knows is masked in no other."""
    monkeypatch.setattr(keys, "_found", set())


def nothing(variable: str) -> None:
    """A keyring that has no key."""


def found(value: str = PLANTED, maker: Maker = MAKER) -> keys.Key:
    key = keys.find(maker, {"MAKER_API_KEY": value}, nothing)
    assert key is not None
    return key


@pytest.mark.parametrize("value", ["hs_x", "cr_0123456789", "sk-proj-Ab_9", "1a", "a" * 3 + "b" * 400, "EMPTYkey9"])
def test_no_shape_is_asked(value: str) -> None:
    """D52: a key may look as its provider likes: no prefix and no length is asked of it."""
    assert found(value).header_for(MAKER.base_url) == {"Authorization": f"Bearer {value}"}


def test_header_of_its_own() -> None:
    """A key goes where its provider wants it."""
    key = found(maker=replace(MAKER, key_header="x-api-key", key_scheme=""))

    assert key.header_for("https://api.maker.example/v1/messages") == {"x-api-key": PLANTED}


def test_order() -> None:
    """Variables come before the keyring, the first that holds something counts; without any there is no key."""
    ring = {"MAKER_KEY": "from-ring-1"}.get

    assert keys.find(MAKER, {"MAKER_API_KEY": "", "MAKER_KEY": "second-1"}, ring).variable == "MAKER_KEY"  # type: ignore[union-attr]
    assert keys.find(MAKER, {}, ring).header_for(MAKER.base_url)["Authorization"] == "Bearer from-ring-1"  # type: ignore[union-attr]
    assert keys.find(MAKER, {}, nothing) is None


def test_what_a_keyring_has() -> None:
    """What `keyring set ipy-codeinterp VARIABLE` has put there is found; another service's is not."""
    ring = pytest.importorskip("keyring")

    class InMemory(ring.backend.KeyringBackend):  # type: ignore[misc, name-defined]
        priority = 1
        kept: ClassVar[dict[tuple[str, str], str]] = {}

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

    before = ring.get_keyring()
    ring.set_keyring(InMemory())
    try:
        ring.set_password("ipy-codeinterp", "MAKER_API_KEY", "from-ring-1")
        ring.set_password("other", "MAKER_KEY", "not-ours")
        key = keys.find(MAKER, {})
        assert key is not None and key.variable == "MAKER_API_KEY"
        assert key.header_for(MAKER.base_url) == {"Authorization": "Bearer from-ring-1"}
        assert keys.masked("from-ring-1") == keys.MASK
        assert keys.from_keyring("MAKER_KEY") is None
    finally:
        ring.set_keyring(before)


def test_keyring_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring that is locked or absent has no key, and is no error."""
    ring = pytest.importorskip("keyring")

    def breaks(*_: str) -> None:
        raise RuntimeError("locked")

    monkeypatch.setattr(ring, "get_password", breaks)
    assert keys.from_keyring("MAKER_API_KEY") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *[(value, "placeholder") for value in ("YOUR_HOLYSHEEP_API_KEY", "your-api-key-here", "<your key>", "sk-...")],
        *[(value, "placeholder") for value in ("$OPENAI_API_KEY", "${KEY}", "xxxxxxxx", "changeme", "API_KEY", "null")],
        ("   ", "blank"),
        ("\n", "blank"),
        ("abc123def\n", "line end"),
        ("abc 123", "blank"),
        ("“abc123def”", "characters"),
        ("ключ123456", "characters"),
        ("abc123\x00def", "characters"),
        ("", "empty"),
    ],
)
def test_refused(value: str, words: str) -> None:
    """What is no key is refused before anything is sent, with the variable, the page for keys, and not the value."""
    with pytest.raises(NotAllowed, match=words) as caught:
        found(value)

    assert "MAKER_API_KEY" in str(caught.value)
    assert MAKER.key_page in caught.value.hint
    assert not value.strip() or value not in f"{caught.value} {caught.value.hint}".replace("MAKER_API_KEY", "")


def test_own_server_takes_any() -> None:
    """A server without a page for keys may be opened by any word."""
    assert found("EMPTY", replace(MAKER, key_page="")).header_for(MAKER.base_url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.maker.example/v1",
        "https://api.maker.example:8443/v1",
        "https://maker.example/v1",
        "https://api.maker.example.evil.example/",
        "https://api.maker.example@evil.example/",
        "https://evil.example\\@api.maker.example/",
        "https://api.maker.example\n.evil.example/",
        "ftp://api.maker.example/",
        "//api.maker.example/",
        "https://[::1/",
        "https://api.maker.example:99999999/",
        "",
    ],
)
def test_bound_to_its_origin(url: str) -> None:
    """D24: a key is given to its provider's scheme, host and port, and to no other."""
    with pytest.raises(NotAllowed) as caught:
        found().header_for(url)

    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("url", ["https://API.maker.example/x?y", "https://api.maker.example:443/", MAKER.base_url])
def test_same_origin(url: str) -> None:
    """The same place in other letters, and with its usual port, is the same place."""
    assert found().header_for(url)


def test_masked_everywhere() -> None:
    """A key has no text of its own, and no way into a file."""
    key = found()

    for text in (repr(key), str(key), f"{key}", f"{key:>40}", "%s" % key, repr([key])):  # noqa: UP031
        assert "Key(MAKER_API_KEY, …)" in text
        assert PLANTED not in text
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            write(key)


@pytest.mark.parametrize("written", [PLANTED, json.dumps(PLANTED), quote(PLANTED, safe="")])
def test_taken_out_of_text(written: str) -> None:
    """What a text holds of a known key is masked, as it is, as JSON, and in a URL."""
    found()

    assert keys.masked(f"401 for {written}!") == f"401 for {written.replace(written.strip(chr(34)), keys.MASK)}!"


def test_learnt() -> None:
    """A key that nobody used is masked too; a placeholder is no key, and a short text is no secret."""
    keys.learn({"A_KEY": "learnt-0123456\n", "B_KEY": "your_api_key", "C_KEY": "ab"}, ["A_KEY", "B_KEY", "C_KEY", "D"])

    assert keys.masked("learnt-0123456 your_api_key ab") == f"{keys.MASK} your_api_key ab"


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=64), st.text(max_size=50))
def test_any_key(value: str, around: str) -> None:
    """Whatever a key is, no text keeps it."""
    keys.remember(value)

    assert value not in keys.masked(f"{around}{value}{around}{value}")


@given(st.text(max_size=200))
def test_any_value(value: str) -> None:
    """Whatever stands in a variable is a key, none, or refused in our words."""
    try:
        key = keys.find(MAKER, {"MAKER_API_KEY": value}, nothing)
    except NotAllowed as error:
        assert error.hint
    else:
        assert key is not None


@given(st.text(max_size=60))
def test_any_address(url: str) -> None:
    """Whatever is given as an address has an origin, or is refused in our words."""
    try:
        scheme, host, port = keys.origin(url)
    except NotAllowed as error:
        assert error.hint
    else:
        assert scheme in keys.PORTS and host and 0 <= port < 65536
