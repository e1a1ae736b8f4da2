"""Secrets in what others wrote: found in a cell before it is sent, masked in all that is shown or kept of a run.

A secret is the value of a key that is configured here, or what has the published shape of one. A shape begins with
letters that nothing else begins with, so that a text without them costs one search for each, however long it is.
`MaskFilter` is for text that comes in pieces: a secret that was cut in two is masked like a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ipy_codeinterp import keys
from ipy_codeinterp.changed import changed
from ipy_codeinterp.execution import Display, Error, Event, Execution, Notice, Result, Step, Stream, Text, Update
from ipy_codeinterp.keys import MASK

LEAST = 12  # characters of a configured key that is looked for in code and outputs: `ollama` is a word
LEAST_VARIED = 8  # different characters: xxxxxxxx is nobody's key
SAID = ("body", "container", "expect")  # texts of an Execution
MOST_COLOUR = 24  # characters of what sets a colour
MOST_HELD = 1 << 14  # characters that a piece of text may hold back
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "application/pdf"})  # base64, in which nobody writes keys


@dataclass(frozen=True, slots=True)
class Shape:
    """`what` it is, how it `begins`, and what follows: the `rest` of a whole one, the characters one may grow by."""

    what: str
    begins: str
    rest: re.Pattern[str]
    grows: re.Pattern[str]


class Found(NamedTuple):
    """A secret in a text, and where."""

    start: int
    end: int
    what: str


def _shape(what: str, begins: str, rest: str, grows: str = r"[\w-]*") -> Shape:
    return Shape(what, begins, re.compile(rest, re.ASCII), re.compile(rf"(?:{grows})\Z", re.ASCII))


# A private key: its first line, what is said of it, whole lines, and the last ones, where they are there. Lines may end
# as they do within a string.
_HEAD = r"(?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_END = r"(?:\s|\\[nr]){1,8}+"
_LINES = rf"(?:{_END}(?:[A-Za-z0-9-]{{1,40}}+: [^\n\\]{{0,200}}+|[A-Za-z0-9+/=]{{20,}}+))"
_BLOCK = rf"{_HEAD}{_LINES}+(?:(?:{_END}[A-Za-z0-9+/=]{{1,100}}+)?(?:{_END})?-----END {_HEAD})?"
_BEGUN = rf"(?:[A-Z0-9 ]{{0,90}}+-{{0,5}}|{_HEAD}{_LINES}*+(?:{_END})?(?:[\w+/=:, -]{{0,300}}|\\))"

# As their makers document them, or print them; to add one, add a row. Several may begin alike: the first that fits.
SHAPES = (
    _shape("an Anthropic key", "sk-ant-", r"[\w-]{24,}"),
    _shape("an OpenAI key", "sk-", r"(?:proj|svcacct|admin)-[\w-]{24,}|[A-Za-z0-9]{32,}|or-v1-[0-9a-f]{32,}"),
    _shape("a Google key", "AIza", r"[\w-]{35}(?![\w-])"),
    _shape("a Google token", "ya29.", r"[\w-]{20,}"),
    *(_shape("a GitHub token", f"gh{kind}_", r"[A-Za-z0-9]{36,}") for kind in "pousr"),
    _shape("a GitHub token", "github_pat_", r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    *(_shape("an AWS key", kind, r"[A-Z2-7]{16}(?![\w-])") for kind in ("AKIA", "ASIA")),
    *(
        _shape(
            "an AWS secret",
            name,
            r"""["']?\s{0,3}[=:]\s{0,3}["']?[A-Za-z0-9/+]{40}(?![\w/+])""",
            r"""["']?\s{0,3}[=:]?\s{0,3}["']?[A-Za-z0-9/+]{0,80}""",
        )
        for name in ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY")
    ),
    *(_shape("a Slack token", f"xox{kind}-", r"\w[\w-]{15,}") for kind in "abeoprs"),
    _shape("a Slack token", "xapp-", r"\d-[A-Z0-9]{8,}-[\w-]{16,}"),
    _shape("a Slack address", "hooks.slack.com/services/", r"T\w{6,}/B\w{6,}/\w{16,}", r"[\w/]*"),
    _shape("a Hugging Face token", "hf_", r"[A-Za-z0-9]{34,}"),
    _shape("a JSON web token", "eyJ", r"[\w-]{8,8000}\.eyJ[\w-]{8,8000}\.[\w-]{16,8000}", r"[\w.-]*"),
    _shape("a private key", "-----BEGIN ", _BLOCK, _BEGUN),
)
BEGINNINGS = tuple(dict.fromkeys(shape.begins for shape in SHAPES))
LONGEST = max(map(len, BEGINNINGS))
TEXTLESS = frozenset({int, float, bool, type(None)})
BETWEEN = "\n\0\n"  # two texts: no shape goes on beyond it
SHORT = 1 << 12  # characters: up to here one search for all beginnings is faster than one for each


def _cut(begins: str) -> str:
    """The pattern of what `begins` may be cut to."""
    return re.escape(begins[0]) + (f"(?:{_cut(begins[1:])})?" if len(begins) > 2 else "")


_BEGUN_ANYHOW = re.compile("|".join(map(re.escape, BEGINNINGS)))
_CUT_ANYHOW = re.compile(rf"(?:{'|'.join(map(_cut, BEGINNINGS))})\Z")
_COLOURED = re.compile(r"\x1b\[[0-9;]{0,20}m\Z")  # a text that ends with a colour
_COLOUR_CUT = re.compile(r"\x1b(?:\[[0-9;]{0,20})?\Z")  # and one that ends within it


def find(text: str) -> list[Found]:
    """Every secret in `text`, in order, none within another."""
    if len(text) < LEAST or not (found := [*_known_in(text), *_shaped_in(text)]):
        return []
    kept: list[Found] = []
    for each in sorted(found, key=lambda each: (each.start, -each.end)):
        if not kept or each.start >= kept[-1].end:
            kept.append(each)
        elif each.end > kept[-1].end:  # two that lie over each other are one
            kept[-1] = kept[-1]._replace(end=each.end)
    return kept


def masked(text: str) -> str:
    """The text without its secrets."""
    if len(text) < LEAST or not (found := find(text)):
        return text
    pieces, at = [], 0
    for each in found:
        pieces += [text[at : each.start], MASK]
        at = each.end
    return "".join([*pieces, text[at:]])


def masked_words(text: str) -> str:
    """The same of our own words and a provider's: there the shortest key counts, too."""
    return masked(keys.masked(text))


def _known_in(text: str) -> Iterator[Found]:
    for value in keys.values(LEAST):
        at = text.find(value)
        while at >= 0:
            yield Found(at, at + len(value), "a key that is configured here")
            at = text.find(value, at + len(value))


def _shaped_in(text: str) -> Iterator[Found]:
    for shape in SHAPES if _may_hold_one(text) else ():
        at = text.find(shape.begins)
        while at >= 0:
            end = _end(shape, text, at)
            if end:
                yield Found(at, end, shape.what)
            at = text.find(shape.begins, end or at + len(shape.begins))


def _may_hold_one(text: str, start: int = 0) -> bool:
    """False where no shape begins from `start` on."""
    return len(text) - start > SHORT or _BEGUN_ANYHOW.search(text, start) is not None


def _end(shape: Shape, text: str, at: int) -> int:
    """Where the secret that begins at `at` ends; 0 where there is none."""
    if _is_within_a_word(text, at):
        return 0
    rest = shape.rest.match(text, at + len(shape.begins))
    if rest is None:
        return 0
    is_example = "EXAMPLE" in rest[0] or len(set(rest[0])) < LEAST_VARIED
    return 0 if is_example else rest.end()


def _is_within_a_word(text: str, at: int) -> bool:
    before = text[at - 1 : at]
    if before == "m" and _COLOURED.search(text, max(0, at - MOST_COLOUR), at):
        return False  # a traceback colours a string: the word begins after that
    return before.isalnum() or before == "_"


# --- text in pieces -------------------------------------------------------------------------------


class MaskFilter:
    """`masked` for a stream: what may be the beginning of a secret is held back until it is known whether it is."""

    def __init__(self) -> None:
        self._held = ""
        self._before = ""  # what was let go last, a character or a colour: within a word no shape begins

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        text = self._before + self._held + piece
        cut = _outside(text, _beginning(text, len(self._before)))
        return self._let_go(text, max(cut, len(self._before), len(text) - MOST_HELD))

    def close(self) -> str:
        """What is left when nothing follows."""
        text = self._before + self._held
        return self._let_go(text, len(text))

    def _let_go(self, text: str, cut: int) -> str:
        shown, self._held = masked(text[:cut])[len(self._before) :], text[cut:]
        coloured = _COLOURED.search(text, max(0, cut - MOST_COLOUR), cut)
        self._before = coloured[0] if coloured else text[:cut][-1:]
        return shown


def _outside(text: str, cut: int) -> int:
    """`cut`, or the beginning of the secret that it would cut in two: the end of one may look like another's begin."""
    if cut == len(text):
        return cut
    return next((each.start for each in find(text) if each.start < cut < each.end), cut)


def _beginning(text: str, start: int) -> int:
    """Where at the end of `text` something begins that may become a secret; its length where nothing does."""
    least = max(start, len(text) - MOST_HELD)
    found = [len(text)]
    for value in keys.values(LEAST):
        found += _cut_short(text, value, max(least, len(text) - len(value) + 1))
    if colour := _COLOUR_CUT.search(text, max(start, len(text) - MOST_COLOUR)):
        found.append(colour.start())
    found += _cut_beginning(text, max(least, len(text) - LONGEST + 1))
    for shape in SHAPES if _may_hold_one(text, least) else ():
        at = text.find(shape.begins, least)
        while at >= 0:
            if not _is_within_a_word(text, at) and shape.grows.match(text, at + len(shape.begins)):
                found.append(at)
                break
            at = text.find(shape.begins, at + len(shape.begins))
    return min(found)


def _cut_beginning(text: str, start: int) -> Iterator[int]:
    """Where the text ends with a beginning of a shape that was cut."""
    while cut := _CUT_ANYHOW.search(text, start):
        start = cut.start() + 1
        if not _is_within_a_word(text, cut.start()):
            yield cut.start()
            return


def _cut_short(text: str, whole: str, start: int) -> Iterator[int]:
    """Where the text ends with a beginning of `whole`."""
    at = text.find(whole[0], start)
    while at >= 0:
        if whole.startswith(text[at:]):
            yield at
            return
        at = text.find(whole[0], at + 1)


# --- values ---------------------------------------------------------------------------------------


def masked_value(value: Any) -> Any:
    """The same with every text in it masked, as deep as it goes: what is nested may be hostile.

    What has no secret is given back as it is; in what has one, tuples become lists.
    """
    if not _holds_one(value):
        return value
    box = [value]
    waiting: list[tuple[Any, Any]] = [(box, 0)]
    for within, place in waiting:  # which grows
        each = within[place]
        if isinstance(each, str):
            within[place] = each if place in PICTURES else masked(each)
        elif each is None or isinstance(each, (int, float)):
            continue
        elif isinstance(each, Mapping):
            within[place] = {masked(name) if isinstance(name, str) else name: inner for name, inner in each.items()}
            waiting += ((within[place], name) for name in within[place])
        elif isinstance(each, (list, tuple)):
            within[place] = list(each)
            waiting += ((within[place], index) for index in range(len(each)))
    return box[0]


def _holds_one(value: Any) -> bool:
    """Whether there is a secret in any text of it; those that are short are looked through together."""
    short, waiting = [], [value]
    for each in waiting:  # which grows
        if type(each) in TEXTLESS:  # first: to ask whether a number is a Mapping takes longer than all else here
            continue
        if isinstance(each, str):
            if LEAST <= len(each) <= SHORT:
                short.append(each)
            elif len(each) > SHORT and find(each):
                return True
        elif isinstance(each, (dict, Mapping)):
            waiting += each
            if PICTURES.isdisjoint(each):
                waiting += each.values()
            else:
                waiting += (inner for name, inner in each.items() if name not in PICTURES or not isinstance(inner, str))
        elif isinstance(each, (list, tuple)):
            waiting += each
    return bool(find(BETWEEN.join(short)))


def masked_event(event: Event) -> Event:
    """An event that is whole: pieces of text are a `MaskFilter`'s."""
    match event:
        case Stream(name, text):
            return Stream(name, masked(text))
        case Display(data, metadata):
            return replace(event, data=masked_value(data), metadata=masked_value(metadata))
        case Update(id, data, metadata):
            return Update(id, masked_value(data), masked_value(metadata))
        case Error(ename, evalue, traceback):
            return Error(masked(ename), masked(evalue), tuple(map(masked, traceback)))
        case Notice(text):
            return Notice(masked_words(text))
    return event


def masked_parts(parts: Iterable[Text | Step]) -> tuple[Text | Step, ...]:
    """What came of a run, without secrets."""
    return tuple(Text(masked(part.text)) if isinstance(part, Text) else _masked_step(part) for part in parts)


def _masked_step(step: Step) -> Step:
    outputs: Any = tuple(masked_event(output) for output in step.outputs)
    files = tuple(replace(file, name=masked(file.name)) for file in step.files)
    return changed(step, code=masked(step.code), outputs=outputs, files=files)


def masked_result(result: Result) -> Result:
    """A Result that was kept before it was known what is a secret."""
    return replace(result, parts=masked_parts(result.parts))


def masked_execution(execution: Execution) -> Execution:
    """What was asked, as it may be kept; the key that it is found by is that of what was asked."""
    if not any(find(text) for _, text in texts_of(execution)):
        return execution
    facts: dict[str, Any] = {name: masked(text) for name in SAID if (text := getattr(execution, name))}
    for name in ("files", "inputs"):
        facts[name] = tuple(replace(file, name=masked(file.name)) for file in getattr(execution, name))
    for name in ("mounts", "packages"):
        facts[name] = tuple(map(masked, getattr(execution, name)))
    return changed(execution, **facts)


def texts_of(execution: Execution) -> Iterator[tuple[str, str]]:
    """Every text that a user chose, with what it is called."""
    for name in SAID:
        yield name, getattr(execution, name) or ""
    for name in ("files", "inputs"):
        yield from ((name, file.name) for file in getattr(execution, name))
    for name in ("mounts", "packages"):
        yield from ((name, text) for text in getattr(execution, name))
