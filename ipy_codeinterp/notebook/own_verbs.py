"""The verbs that only a notebook has. To add one, add a row to VERBS; what is long lives in a room of its own."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ipy_codeinterp import catalog, consent, registry, verbs
from ipy_codeinterp.bench import bench_verb
from ipy_codeinterp.bench.verbs import SHARED
from ipy_codeinterp.errors import NotAllowed
from ipy_codeinterp.execution import ContainerState, Display, Output, Update
from ipy_codeinterp.notebook import benching, configured, job_verbs, own_code, shown_again, topics
from ipy_codeinterp.notebook.arguments import BadUsage, parse_verb, split
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.notebook.endings import interrupted
from ipy_codeinterp.tables import columns


@dataclass(frozen=True, slots=True)
class OwnVerb:
    """`add` puts its arguments on a parser; `run` does it on a desk, and returns what to print (None: nothing)."""

    name: str
    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Desk, argparse.Namespace], str | None]


HELP = "help"

# --- panel, help ----------------------------------------------------------------------------------


def _add_panel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--close", action="store_true", help="leave a table in its place")


def _panel(desk: Desk, options: argparse.Namespace) -> None:
    if options.close:
        desk.close_panel()
    else:
        desk.open_panel()


def _add_help(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="*", metavar="TOPIC", help="a verb, a flag, a setting, or a group of flags")


def _help(desk: Desk, options: argparse.Namespace) -> str:
    ordered = {name: known[name] for name in names()}
    return topics.said(" ".join(options.topic), ordered) if options.topic else topics.overview(ordered)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="SETTING", help="this one alone")


def _config(desk: Desk, options: argparse.Namespace) -> str:
    return configured.table(desk.configured, desk.settings, options.name, desk.at_once)


# --- containers -----------------------------------------------------------------------------------

# What can be done with one, and what is said then.
CONTAINER_ACTIONS = {
    "list": "",
    "restart": "container {name!r} is new: its variables are gone",
    "delete": "container {name!r} is deleted",
}


def _add_container(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help=", ".join(CONTAINER_ACTIONS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one")


def _container(desk: Desk, options: argparse.Namespace) -> str:
    action, name = options.action, options.name
    if action not in CONTAINER_ACTIONS:
        raise BadUsage(f"unknown action {action!r}: {registry.suggestion(action, CONTAINER_ACTIONS)}")
    if action == "list":
        if name:
            raise BadUsage(f"%interp container list takes no {name}: it lists them all")
        return containers_table(desk.session.containers())
    if name is None:
        raise BadUsage(f"%interp container {action} NAME: names one container (%interp container list)")
    desk.session.end_container(name)
    return CONTAINER_ACTIONS[action].format(name=name)


def containers_table(states: Sequence[ContainerState]) -> str:
    """One row a container, or a line that there is none."""
    if not states:
        return "no containers: %%interp --container NAME makes one"
    told = [(state.name, state.language, state.describe(), f"{state.memory >> 20} MB") for state in states]
    return columns(("NAME", "LANGUAGE", "STATE", "MEMORY"), told)


# --- models ---------------------------------------------------------------------------------------


def _add_models(parser: argparse.ArgumentParser) -> None:
    from ipy_codeinterp import warm

    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them: local, claude, anthropic")
    parser.add_argument("--probe", action="store_true", help="run code in it: languages, packages, limits, walls")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    warm.add_arguments(parser)
    parser.add_argument("--stop", action="store_true", help="end what keeps it warm")


def _models(desk: Desk, options: argparse.Namespace) -> str | None:
    from ipy_codeinterp import elsewhere

    if options.warm:
        return _warm(desk, options)
    if options.probe:
        return _probe(desk, options)
    return elsewhere.listed(desk.settings, options.name, as_json=options.json)


def _probe(desk: Desk, options: argparse.Namespace) -> str:
    from ipy_codeinterp import probe

    if desk.session.is_replay:
        raise NotAllowed("a replay asks nobody how it is", hint="unset IPY_CODEINTERP_REPLAY, and load again")
    try:
        report = probe.examine(desk.session, options.name or desk.settings.model)
    except KeyboardInterrupt:
        raise interrupted() from None
    probe.keep(desk.settings.data_dir, report)
    return probe.as_json(report) if options.json else probe.text(report)


def _warm(desk: Desk, options: argparse.Namespace) -> str | None:
    """One call now, or in the background for as long as is said; the price comes first."""
    from ipy_codeinterp import warm

    options.name = name = str(desk.session.offer(options.name))
    if options.stop:
        return _stopped(desk, name)
    plan, most = warm.planned(desk.session, options)
    desk.say(str(plan))
    if plan.every is None:
        try:
            warm.run(desk.session, plan, most)
        except KeyboardInterrupt:
            raise interrupted() from None
        return None
    _stopped(desk, name)
    desk.warmings[name] = warm.begin(desk.session, plan, most)
    return f"it ends by itself; %interp models {name} --warm --stop ends it now"


def _stopped(desk: Desk, name: str) -> str:
    """End the warming of that offer, and say what came of it."""
    warming = desk.warmings.pop(name, None)
    if warming is None:
        return f"{name} is not being warmed"
    warming.stop()
    return str(warming)


# --- doctor, providers, recording -----------------------------------------------------------------


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("providers", nargs="*", metavar="PROVIDER", help="look at these, too (default: the enabled)")
    parser.add_argument("--live", action="store_true", help="run a line of code at each provider, which is paid for")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def _doctor(desk: Desk, options: argparse.Namespace) -> str:
    from ipy_codeinterp import doctor

    found = doctor.examine(desk.settings.live, options.providers, live=options.live, tell=desk.remark)
    return doctor.as_json(found) if options.json else doctor.report(found)


def _add_provider(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("provider", metavar="PROVIDER", help=f"one of {', '.join(catalog.providers())}")


def _enable(desk: Desk, options: argparse.Namespace) -> str:
    name = options.provider
    desk.session.settings = desk.settings.changed(enabled=consent.enable(name).enabled)
    title = catalog.provider(name).title
    return f"{name} is enabled: names without a provider mean {title}, wherever it has them"


def _disable(desk: Desk, options: argparse.Namespace) -> str:
    name = options.provider
    desk.session.settings = desk.settings.changed(enabled=consent.disable(name).enabled)
    return f"{name} is no longer enabled: only @{name} asks it"


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def _record(desk: Desk, options: argparse.Namespace) -> str:
    from ipy_codeinterp.notebook import recorder

    told = recorder.state(desk.settings, desk.session.recording)
    return recorder.state_json(told) if options.json else recorder.state_text(told)


# --- all of them ----------------------------------------------------------------------------------


def perform(desk: Desk, line: str) -> None:
    """Do what the line after `%interp` says. Raises `BadUsage` where it says nothing that can be understood."""
    name, _, rest = (line.strip() or "help").partition(" ")
    if name.startswith("-"):
        raise BadUsage(f"%interp takes a verb ({', '.join(names())}): code goes into a cell under %%interp {line}")
    if name not in known:
        raise BadUsage(_unknown(name, line))
    verb, words = known[name], split(rest)
    if "--help" in words:
        desk.say(topics.said(name, {name: verb}))
        return
    options = parse_verb(verb, ["--", *words] if name == HELP else words)  # there is help on flags, too
    said = verb.run(desk, options) if isinstance(verb, OwnVerb) else _run_shared(desk, verb, options)
    if said:
        desk.say(said)


def _unknown(name: str, line: str) -> str:
    """Code and models after `%interp` are told where they go; any other word, the nearest verb."""
    if name in consent.bare_names():
        return f"{name} is a model, not a verb: write %%interp --model {name} over a cell"
    if not name.replace("-", "").isalnum() or re.match(r"\w+\s*[=(\[.]", line.strip()):
        return f"%interp takes a verb ({', '.join(names())}): code goes into a cell under %%interp"
    return f"unknown verb {name!r}: {registry.suggestion(name, known)}"


def _run_shared(desk: Desk, verb: verbs.Verb, options: argparse.Namespace) -> str:
    """A verb that the shell has, too: outputs are shown as those of a cell."""
    desk.session.flush()
    if not verbs.needs_session(verb.name, options):
        return verb.run(desk.settings, options)
    view = desk.view()
    try:
        return verbs.with_session(desk.session, options, view.show, progress(view.show))
    except KeyboardInterrupt:
        raise interrupted("the waiting was stopped; what was put aside goes on in the background") from None
    finally:
        view.finish()


def progress(show: Callable[[Output | Update], None]) -> Callable[[str], None]:
    """Shows how far it is in one place."""
    texts = itertools.count()

    def told(text: str) -> None:
        data = {"text/plain": text}
        show(Update("progress", data) if next(texts) else Display(data, display_id="progress"))

    return told


VERBS = {
    verb.name: verb
    for verb in (
        OwnVerb("panel", "calls, cost and latency of this session, live", _add_panel, _panel),
        OwnVerb("code", "put what a model wrote into the next cell", own_code.add_code, own_code.next_cell),
        OwnVerb("jobs", "what runs in the background, and how far it is", job_verbs.add_nothing, job_verbs.list_jobs),
        OwnVerb("wait", "until background jobs are over", job_verbs.add_wait, job_verbs.wait),
        OwnVerb("cancel", "stop a background job, or all of them", job_verbs.add_cancel, job_verbs.cancel),
        OwnVerb("container", "list what is kept between cells, restart or delete one", _add_container, _container),
        OwnVerb("models", "the interpreters there are; --probe asks one, --warm keeps one warm", _add_models, _models),
        OwnVerb("doctor", "what works here and at the providers, and what to do", _add_doctor, _doctor),
        OwnVerb("show", "show again what came of one, for nothing", shown_again.add_show, shown_again.show_again),
        OwnVerb("bench", bench_verb.VERB.help, bench_verb.add, benching.bench),
        OwnVerb("record", "what the recording of this session holds", _add_record, _record),
        OwnVerb("enable", "names without a provider mean this one, from now on", _add_provider, _enable),
        OwnVerb("disable", "only @PROVIDER asks it, from now on", _add_provider, _disable),
        OwnVerb("config", "every setting, what it is now, and who said so", _add_config, _config),
        OwnVerb(HELP, "this, or more of one TOPIC", _add_help, _help),
    )
}
known: dict[str, OwnVerb | verbs.Verb] = {**VERBS, **SHARED, **VERBS}  # a notebook shows more than a shell


def names() -> tuple[str, ...]:
    """Of all verbs, `help` last."""
    return (*(name for name in known if name != HELP), HELP)
