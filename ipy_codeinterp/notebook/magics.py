"""`%%interp` runs a cell in an interpreter; `%interp VERB` does the rest. Here: what is configured, loaded and said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser
from traitlets import Bool, Enum, Float, Int, TraitError, TraitType, Unicode, validate

from ipy_codeinterp import consent, registry, settings
from ipy_codeinterp.errors import InterpError, InvalidInput
from ipy_codeinterp.execution import Result
from ipy_codeinterp.notebook import cell as cells
from ipy_codeinterp.notebook import detail, misplaced, nest, own_verbs, source
from ipy_codeinterp.notebook.arguments import parse, with_arguments
from ipy_codeinterp.notebook.completion import Completion
from ipy_codeinterp.notebook.configured import Configured
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.view import result_html
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import CHOICES

AT_RELOAD = ("isolation", "warm")  # settings that a running session cannot change


class Setting(TraitType[Any, Any]):
    """A trait that takes what the setting of its name takes."""

    default_value = None
    info_text = "what docs/settings.md says of it"

    def validate(self, obj: Any, value: Any) -> Any:
        name = str(self.name)
        try:
            return getattr(settings.Settings().changed(**{name: value}), name)
        except InvalidInput as error:
            raise TraitError(f"{error}: {error.hint}") from None


@magics_class
class InterpMagics(Magics):
    """Runs cells in a code interpreter."""

    model = Unicode(help="which interpreter runs a cell that names none: local, claude, gpt").tag(config=True)
    timeout = Float(None, allow_none=True, help="seconds the code may run; None leaves it to the model").tag(
        config=True
    )
    render = Enum(CHOICES["render"], help="auto streams; deterministic emits final outputs once").tag(config=True)
    footer = Bool(help="whether a line under each cell says who ran it, for how long and for how much").tag(config=True)
    bridge = Enum(CHOICES["bridge"], help="nest keeps the kernel's event loop running during a cell").tag(config=True)
    isolation = Enum(CHOICES["isolation"], help="auto isolates or refuses; takes effect at %reload_ext").tag(
        config=True
    )
    figure_format = Enum(CHOICES["figure_format"], help="how figures are shown").tag(config=True)
    figure_dpi = Float(None, allow_none=True, help="dots per inch of figures; None leaves it to matplotlib").tag(
        config=True
    )
    interactive = Bool(help="whether figures of plotly, altair and bokeh are drawn, each in a frame").tag(config=True)
    policy = Enum(CHOICES["policy"], help="how to choose between offers").tag(config=True)
    fallback = Setting(help="offers that are asked when the asked one gives up").tag(config=True)
    budget = Setting(help="USD this session may spend on what is billed; None is no limit").tag(config=True)
    budget_day = Setting(help="USD all sessions may spend in a day; None is no limit").tag(config=True)
    concurrency = Int(None, allow_none=True, help="calls under way at one model; None leaves it to its limits").tag(
        config=True
    )
    jobs = Int(help="background jobs that run at once; the rest wait in line").tag(config=True)
    deadline = Setting(help="seconds a whole call may take; None is no limit").tag(config=True)
    batches = Setting(help="where what is put aside is run: auto, own").tag(config=True)
    require = Setting(help="what may serve a run: any, live, local, replay").tag(config=True)
    allow = Setting(help="providers that may be used; it only becomes narrower").tag(config=True)
    unpriced = Setting(help="offers without a price that may be used under a budget").tag(config=True)
    tool = Setting(help="the version of the interpreter's tool").tag(config=True)
    base_url = Setting(help="where the provider `compatible` listens").tag(config=True)
    key_variable = Setting(help="the environment variable that holds its key").tag(config=True)
    plain_http = Setting(help="whether base_url may be http:// in a private network").tag(config=True)
    warm = Enum(CHOICES["warm"], help="when the local gateway starts; takes effect at %reload_ext").tag(config=True)

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        loaded = settings.read()
        configured = {name: getattr(loaded.settings, name) for name in self.class_trait_names(config=True)}
        given = shell.config.get("InterpMagics", {})
        super().__init__(shell, **{name: value for name, value in configured.items() if name not in given})
        known = loaded.settings.changed(**{name: getattr(self, name) for name in configured})
        self._desk = Desk(shell, Session(known))
        self._desk.tune = self._tune
        self._desk.configured = Configured(known, {**loaded.sources, **dict.fromkeys(given, "c.InterpMagics")})
        self._desk.at_once = tuple(name for name in configured if name not in AT_RELOAD)
        self._completion = Completion(self._desk)
        for line in loaded.refused:
            self._desk.remark(line)
        self.observe(self._changed, self._desk.at_once)

    @validate("model")
    def _known_model(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name not in consent.bare_names() and "@" not in name:
            raise TraitError(f"unknown model {name!r}: {registry.suggestion(name, consent.bare_names())}")
        return name

    def _changed(self, change: Any) -> None:
        name, value = str(change["name"]), change["new"]
        self._desk.session.settings = self._desk.settings.changed(**{name: value})
        self._desk.configured.change(name, value, "%config")
        if name == "bridge" and value == "nest":
            nest.apply()

    def _tune(self, name: str, value: Any) -> None:
        """From the panel, as by `%config`. Raises what says that `value` is none."""
        setattr(self, name, getattr(self._desk.settings.changed(**{name: value}), name))

    # --- life ---

    def open(self) -> None:
        self._completion.begin()
        misplaced.begin(self.shell)
        self.shell.events.register("post_run_cell", nest.hint)
        if self._desk.settings.bridge == "nest":
            nest.apply()
        self._html_formatter.for_type(Result, result_html)
        if self._desk.settings.warm == "load":
            self._desk.session.start()

    def close(self) -> None:
        self._completion.end()
        misplaced.end(self.shell)
        self.shell.events.unregister("post_run_cell", nest.hint)
        self._html_formatter.type_printers.pop(Result, None)
        self._desk.close()

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
        begun, options = datetime.now(UTC), None
        try:
            if cell is None and not line.lstrip().startswith("-"):
                own_verbs.perform(self._desk, line)
            else:
                options = parse(_parser(), line)
                cells.run(self._desk, options, source.body(options, cell))
        except (InterpError, UsageError) as error:
            detail.without_secrets(error)
            if options and options.debug and isinstance(error, InterpError):
                detail.explain(self._desk, error, begun)
            raise


def _parser() -> MagicArgumentParser:
    """The grammar that `@magic_arguments` has built."""
    magic: Any = InterpMagics.interp
    return cast(MagicArgumentParser, magic.parser)
