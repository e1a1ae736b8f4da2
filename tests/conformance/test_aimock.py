"""The function loop at a model that somebody else made up: `@copilotkit/aimock` (npm), with fixtures of ours.

It is installed by `npm` into a temporary folder, from the registry that this machine has; the variable AIMOCK may name
a folder where that was done. Without either, these tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import nbclient
import nbformat
import pytest

from ipy_codeinterp import Session
from ipy_codeinterp.compare import Comparison
from ipy_codeinterp.errors import AuthenticationFailed, BadReply, InterpError, Overloaded, QuotaExceeded, Unreachable
from ipy_codeinterp.execution import CodeDelta, Event, Result

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox, pytest.mark.slow]

PACKAGE = "@copilotkit/aimock"
VERSION = "1.43.0"
MODEL = "llama3@compatible"
STARTUP = 30.0  # seconds


def calls(code: object, name: str = "run_code") -> dict[str, Any]:
    arguments = code if isinstance(code, str) and code.startswith("!") else {"language": "python", "code": code}
    return {"toolCalls": [{"name": name, "arguments": arguments}]}


def story(words: str, *turns: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is answered to a task with these words, a turn each."""
    for number, turn in enumerate(turns):
        yield {"match": {"userMessage": words, "turnIndex": number}, "response": turn}


def fails(words: str, status: int, kind: str, message: str) -> dict[str, Any]:
    error = {"message": message, "type": kind, "code": kind}
    return {"match": {"userMessage": words}, "response": {"error": error, "status": status}}


FIXTURES = [
    *story("sum of the primes", calls("total = sum([2, 3, 5, 7])\nprint(total)"), {"content": "It is 17."}),
    *story("in three steps", calls("a = 20"), calls("b = a + 1"), calls("print(a + b + 1)"), {"content": "42."}),
    *story("wrong at first", calls("!not json"), calls("1 / 0"), calls("print('good')"), {"content": "Now it ran."}),
    *story("another function", calls("x", name="delete_all"), {"content": "I cannot."}),
    *story("only show it", {"content": "```python\nprint(6 * 7)\n```"}),
    *story("a list of numbers", calls("print([1, 2, 3])"), {"content": "Done."}),
    *story("draw", calls("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"), {"content": "A line."}),
    *story("print('as it is')", calls("print('as it is')"), {"content": "never asked"}),
    *story("print('changed')", calls("print('otherwise')"), {"content": "never asked"}),
    fails("too much", 429, "insufficient_quota", "You exceeded your current quota"),
    fails("no key", 401, "invalid_api_key", "Incorrect API key provided"),
    fails("busy", 503, "server_error", "The server is overloaded"),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How it is started."""
    folder = Path(os.environ.get("AIMOCK") or tmp_path_factory.mktemp("aimock"))
    node, npm = shutil.which("node"), shutil.which("npm")
    program = folder / "node_modules" / PACKAGE / "dist" / "cli.js"
    if node is None or npm is None:
        pytest.skip("there is no npm")
    if not program.exists():
        install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(install, capture_output=True, text=True, timeout=100, cwd=folder)
        if done.returncode:
            pytest.skip(f"npm has no {PACKAGE}: {done.stderr[-200:]}")
    return [node, str(program)]


@pytest.fixture(scope="module")
def server(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base URL."""
    folder = tmp_path_factory.mktemp("fixtures")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": [_written(each) for each in FIXTURES]}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-p", str(port), "-f", str(folder / "fixtures.json"), "--strict", "--log-level", "warn"]
    with (folder / "said.txt").open("wb") as said:
        words: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        process = subprocess.Popen([*command, *options], **words)
    try:
        _wait_for(port, folder / "said.txt")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _written(fixture: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the text that a model writes."""
    response = dict(fixture["response"])
    for call in response.get("toolCalls", ()):
        said = call["arguments"]
        call["arguments"] = said.removeprefix("!") if isinstance(said, str) else json.dumps(said)
    return {**fixture, "response": response}


def _wait_for(port: int, said: Path) -> None:
    end = time.monotonic() + STARTUP
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(said.read_text())


@pytest.fixture
def compatible(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The settings of a user whose server that is."""
    monkeypatch.setenv("IPY_CODEINTERP_BASE_URL", f"{server}/v1")
    monkeypatch.setenv("IPY_CODEINTERP_UNPRICED", "*@compatible")
    return server


def asked(words: str, **how: Any) -> tuple[Result, list[Event]]:
    """One task, and what was told while it was done."""
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    async def main() -> Result:
        kind = how.pop("kind", "task")
        async with Session(attempts=how.pop("attempts", 2)) as session:
            return await session.execute(words, model=MODEL, kind=kind, emit=emit, cache=False, **how)

    return asyncio.run(main()), events


# --- tasks ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("compatible")
def test_a_task() -> None:
    """The model writes the code, it runs here while it is shown, and the model's words and usage are in the Result."""
    result, events = asked("the sum of the primes below 10")

    (step,) = result.steps
    assert (step.code, result.stdout, result.text) == ("total = sum([2, 3, 5, 7])\nprint(total)", "17\n", "It is 17.")
    assert "".join(e.text for e in events if isinstance(e, CodeDelta)) == step.code
    assert (result.ok, result.attempts, step.verbatim) == (True, 2, None)
    assert (result.usage.input_tokens or 0) > 0 and len(result.request_ids) == 2


@pytest.mark.usefixtures("compatible")
def test_calls_share_variables() -> None:
    """Three calls of one task are steps of one interpreter."""
    result, _ = asked("do it in three steps")

    assert [step.outcome for step in result.steps] == ["ok", "ok", "ok"]
    assert (result.stdout, result.text) == ("42\n", "42.")


@pytest.mark.usefixtures("compatible")
def test_wrong_at_first() -> None:
    """Arguments that are no JSON are told to the model, and so is an error; the outcome is that of the last code."""
    result, _ = asked("wrong at first")

    assert [step.outcome for step in result.steps] == ["error", "ok"]
    assert (result.ok, result.text) == (True, "Now it ran.")
    assert result.stdout == "good\n"


@pytest.mark.usefixtures("compatible")
def test_a_function_that_was_not_offered() -> None:
    """It is not run, and the model is told."""
    result, _ = asked("call another function")

    assert (result.steps, result.outcome, result.text) == ((), "unknown", "I cannot.")


@pytest.mark.usefixtures("compatible")
def test_only_show_it() -> None:
    """Without execution nothing runs: the code is in the model's words."""
    result, _ = asked("only show it", execute=False)

    assert (result.steps, result.outcome) == ((), "unknown")
    assert "print(6 * 7)" in result.text


def test_expect(compatible: str) -> None:
    """The form of the answer that is wanted goes to the model."""
    result, _ = asked("give a list of numbers", expect="a JSON list of integers")

    assert json.loads(result.stdout) == [1, 2, 3]
    assert "a JSON list of integers" in asyncio.run(last_request(compatible))


async def last_request(server: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{server}/__aimock/journal") as response:
        return json.dumps((await response.json())[-1])


@pytest.mark.usefixtures("compatible")
def test_a_figure_of_a_task() -> None:
    """A figure that the code made is shown once, and the model hears of it."""
    result, _ = asked("draw something")

    assert len(result.images) == 1 and result.text == "A line."


@pytest.mark.kernel
@pytest.mark.usefixtures("compatible")
def test_in_a_notebook(tmp_path: Path) -> None:
    """A cell with a task shows the code, what it printed and the model's words; the next one only the code."""
    ask = f"%%interp --ask --model {MODEL}"
    sources = [
        "%load_ext ipy_codeinterp",
        f"{ask}\nthe sum of the primes below 10",
        f"{ask} --new --no-execute\nonly show it",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])

    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()

    _, task, shown = (cell.outputs for cell in notebook.cells)
    places = [output.data for output in task if output.output_type == "display_data"]
    printed = [output.text for output in task if output.output_type == "stream" and output.name == "stdout"]
    assert f"<summary>code by {MODEL}</summary>" in places[0]["text/html"]
    assert (printed, places[-2]["text/plain"]) == (["17\n"], "It is 17.")  # the last one is the footer
    assert "print(6 * 7)" in json.dumps(shown)


# --- code as it is --------------------------------------------------------------------------------


@pytest.mark.usefixtures("compatible")
@pytest.mark.parametrize(("code", "verbatim"), [("print('as it is')", True), ("print('changed')", False)])
def test_code(code: str, verbatim: bool) -> None:
    """Code that ran ends the conversation, and it is said whether the model passed on exactly what it was given."""
    result, _ = asked(code, kind="code")

    assert (result.attempts, result.verbatim, result.text) == (1, verbatim, "")


@pytest.mark.usefixtures("compatible")
def test_compare() -> None:
    """Two models of that server and this machine are asked at once; one that changes the code is seen to disagree."""

    async def main(code: str) -> Comparison:
        async with Session(attempts=2) as session:
            return await session.compare(code, [MODEL, "mistral@compatible", "local"])

    alike, apart = (asyncio.run(main(code)) for code in ("print('as it is')", "print('changed')"))
    assert alike.agree and not apart.agree
    assert [side.outcome for side in apart.sides] == ["ok", "ok", "ok"]
    assert {offer: result.stdout for offer, result in apart.results.items()} == {
        MODEL: "otherwise\n",
        "mistral@compatible": "otherwise\n",
        "local@local": "changed\n",
    }
    assert [apart[offer].verbatim for offer in (MODEL, "local@local")] == [False, True]


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.usefixtures("compatible")
@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [("too much", QuotaExceeded, 429), ("no key", AuthenticationFailed, 401), ("busy", Overloaded, 503)],
)
def test_errors(words: str, kind: type[InterpError], status: int) -> None:
    """An error is typed by what it says, with the provider, the status and the request's name."""
    with pytest.raises(kind) as caught:
        asked(words)

    error: Any = caught.value
    assert (error.provider, error.status) == ("compatible", status)
    assert error.request_id


CHAOS = {"dropRate": Overloaded, "malformedRate": BadReply, "disconnectRate": Unreachable, "rateLimitRate": Overloaded}


@pytest.mark.parametrize(("rate", "kind"), CHAOS.items())
def test_chaos(compatible: str, rate: str, kind: type[InterpError]) -> None:
    """Refusals, bodies that are no JSON, connections that end and limits are errors of ours, each of its type."""
    asyncio.run(chaos(compatible, {rate: 1}))
    try:
        with pytest.raises(kind):
            asked("the sum of the primes below 10", attempts=1)
    finally:
        asyncio.run(chaos(compatible, None))


async def chaos(server: str, rates: dict[str, float] | None) -> None:
    method = "DELETE" if rates is None else "POST"
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{server}/__aimock/chaos", json=rates) as response,
    ):
        response.raise_for_status()
