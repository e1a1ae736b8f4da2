"""`%%interp` runs a cell in an interpreter; `%interp VERB` does the rest. Parse, run, show; nothing else is here."""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.utils._process_common import arg_split
from traitlets import Enum, Float, TraitError, TraitType, Unicode, observe, validate

from ipy_codeinterp import catalog, consent, languages, registry, settings, verbs
from ipy_codeinterp.errors import CodeError, Crashed, LimitReached, NotAllowed
from ipy_codeinterp.execution import ContainerState, Display, Execution, Result, Update
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.notebook import nest
from ipy_codeinterp.notebook.arguments import VERBS, BadUsage, parse, parse_verb, with_arguments
from ipy_codeinterp.notebook.hints import Past, Surroundings, hints
from ipy_codeinterp.notebook.panel import Panel
from ipy_codeinterp.notebook.view import View, is_deterministic, result_html
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import CHOICES, Settings

if TYPE_CHECKING:
    from ipy_codeinterp.chunks import Report
    from ipy_codeinterp.warm import Warming

T = TypeVar("T")

MOST_PAST = 50  # earlier cells that hints look at
MOST_MESSAGE = 2000  # characters of an exception's text
MOST_REMARK = 500  # characters of what a model said instead


class Money(TraitType[Decimal | None, Any]):
    """USD, or None."""

    default_value = None
    info_text = "an amount of US dollars, or None"

    def validate(self, obj: Any, value: Any) -> Decimal | None:
        try:
            return settings.money(value)
        except ValueError:
            self.error(obj, value)


@magics_class
class InterpMagics(Magics):
    """Runs cells in a code interpreter."""

    model = Unicode(help="which interpreter runs a cell that names none: local, claude, gpt").tag(config=True)
    timeout = Float(None, allow_none=True, help="seconds the code may run; None leaves it to the model").tag(
        config=True
    )
    render = Enum(CHOICES["render"], help="auto streams; deterministic emits final outputs once").tag(config=True)
    bridge = Enum(CHOICES["bridge"], help="nest keeps the kernel's event loop running during a cell").tag(config=True)
    isolation = Enum(CHOICES["isolation"], help="auto isolates or refuses; takes effect at %reload_ext").tag(
        config=True
    )
    figure_format = Enum(CHOICES["figure_format"], help="how figures are shown").tag(config=True)
    figure_dpi = Float(None, allow_none=True, help="dots per inch of figures; None leaves it to matplotlib").tag(
        config=True
    )
    policy = Enum(CHOICES["policy"], help="how to choose between offers").tag(config=True)
    budget = Money(help="USD this session may spend on what is billed; None is no limit").tag(config=True)
    warm = Enum(CHOICES["warm"], help="when the local gateway starts; takes effect at %reload_ext").tag(config=True)

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        loaded = settings.read()
        known = loaded.settings
        for line in loaded.refused:
            print(line, file=sys.stderr)  # noqa: T201 - this is the screen
        configured = {name: getattr(known, name) for name in self.class_trait_names(config=True)}
        given = shell.config.get("InterpMagics", {})
        super().__init__(shell, **{name: value for name, value in configured.items() if name not in given})
        self._session = Session(self._settings(known))
        self._session.notebook = notebook_name(shell)
        self._panel: Panel | None = None
        self._warmings: dict[str, Warming] = {}  # by offer
        self._past: deque[Past] = deque(maxlen=MOST_PAST)
        self._name = secrets.token_hex(4)
        self._places = itertools.count(1)

    def _settings(self, known: Settings) -> Settings:
        return known.changed(**{name: getattr(self, name) for name in self.class_trait_names(config=True)})

    @validate("model")
    def _known_model(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name not in consent.bare_names() and "@" not in name:
            raise TraitError(f"unknown model {name!r}: {registry.suggestion(name, consent.bare_names())}")
        return name

    @observe("budget")
    def _new_budget(self, change: Any) -> None:
        if hasattr(self, "_session"):
            self._session.settings = self._session.settings.changed(budget=change["new"])

    # --- life ---

    def open(self) -> None:
        self._html_formatter.for_type(Result, result_html)
        if self._session.settings.warm == "load":
            self._session.start()

    def close(self) -> None:
        self._html_formatter.type_printers.pop(Result, None)
        self._close_panel()
        self._session.close()

    @property
    def _html_formatter(self) -> Any:
        assert self.shell.display_formatter is not None
        return self.shell.display_formatter.formatters["text/html"]

    # --- the magics ---

    @line_cell_magic
    @no_var_expand  # braces and dollars on the line are the user's own
    @with_arguments
    def interp(self, line: str, cell: str | None = None) -> None:
        """Run the cell in an isolated interpreter and show its output while it runs.

        Cells start fresh unless they name a `--container`. `%interp panel` shows calls, cost and latency of this
        session, `%interp doctor` what works on this machine.
        """
        if cell is None:
            self._verb(line)
        else:
            self._cell(line, cell)

    def _cell(self, line: str, cell: str) -> None:
        options = parse(_parser(), line)
        execution = self._execution(options, cell)
        terms = {"max_cost": options.max_cost, "labels": options.label, "cache": not options.no_cache}
        terms |= {"policy": options.policy or self.policy, "critical": options.critical}
        run = self._aside if options.batch else self._over_chunks if options.chunks else self._once
        outcome, error = run(execution, options, terms)
        if options.out:
            self.shell.user_ns[options.out] = outcome
        if error is None:
            return
        if not options.no_raise_error:
            raise error
        self.shell.showtraceback((type(error), error, None))

    def _once(self, execution: Execution, options: Any, terms: dict[str, Any]) -> tuple[Result, CodeError | None]:
        result = self._run(execution, self._session.run, **terms)
        for remark in remarks(execution, result):
            print(remark, file=sys.stderr)  # noqa: T201 - this is the screen
        return result, failure(result, self._surroundings(execution, result))

    def _aside(self, execution: Execution, options: Any, terms: dict[str, Any]) -> tuple[str, None]:
        id = self._session.batch(execution, **terms)
        said = self._session.words_of_batch(id)
        print(f"{said}; %interp batch collect {id} shows what comes of it")  # noqa: T201 - this is the screen
        return id, None

    def _over_chunks(
        self, execution: Execution, options: Any, terms: dict[str, Any]
    ) -> tuple[Report, CodeError | None]:
        from ipy_codeinterp import chunks

        run = partial(chunks.run, self._session, path=options.chunks, checkpoint=options.checkpoint)
        try:
            report = self._run(execution, run, rows=options.rows or chunks.ROWS, **terms)
        except chunks.RangeFailed as error:
            if error.result:
                around = self._surroundings(execution, error.result)
                advice = [safe_text(hint) for hint in hints(error.result.error, error.result.limit, around)]
                error.hint = "\n".join([*advice, error.hint])
            return error.report, error
        print(report)  # noqa: T201 - this is the screen
        return report, None

    def _execution(self, options: Any, cell: str) -> Execution:
        model = options.model or self.model
        if options.model and "@" not in model and model not in consent.bare_names():
            raise BadUsage(f"unknown model {model!r}: {registry.suggestion(model, consent.bare_names())}")
        if options.language not in languages.names():
            raise BadUsage(
                f"unknown language {options.language!r}: {registry.suggestion(options.language, languages.names())}"
            )
        execution = self._session.execution(
            cell,
            model=model,
            language=options.language,
            container=options.container,
            timeout=options.timeout or self.timeout,
            files=options.attach,
            mounts=options.mount,
            packages=options.packages,
            network=options.network,
            kind="task" if options.ask else "code",
            expect=options.expect,
            execute=not options.no_execute,
        )
        return replace(execution, figure_format=self.figure_format, figure_dpi=self.figure_dpi)

    def _run(self, execution: Execution, run: Callable[..., T], **terms: Any) -> T:
        view = View(
            self.shell,
            deterministic=is_deterministic(self.render),
            place=self._place(execution.container),
            facts=self._session.origin(execution),
            author=str(execution.model) if execution.kind == "task" else "",
        )
        try:
            return run(execution, show=view.show, pause=self._pause, **terms)
        except KeyboardInterrupt:
            raise interrupted() from None
        finally:
            view.finish()
            self._past.append(Past.of(execution.body, execution.container))
            if self._panel:
                self._panel.refresh()

    def _place(self, container: str | None) -> str:
        """Where display ids of the code are valid: in its container, else in this cell only."""
        return f"interp-{self._name}-{f'in {container}' if container else next(self._places)}"

    @property
    def _pause(self) -> Callable[[], None] | None:
        return nest.pause if self.bridge == "nest" and nest.is_possible() else None

    def _surroundings(self, execution: Execution, result: Result) -> Surroundings:
        return Surroundings(
            namespace=self.shell.user_ns,
            folder=Path.cwd(),
            past=tuple(self._past)[:-1],  # without this one
            container=execution.container,
            is_new=bool(result.container_new),
            has_network=execution.network,
        )

    # --- verbs ---

    def _verb(self, line: str) -> None:
        words = line.split()
        verb, rest = (words[0], words[1:]) if words else ("help", [])
        if verb.startswith("-"):
            raise BadUsage(f"%interp takes a verb ({', '.join(VERBS)}): code goes into a cell under %%interp {line}")
        if verb not in VERBS:
            raise BadUsage(f"unknown verb {verb!r}: {registry.suggestion(verb, VERBS)}")
        if verb in verbs.VERBS:
            self._session.flush()
            options = parse_verb(verbs.VERBS[verb], list(arg_split(" ".join(rest), posix=True)))
            if verbs.needs_session(verb, options):
                self._with_session(options)
                return
            print(verbs.VERBS[verb].run(self._session.settings, options))  # noqa: T201 - this is the screen
            return
        getattr(self, f"_verb_{verb}")(rest)

    def _with_session(self, options: Any) -> None:
        """The batch: its outputs are shown as those of a cell, and an interrupt ends nothing but the waiting."""
        deterministic = is_deterministic(self.render)
        view = View(self.shell, deterministic=deterministic, place=self._place(None), facts={})
        try:
            said = verbs.with_session(self._session, options, view.show, _progress(view))
        except KeyboardInterrupt:
            raise interrupted("the waiting was stopped; what was put aside goes on in the background") from None
        finally:
            view.finish()
        if said:
            print(said)  # noqa: T201 - this is the screen

    def _verb_help(self, rest: list[str]) -> None:
        _no_more("help", rest)
        print(self.interp.__doc__)  # noqa: T201 - this is the screen
        print(f"%interp VERB   {', '.join(VERBS)}")  # noqa: T201 - this is the screen

    def _verb_panel(self, rest: list[str]) -> None:
        _no_more("panel", rest, "--close")
        self._close_panel()
        if not rest:
            deterministic = is_deterministic(self.render)
            live = has_front_end(self.shell)
            self._panel = Panel(self.shell, lambda: self._session.meter.totals, live=live, deterministic=deterministic)
            self._panel.show()
            panel = self._panel
            self._session.on_settled = lambda _: panel.refresh_soon()

    def _verb_container(self, rest: list[str]) -> None:
        action, names = (rest[0], rest[1:]) if rest else ("list", [])
        if action not in CONTAINER_ACTIONS:
            raise BadUsage(f"unknown action {action!r}: {registry.suggestion(action, CONTAINER_ACTIONS)}")
        if action == "list":
            _no_more("container list", names)
            print(containers_table(self._session.containers()))  # noqa: T201 - this is the screen
            return
        if len(names) != 1:
            raise BadUsage(f"%interp container {action} NAME: names one container (%interp container list)")
        self._session.end_container(names[0])
        print(CONTAINER_ACTIONS[action].format(name=names[0]))  # noqa: T201 - this is the screen

    def _verb_models(self, rest: list[str]) -> None:
        from ipy_codeinterp import elsewhere, probe

        if "--warm" in rest:
            self._verb_warm(rest)
            return
        names = [word for word in rest if not word.startswith("-")]
        if len(names) > 1:
            raise BadUsage("%interp models NAME: names one interpreter (%interp models lists them)")
        _no_more("models", [word for word in rest if word not in names], "--probe", "--json", "--warm")
        folder, as_json = self._session.settings.data_dir, "--json" in rest
        if "--probe" not in rest:
            print(elsewhere.listed(self._session.settings, *names, as_json=as_json))  # noqa: T201 - this is the screen
            return
        if self._session.is_replay:
            raise NotAllowed("a replay asks nobody how it is", hint="unset IPY_CODEINTERP_REPLAY, and load again")
        try:
            report = probe.examine(self._session, names[0] if names else self.model)
        except KeyboardInterrupt:
            raise interrupted() from None
        print(probe.as_json(report) if as_json else probe.text(report))  # noqa: T201 - this is the screen
        probe.keep(folder, report)

    def _verb_warm(self, rest: list[str]) -> None:
        """`%interp models NAME --warm`: one call now, or in the background for as long as is said."""
        from ipy_codeinterp import warm

        def add(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("name", nargs="?", default=self.model)
            warm.add_arguments(parser)
            parser.add_argument("--stop", action="store_true")

        options = parse_verb(verbs.Verb("models", "keep an interpreter warm", add, lambda *_: ""), rest)
        name = str(self._session.offer(options.name))
        if options.stop:
            print(self._stopped(name))  # noqa: T201 - this is the screen
            return
        plan, most = warm.planned(self._session, options)
        print(plan)  # noqa: T201 - this is the screen
        if plan.every is None:
            try:
                warm.run(self._session, plan, most)
            except KeyboardInterrupt:
                raise interrupted() from None
            return
        self._stopped(name)
        self._warmings[name] = warm.begin(self._session, plan, most)
        print(f"it ends by itself; %interp models {name} --warm --stop ends it now")  # noqa: T201 - this is the screen

    def _stopped(self, name: str) -> str:
        """End the warming of that offer, and say what came of it."""
        warming = self._warmings.pop(name, None)
        if warming is None:
            return f"{name} is not being warmed"
        warming.stop()
        return str(warming)

    def _verb_doctor(self, rest: list[str]) -> None:
        from ipy_codeinterp import doctor

        _no_more("doctor", [word for word in rest if word.startswith("-")], "--live", "--json")
        named = [word for word in rest if not word.startswith("-")]
        findings = doctor.examine(self._session.settings.live, named, live="--live" in rest, tell=_tell)
        print(doctor.as_json(findings) if "--json" in rest else doctor.report(findings))  # noqa: T201 - this is the screen

    def _verb_enable(self, rest: list[str]) -> None:
        """`%interp enable anthropic`: from now on `claude` means that provider, here and in later sessions."""
        name = _one("enable", rest)
        self._session.settings = self._session.settings.changed(enabled=consent.enable(name).enabled)
        found = catalog.provider(name)
        print(f"{name} is enabled: names without a provider mean {found.title}, wherever it has them")  # noqa: T201 - this is the screen

    def _verb_disable(self, rest: list[str]) -> None:
        name = _one("disable", rest)
        self._session.settings = self._session.settings.changed(enabled=consent.disable(name).enabled)
        print(f"{name} is no longer enabled: only @{name} asks it")  # noqa: T201 - this is the screen

    def _verb_record(self, rest: list[str]) -> None:
        from ipy_codeinterp.notebook import recorder

        _no_more("record", rest, "--json")
        told = recorder.state(self._session.settings, self._session.recording)
        print(recorder.state_json(told) if rest else recorder.state_text(told))  # noqa: T201 - this is the screen

    def _close_panel(self) -> None:
        self._session.on_settled = lambda _: None
        if self._panel:
            self._panel.close()
            self._panel = None


# What `%interp container` can do, and what it says then.
CONTAINER_ACTIONS = {
    "list": "",
    "restart": "container {name!r} is new: its variables are gone",
    "delete": "container {name!r} is deleted",
}


def containers_table(states: Sequence[ContainerState]) -> str:
    """One row a container, or a line that there is none."""
    if not states:
        return "no containers: %%interp --container NAME makes one"
    told = [(state.name, state.language, state.describe(), f"{state.memory >> 20} MB") for state in states]
    rows = [("NAME", "LANGUAGE", "STATE", "MEMORY"), *told]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _parser() -> MagicArgumentParser:
    """The grammar that `@magic_arguments` has built."""
    magic: Any = InterpMagics.interp
    return cast(MagicArgumentParser, magic.parser)


def _one(verb: str, rest: list[str]) -> str:
    if len(rest) != 1:
        raise BadUsage(f"%interp {verb} NAME: names one provider ({', '.join(catalog.providers())})")
    return rest[0]


def _tell(said: str) -> None:
    print(said, file=sys.stderr)  # noqa: T201 - this is the screen


def _no_more(verb: str, rest: list[str], *allowed: str) -> None:
    for word in rest:
        if word not in allowed:
            known = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise BadUsage(f"unknown argument {word!r} of %interp {verb}: {known}")


def _progress(view: View) -> Callable[[str], None]:
    """Shows how far it is in one place."""
    texts = itertools.count()

    def told(text: str) -> None:
        data = {"text/plain": text}
        view.show(Update("batch", data) if next(texts) else Display(data, display_id="batch"))

    return told


def has_front_end(shell: InteractiveShell) -> bool:
    """Whether somebody is there to whom a widget can be shown: Jupyter Server and VS Code leave their marks."""
    marks = ("JPY_SESSION_NAME" in os.environ, "__vsc_ipynb_file__" in shell.user_ns, "COLAB_GPU" in os.environ)
    return hasattr(shell, "kernel") and any(marks)


def notebook_name(shell: InteractiveShell) -> str | None:
    """What the notebook is called, where its front end says so."""
    said = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return Path(str(said)).name if said else None


def interrupted(said: str = "the run was stopped; what it had printed is kept") -> KeyboardInterrupt:
    """A KeyboardInterrupt that shows itself without our frames."""
    error = KeyboardInterrupt(said)
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {error}"]  # type: ignore[attr-defined]
    return error


def remarks(execution: Execution, result: Result) -> Iterator[str]:
    """What the user should know of how a model went about it."""
    if execution.kind == "code" and result.verbatim is False:
        yield f"{result.offer} changed the code before it ran: `result.steps` has what ran"
    if execution.execute and not result.steps and result.outcome in ("ok", "unknown"):
        said = f": {safe_text(result.text.strip())[:MOST_REMARK]}" if execution.kind == "code" and result.text else ""
        yield f"{result.offer} answered without running any code{said}"
    if result.stop in STOPPED:
        yield f"{result.offer} {STOPPED[result.stop]}"


# Why a model stopped before its end, in words.
STOPPED = {
    "length": "stopped at the most tokens that a reply may have: allow more with --max-cost, or ask for less",
    "context": "stopped, since all that was said no longer fits: ask for less, or begin anew",
    "refused": "would not do this",
    "filtered": "was stopped by its provider's filter",
}


def failure(result: Result, around: Surroundings) -> CodeError | None:
    """The exception a cell fails with, for a Result that is not ok; `unknown` is not a failure."""
    advice = [safe_text(hint) for hint in hints(result.error, result.limit, around)]
    traceback = [safe_text(line) for line in result.error.traceback] if result.error else []
    if result.outcome == "limit":
        return LimitReached(result.ending, traceback=[*traceback, result.ending], hints=advice)
    if result.outcome == "crashed":
        return Crashed(result.ending)
    if result.outcome == "error":
        error = result.error
        message = safe_text(f"{error.ename}: {error.evalue}" if error else "the code failed")[:MOST_MESSAGE]
        return CodeError(message, traceback=traceback, hints=advice)
    return None
