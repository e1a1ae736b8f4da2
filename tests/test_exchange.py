"""Variables on their way: names, sizes, where their files lie, and what is said of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ipy_codeinterp import Session, asked, exchange
from ipy_codeinterp.errors import BadValue, HoldsSecret, InvalidInput, LostValue
from ipy_codeinterp.execution import Execution, File
from ipy_codeinterp.sandbox.inside import values
from ipy_codeinterp.together.group import may_join

MB = 1 << 20


def test_a_value_is_a_file_by_content(tmp_path: Path) -> None:
    """Equal values are equal files, whoever sends them, and lie here once, for their owner only."""
    (first,) = exchange.sent({"df": pd.DataFrame({"a": [1]})}, "python", tmp_path, MB)
    (again,) = exchange.sent({"df": pd.DataFrame({"a": [1]})}, "python", tmp_path, MB)

    assert first == again and first.name == "df.value.json"
    assert first.path and hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert [path.name for path in (tmp_path / "values").iterdir()] == [first.sha256]
    assert first.path.stat().st_mode & 0o077 == first.path.parent.stat().st_mode & 0o077 == 0


def test_what_comes_is_part_of_the_key(tmp_path: Path) -> None:
    """An Execution with other values, or that asks for others back, is another; one without is what it was."""
    plain = Execution("1")
    one, two = (Execution("1", inputs=exchange.sent({"x": x}, "python", tmp_path, MB)) for x in (1, 2))

    assert len({plain.key, one.key, two.key, Execution("1", get=("x",)).key}) == 4
    assert not may_join(one) and not may_join(Execution("1", get=("x",))) and may_join(plain)
    assert one.repeatable


@pytest.mark.parametrize("name", ["", "a b", "class", "a.b", "../x", "1x"])
def test_names(tmp_path: Path, name: str) -> None:
    """What no variable can be called is refused, sent or asked for."""
    with pytest.raises(BadValue, match="not a variable's name"):
        exchange.sent({name: 1}, "python", tmp_path, MB)
    with Session(data_dir=tmp_path) as session, pytest.raises(BadValue, match="not a variable's name"):
        session.execution("1", get=(name,))


def test_too_large(tmp_path: Path) -> None:
    """A value beyond the limit is refused with both figures and the setting's name; nothing is kept of it."""
    with pytest.raises(BadValue, match=r"x takes 8,000 kB, and may take 1,049 kB") as caught:
        exchange.sent({"x": np.zeros(1_000_000)}, "python", tmp_path, MB)

    assert "value_limit" in caught.value.hint
    assert not (tmp_path / "values").exists()


def test_who_takes_no_values(tmp_path: Path) -> None:
    """A language without variables to fill, and a task in words, are refused before anything is sent."""
    with Session(data_dir=tmp_path) as session:
        with pytest.raises(BadValue, match="bash takes no values"):
            session.execution("echo", language="bash", inputs={"x": 1})
        with pytest.raises(BadValue, match="not with a task"):
            session.execution("plot it", kind="task", get=("x",))
        with pytest.raises(BadValue, match="x cannot be sent: a value of type object"):
            session.execution("1", inputs={"x": object()})


def test_keys_are_not_sent(tmp_path: Path) -> None:
    """A value that holds what looks like a key is refused like a cell that does, unless it is meant."""
    said = {"params": {"url": "https://example.org", "token": "sk-ant-api03-" + "aB3d" * 20}}
    with Session(data_dir=tmp_path, warm="never") as session:
        with pytest.raises(HoldsSecret, match="the value of params holds what looks like"):
            session.run("1", inputs=said)
        execution = session.execution("1", inputs={"params": {"url": "https://example.org"}})

    asked.check_secrets(execution, {})


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_limit(limit: int) -> None:
    """The limit is one that files of a run can keep to."""
    with pytest.raises(InvalidInput, match="value_limit"):
        Session(value_limit=limit)


def test_what_did_not_come(tmp_path: Path) -> None:
    """The other end's reason is told without its control characters; what is no value is refused."""
    why = File(*_packed(values.missing("no \x1b[2J such thing")))
    with pytest.raises(LostValue, match=r"x did not come back: no .*such thing") as caught:
        exchange.value_of(why, values.missing("no \x1b[2J such thing")[1])
    with pytest.raises(LostValue, match="refused: an array"):
        exchange.value_of(File("x.value.json"), b'{"$":"array","dtype":"O","shape":[1],"v":""}')

    assert "\x1b" not in str(caught.value)


def _packed(packed: tuple[str, bytes]) -> tuple[str]:
    return (values.file_name("x", packed[0]),)


def test_room_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond their limit the files that were not used for longest go; one whose content was changed is not given."""
    monkeypatch.setattr(exchange, "MOST_KEPT", 250)
    digests = [exchange.keep(tmp_path, hashlib.sha256(data).hexdigest(), data).name for data in _pieces()]

    assert [exchange.kept(tmp_path, digest) is not None for digest in digests] == [False, True, True]
    (tmp_path / "values" / digests[2]).write_bytes(b"forged")
    assert exchange.kept(tmp_path, digests[2]) is None
    assert exchange.kept(tmp_path, "../../etc/passwd") is None


def _pieces() -> list[bytes]:
    return [bytes([n]) * 100 for n in range(3)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (pd.DataFrame({"a": range(1500)}), "DataFrame 1,500 × 1"),
        (np.zeros((2, 3)), "ndarray 2 × 3"),
        (pd.Series([1]), "Series 1"),
        (pl.DataFrame({"a": [1]}), "polars DataFrame 1 × 1"),
        ({"a": 1}, "dict of 1"),
        ("text", "str of 4"),
        (5, "int"),
        (np.float64(1), "float64"),
        (None, "NoneType"),
    ],
)
def test_in_words(value: object, words: str) -> None:
    """A value is told by its type and its size."""
    assert exchange.describe(value) == words


def test_receipt() -> None:
    """A line has names, kinds and bytes; where it must not vary, no bytes of what varies with a library's version."""
    items = [(File("a.value.json", size=1), 5), (File("t.value.arrow", size=20_000), [1, 2])]

    assert exchange.line("in", items) == "in: a int (1 byte), t list of 2 (20 kB)"
    assert exchange.line("in", items, steady_only=True) == "in: a int (1 byte), t list of 2"
    assert exchange.line("out", []) == ""
