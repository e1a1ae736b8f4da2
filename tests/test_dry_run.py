"""A dry run: what would be sent is shown as it is, with what it may cost, and nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from ipy_codeinterp import Session
from ipy_codeinterp.errors import NotAllowed, UnknownName
from ipy_codeinterp.gateway import tokens

MODEL = "claude-sonnet-5@anthropic"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """One that has no key, and is started for nobody."""
    with Session(data_dir=tmp_path, warm="never") as opened:
        yield opened


def body_of(text: str) -> dict[str, object]:
    """The JSON that is shown."""
    return dict(json.loads(text[text.index("{") :]))


def test_a_vendors_request_without_a_key(session: Session) -> None:
    """The whole request is shown, with the tokens, and USD from what is said up to the longest reply."""
    dry = session.dry_run("print(1)", model=MODEL)
    (estimate,) = dry.estimates

    assert "POST https://api.anthropic.com/v1/messages" in str(dry)
    assert "```python\nprint(1)" in json.dumps(body_of(str(dry))).replace("\\n", "\n")
    assert f"tokens in ({tokens.counted_by()})" in str(dry)
    assert estimate.least is not None and estimate.most is not None
    assert 0 < estimate.least < Decimal("0.001") < estimate.most < 1
    assert session.stats() and session.stats()[0].calls == 0


def test_every_offer_that_may_be_asked(session: Session) -> None:
    """Those of `fallback` are estimated, too; one on this machine costs nothing."""
    session.settings = session.settings.changed(fallback=("local", "batch"))
    first, second = session.dry_run("print(1)", model=MODEL).estimates

    assert (first.offer, second.offer) == (MODEL, "local@local")
    assert str(second).endswith("nothing is billed on this machine")


def test_most_cost_bounds_the_reply(session: Session) -> None:
    """With a cap the longest reply is what the cap pays for."""
    capped = session.dry_run("print(1)", model=MODEL, max_cost=0.03)

    assert capped.estimates[0].most is not None and capped.estimates[0].most <= Decimal("0.03")


def test_keys_are_not_shown(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is neither in the request nor, where the cell has it, in what is shown."""
    key = "sk-ant-api03-" + "k3y" * 20
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    with Session(data_dir=session.settings.data_dir, warm="never") as another:
        shown = str(another.dry_run(f"key = '{key}'", model=MODEL))

    assert key not in shown and "key = '" in shown


def test_files_and_long_base64(session: Session, tmp_path: Path) -> None:
    """Files are told by name, size and hash, and base64 in the request is cut with its length told."""
    (tmp_path / "a.csv").write_text("1,2\n" * 100)
    local = str(session.dry_run("print(x)", inputs={"x": np.zeros(3)}, get=("y",)))
    inline = str(session.dry_run("print(1)", model="gemini@gemini", files=[tmp_path / "a.csv"]))

    assert "file x.value.npy: 152 bytes, sha256 " in local
    assert body_of(local)["ipy_codeinterp"]["get"] == ["y"]  # type: ignore[index]
    assert "… (536 characters of base64)" in inline


def test_what_could_not_be_sent(session: Session) -> None:
    """What a run would refuse, a dry run does."""
    with pytest.raises(UnknownName):
        session.dry_run("print(1)", model="claud@anthropic")
    with pytest.raises(NotAllowed, match="values of variables are not sent to gemini"):
        session.dry_run("print(1)", model="gemini@gemini", inputs={"x": 1})
