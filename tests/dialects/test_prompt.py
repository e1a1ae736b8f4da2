"""Code in a prompt comes out of it as it went in; a task is said in the user's words."""

from __future__ import annotations

from typing import Any

import pytest

from ipy_codeinterp import languages
from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.dialects.prompt import Block
from ipy_codeinterp.errors import UnknownName
from ipy_codeinterp.execution import Execution

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


# --- tasks ----------------------------------------------------------------------------------------


def task(body: str = "Sum the primes below 100.", **how: Any) -> str:
    return prompt.task(Execution(body, kind="task", **how))


def test_a_task_is_the_users_words_and_a_wish() -> None:
    """The words come first and as they are, then the language and that the code is to be run."""
    assert task() == (
        "Sum the primes below 100.\n\n"
        "Write python code that does this and run it with the code execution tool. The code prints the answer.\n"
    )


@pytest.mark.parametrize("expect", ["a JSON list of strings", "a JSON list\nof strings.", "  a JSON list of strings "])
def test_what_is_expected_is_said(expect: str) -> None:
    """`expect` is the explicit format of the printed answer, in one sentence however it was written."""
    assert task(expect=expect).endswith("The code prints the answer as a JSON list of strings, and nothing else.\n")


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_a_task_that_is_not_run(language: str) -> None:
    """Without `execute` one fenced block is asked for, in the language, and nothing is to run."""
    said = task(language=language, execute=False)

    assert f"Write {language} code" in said
    assert f"one block that begins with ```{languages.find(language).fence}." in said
    assert "Do not run anything" in said
    assert "code execution tool" not in said


def test_words_are_no_template() -> None:
    """Placeholders in the user's words and in what is expected stay what they are."""
    said = task("{language} {expect} %s", expect="{fence} {0}")

    assert said.startswith("{language} {expect} %s\n\n")
    assert "as {fence} {0}, and" in said


def test_either_kind() -> None:
    """Code is asked to run as it is, a task in words; one door for both."""
    assert prompt.of(Execution("x", language="r")) == prompt.encode("x", "r")
    assert prompt.of(Execution("x", kind="task")) == task("x")


def test_files_beside_the_code() -> None:
    """Files are named each between quotes, so that no name reads like another sentence."""
    assert prompt.beside([]) == ""
    assert prompt.beside(["a.csv", 'b "c"\nd']) == 'Files in the working directory: "a.csv", "b \\"c\\"\\nd"\n'


@pytest.mark.parametrize(
    ("code", "same"),
    [
        ("if x:\n    y()", True),
        ("\r\nif x:\r\n    y()\r\n\r\n", True),
        ("  \n\nif x:\n    y()  \n \n", True),
        ("if x:\n  y()", False),
        ("  if x:\n    y()", False),
        ("if x:\n\n    y()", False),
        ("", False),
    ],
    ids=repr,
)
def test_verbatim(code: str, same: bool) -> None:
    """Line ends and blank lines around the code are nobody's change; everything else is."""
    assert prompt.is_verbatim(code, Execution("\nif x:\n    y()\n")) is same
    assert prompt.is_verbatim(code, Execution("if x:\n    y()", kind="task")) is None
