"""Lists as a terminal shows them."""

from __future__ import annotations

from ipy_codeinterp.tables import columns


def test_columns() -> None:
    """Each column is as wide as its widest cell, and no line ends in spaces."""
    assert columns(("ID", "STATE"), [("a", "ok"), ("longer", "")]) == "ID      STATE\na       ok\nlonger"


def test_no_rows() -> None:
    """Without rows there is the head alone."""
    assert columns(("ID", "STATE"), []) == "ID  STATE"
