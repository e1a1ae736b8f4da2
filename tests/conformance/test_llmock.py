"""A server of faults that somebody else wrote, and its verdict on our client.

`llmock` (PyPI) groups the requests of a call, knows which fault each of them got, and finds what a client did wrong. It
needs a web framework that nothing else here does, and has a plugin that would sit in our own pytest: `scripts/test`
gives it an environment of its own, `llmock` inside ours. The variable LLMOCK may name its command.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ipy_codeinterp import Session
from ipy_codeinterp.client import http
from ipy_codeinterp.errors import BadReply, InterpError, ProviderError
from ipy_codeinterp.execution import Result

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox, pytest.mark.slow]

CALLS = 30
STARTUP = 30.0  # seconds
MODELS = ["gpt-4.1@compatible", "claude@anthropic", "gpt@openai"]
GOES_TO = {"anthropic": "/anthropic", "openai": ""}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base URL."""
    command = os.environ.get("LLMOCK") or shutil.which("llmock", path=str(Path(sys.prefix, "llmock", "bin")))
    if not command:
        pytest.skip("llmock was NOT run: `sh scripts/test` installs it, or set LLMOCK to its command")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = tmp_path_factory.mktemp("llmock") / "said.txt"
    with said.open("wb") as file:
        words: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        process = subprocess.Popen([command, "serve", "--port", str(port)], **words)
    try:
        _wait_for(port, said)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int, said: Path) -> None:
    end = time.monotonic() + STARTUP
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(said.read_text())


@pytest.fixture
def providers(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The catalog of a user who has each of them at that server."""
    folder = tmp_path / "config" / "ipy-codeinterp" / "catalog"
    folder.mkdir(parents=True)
    for name, path in GOES_TO.items():
        (folder / f"{name}.toml").write_text(f'base_url = "{server}{path}"\n')
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "key-of-a-test")
    monkeypatch.setenv("IPY_CODEINTERP_BASE_URL", f"{server}/v1")
    monkeypatch.setenv("IPY_CODEINTERP_UNPRICED", "*@compatible")
    return server


async def judged(
    server: str, model: str, *faults: dict[str, Any], calls: int = CALLS, **changes: Any
) -> tuple[list[Result | InterpError], dict[str, Any]]:
    """What came of so many calls, and the verdict."""
    async with aiohttp.ClientSession() as admin:
        async with admin.post(f"{server}/_llmock/reset") as response:
            response.raise_for_status()
        async with admin.post(f"{server}/_llmock/scenario", json={"behaviors": list(faults)}) as response:
            response.raise_for_status()
        codes = [f"print({number})" for number in range(calls)]
        async with Session(**changes) as session:
            found = [outcome async for _, outcome in session.map(codes, model=model, cache=False, concurrency=4)]
        async with admin.get(f"{server}/_llmock/verdict") as response:
            return found, await response.json()


FAULTS = {
    "asked to wait": {"type": "fail", "status": 429, "retry_after": 0.4, "times": 4},
    "busy": {"type": "fail", "status": 503, "times": 4},
    "overloaded": {"type": "fail", "status": 529, "times": 2},
    "wrong request": {"type": "fail", "status": 400, "times": 3},
    "wrong key": {"type": "fail", "status": 401, "times": 2},
    "nothing there": {"type": "fail", "status": 404, "times": 2},
}


@pytest.mark.parametrize("model", MODELS)
def test_no_finding(providers: str, model: str) -> None:
    """Thirty calls with every refusal among them: none is repeated too early, too often or in vain."""
    found, verdict = asyncio.run(judged(providers, model, *FAULTS.values()))

    assert verdict["findings"] == []
    assert (verdict["calls"], verdict["faults_injected"]) == (CALLS, 17)
    failed = [outcome for outcome in found if isinstance(outcome, InterpError)]
    assert len(failed) == 7 and all(isinstance(error, ProviderError) for error in failed)


@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
@pytest.mark.parametrize("model", MODELS)
def test_no_finding_in_streams(providers: str, model: str, kind: str) -> None:
    """A stream that breaks is never taken for a reply; it is asked for again where the user lets code run twice."""
    fault = {"type": "stream_fault", "kind": kind, "after_chunks": 1, "times": 4}

    found, verdict = asyncio.run(judged(providers, model, fault, calls=8, may_run_twice=True))

    # A repeat that comes before the server has noticed that we hung up is counted as another call.
    missed = [each for each in verdict["findings"] if each["code"] != "malformed_chunk_ignored"]
    assert missed == []
    assert (verdict["faults_injected"], verdict["attempts"]) == (4, 8 + 4)
    assert [outcome for outcome in found if isinstance(outcome, InterpError)] == []


@pytest.mark.parametrize("model", MODELS)
def test_a_broken_stream_is_an_error(providers: str, model: str) -> None:
    """Where code may not run twice it is a typed error instead, with the status, and nothing is asked again."""
    fault = {"type": "stream_fault", "kind": "truncate", "after_chunks": 1, "times": None}

    found, verdict = asyncio.run(judged(providers, model, fault, calls=3))

    assert all(isinstance(error, BadReply) and error.may_have_run and error.status == 200 for error in found)
    assert verdict["attempts"] == 3


@pytest.mark.parametrize("model", MODELS)
def test_silence_is_given_up(providers: str, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """A stream that says nothing for longer than a provider may is given up, not sat through."""
    monkeypatch.setattr(http, "SILENCE", 0.7)
    stall = {"type": "stream_fault", "kind": "stall", "after_chunks": 1, "stall_seconds": 3}

    found, verdict = asyncio.run(judged(providers, model, stall, calls=1))

    assert verdict["findings"] == []
    assert [type(outcome) for outcome in found] == [BadReply]


def test_calls_that_cannot_be_run(providers: str) -> None:
    """Arguments that are no JSON, and a function that was never offered, are told to the model, which calls again."""
    faults = [{"type": "tool_fault", "kind": kind} for kind in ("malformed_arguments", "unknown_tool")]

    found, verdict = asyncio.run(judged(providers, MODELS[0], *faults, calls=2))

    assert verdict["findings"] == []
    assert all(isinstance(outcome, Result) for outcome in found)
