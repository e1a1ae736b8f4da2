"""The first line of a cell: what it may say, and how a mistake on it is answered."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from ipy_codeinterp.notebook.arguments import FLAGS, BadUsage, parse, with_arguments


@with_arguments
def magic(line: str) -> None:
    """Run the cell."""


def parsed(line: str) -> argparse.Namespace:
    return parse(magic.parser, line)


def test_nothing_said() -> None:
    """A line without flags leaves everything to the settings."""
    assert vars(parsed("")) == {
        "model": None,
        "repeat": None,
        "language": None,
        "timeout": None,
        "container": None,
        "out": None,
        "attach": [],
        "mount": [],
        "network": False,
        "policy": None,
        "critical": False,
        "max_cost": None,
        "label": {},
        "no_cache": False,
        "ask": False,
        "expect": None,
        "new": False,
        "no_execute": False,
        "interactive": False,
        "bg": False,
        "batch": False,
        "packages": [],
        "chunks": None,
        "rows": None,
        "checkpoint": None,
        "no_raise_error": False,
        "allow_secrets": False,
        "debug": False,
        "inputs": [],
        "get": [],
        "source": None,
        "save": None,
        "force": False,
        "dry_run": False,
    }


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("-m claude", "model", "claude"),
        ("--model=claude@local", "model", "claude@local"),
        ("-l py", "language", "py"),
        ("-t 2.5", "timeout", 2.5),
        ("--timeout 1e3", "timeout", 1000.0),
        ("--container 'my box'", "container", "my box"),
        ("-o result", "out", "result"),
        ("--out größe", "out", "größe"),
        ("--attach a.csv --attach 'b c.csv'", "attach", ["a.csv", "b c.csv"]),
        ("--attach my_file.csv", "attach", ["my_file.csv"]),
        ("--attach={x}$HOME", "attach", ["{x}$HOME"]),
        ("--network", "network", True),
        ("--interactive", "interactive", True),
        ("--in df,params --in 'x, df'", "inputs", ["df", "params", "x"]),
        ("--get größe", "get", ["größe"]),
        ("--from 'my code.py'", "source", "my code.py"),
        ("--save out --force", "force", True),
        ("--dry_run", "dry_run", True),
        ("--chunks 'my data.csv'", "chunks", "my data.csv"),
        ("--chunks a --rows 10_000", "rows", 10_000),
        ("--chunks a --rows 10,000 --checkpoint kept", "checkpoint", "kept"),
        ("--no-raise-error", "no_raise_error", True),
        ("--no_raise_error", "no_raise_error", True),
    ],
)
def test_flag(line: str, name: str, value: Any) -> None:
    """A flag is understood in short, long, with =, quoted, and with _ for -."""
    assert getattr(parsed(line), name) == value


def test_lines_do_not_mix() -> None:
    """What one cell attaches is not attached to the next."""
    parsed("--attach a.csv")

    assert parsed("--attach b.csv").attach == ["b.csv"]
    assert parsed("").attach == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--modle claude", "unknown flag --modle: did you mean --model?"),
        ("--mod claude", "unknown flag --mod: did you mean --model?"),
        ("--no_raise_eror", "unknown flag --no-raise-eror: did you mean --no-raise-error?"),
        ("--containr=a", "unknown flag --containr: did you mean --container?"),
        ("--xyzzy", "unknown flag --xyzzy: known: "),
        ("--", "unknown flag --: "),
        ("-x", "-x"),
        ("claude", "claude"),
        ("--model", "expected one argument"),
        ("--no-raise-error=1", "ignored explicit argument '1'"),
        ("--attach 'a", "No closing quotation: --attach 'a"),
        *[(f"--timeout={value}", "not a number of seconds") for value in ("soon", "0", "-1", "nan", "inf", "1e999")],
        *[(f"--chunks a --rows={value}", "not a number of rows") for value in ("0", "-1", "many", "1e3", "²", "")],
        ("--rows 5", "--rows: it goes with --chunks"),
        ("--checkpoint kept", "--checkpoint: it goes with --chunks"),
        ("--allow-secrets --batch", "--allow-secrets: it does not go with --batch"),
        ("--batch --chunks a.csv", "--batch: it does not go with --chunks"),
        *[(f"--out {name}", "not a variable's name") for name in ("1a", "a.b", "a-b", "class", "None")],
        ("--out ''", "not a variable's name"),
        *[(f"--in {names}", "not a variable's name") for names in ("a,", "a.b", "df[0]", "class", "''")],
        ("--get a-b", "--get a-b: a-b is not a variable's name"),
        ("--force", "--force: it goes with --save"),
        *[(f"--batch {flag}", "does not go with --batch") for flag in ("--get x", "--save x", "--dry-run")],
        ("--bg --dry-run", "--dry-run: it does not go with --bg"),
        ("--repeat 3 --save x", "--save: it does not go with --repeat, or several models"),
        ("--chunks a.csv --get x", "--get: it does not go with --chunks"),
    ],
)
def test_mistake(line: str, words: str) -> None:
    """A mistake is one line that says what is wrong, with the nearest right spelling."""
    with pytest.raises(BadUsage) as caught:
        parsed(line)

    assert words in str(caught.value)
    assert caught.value._render_traceback_() == [f"UsageError: {caught.value}"]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [names for names, _ in FLAGS], ids=lambda names: names[-1])
def test_help(names: tuple[str, ...]) -> None:
    """Every flag is shown by `%%interp?`."""
    assert all(name in magic.__doc__ for name in names)
