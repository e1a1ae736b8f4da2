"""A name nobody knows is answered with the nearest one."""

from __future__ import annotations

import pytest

from ipy_codeinterp import languages, registry
from ipy_codeinterp.errors import UnknownName

KNOWN = {"local": 1, "claude": 2}


def test_found() -> None:
    """A known name gives what is known under it."""
    assert registry.find("model", "claude", KNOWN) == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cluade", "did you mean claude?"), ("xyz", "known: claude, local"), ("", "known: claude, local")],
    ids=["near", "far", "empty"],
)
def test_not_found(name: str, hint: str) -> None:
    """An unknown name is said with the nearest known one, or with all there are."""
    with pytest.raises(UnknownName) as caught:
        registry.find("model", name, KNOWN)

    assert str(caught.value) == f"unknown model {name!r}"
    assert caught.value.hint == hint
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", languages.names())
def test_language_by_any_name(name: str) -> None:
    """A language answers to its name and to each alias."""
    found = languages.find(name)

    assert name in (found.name, *found.aliases)
    assert languages.find(found.name) is found


def test_no_language() -> None:
    """A language that nobody speaks is an unknown name."""
    with pytest.raises(UnknownName, match="unknown language 'pyhton'") as caught:
        languages.find("pyhton")

    assert caught.value.hint == "did you mean python?"
