"""The client class that the article about code interpreters prints, only its base URL changed, at our gateway.

The article's text has lost its indentation: INDENTS gives it back, a digit a line. Nothing else of the article is here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import types
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .served import Served, served
from .tap import Tap

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox]

ARTICLE = Path(__file__).parents[3] / "shared" / "reference" / "article.txt"
BASE_URL = "https://api.holysheep.ai/v1"
FIRST, LAST = "#!/usr/bin/env python3", "Example usage"
INDENTS = (
    "0000000000000000110011111111001111011111112211222212221231222122222122"
    "2222233444444323322232323455545666678887656665667777777634566666665233"
    "33333212233455433455433212233455433455432122333334344444432344444443"
)
CODE_INDENTS = "00111231000"
CALLS = 20


def article() -> list[str]:
    if not ARTICLE.exists():
        pytest.skip(f"the article's client was NOT run: its text is not at {ARTICLE}")
    return ARTICLE.read_text("utf-8").splitlines()


def indented(lines: list[str], indents: str) -> str:
    return "\n".join("    " * int(level) + line for level, line in zip(indents, lines, strict=True))


def module(base_url: str) -> Any:
    """The article's first program, up to its example."""
    lines = article()
    source = indented(lines[lines.index(FIRST) : lines.index(LAST)], INDENTS)
    assert source.count(BASE_URL) == 1
    found = types.ModuleType("article")
    sys.modules[found.__name__] = found  # its dataclasses look themselves up
    exec(compile(source.replace(BASE_URL, base_url), "article", "exec"), found.__dict__)
    return found


def code() -> str:
    """What the article runs: the primes up to 10000."""
    lines = article()
    begin = lines.index('test_code = """') + 1
    end = lines.index('"""', begin)
    return "\n" + indented(lines[begin:end], CODE_INDENTS) + "\n"


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


def runs(gateway: Served) -> int:
    """How many runs the gateway counts that have begun in its sandbox."""
    asked = urllib.request.Request(f"{gateway.base_url}/health/ready?wait=1", headers={"x-api-key": gateway.token})
    with urllib.request.urlopen(asked) as reply:
        return int(json.load(reply)["runs"])


def test_twenty_calls(gateway: Served) -> None:
    """Twenty calls, two models in turn, are twenty runs in the sandbox: each prints both lines, and has its usage."""

    async def main() -> tuple[list[Any], Tap]:
        async with Tap({"gateway": gateway.base_url}) as tap:
            found = module(f"{tap.base_url}/gateway/v1")
            models = [found.ModelProvider.GPT4, found.ModelProvider.CLAUDE] * (CALLS // 2)
            async with found.HolySheepClient(gateway.token) as client:
                return await asyncio.gather(*[client.execute_code(code(), model) for model in models]), tap

    before = runs(gateway)
    results, tap = asyncio.run(main())

    assert [result.error_message for result in results] == [None] * CALLS
    assert {result.provider.value for result in results} == {"gpt-4.1", "claude-sonnet-4-5"}
    assert all(result.success and result.input_tokens > 0 and result.output_tokens > 0 for result in results)
    assert all(result.total_cost_cents > 0 for result in results)

    assert runs(gateway) == before + CALLS

    replies = [json.loads(exchange.answer) for exchange in tap.seen]
    assert len({reply["id"] for reply in replies}) == CALLS
    for reply in replies:
        said = reply["choices"][0]["message"]["content"]
        assert "Found 1229 primes up to 10000\n" in said and "Sum: 5736396\n" in said
