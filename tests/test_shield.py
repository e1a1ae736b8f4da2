"""The shield: secrets are found by value and by shape, and masked, also where they come in pieces; words are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_codeinterp import Session, asked, attachments, keys, shield
from ipy_codeinterp.client.told import Told
from ipy_codeinterp.errors import HoldsSecret, NotAllowed
from ipy_codeinterp.execution import Display, Error, Event, Execution, File, Restarted, Step, Stream, Text, Update
from ipy_codeinterp.keys import MASK
from ipy_codeinterp.shield import MaskFilter, find, masked, masked_value

CONFIGURED = "cr_3f/PLANTED+key=0123"
LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6hJ9kL2nP5rS8tU1wX4yZ7bC0eF3gI6jM9oQ2uR5vA8dE1hK4lN7pS0tW3xB6"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{LETTERS[:43]}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{LETTERS[:64]}\n{LETTERS[:20]}==\n-----END RSA PRIVATE KEY-----"

SECRETS = {
    "configured": CONFIGURED,
    "configured, in JSON": json.dumps("cr_3f/PLANTED+key=0123")[1:-1],
    "configured, in an address": "cr_3f%2FPLANTED%2Bkey%3D0123",
    "anthropic": f"sk-ant-api03-{LETTERS[:80]}-_AA",
    "openai project": f"sk-proj-{LETTERS[:90]}",
    "openai service": f"sk-svcacct-{LETTERS[:60]}",
    "openai": f"sk-{LETTERS[:48]}",
    "openrouter": f"sk-or-v1-{'0123456789abcdef' * 4}",
    "google": f"AIza{LETTERS[:35]}",
    "google token": f"ya29.{LETTERS[:60]}",
    "github": f"ghp_{LETTERS[:36]}",
    "github fine": f"github_pat_{LETTERS[:22]}_{LETTERS[:59]}",
    "aws": "AKIAQ3EGZT7WXY2NBCDE",
    "aws secret": f"aws_secret_access_key = {LETTERS[:40]}",
    "aws secret, quoted": f'"AWS_SECRET_ACCESS_KEY": "{LETTERS[:40]}"'[1:-1],
    "slack": f"xoxb-123456789012-{LETTERS[:24]}",
    "slack app": f"xapp-1-A0123456789-{LETTERS[:40]}",
    "slack address": f"hooks.slack.com/services/T01234567/B01234567/{LETTERS[:24]}",
    "hugging face": f"hf_{LETTERS[:34]}",
    "jwt": JWT,
    "private key": PEM,
    "openssh key": PEM.replace("RSA", "OPENSSH"),
    "private key without its end": PEM.partition("-----END")[0],
    "private key on one line": PEM.replace("\n", "\\n"),
}
WORDS = (
    "sk-learn, disk-usage, task-force and risk-free",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "export OPENAI_API_KEY=sk-...",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_short, hf_model, AIzaShort, xoxb-1",
    "the module hf_transformers_integration_with_long_names",
    "eyJhbGciOiJIUzI1NiJ9",
    "if '-----BEGIN PRIVATE KEY-----' in text: print('a private key')",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "0b7d3a9f" * 8,
    "ollama",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "550e8400-e29b-41d4-a716-446655440000",
    "aws_secret_access_key comes from the environment",
)


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key is configured, and one that is only a word."""
    monkeypatch.setattr(keys, "_found", set())
    keys.remember(CONFIGURED)
    keys.remember("ollama")


@pytest.mark.parametrize("name", SECRETS)
def test_masked(name: str) -> None:
    """Nothing of a secret is left in a text, and everything around it is."""
    text = f"before = '{SECRETS[name]}'\nafter"

    assert masked(text).replace("\\n", "\n").replace("\n'", "'") == f"before = '{MASK}'\nafter"


@pytest.mark.parametrize("words", WORDS)
def test_words(words: str) -> None:
    """What only resembles one is left alone, whole and in pieces."""
    assert masked(words) == words
    assert "".join(in_pieces(words, 1)) == words


def in_pieces(text: str, size: int) -> list[str]:
    held = MaskFilter()
    return [*(held.feed(text[at : at + size]) for at in range(0, len(text), size)), held.close()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 50])
@pytest.mark.parametrize("name", SECRETS)
def test_cut(name: str, size: int) -> None:
    """A secret that comes in pieces of any size is masked as if it had come whole."""
    text = f"a key: {SECRETS[name]}\nand more\n"

    assert "".join(in_pieces(text, size)) == masked(text)
    assert MASK in masked(text)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*SECRETS.values(), *WORDS, " ", "\n", "-", "sk-", "eyJ", "-----BEGIN ", "é", "\x1b[33m", "\x1b["]
        )
    ),
    st.data(),
)
def test_any_cut(parts: list[str], data: st.DataObject) -> None:
    """However a text is cut, the pieces together show what the whole would have shown."""
    keys.remember(CONFIGURED)
    text = " ".join(parts)
    held, shown, at = MaskFilter(), "", 0
    while at < len(text):
        size = data.draw(st.integers(1, 60))
        shown += held.feed(text[at : at + size])
        at += size

    assert shown + held.close() == masked(text)


@pytest.mark.parametrize("text", ["hello\n", "loading models", "50 %|#####     |", "In [1]: ", "a" * 100_000])
def test_nothing_is_late(text: str) -> None:
    """What begins no secret is shown at once: prompts, progress and lines."""
    assert MaskFilter().feed(text) == text


def test_bounded() -> None:
    """A stream that never ends its secret holds no more than it may."""
    held = MaskFilter()
    held.feed("-----BEGIN PRIVATE KEY-----\n")
    for _ in range(100):
        held.feed("A" * 4096)

    assert len(held.close()) <= shield.MOST_HELD


def test_found() -> None:
    """What is found is said by its kind, in order, and what lies in another is not said twice."""
    text = f"{SECRETS['github']} {SECRETS['anthropic']}"

    assert [(each.what, text[each.start : each.end]) for each in find(text)] == [
        ("a GitHub token", SECRETS["github"]),
        ("an Anthropic key", SECRETS["anthropic"]),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("colour", ["\x1b[33m", "\x1b[38;5;28;01m", "\x1b[m"])
def test_coloured(colour: str, size: int) -> None:
    """In a coloured traceback a secret that follows a colour is masked, in pieces, too; an `m` of a word is none."""
    key = SECRETS["github"]
    text = f"{colour}'\x1b[39m{colour}{key}\x1b[39m{colour}'"

    assert masked(text) == text.replace(key, MASK)
    assert "".join(in_pieces(text, size)) == text.replace(key, MASK)
    assert masked(f"m{key}") == f"m{key}"


def test_overlapping() -> None:
    """Where two secrets lie over each other nothing of either is left."""
    assert masked(f"{SECRETS['slack address']}{CONFIGURED}.") == f"{MASK}."


def test_nested() -> None:
    """In what is nested every text and every name is masked, however deep; pictures are left alone."""
    deep: Any = SECRETS["github"]
    for _ in range(5000):
        deep = {"a": [deep]}
    value = masked_value({SECRETS["jwt"]: 1, "b": (True, None, SECRETS["aws"]), "image/png": CONFIGURED, "deep": deep})

    inner = value.pop("deep")
    while isinstance(inner, dict):
        (inner,) = inner["a"]
    assert inner == MASK
    assert value == {MASK: 1, "b": [True, None, MASK], "image/png": CONFIGURED}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("length", [0, shield.SHORT], ids=["short", "long"])
def test_found_beside_others(name: str, length: int) -> None:
    """A secret is masked among other texts, be it a value or a name; what has none is given back as it is."""
    others = {"a": ["-----BEGIN ", "EXAMPLE", None, 1.5], "b": "x" * 5000, "aws_secret_access_key=": ("sk-", "AKIA")}
    secret = " " * length + SECRETS[name]

    assert masked_value(others) is others
    assert SECRETS[name] not in str(masked_value({**others, "c": [secret, *others["a"]]}))
    assert SECRETS[name] not in str(masked_value({**others, secret: "EXAMPLE"}))


def test_events() -> None:
    """What code shows, raises and leaves is masked in each of its parts."""
    key = SECRETS["openai"]
    step = Step(
        f"print('{key}')",
        outputs=(
            Stream("stdout", key),
            Display({"text/plain": key, "application/json": {"a": [key]}}, {"note": key}),
            Error("ValueError", key, (f"line {key}",)),
        ),
        files=(File(f"{key}.csv"),),
    )
    parts = shield.masked_parts((Text(key), step))

    assert key not in repr(parts)
    assert key not in repr(shield.masked_event(Update("id", {"text/plain": key}, {"a": key})))
    assert repr(parts).count(MASK) == 9


async def told(*events: Event) -> list[Event]:
    seen: list[Event] = []

    async def emit(event: Event) -> None:
        seen.append(event)

    around = Told(emit)
    for event in events:
        await around(event)
    await around.close()
    return seen


def run(*events: Event) -> list[Event]:
    import asyncio

    return asyncio.run(told(*events))


def test_told() -> None:
    """Events that are told while code runs are masked; each stream is held back alone, and ends before a figure."""
    key = SECRETS["github"]
    seen = run(
        Stream("stdout", f"a {key[:10]}"),
        Stream("stderr", "other\n"),
        Stream("stdout", f"{key[10:]} b gh"),
        Display({"text/plain": key}),
        Stream("stdout", key[:30]),
    )

    assert seen == [
        Stream("stdout", "a "),
        Stream("stderr", "other\n"),
        Stream("stdout", f"{MASK} b "),
        Stream("stdout", "gh"),
        Display({"text/plain": MASK}),
        Stream("stdout", key[:30]),
    ]


def test_told_anew() -> None:
    """What was held back of an attempt that does not count is not told."""
    assert run(Stream("stdout", "gh"), Restarted("x")) == [Restarted("x")]


# --- what is asked --------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path) -> Any:
    with Session(warm="never", data_dir=tmp_path / "data") as opened:
        yield opened


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ({"code": f"x = 1\nkey = '{SECRETS['github']}'"}, "line 2 holds what looks like a GitHub token"),
        ({"code": "1", "container": SECRETS["aws"]}, "the container holds"),
        ({"code": "1", "labels": {"a": SECRETS["jwt"]}}, "the label holds"),
        ({"code": "1", "packages": [f"x @ https://u:{CONFIGURED}@host/x.whl"]}, "the packages holds"),
        ({"code": "do it", "kind": "task", "expect": SECRETS["slack"]}, "the expect holds"),
    ],
    ids=["body", "container", "label", "package", "expect"],
)
def test_refused(session: Session, how: dict[str, Any], where: str) -> None:
    """A secret in the cell, or in any word on its line, is refused before anything is sent; it is said where."""
    for way in (session.run, session.batch):
        with pytest.raises(HoldsSecret, match=where) as caught:
            way(**how)
        assert "--allow-secrets" in caught.value.hint
    assert all(secret not in str(caught.value) for secret in SECRETS.values())


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (f"USER=me\nTOKEN={SECRETS['github']}\n".encode(), "line 2 of the attached file my.env holds what looks like"),
        (
            f"\xff {CONFIGURED}".encode("latin-1"),
            "line 1 of the attached file my.env holds what looks like a key that is configured here",
        ),
    ],
    ids=["shape", "configured, in another encoding"],
)
def test_attached_files_are_looked_through(session: Session, tmp_path: Path, content: bytes, where: str) -> None:
    """A text file that goes along is refused as a cell is, with the line; `allow_secrets` is not stopped by it."""
    (tmp_path / "my.env").write_bytes(content)
    for way in (session.run, session.batch):
        with pytest.raises(HoldsSecret, match=where):
            way("print(1)", files=[tmp_path / "my.env"])
    with pytest.raises(NotAllowed) as caught:
        session.run("print(1)", files=[tmp_path / "my.env"], model="claude@anthropic", allow_secrets=True)
    assert not isinstance(caught.value, HoldsSecret)


@pytest.mark.parametrize(
    "content",
    [
        b"\0" + SECRETS["github"].encode(),
        b" " * attachments.MOST_LOOKED_AT + SECRETS["github"].encode(),
        b"TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ],
    ids=["no text", "beyond the beginning", "an example"],
)
def test_files_that_are_not_refused(tmp_path: Path, content: bytes) -> None:
    """Nobody looks into what is no text, or past the first megabytes of a file."""
    (tmp_path / "data").write_bytes(content)
    asked.check_secrets(Execution("1", files=attachments.read([tmp_path / "data"])), {})


def test_kept_masked() -> None:
    """What is kept of what was asked has no secret, and is found by the key of what was asked."""
    asked = Execution(f"k = '{CONFIGURED}'", container=SECRETS["github"], files=(File(SECRETS["hugging face"]),))
    kept = shield.masked_execution(asked)

    assert CONFIGURED not in repr(kept) and repr(kept).count(MASK) == 3
    assert shield.masked_execution(Execution("print(1)")) == Execution("print(1)")
