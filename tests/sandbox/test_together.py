"""Cells that go together, in the real sandbox: each is a cell as it would be alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.execution import Display, Result
from ipy_codeinterp.session import Session

pytestmark = pytest.mark.sandbox

DRAWN = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('one')"
LEFT = "import os\nopen(os.path.join(os.environ['OUTPUT_DIR'], 'a.txt'), 'w').write('first')\nos.chdir('/')\nNone"
FORKED = "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\n    print('parent')"


@pytest.fixture
def known(cache_dir: Path, tmp_path: Path) -> dict[str, Any]:
    return {"cache_dir": cache_dir, "data_dir": tmp_path}


def in_turns(known: dict[str, Any], codes: list[str], **how: Any) -> list[Result]:
    async def main() -> list[Result]:
        async with Session(**known) as session:
            many = session.map(codes, together=len(codes), ordered=True, **how)
            return [result async for _, result in many if isinstance(result, Result)]

    return asyncio.run(main())


def test_each_is_a_cell(known: dict[str, Any]) -> None:
    """Names, last values, semicolons, magics, top-level await, exits and tracebacks are a cell's own."""
    codes = {
        "x = 5\nprint('one')\nx": "ok",
        "print('x' in globals(), len(In))\n\n1/0": "error",
        "import sys\nsys.exit(3)": "error",
        "exit()": "ok",
        "def f(:": "error",
        "'quiet';": "ok",
        "%%time\nlen('abc')": "ok",
        "import asyncio\nawait asyncio.sleep(0, 7)": "ok",
        "print('gone')\nfrom IPython.display import clear_output\nclear_output()\nprint('here', end='')": "ok",
        "import pickle\nclass A: pass\npickle.loads(pickle.dumps(A())).__class__ is A": "ok",
        FORKED: "ok",
        "__name__": "ok",
    }
    results = in_turns(known, list(codes))

    assert [result.outcome for result in results] == list(codes.values())
    assert (results[0].stdout, [o.data["text/plain"] for o in shown(results[0])]) == ("one\n", ["5"])
    assert results[1].stdout == "False 2\n"
    assert results[1].error is not None
    assert "line 3" in "".join(results[1].error.traceback)
    assert "In[1]" in "".join(results[1].error.traceback).replace("\x1b[32m", "")
    assert results[2].steps[0].exit_status == 3
    assert results[5].outputs == ()
    assert [shown(results[n])[-1].data["text/plain"] for n in (6, 7, 9, 11)] == ["3", "7", "True", "'__main__'"]
    assert [results[n].stdout for n in (8, 10)] == ["here", "parent\n"]
    assert len({result.native["together"] for result in results}) == 1


def shown(result: Result) -> list[Display]:
    return [output for output in result.outputs if isinstance(output, Display)]


def test_figures_and_files(known: dict[str, Any]) -> None:
    """Figures and files are whose code left them, and a folder that one has gone to is not where the next begins."""
    results = in_turns(known, ["1", DRAWN, LEFT, DRAWN, "import os\nos.getcwd() == '/'"])

    assert [[file.name for file in result.files] for result in results] == [
        [],
        ["figure-1.png"],
        ["a.txt"],
        ["figure-1.png"],
        [],
    ]
    assert shown(results[4])[0].data["text/plain"] == "False"


def test_who_writes_over_a_file(known: dict[str, Any]) -> None:
    """A file that a neighbour has written over is not given away as one's own: that cell runs again, alone."""
    results = in_turns(known, [LEFT, LEFT.replace("first", "second one")])

    assert [(result.files[0].size, result.attempts) for result in results] == [(5, 2), (10, 1)]


def test_one_that_dies(known: dict[str, Any]) -> None:
    """Under a crash those before keep their Results, the one that ran has crashed, those after are run."""
    results = in_turns(known, ["print(1)", "import os\nos._exit(7)", "print(3)", "print(4)"])

    assert [(r.outcome, r.stdout, r.attempts) for r in results] == [
        ("ok", "1\n", 1),
        ("crashed", "", 1),
        ("ok", "3\n", 2),
        ("ok", "4\n", 2),
    ]


def test_one_that_does_not_end(known: dict[str, Any]) -> None:
    """So it is under a time limit, for the one that ran into it."""
    results = in_turns(known, ["print(1)", "print(2)\nwhile True: pass", "print(3)"], timeout=0.7)

    assert [(r.outcome, r.stdout) for r in results] == [("ok", "1\n"), ("limit", "2\n"), ("ok", "3\n")]
    assert results[1].limit is not None
    assert results[1].limit.name == "time"


def test_one_that_wants_too_much(known: dict[str, Any]) -> None:
    """A cell that finds no memory among others is run alone, and has the limit that it has there."""
    results = in_turns(known, ["print(1)", "x = bytearray(2 << 30)", "print(3)"], model="gpt")

    assert [result.outcome for result in results] == ["ok", "limit", "ok"]


def test_one_that_prints_too_much(known: dict[str, Any]) -> None:
    """What is too long loses its middle, and no neighbour anything."""
    results = in_turns(known, ["print('a')", "print('x' * 3_000_000)", "print('b')"])

    assert [result.outcome for result in results] == ["ok"] * 3
    assert (results[0].stdout, results[2].stdout) == ("a\n", "b\n")
    assert 0 < len(results[1].stdout) < 3_000_000
