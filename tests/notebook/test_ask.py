"""What a person sees of `%%interp --ask`: the code while it is written, then what it printed and drew."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from .kernel import Kernel, Outputs, started

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

HEAD = "%%interp --ask --model small@compatible"
CODE = "import matplotlib.pyplot as plt\nprint('<b>7</b>')\nplt.plot([1, 2])\nplt.show()"


class Model:
    """A server of chat completions that says what `turns` hold, in small pieces; `asked` are the bodies it got."""

    def __init__(self) -> None:
        self.turns: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.base_url = ""
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Model:
        self._thread.start()
        assert self._is_ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.base_url = "http://{}:{}/v1".format(*runner.addresses[0][:2])
        self._is_ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for delta in pieces(self.turns.pop(0)):
            chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
            await asyncio.sleep(0.03)
        await response.write(b"data: [DONE]\n\n")
        return response


def pieces(turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "words" in turn:
        yield from ({"content": word + " "} for word in turn["words"].split())
        return
    written = json.dumps({"language": "python", "code": turn["code"]})
    head = {"index": 0, "id": "call_1", "function": {"name": "run_code", "arguments": ""}}
    yield {"tool_calls": [head]}
    for begin in range(0, len(written), 12):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": written[begin : begin + 12]}}]}


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model() as serving:
        yield serving


@pytest.fixture(scope="module")
def asking(model: Model, clean_environment: dict[str, str], folder: Path) -> Iterator[Kernel]:
    """A kernel whose user has that server."""
    own = {"IPY_CODEINTERP_BASE_URL": model.base_url, "IPY_CODEINTERP_UNPRICED": "*@compatible"}
    with started({**clean_environment, **own}, folder) as running:
        running.run("%load_ext ipy_codeinterp")
        yield running


def last(outputs: Outputs, place: dict[str, Any]) -> dict[str, Any]:
    """What stands at the place of a display in the end."""
    updates = [update for update in outputs.updates if update["transient"] == place["transient"]]
    return dict([place, *updates][-1]["data"])


def test_code_then_what_came_of_it(asking: Kernel, model: Model) -> None:
    """The code grows in one place that folds, then come the output and the figure, then the words."""
    model.turns = [{"code": CODE}, {"words": "A short line."}]

    outputs = asking.run(f"{HEAD}\nDraw a line.")

    code, figure, words = outputs.displays
    assert "<summary>code by small@compatible</summary>" in code["data"]["text/html"]
    assert outputs.stream() == "<b>7</b>\n"
    assert "image/png" in figure["data"] and last(outputs, words)["text/plain"].strip() == "A short line."
    written = last(outputs, code)
    assert written["text/plain"] == CODE
    assert "&lt;b&gt;7&lt;/b&gt;" in written["text/html"] and "<b>" not in written["text/html"]
    notice, *shown = [kind for kind in outputs.kinds if kind != "update_display_data"]
    assert (notice, shown) == ("stream", ["display_data", "stream", "display_data", "display_data"])
    assert "code and files go to 127.0.0.1" in outputs.stream("stderr")


def test_only_shown(asking: Kernel, model: Model) -> None:
    """With `--no-execute` nothing runs; the words of the model are there."""
    model.turns = [{"words": "```python print(1) ```"}]

    outputs = asking.run(f"{HEAD} --no-execute\nPrint one.")

    assert "print(1)" in last(outputs, outputs.displays[0])["text/plain"]
    assert outputs.stream() == "" and outputs.status == "ok"


def test_expect(asking: Kernel, model: Model) -> None:
    """What `--expect` wants stands in the request, and the answer parses."""
    model.turns = [{"code": "print([2, 3, 5])"}, {"words": "Done."}]

    outputs = asking.run(f"{HEAD} --expect 'a JSON list of integers'\nThe first three primes.")

    assert json.loads(outputs.stream()) == [2, 3, 5]
    assert "a JSON list of integers" in json.dumps(model.asked[-2])


def test_an_error_of_the_models_code(asking: Kernel, model: Model) -> None:
    """Code of the model's that raised fails the cell, with its traceback; what it wrote is still there."""
    model.turns = [{"code": "1 / 0"}, {"words": "I give up."}]

    outputs = asking.run(f"{HEAD}\nDivide.")

    assert outputs.status == "error" and "ZeroDivisionError" in outputs.traceback
    assert last(outputs, outputs.displays[0])["text/plain"] == "1 / 0"


def test_an_error_that_the_model_mends(asking: Kernel, model: Model) -> None:
    """An error that is not the last word is one line below its code, and the cell does not fail."""
    model.turns = [{"code": "print(1)\n1 / 0"}, {"code": "print(2)"}, {"words": "Mended."}]

    outputs = asking.run(f"{HEAD}\nDivide.")

    assert (outputs.status, outputs.stream(), outputs.error) == ("ok", "1\n2\n", None)
    assert outputs.stream("stderr").endswith("ZeroDivisionError: division by zero\n")


def test_goes_on(asking: Kernel, model: Model) -> None:
    """A second task goes on from the last, with its variables, and tells the model what was done; `--new` does not."""
    model.turns = [{"code": "x = 41\nprint('kept')"}, {"words": "I keep it."}]
    first = asking.run(f"{HEAD} --new\nKeep a number.")
    model.turns = [{"code": "print(x + 1)"}, {"words": "Done."}]
    second = asking.run("%%interp --ask\nAdd one.")

    assert (first.stream(), second.stream()) == ("kept\n", "42\n")
    assert "goes on from the last --ask; --new begins anew" in second.stream("stderr")
    said = json.dumps(model.asked[-2])
    assert "Keep a number." in said and "x = 41" in said and "I keep it." in said and "Add one." in said

    model.turns = [{"code": "print('x' in globals())"}, {"words": "So."}]
    anew = asking.run(f"{HEAD} --new\nIs it there?")
    assert anew.stream() == "False\n" and "goes on" not in anew.stream("stderr")
    assert "Keep a number." not in json.dumps(model.asked[-2])
    assert len(asking.run("%interp container list").stream().splitlines()) == 2  # a head, and that of the last task


def test_code_of_ones_own(asking: Kernel, model: Model) -> None:
    """`%interp code` is a cell with what the model wrote, for this machine; without a front end it is printed."""
    model.turns = [{"code": "print(6 * 7)"}, {"words": "Done."}]
    asking.run(f"{HEAD} --new -o asked\nMultiply.")

    assert asking.run("%interp code").stream() == "%%interp\nprint(6 * 7)\n"
    asking.run("%%interp\nprint('mine')")
    assert "print(6 * 7)" in asking.run("%interp code").stream()  # of the last task, not of the last cell
    id = asking.run("print(asked.id)").stream().strip()
    assert asking.run(f"%interp code {id}").stream() == "%%interp\nprint(6 * 7)\n"


def test_nobody_to_ask(kernel: Any) -> None:
    """On this machine there is no model: the cell says so, and how to have one."""
    outputs = kernel.run("%%interp --ask\nDraw a line.")

    assert outputs.error is not None and "IPY_CODEINTERP_BASE_URL" in outputs.traceback
