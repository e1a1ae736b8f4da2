"""HTML from a sandbox, made harmless: tables and their colours survive, nothing that acts or loads does.

Three steps, in this order:
1. pandas' Styler keeps its looks in a `<style>` element. Its rules move into `style=` attributes; any other style
   sheet makes the HTML unfit, because a layout without it misleads.
2. `_Tidy` writes the HTML anew: known tags only, balanced, not deeply nested. nh3 cannot be interrupted, and is
   quadratic in the depth: 400 kB of `<div>` held a kernel for 24 s.
3. nh3 decides what stays. It alone is trusted: the steps before it may be wrong without anything becoming live.

The input is hostile, so all work on it is bounded. HTML that may not be shown raises `Unfit`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nh3

# Each is far above what a table for people needs, and together they keep the worst input within a few seconds.
MAX_CHARS = 5_000_000
MAX_TAGS = 250_000
MAX_DEPTH = 128
MAX_ESCAPED = 50_000  # ampersands and no-break spaces: nh3 moves the rest of the text for each
MAX_SELECTORS = 150_000
MAX_MATCHES = 5_000_000  # tags times the selectors that each is compared with
MAX_STYLE_CHARS = 20_000_000  # one rule can hit many elements


class Unfit(ValueError):
    """This may not be shown; the text says why, in a few words."""


# --- what may stay --------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TAGS = _words("""
    table caption colgroup col thead tbody tfoot tr th td div span p br hr b i em strong u s small sub sup code pre
    kbd samp var h1 h2 h3 h4 h5 h6 ul ol li dl dt dd blockquote details summary img abbr mark del ins figure
    figcaption progress meter
""")
ATTRIBUTES = {
    "*": _words("class style title dir lang"),
    "table": _words("border cellpadding cellspacing align width rules frame"),
    "td": _words("colspan rowspan align valign headers scope abbr"),
    "th": _words("colspan rowspan align valign headers scope abbr"),
    "tr": _words("align valign"),
    "col": _words("span width"),
    "colgroup": _words("span width"),
    "img": _words("src alt width height"),
    "ol": _words("start type"),
    "details": _words("open"),
    "progress": _words("value max"),
    "meter": _words("value min max low high optimum"),
}
PROPERTIES = _words("""
    color background background-color font-weight font-style font-size font-family line-height
    text-align text-decoration vertical-align white-space caption-side
    width min-width max-width height display opacity overflow
    padding padding-top padding-right padding-bottom padding-left
    margin margin-top margin-right margin-bottom margin-left
    border border-top border-right border-bottom border-left border-collapse border-spacing border-radius
    border-color border-top-color border-right-color border-bottom-color border-left-color
    border-style border-top-style border-right-style border-bottom-style border-left-style
    border-width border-top-width border-right-width border-bottom-width border-left-width
""")

# A list of what is harmless, not of what is known to load or run: CSS grows a new `image-set()` every other year.
_FUNCTIONS = ("rgb", "rgba", "hsl", "hsla", "linear-gradient", "radial-gradient")
_UNFIT_CSS = re.compile(r"[\\@{}]|/\*|expression", re.IGNORECASE)
# Any other class may be one of JupyterLab's own, some of which draw over the whole page.
_CLASS = re.compile(r"dataframe|data|blank|(?:row|col)_heading|index_name|(?:row|col)_trim|(?:level|row|col)\d{1,9}")
_IMAGE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=\s]*")

# MathJax reads any text in `$...$`; its `\href` and `\style` would bring back what nh3 took away.
_OPEN, _CLOSE = '<div class="tex2jax_ignore mathjax_ignore">', "</div>"

_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPED = re.compile("[&\xa0]")
_SEEN_WITHOUT_TEXT = re.compile(r'<(?:hr|progress|meter)\b| src="|background|border')
_PRE = re.compile(r"(<pre\b[^>]*>)\n")  # a parser drops a newline here, so one that is meant needs another
_ANY_TAG = re.compile(r"<[^>]*+>?")


def harmless(source: str) -> str:
    """The HTML that a front end may render, or `Unfit`. What comes out goes in again unchanged."""
    if len(source) > MAX_CHARS or source.count("<") > MAX_TAGS or len(_ESCAPED.findall(source)) > MAX_ESCAPED:
        raise Unfit("too large")
    if not source.strip():
        return ""
    source = _NOT_TEXT.sub("\ufffd", source).removeprefix(_OPEN)
    rest, css = _without_styles(source)
    clean = _cleaner().clean(_tidy(rest, _Sheet.read(css)))
    clean = _NOT_TEXT.sub("\ufffd", clean).strip()  # again: `&#27;` was no escape character until now
    clean = _PRE.sub(r"\1\n\n", clean)
    if not _can_be_seen(clean):
        raise Unfit("nothing harmless is left of it")
    return f"{_OPEN}{clean}{_CLOSE}"


def text_of(clean: str, limit: int = 100_000) -> str:
    """What harmless HTML says, for front ends that show text: a line a row, cells set apart by tabs."""
    text = re.sub(r"</t[hd]>\s*", "\t", re.sub(r"\s+", " ", clean[:limit]))
    text = re.sub(r"</(?:tr|p|div|li|d[td]|h\d|caption|pre|summary)>|<br>", "\n", text)
    text = html.unescape(_ANY_TAG.sub("", text)).replace("\xa0", " ")
    return "\n".join(line.strip(" ").rstrip("\t ") for line in text.splitlines() if line.strip())


def _can_be_seen(clean: str) -> bool:
    return bool(_ANY_TAG.sub("", clean).strip() or _SEEN_WITHOUT_TEXT.search(clean))


@cache
def _cleaner() -> nh3.Cleaner:
    import nh3  # on first use: most sessions never show HTML

    return nh3.Cleaner(
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"data"},
        link_rel=None,
        strip_comments=True,
        filter_style_properties=PROPERTIES,
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        return value if tag == "img" and _IMAGE.fullmatch(value) else None
    if name == "style":
        return value if _css_is_fit(value) else None
    if name == "class":
        return " ".join(filter(_CLASS.fullmatch, value.split())) or None
    return value


def _css_is_fit(css: str) -> bool:
    """No URL, no escape, no function but colours and gradients, no negative margin (it draws over its neighbours)."""
    lowered = css.lower()
    return (
        not _UNFIT_CSS.search(css)
        and all(before.endswith(_FUNCTIONS) for before in lowered.split("(")[:-1])
        and not any(part.lstrip().startswith("margin") and "-" in part.partition(":")[2] for part in lowered.split(";"))
    )


# --- Styler's rules ---------------------------------------------------------------------------------

_STYLE = re.compile(r"<style\b[^<>]*>(.*?)(?:</style\b[^<>]*>|\Z)", re.DOTALL | re.IGNORECASE)
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_STYLER_ID = re.compile(r"#T_[\w-]+")
_COMPOUND = re.compile(r"([a-z][a-z0-9]*)?((?:\.[\w-]+)*)")


@dataclass(frozen=True, slots=True)
class _Rule:
    """What follows `#T_x` in a selector, `tbody th.level0`, and the declarations it brings."""

    css: str
    tag: str = ""
    classes: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()

    @property
    def weight(self) -> tuple[int, int]:
        """CSS specificity; the one id that every rule of Styler's has counts for nothing."""
        return len(self.classes), len(self.above) + bool(self.tag)

    def hits(self, tag: str, classes: frozenset[str], above: list[str]) -> bool:
        return self.tag in ("", tag) and self.classes <= classes and self.above.issubset(above)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Rules by the id they begin with: `#T_x_row0_col0` is the cell itself, `#T_x td` is inside the table."""

    itself: dict[str, list[str]] = field(default_factory=dict)
    inside: dict[str, list[_Rule]] = field(default_factory=dict)

    @classmethod
    def read(cls, css: str) -> _Sheet:
        """Styler's sheet, or `Unfit`. The one every DataFrame carries says nothing that matters and is left out."""
        if css.count("#T_") > MAX_SELECTORS:
            raise Unfit("its style sheet is too large")
        sheet = cls()
        for selectors, declarations in _rules(css):
            fit, escaped = _css_is_fit(declarations), html.escape(declarations)
            for selector in selectors:
                if selector.startswith("#T_"):
                    if fit:
                        sheet._add(selector, escaped)
                elif not selector.startswith(".dataframe"):
                    raise Unfit("it needs a style sheet")
        for rules in sheet.inside.values():
            rules.sort(key=lambda rule: rule.weight)
        return sheet

    def _add(self, selector: str, css: str) -> None:
        """Selectors left out here are decoration: `:hover`, tooltips, sticky cells, stripes."""
        first, *above = selector.split()
        if not _STYLER_ID.fullmatch(first):
            return
        if not above:
            self.itself.setdefault(first[1:], []).append(css)
        elif last := _COMPOUND.fullmatch(above.pop()):
            rule = _Rule(css, last[1] or "", frozenset(last[2].split(".")[1:]), frozenset(above) - {">"})
            self.inside.setdefault(first[1:], []).append(rule)

    def css_for(self, tag: str, name: str, table: str, attributes: Mapping[str, str], above: list[str]) -> str:
        """All declarations for one element, the strongest last: its own `style` is stronger than any rule."""
        css = list(self.itself.get(name, ()))
        if rules := self.inside.get(table):
            classes = frozenset(attributes.get("class", "").split())
            css += [rule.css for rule in rules if rule.hits(tag, classes, above)]
        css += [attributes["style"]] if "style" in attributes else []
        if sum(map(len, css)) > MAX_STYLE_CHARS:
            raise Unfit("its style sheet is too large")
        return "; ".join(css)


def _without_styles(source: str) -> tuple[str, str]:
    return _STYLE.sub("", source), "\n".join(_STYLE.findall(source))


def _rules(css: str) -> Iterator[tuple[list[str], str]]:
    """(selectors, declarations), or `Unfit` where CSS is more than plain rules: `@media`, nesting."""
    *rules, tail = _CSS_COMMENT.sub(" ", css).split("}")
    for rule in rules:
        selectors, brace, declarations = rule.partition("{")
        if not brace or "{" in declarations:
            raise Unfit("it needs a style sheet")
        yield [selector.strip() for selector in selectors.split(",")], declarations.strip().rstrip(";")
    if tail.strip():
        raise Unfit("it needs a style sheet")


# --- the same HTML, tidy ----------------------------------------------------------------------------

# Quantifiers are possessive, so that a tag that never ends is given up in one pass.
_TAG = re.compile(
    r"""<(?: !--.*?(?:-->|\Z) | [!?][^>]*+(?:>|\Z)
        | (/?) ([a-zA-Z][\w:-]*+) ((?:[^<>"']++|"[^"]*+"|'[^']*+')*+) > )""",
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([a-zA-Z][\w-]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++)))?""")
_VOID = _words("br hr img col")
_TABLE_PARTS = _words("caption colgroup col thead tbody tfoot tr td th")
_BETWEEN_CELLS = _words("table colgroup thead tbody tfoot tr")
# Elements whose content is not part of what a reader reads.
_UNSEEN = _words(
    "script style template svg math noscript iframe object applet title textarea select xmp noembed noframes"
)
# Tags that end an element of their own kind which was left open.
_ENDS = {
    "li": {"li"}, "p": {"p"}, "dt": {"dt", "dd"}, "dd": {"dt", "dd"}, "td": {"td", "th"}, "th": {"td", "th"},
    "tr": {"td", "th", "tr"}, "thead": {"td", "th", "tr", "thead"}, "tbody": {"td", "th", "tr", "thead", "tbody"},
}  # fmt: skip
_KEPT = {tag: ATTRIBUTES["*"] | ATTRIBUTES.get(tag, frozenset()) | {"id"} for tag in TAGS}  # ids are for Styler's rules


def _tidy(source: str, sheet: _Sheet) -> str:
    """The same HTML in known tags that are balanced, with the sheet's rules in `style=`."""
    if source.count("<") * sum(map(len, sheet.inside.values())) > MAX_MATCHES:
        raise Unfit("its style sheet is too large")
    tidy = _Tidy(sheet)
    for text, slash, tag, inner in _tags(source):
        tidy.out.append(text.replace("<", "&lt;"))
        if slash:
            tidy.end(tag)
        elif tag in TAGS:
            tidy.begin(tag, inner)
    while tidy.above:
        tidy.end(tidy.above[-1])
    return "".join(tidy.out)


@dataclass(slots=True)
class _Tidy:
    """What has been written so far, and which elements are open above the next one."""

    sheet: _Sheet
    out: list[str] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    table: str = ""
    room: int = MAX_STYLE_CHARS

    def begin(self, tag: str, inner: str) -> None:
        while self.above and self.above[-1] in _ENDS.get(tag, ()):
            self.end(self.above[-1])
        if self.above and self.above[-1] in _BETWEEN_CELLS and tag not in _TABLE_PARTS:
            return  # a parser would move it before the table, one search of all that is there for each
        attributes = _attributes(tag, inner) if inner else {}
        name = attributes.pop("id", "")
        if tag == "table":
            self.table = name
        if css := self.sheet.css_for(tag, name, self.table, attributes, self.above):
            attributes["style"] = css
            self.room -= len(css)
        if self.room < 0:
            raise Unfit("its style sheet is too large")
        self.out += (f"<{tag}", *(f' {key}="{value}"' for key, value in attributes.items()), ">")
        if tag not in _VOID:
            self.above.append(tag)
        if len(self.above) > MAX_DEPTH:
            raise Unfit("nested too deeply")

    def end(self, tag: str) -> None:
        """Close `tag` and what was left open in it. An end without a beginning in the same table is nothing."""
        if tag not in self.above:
            return
        at = len(self.above) - 1 - self.above[::-1].index(tag)
        if "table" not in self.above[at + 1 :]:
            self.out += [f"</{name}>" for name in reversed(self.above[at:])]
            del self.above[at:]


def _tags(source: str) -> Iterator[tuple[str, str, str, str]]:
    """(the text before it, "/" if it closes, name, attributes) of each tag; at the end the text that is left."""
    at = 0
    while found := _TAG.search(source, at):
        text, at = source[at : found.start()], found.end()
        slash, tag, inner = found[1] or "", (found[2] or "").lower(), found[3] or ""
        if tag in _UNSEEN and not slash and not inner.endswith("/"):
            end = re.compile(rf"</{tag}\b", re.IGNORECASE).search(source, at)
            at = end.start() if end else len(source)
        yield text, slash, tag, inner
    yield source[at:], "", "", ""


def _attributes(tag: str, inner: str) -> dict[str, str]:
    """The ones that may matter, still escaped; of two with one name the first counts, as in a browser."""
    kept: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(inner):
        if (key := name.lower()) in _KEPT[tag] and key not in kept:
            kept[key] = double or single.replace('"', "&quot;") or bare
    return kept
