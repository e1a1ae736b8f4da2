"""The scripted provider as a notebook uses it: on a thread of its own, found through the user's catalog."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp.errors import Overloaded
from ipy_codeinterp.session import Session
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider


def test_from_a_notebook(tmp_path: Path) -> None:
    """A cell finds it by its name, with its price, while no loop of the caller's is running."""
    catalog = Path(os.environ["XDG_CONFIG_HOME"], "ipy-codeinterp", "catalog")
    catalog.mkdir(parents=True)
    with ScriptedProvider([Reply("42\n"), Fail(429, "rate_limit_error")]) as provider:
        (catalog / "scripted.toml").write_text(provider.catalog_file())
        with Session(warm="never", attempts=1) as session:
            result = session.run("print(6 * 7)", model="claude@scripted")
            with pytest.raises(Overloaded):
                session.run("print(6 * 7)  # again", model="claude@scripted")

    assert (result.stdout, result.offer) == ("42\n", "claude@scripted")
    assert result.cost.billed == provider.billed > Decimal(0)
