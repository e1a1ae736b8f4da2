"""The grammar of `%%interp`'s first line. To add a flag, add a row to FLAGS; docs/magics.md must mention it."""

from __future__ import annotations

import argparse
import keyword
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser, argument, argument_group, magic_arguments
from IPython.utils._process_common import arg_split

from ipy_codeinterp import catalog, consent, registry
from ipy_codeinterp.languages import LANGUAGES
from ipy_codeinterp.notebook.groups import GROUPS, group_of
from ipy_codeinterp.settings import CHOICES

FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-m", "--model"),
        {"metavar": "NAME", "help": "which interpreter runs the cell: local, claude, gpt; several with commas compare"},
    ),
    (("--repeat",), {"metavar": "N", "help": "run it N times and say how often, how fast and how alike"}),
    (("-l", "--language"), {"metavar": "NAME", "help": f"language: {', '.join(LANGUAGES)}"}),
    (("-t", "--timeout"), {"metavar": "S", "help": "seconds the code may run"}),
    (("--container",), {"metavar": "NAME", "help": "keep variables in this container between cells"}),
    (("-o", "--out"), {"metavar": "NAME", "help": "put the Result into this variable"}),
    (
        ("--attach",),
        {
            "metavar": "PATH",
            "action": "append",
            "default": [],
            "help": "lay a file into the working directory, by its name (may be given several times)",
        },
    ),
    (
        ("--in",),
        {
            "metavar": "NAMES",
            "action": "append",
            "default": [],
            "dest": "inputs",
            "help": "send these variables along, with commas between: the code finds them under their names",
        },
    ),
    (
        ("--get",),
        {
            "metavar": "NAMES",
            "action": "append",
            "default": [],
            "help": "bring these variables of the code back into the notebook, with commas between",
        },
    ),
    (("--from",), {"metavar": "PATH", "dest": "source", "help": "take the code from a file: %%interp --from PATH"}),
    (("--save",), {"metavar": "DIR", "help": "write the files and figures that the run leaves into this folder"}),
    (("--force",), {"action": "store_true", "help": "write over what is there; with --save"}),
    (
        ("--dry-run",),
        {"action": "store_true", "help": "show what would be sent and what it may cost, and send nothing"},
    ),
    (
        ("--mount",),
        {
            "metavar": "DIR",
            "action": "append",
            "default": [],
            "help": "let the code read this folder where it lies, if the setting `mounts` allows it",
        },
    ),
    (
        ("--network",),
        {
            "action": "store_true",
            "help": "let the code speak to public addresses, if the setting `network` allows it",
        },
    ),
    (
        ("--with",),
        {
            "metavar": "PACKAGE",
            "action": "append",
            "default": [],
            "dest": "packages",
            "help": 'install this package for the code, wheels only, from your index: "polars>=1"',
        },
    ),
    (("--policy",), {"metavar": "NAME", "help": f"how to choose between offers: {', '.join(CHOICES['policy'])}"}),
    (("--critical",), {"action": "store_true", "help": "it matters most that this is right (policy hybrid)"}),
    (("--max-cost",), {"metavar": "USD", "help": "refuse what could cost more than this"}),
    (
        ("--label",),
        {
            "metavar": "NAME=VALUE",
            "action": "append",
            "default": [],
            "help": "keep this with the call in the ledger, for `%%interp stats --by label`",
        },
    ),
    (("--no-cache",), {"action": "store_true", "help": "run it, also where an equal cell was paid for before"}),
    (
        ("--chunks",),
        {"metavar": "PATH", "help": "run the cell on every range of this CSV file's rows; it sees them as `chunk`"},
    ),
    (("--rows",), {"metavar": "N", "help": "rows of a range (default: 10000); with --chunks"}),
    (("--checkpoint",), {"metavar": "DIR", "help": "keep what is done in this folder, and go on there; with --chunks"}),
    (("--ask",), {"action": "store_true", "help": "the cell is a task in words: the model writes the code"}),
    (("--new",), {"action": "store_true", "help": "begin anew: else a task goes on from the last one; with --ask"}),
    (("--expect",), {"metavar": "WORDS", "help": 'what the code is to print: "a JSON list of primes"; with --ask'}),
    (("--no-execute",), {"action": "store_true", "help": "only show the code, run nothing; with --ask"}),
    (("--bg",), {"action": "store_true", "help": "run it in the background: its output lands under this cell"}),
    (("--batch",), {"action": "store_true", "help": "put the cell aside: it is run when there is room for it"}),
    (
        ("--debug",),
        {"action": "store_true", "help": "where it fails, say all that is known: attempts, offers, our own traceback"},
    ),
    (
        ("--allow-secrets",),
        {
            "action": "store_true",
            "help": "send the cell although it holds what looks like a key; in outputs and the journal it stays masked",
        },
    ),
    (
        ("--interactive",),
        {
            "action": "store_true",
            "help": "draw figures of plotly, altair and bokeh so that they can be hovered over and zoomed",
        },
    ),
    (
        ("--no-raise-error",),
        {"action": "store_true", "help": "show an error of the code, but do not fail the cell with it"},
    ),
)

MOST_REPEAT = 500
MOST_TIMEOUT = 24 * 3600  # seconds


class BadUsage(UsageError):
    """A line that cannot be understood.

    A subclass, since IPython only prints a plain UsageError: the cell would pass for a runner such as nbval.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"UsageError: {self}"]


def with_arguments(function: Callable[..., Any]) -> Any:
    """Decorate a magic with FLAGS, so that `%%interp?` shows them, in groups."""
    for title in reversed([*GROUPS, None]):
        rows = [row for row in FLAGS if group_of(row[0]) == title]
        for names, options in reversed(rows):
            function = argument(*names, **options)(function)
        if rows:
            function = argument_group(title or "other")(function)
    decorated = magic_arguments()(function)
    decorated.parser.allow_abbrev = False  # `--mod` would silently change its meaning with the next flag
    return decorated


def parse(parser: MagicArgumentParser, line: str) -> argparse.Namespace:
    """The flags on `line`. Raises `BadUsage` in one line, with the nearest right spelling."""
    words = [_dashed(word) for word in split(line)]
    known = [name for names, _ in FLAGS for name in names]
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            raise BadUsage(f"unknown flag {flag}: {registry.suggestion(flag, known)}")
    try:
        options = parser.parse_args(words)
    except UsageError as error:
        raise BadUsage(f"{error} ({_advice(words)})") from None
    options.timeout = _seconds(options.timeout)
    options.inputs, options.get = _names("in", options.inputs), _names("get", options.get)
    options.label = dict(_label(said) for said in options.label)
    options.rows = _rows(options.rows)
    options.repeat = _repeat(options.repeat)
    if options.force and options.save is None:
        raise BadUsage("--force: it goes with --save DIR")
    for name, other in ((name, other) for other, names in OF_ONE_RUN.items() for name in names):
        if getattr(options, name) and getattr(options, other):
            raise BadUsage(f"--{name.replace('_', '-')}: it does not go with --{other}")
    for name in ("rows", "checkpoint"):
        if getattr(options, name) is not None and options.chunks is None:
            raise BadUsage(f"--{name}: it goes with --chunks PATH")
    for name, is_given in (
        ("expect", options.expect is not None),
        ("no-execute", options.no_execute),
        ("new", options.new),
    ):
        if is_given and not options.ask:
            raise BadUsage(f"--{name}: it goes with --ask")
    if options.ask and options.chunks is not None:
        raise BadUsage("--ask: it does not go with --chunks")
    if options.interactive and (options.bg or options.batch):
        raise BadUsage("--interactive: it does not go with --bg or --batch; %interp show ID --interactive comes after")
    if options.allow_secrets and options.batch:
        raise BadUsage("--allow-secrets: it does not go with --batch, which would keep the cell as it is")
    if options.batch and options.chunks is not None:
        raise BadUsage("--batch: it does not go with --chunks")
    if options.bg and (options.batch or options.chunks is not None):
        raise BadUsage("--bg: it does not go with --batch or --chunks")
    alone = next((f"--{name}" for name in ALONE if getattr(options, name)), None)
    if alone and is_comparison(options):
        raise BadUsage(f"{alone}: it does not go with --repeat, or several models")
    check_variable(options.out)
    return options


# Flags that need a run's end, or are in place of it, by the flag that knows none; of a job `%interp wait` is one.
OF_ONE_RUN = {
    "batch": ("get", "save", "dry_run"),
    "chunks": ("get", "save", "dry_run"),
    "bg": ("dry_run",),
}
ALONE = ("chunks", "batch", "bg", "container", "get", "save")  # flags of a cell that one offer runs once


def models(options: argparse.Namespace) -> list[str]:
    """The models that a line names."""
    return [name.strip() for name in (options.model or "").split(",") if name.strip()]


def is_comparison(options: argparse.Namespace) -> bool:
    """Whether the cell is run more than once, to be compared."""
    return len(models(options)) > 1 or options.repeat is not None


def check_variable(name: str | None) -> None:
    """Raises `BadUsage` for an `--out` that no variable can be called."""
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise BadUsage(f"--out {name}: not a variable's name")


class Grammar(Protocol):
    """What a verb says of its arguments."""

    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def add(self) -> Callable[[argparse.ArgumentParser], None]: ...


def parse_verb(verb: Grammar, words: list[str]) -> argparse.Namespace:
    """The arguments of a verb. Raises `BadUsage` in one line."""
    return verb_parser(verb).parse_args(words)


def verb_parser(verb: Grammar) -> argparse.ArgumentParser:
    """The grammar of a verb."""
    parser = _Parser(prog=f"%interp {verb.name}", description=verb.help, allow_abbrev=False, add_help=False)
    parser.add_argument("--help", action="store_true", help="say this")
    verb.add(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        actions = [action for action in self._actions if action.dest != "help"]
        taken = [name for action in actions for name in action.option_strings or [str(action.metavar)]]
        raise BadUsage(f"{self.prog}: {message} (it takes {', '.join(taken) or 'nothing more'})")


def _advice(words: list[str]) -> str:
    """Somebody who names a model without its flag is told the flag; who writes code or a variable, where it goes."""
    if len(words) != 1 or words[0].startswith("-"):
        model = next((word for word in words if word in catalog.profiles()), None)
        return f"did you mean --model {model}?" if model else "%%interp? shows the flags"
    word = words[0]
    if word.partition("@")[0] in consent.bare_names():
        return f"did you mean --model {word}?"
    if word.isidentifier() and not keyword.iskeyword(word):
        return f"code goes below this line; the variable {word} is sent with --in {word}"
    return "code goes below this line"


def split(line: str) -> list[str]:
    """The words of a line, quoted as in a shell. Raises `BadUsage`."""
    try:
        return list(arg_split(line, posix=True))
    except ValueError as error:
        raise BadUsage(f"{error}: {line.strip()}") from None


def _dashed(word: str) -> str:
    """`--no_raise_error` is `--no-raise-error`; values are left alone."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _label(said: str) -> tuple[str, str]:
    name, equals, value = said.partition("=")
    if not name or not equals:
        raise BadUsage(f"--label {said}: write NAME=VALUE")
    return name, value


def _names(flag: str, said: list[str]) -> list[str]:
    """Each name once, as they come."""
    names = [name.strip() for each in said for name in each.split(",")]
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise BadUsage(f"--{flag} {','.join(said)}: {name or 'nothing'} is not a variable's name")
    return list(dict.fromkeys(names))


def _rows(said: str | None) -> int | None:
    if said is None:
        return None
    number = said.replace("_", "").replace(",", "")
    if not (number.isascii() and number.isdigit() and int(number)):
        raise BadUsage(f"--rows {said}: not a number of rows")
    return int(number)


def _repeat(said: str | None) -> int | None:
    if said is not None and (not said.isdecimal() or not 1 <= int(said) <= MOST_REPEAT):
        raise BadUsage(f"--repeat {said}: not a number of runs from 1 to {MOST_REPEAT}")
    return None if said is None else int(said)


def _seconds(said: str | None) -> float | None:
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_TIMEOUT:
        raise BadUsage(f"--timeout {said}: not a number of seconds up to {MOST_TIMEOUT} (a day)")
    return seconds
