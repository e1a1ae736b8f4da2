"""Verbs of both faces: one grammar, one answer, and clear words for what is wrong."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp import __main__, verbs
from ipy_codeinterp.bench.verbs import SHARED as VERBS
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Cost, Usage
from ipy_codeinterp.notebook.arguments import BadUsage, parse_verb
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import ledger, retention
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Origin

USAGE = """Since,Model,Num Model Requests,Input Tokens,Output Tokens,Cost (USD)
2026-01-01,claude,2,25,40,"$1,000.50"
2026-01-02,claude,1,0,0,
2026-01-02,gpt,7,1,2,0.5
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a ledger: one call that cost 0.25, and one of unknown cost, at most 0.5."""
    found = Settings(data_dir=tmp_path)
    store = Database(verbs.store_of(found), limit=1 << 24)
    known = Attempt.begun("att_1", "run_1", "test", "claude", origin=Origin("s", "a.ipynb", {"task": "x"}))
    unknown = Attempt.begun("att_2", "run_2", "test", "claude", reserved=Decimal("0.5"))
    for attempt in (known, unknown):
        store.write(lambda connection, attempt=attempt: ledger.reserve(connection, attempt))
    done = known.settled(outcome="ok", seconds=1.0, cost=Cost(Decimal("0.25")), usage=Usage(10, 20))
    lost = unknown.settled(outcome="cancelled")
    for attempt in (done, lost):
        store.write(lambda connection, attempt=attempt: ledger.settle(connection, attempt))
    store.close()
    return found


def say(settings: Settings, name: str, *words: str) -> str:
    return VERBS[name].run(settings, parse_verb(VERBS[name], list(words)))


@pytest.mark.parametrize("name", VERBS)
def test_both_faces(name: str) -> None:
    """The shell knows the same verbs with the same arguments as the notebook."""
    (subparsers,) = (a for a in __main__.parser()._actions if isinstance(a, argparse._SubParsersAction))
    alone = argparse.ArgumentParser()
    VERBS[name].add(alone)

    assert flags(subparsers.choices[name]) == flags(alone)


def flags(parser: argparse.ArgumentParser) -> set[tuple[str, ...]]:
    return {tuple(action.option_strings) or (action.dest,) for action in parser._actions}


OF_ONE = {"show": (), "export": ("run_1", "run_1.md")}  # what says which Result is wanted


@pytest.mark.parametrize("name", [name for name in VERBS if name != "bench"])  # which runs code
def test_nothing_yet(tmp_path: Path, name: str) -> None:
    """Where nothing was ever run there is an answer too, and no file is made for it."""
    nothing = Settings(data_dir=tmp_path / "new")
    if name in OF_ONE:
        with pytest.raises(UnknownName):
            say(nothing, name, *OF_ONE[name])
    else:
        assert say(nothing, name)
    assert not (tmp_path / "new").exists()


def test_stats(settings: Settings) -> None:
    """Figures of all calls, by group and as JSON."""
    assert ">= $0.2500" in say(settings, "stats")
    assert "a.ipynb" in say(settings, "stats", "--by", "notebook, label")
    assert json.loads(say(settings, "stats", "--json"))[0]["calls"] == 2
    assert json.loads(say(settings, "stats", "--json", "--since", "1h"))[0]["calls"] == 2


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_export(settings: Settings, tmp_path: Path, suffix: str) -> None:
    """Every call goes into a file of the form that its name asks for."""
    path = tmp_path / f"calls{suffix}"

    assert say(settings, "stats", "--export", str(path)) == f"2 calls in {path}"
    assert path.read_text().count("run_") == 2


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--by", "modell"], UnknownName, "modell"),
        (["--since", "yesterday"], InvalidInput, "yesterday"),
        (["--export", "calls.xlsx"], InvalidInput, "calls.xlsx"),
        (["--export", "/dev/null/x.csv"], InvalidInput, "cannot be written"),
        (["--against", "/nowhere.csv"], InvalidInput, "cannot be read"),
        (["--sinse", "1d"], BadUsage, "--sinse"),
        (["more"], BadUsage, "more"),
    ],
)
def test_wrong(settings: Settings, words: list[str], error: type[Exception], said: str) -> None:
    """What is wrong is named, with what would be right."""
    with pytest.raises(error, match=said):
        say(settings, "stats", *words)


def test_against(settings: Settings, tmp_path: Path) -> None:
    """A vendor's export is summed by model beside the ledger, whatever its columns are called exactly."""
    export = tmp_path / "usage.csv"
    export.write_text(USAGE.replace("Cost (USD)", "Cost USD"))

    lines = [line.split() for line in say(settings, "stats", "--against", str(export)).splitlines()]

    assert lines[1:4] == [
        ["claude", "ledger", "2", "10", "20", "$0.250000"],
        ["vendor", "3", "25", "40", "$1000.500000"],
        ["difference", "1", "15", "20", "$1000.250000"],
    ]
    assert lines[4] == ["gpt", "ledger", "0", "0", "0", "$0.000000"]


TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
# The first line of what vendors' consoles export, and lines in the form that they have.
EXPORTS = {
    "OpenAI, usage": (
        "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,model,batch,input_tokens,"
        "output_tokens,input_cached_tokens",
        [
            f"{{epoch}},0,{TODAY}T00:00:00+00:00,,proj_1,1,claude-2026-04-14,False,6,9,2",
            f"{{epoch}},0,{TODAY}T00:00:00+00:00,,proj_1,1,claude-2026-04-14,True,4,9,0",
        ],
        ["2", "10", "18", "-"],
    ),
    "OpenAI, cost": (
        "start_time,end_time,amount_value,amount_currency,line_item,project_id",
        [
            '{epoch},0,0.10,usd,"claude-2026-04-14, input",proj_1',
            '{epoch},0,0.15,usd,"claude-2026-04-14, output",proj_1',
        ],
        ["-", "-", "-", "$0.250000"],
    ),
    "Anthropic, usage": (
        "usage_date_utc,model_version,api_key,usage_type,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
        "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count",
        [f"{TODAY},claude-20260929,key,standard,5,1,1,3,20,0"],
        ["-", "10", "20", "-"],
    ),
    "Anthropic, cost": (
        "usage_date_utc,model,workspace,usage_type,token_type,cost_usd,cost_type",
        [f"{TODAY},Claude,Default,message,input,0.05,token_usage", f"{TODAY},Claude,Default,message,output,0.20,token"],
        ["-", "-", "-", "$0.250000"],
    ),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_against_a_console(settings: Settings, tmp_path: Path, kind: str) -> None:
    """A snapshot's day, a line of a bill and a title in words are the same model, split tokens are added up, and the
    days are said."""
    head, rows, vendor = EXPORTS[kind]
    export, epoch = tmp_path / "usage.csv", int(datetime.fromisoformat(f"{TODAY}T00:00:00+00:00").timestamp())
    export.write_text("\n".join([head, *(row.replace("{epoch}", str(epoch)) for row in rows)]))

    lines = [line.split() for line in say(settings, "stats", "--against", str(export)).splitlines()]

    assert lines[1:3] == [["claude", "ledger", "2", "10", "20", "$0.250000"], ["vendor", *vendor]]
    assert lines[4:] == [[TODAY, "to", f"{TODAY},", "UTC"]]


def test_what_is_older(settings: Settings) -> None:
    """Attempts that were too old to be kept each are told as the sums that are left of them."""
    store = Database(verbs.store_of(settings), limit=1 << 24)
    store.write(lambda connection: retention.roll_up(connection, datetime.now(UTC) + timedelta(days=1))).result()
    store.close()

    assert say(settings, "stats").splitlines()[-1] == f"{TODAY[:7]}, as sums: 1 attempt, 1 ok, $0.2500"
    assert "as sums" not in say(settings, "stats", "--since", "1d")


def test_only_the_days_of_the_export(settings: Settings, tmp_path: Path) -> None:
    """Calls of other days than those of the export are not beside it."""
    export = tmp_path / "usage.csv"
    export.write_text("date,model,cost\n2020-01-01,claude,1\n2020-01-31,claude,1\n")

    lines = [line.split() for line in say(settings, "stats", "--against", str(export)).splitlines()]

    assert lines[1] == ["claude", "ledger", "0", "0", "0", "$0.000000"]
    assert lines[-1] == ["2020-01-01", "to", "2020-01-31,", "UTC"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a,b\n1,2\n", "no usage export"), ("", "no usage export"), (USAGE.replace("25", "many"), "line 2")],
    ids=["columns", "empty", "numbers"],
)
def test_no_export(settings: Settings, tmp_path: Path, text: str, said: str) -> None:
    """A file that is no usage export is refused by what is wrong with it."""
    export = tmp_path / "usage.csv"
    export.write_text(text)

    with pytest.raises(InvalidInput, match=said):
        say(settings, "stats", "--against", str(export))


def test_budget(settings: Settings) -> None:
    """What is held for a call of unknown cost is shown, until somebody says what it was."""
    said = say(settings, "budget")
    assert "$0.5000 held" in said
    assert "unknown: att_2" in said

    assert say(settings, "budget", "--settle", "att_2", "0.125") == "att_2 has cost $0.125"

    said = say(settings, "budget")
    assert ("$0.3750 spent" in said, "unknown" in said) == (True, False)
    with pytest.raises(UnknownName, match="att_2"):
        say(settings, "budget", "--settle", "att_2", "1")
    with pytest.raises(InvalidInput, match="USD"):
        say(settings, "budget", "--settle", "att_2", "much")
