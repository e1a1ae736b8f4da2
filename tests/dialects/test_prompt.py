"""Code in a prompt comes out of it as it went in."""

from __future__ import annotations

import pytest

from ipy_codeinterp import languages
from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.dialects.prompt import Block
from ipy_codeinterp.errors import UnknownName

from .samples import CODES


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_there_and_back(code: str) -> None:
    """A prompt holds exactly one block, and that is the code."""
    assert prompt.blocks(prompt.encode(code, "python")) == [Block("python", code)]


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_fence_in_a_fence(code: str) -> None:
    """Code that is itself a fenced block comes back with its fence."""
    once = prompt.fenced(code, "python")

    assert prompt.blocks(prompt.fenced(once, "python")) == [Block("python", once)]


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_says_the_language(language: str) -> None:
    """The prompt names the language in words and on the fence."""
    said = prompt.encode("x", language)

    assert f"exactly this {language} code" in said
    assert f"```{languages.find(language).fence}\n" in said


def test_body_is_no_template() -> None:
    """Braces in code and in the name of a placeholder stay what they are."""
    assert "print('{language} {0} {{}}')" in prompt.encode("print('{language} {0} {{}}')", "python")


def test_unknown_language() -> None:
    """A language that nobody speaks is an unknown name."""
    with pytest.raises(UnknownName):
        prompt.encode("x", "klingon")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("print(1)", []),
        ("use `x` and ``y`` here", []),
        ("``python\nprint(1)\n``", ["print(1)"]),
        ("``\nx\n``\n```\ny\n```", ["y"]),
        ("Run this:\n```python title=x\na\n\nb\n```\nThanks.", ["a\n\nb"]),
        ("```\na\n```\n```\nb\n```", ["a", "b"]),
        ("````\n```\na\n```\n````", ["```\na\n```"]),
        ("```\na\n````", ["a"]),
        ("```\na\n```   ", ["a"]),
        ("```\na\n ```\n```", ["a\n ```"]),
        ("```\na\n", ["a\n"]),
        ("```", []),
        ("```\n", []),
        ("```\n```", [""]),
        ("```x``` is code", []),
    ],
    ids=repr,
)
def test_blocks(text: str, found: list[str]) -> None:
    """Blocks are found as CommonMark has them; two backticks count where there are no longer ones."""
    assert [block.content for block in prompt.blocks(text)] == found


@pytest.mark.parametrize("piece", ["``", "```\n", "`` x\n", "``````\n`\n", " ```"], ids=repr)
def test_text_made_to_be_slow(piece: str) -> None:
    """Half a megabyte made of nothing but fences is read in one go."""
    assert isinstance(prompt.blocks(piece * (500_000 // len(piece))), list)


@pytest.mark.parametrize(("opening", "label"), [("```", ""), ("```r", "r"), ("``` js ", "js"), ("``bash", "bash")])
def test_a_block_has_the_label_of_its_fence(opening: str, label: str) -> None:
    """What stands behind the opening fence is the block's label, without the spaces around it."""
    fence = opening[: opening.count("`")]
    assert prompt.blocks(f"{opening}\nx\n{fence}") == [Block(label, "x")]
