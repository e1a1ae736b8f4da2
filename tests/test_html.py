"""HTML from a sandbox: nothing live comes out of an attack, and a table still looks like itself."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest

from ipy_codeinterp.html import MAX_CHARS, MAX_TAGS, Unfit, harmless, text_of

# --- a judge of its own, that knows nothing of nh3 or of the lists in the module ----------------------

HARMLESS_TAGS = """
    table caption colgroup col thead tbody tfoot tr th td div span p br hr b i em strong u s small sub sup code
    pre kbd samp var h1 h2 h3 h4 h5 h6 ul ol li dl dt dd blockquote details summary img abbr mark del ins figure
    figcaption progress meter
"""
HARMLESS_ATTRIBUTES = """
    class style title dir lang border cellpadding cellspacing align width rules frame colspan rowspan valign
    headers scope abbr span alt height start type open value max min low high optimum
"""
HARMLESS_CLASS = re.compile(
    r"(?:tex2jax_ignore|mathjax_ignore|dataframe|data|blank|row_heading|col_heading|index_name|row_trim|col_trim"
    r"|(?:level|row|col)\d+)"
)
HARMLESS_STYLE = re.compile(r"(?:[a-z-]+:[^;@\\{}]*(?:;|$))*")
LIVE_STYLE = re.compile(
    r"(?<!rgb)(?<!gradient)\(|position|z-index|behavior|binding|/\*|margin[^;]*-\d|a\{\}", re.IGNORECASE
)


class Judge(HTMLParser):
    """Collects everything in a piece of HTML that is not on the lists above."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.guilty: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in HARMLESS_TAGS.split():
            self.guilty.append(f"<{tag}>")
        self.guilty += [f"{tag} {name}={value}" for name, value in attrs if not self.allows(tag, name, value or "")]

    def allows(self, tag: str, name: str, value: str) -> bool:
        if name == "style":
            return HARMLESS_STYLE.fullmatch(value) is not None and not LIVE_STYLE.search(value.lower())
        if name == "class":
            return all(HARMLESS_CLASS.fullmatch(word) for word in value.split())
        if name == "src":
            return tag == "img" and re.fullmatch(r"data:image/(png|jpeg);base64,[\w+/=\s]*", value) is not None
        return name in HARMLESS_ATTRIBUTES.split()

    def handle_comment(self, data: str) -> None:
        self.guilty.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.guilty.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.guilty.append(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        self.guilty.append(f"<![{data}]>")


def shown(source: str) -> str:
    """What would be shown; nothing, if that is the answer."""
    try:
        return harmless(source)
    except Unfit:
        return ""


# --- attacks ------------------------------------------------------------------------------------------

ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    '<img/src="x"/onerror="alert(1)">',
    '<div onmouseover="alert(1)" ONCLICK=alert(2)>x</div>',
    '<details open ontoggle="alert(1)"><summary>s</summary></details>',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="jav&#x09;ascript:alert(1)">x</a>',
    '<a href="https://evil.example" target=_blank ping="//evil.example">x</a>',
    '<img src="http://evil.example/pixel.png">',
    '<img src="//evil.example/pixel.png" srcset="//evil.example/2x.png 2x">',
    '<img srcset="http://evil.example/a 1x" sizes="100vw" alt=a>',
    '<img src="data:image/svg+xml;base64,PHN2Zz4=">',
    '<img src="data:text/html,<script>alert(1)</script>">',
    '<img src=" data:image/png;base64,AA==" lowsrc="http://evil.example">',
    '<p style="background:url(http://evil.example)">x</p>',
    '<p style="background:u\\72l(http://evil.example)">x</p>',
    '<p style="background:\\75rl(//evil.example)">x</p>',
    '<p style="background-image:image-set(\'//evil.example\' 1x)">x</p>',
    '<p style="background:image(\'//evil.example\')">x</p>',
    '<p style="background:cross-fade(url(a),url(b))">x</p>',
    '<p style="background:-moz-element(#x)">x</p>',
    '<p style="background:src(\'//evil.example\')">x</p>',
    '<p style="width:expression(alert(1))">x</p>',
    '<p style="width:expr/**/ession(alert(1))">x</p>',
    '<p style="color:red/*;*/;position:fixed">x</p>',
    '<p style="@import \'//evil.example\'">x</p>',
    '<p style="color:var(--jp-x)">x</p>',
    '<p style="width:attr(title)">x</p>',
    '<p style="behavior:url(x.htc);-moz-binding:url(x)">x</p>',
    '<p style="position:fixed;top:0;left:0;width:100vw;height:100vh;z-index:9999">log in again</p>',
    '<p style="position:fix&#101;d;z-index:1">x</p>',
    '<p style="margin-top:-2000px;height:2000px">x</p>',
    '<p style="a{}margin-top:-2000px">x</p>',
    '<p style="margin:calc(0px - 2000px)">x</p>',
    '<p style="transform:translate(0,-2000px)">x</p>',
    "<style>@import '//evil.example/x.css';</style><p>x</p>",
    "<style>body{background:url(//evil.example)}</style><p>x</p>",
    "<style><style>*{display:none}</style></style><p>x</p>",
    "<style>#T_a{background:url(//evil.example)}</style><table id=T_a><tr><td>x</td></tr></table>",
    '<style>#T_a{color:red" onclick="alert(1)}</style><table id=T_a><tr><td>x</td></tr></table>',
    "<style>#T_a{color:red}</style><script>alert(1)</script><table id=T_a><tr><td>x</td></tr></table>",
    '<link rel="stylesheet" href="//evil.example/x.css"><p>x</p>',
    '<meta http-equiv="refresh" content="0;url=//evil.example"><p>x</p>',
    '<base href="//evil.example/"><p>x</p>',
    '<iframe src="javascript:alert(1)"></iframe><iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<object data="x.swf"></object><embed src="x.swf"><applet code=x></applet>',
    '<form action="/api/kernels" method=post><input name=a autofocus onfocus=alert(1)><button>OK</button></form>',
    '<button form="x" formaction="javascript:alert(1)">x</button><select><option>x</select>',
    '<textarea autofocus onfocus=alert(1)></textarea><input type=image src=//evil.example>',
    "<svg><script>alert(1)</script></svg>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x></svg>",
    '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a><use href="data:image/svg+xml,x#y"/></svg>',
    "<svg></p><style><a title=\"</style><img src=1 onerror=alert(1)>\">",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    '<math><mi//xlink:href="data:x,<script>alert(4)</script>">',
    '<math><annotation-xml encoding="text/html"><style><img src=x onerror=alert(1)></style></annotation-xml></math>',
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
    '<noscript><style></noscript><img src=x onerror=alert(1)>',
    "<template><script>alert(1)</script></template><template shadowrootmode=open><slot></slot></template>",
    "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\"></xmp>",
    "<title><p title=\"</title><img src=x onerror=alert(1)>\"></title>",
    "<!--><img src=x onerror=alert(1)>--><p>x</p>",
    "<!-- --!><img src=x onerror=alert(1)><!-- -->",
    "<![CDATA[><img src=x onerror=alert(1)>]]><?php x ?><!DOCTYPE html [<!ENTITY x '<script>'>]>&x;",
    '<html xmlns:x="http://www.w3.org/1999/xhtml"><x:script>alert(1)</x:script></html>',
    '<div id="jupyter-config-data" name="cookie">x</div><img name=body alt=x>',
    '<div class="jp-Dialog jp-mod-fixed">x</div><p class="lm-Widget p-Menu">x</p>',
    '<div data-commandlinker-command="terminal:open" data-commandlinker-args="{}">x</div>',
    '<p contenteditable tabindex=1 accesskey=x draggable=true autofocus popover is=x slot=y>x</p>',
    "<p title=`x` onclick=alert(1)>x</p>",
    '<table background="//evil.example"><tr><td background="javascript:alert(1)">x</td></tr></table>',
    '<video poster=//evil.example src=x onerror=alert(1)></video><audio src=x></audio><source src=x>',
    '<blockquote cite="//evil.example">x</blockquote><del cite="javascript:alert(1)">x</del>',
    "<marquee onstart=alert(1)>x</marquee><bgsound src=//evil.example><isindex action=x>",
    "\ud800<script>\udfff</script><p title='\udc00'>x",
]  # fmt: skip


# Quoted, or never finished: these must not come alive on the way.
LOOKALIKES = [
    "<img src=x onerror\n=\nalert(1)//",
    '<p title="&quot; onclick=&quot;alert(1)">x</p>',
    "<p title='\"><script>alert(1)</script>'>x</p>",
    "<b\x00onclick=alert(1)>x</b>\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


@pytest.mark.parametrize("attack", ATTACKS + LOOKALIKES)
def test_an_attack_leaves_nothing_live(attack: str) -> None:
    """Whatever comes out consists of known tags, known attributes and plain values only."""
    assert Judge(shown(attack)).guilty == []


def test_the_judge_finds_every_attack_guilty() -> None:
    """The test above means something: the judge finds each attack out as long as nothing has been done about it."""
    assert [attack for attack in ATTACKS if not Judge(attack).guilty] == []


def test_attacks_in_any_mixture_leave_nothing_live() -> None:
    """Pieces of attacks put together at random, cut anywhere, end as harmless as each alone, and stay so."""
    rng = random.Random(7)
    for _ in range(300):
        pieces = [attack[: rng.randint(1, len(attack))] for attack in rng.choices(ATTACKS + LOOKALIKES, k=4)]
        html = shown("".join(pieces))
        assert Judge(html).guilty == [], pieces
        assert shown(html) == html, pieces


def test_nothing_gets_out_of_the_element_that_switches_formulas_off() -> None:
    """MathJax leaves all of it alone: what a sandbox closes too often does not close our own element."""
    html = harmless("</div></div>$\\href{javascript:alert(1)}{x}$<div>")
    assert html.startswith('<div class="tex2jax_ignore mathjax_ignore">')
    inner = html.removeprefix('<div class="tex2jax_ignore mathjax_ignore">').removesuffix("</div>")
    assert inner.count("</div>") == inner.count("<div>") == 1
    assert harmless(html) == html


# --- what survives ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("<h1>T</h1><p>a<br>b</p><hr>", "<h1>T</h1><p>a<br>b</p><hr>"),
        ("<ul><li>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", "<td>1</td><td>2</td></tr><tr><td>3</td>"),
        ('<td colspan="2">x', "x"),
        ('<table border="1"><tr><td rowspan=2 align=right>x', '<td rowspan="2" align="right">x</td>'),
        ('<p style="color:red;position:fixed">x</p>', '<p style="color:red">x</p>'),
        ("<p style='font-family:\"Fira Code\"'>x</p>", "Fira Code"),
        ('<img src="data:image/png;base64,AAAA" width="9">', '<img src="data:image/png;base64,AAAA" width="9">'),
        ("<progress value=1 max=2></progress>", '<progress value="1" max="2"></progress>'),
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"),
        ("<a href=x>only the link goes</a>", "only the link goes"),
        ("<pre>\n\n  x</pre>", "<pre>\n\n  x</pre>"),
        ("<b>never closed", "<b>never closed</b>"),
    ],
)
def test_plain_html_is_kept(source: str, kept: str) -> None:
    """What people write to be read comes out as they wrote it, closed and quoted."""
    assert kept in harmless(source)
    assert harmless(harmless(source)) == harmless(source)


def test_nothing_stays_nothing() -> None:
    """An empty place holder is not a failure."""
    assert harmless("") == harmless(" \n") == ""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("<style>.card{float:left}</style><div class=card>x</div>", "style sheet"),
        ("<style>@media print{p{color:red}}</style><p>x</p>", "style sheet"),
        ("<style>#T_a{color:red} p</style><p>x</p>", "style sheet"),
        ("<style>#T_a{color:red}p{}</style><p>x</p>", "style sheet"),
        ("<div id=plot style='height:9px'></div><script>draw('plot')</script>", "nothing harmless"),
        ("<svg><circle r=1 /></svg>", "nothing harmless"),
        ("<div>" * 200 + "x", "nested"),
        ("x" * (MAX_CHARS + 1), "too large"),
        ("<p>" * (MAX_TAGS + 1), "too large"),
        ("&nbsp;" * 100_000, "too large"),
        ("<style>" + "#T_a," * 200_000 + "#T_a{}</style>x", "too large"),
        ("<style>" + "#T_a td{color:red}" * 1000 + "</style><table id=T_a>" + "<td>x" * 9_000, "too large"),
        ("<style>#T_a{" + "color:red;" * 10_000 + "}</style>" + "<p id=T_a>x</p>" * 1_000, "too large"),
    ],
)
def test_what_would_mislead_or_cost_too_much_is_unfit(source: str, why: str) -> None:
    """A layout without its style sheet, an empty frame, or work without bounds: the reason is said instead."""
    with pytest.raises(Unfit, match=why):
        harmless(source)


@pytest.mark.parametrize(
    "unit", ["<", "<a ", '<a "', "<!--", "<!", "<style", "</style", "<p a=", "<p a='", "<td", "x>"]
)
def test_tags_that_never_end_are_text_or_nothing(unit: str) -> None:
    """Endless beginnings are given up in one pass, so that 20,000 of them are as harmless as one."""
    assert Judge(shown(unit * 20_000)).guilty == []


# --- pandas -------------------------------------------------------------------------------------------


def test_a_dataframe_stays_a_table() -> None:
    """pandas' own HTML keeps structure, border and class; its scoped sheet goes silently; twice is as once."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.5, -2.0], "b": ["x < y", "$z$"]}, index=["first", "second"])
    html = harmless(frame._repr_html_())
    assert '<table border="1" class="dataframe">' in html
    assert "<td>x &lt; y</td>" in html and "style>" not in html
    assert html.count("<tr") == 3 and html.count("<th>") == 5
    assert Judge(html).guilty == [] and harmless(html) == html
    assert text_of(html) == "\ta\tb\nfirst\t1.5\tx < y\nsecond\t-2.0\t$z$"


def test_styler_keeps_its_looks() -> None:
    """Bars, gradients, alignment and the caption's place survive as inline styles, and no id is left."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("jinja2")
    frame = pd.DataFrame({"a": [1.5, -2.0], "b": [3, 4]})
    style = frame.style.bar(subset=["a"], align="mid").set_properties(subset=["b"], **{"text-align": "center"})
    style = style.highlight_max(subset=["b"], color="yellow").set_caption("Figures")
    style = style.set_table_styles([{"selector": "caption", "props": "caption-side: bottom"}])
    html = harmless(style._repr_html_())
    assert "background:linear-gradient(90deg" in html
    assert re.search(r'<td class="data row1 col1" style="[^"]*background-color:yellow[^"]*">4<', html)
    assert html.count("text-align:center") == 2
    assert '<caption style="caption-side:bottom">Figures</caption>' in html
    assert " id=" not in html and Judge(html).guilty == [] and harmless(html) == html


def test_stylers_rules_hit_what_css_would_hit() -> None:
    """The more specific rule wins, the element's own style beats all, other tables are not touched."""
    sheet = """
        #T_a th.row0 { color: green } #T_a thead th { color: blue } #T_a th, #T_a .x { color: red }
        #T_a_c { color: teal } #T_a:hover { color: pink } #T_a { border: 1px solid }
    """
    table = '<thead><tr><th>h</th></tr></thead><tbody><tr><th class="row0">r</th><th style="color:gold">o</th>'
    html = harmless(f'<style>{sheet}</style><table id="T_a">{table}<td id="T_a_c">c</td></tr></table>')
    found = dict(re.findall(r'style="[^"]*color:(\w+)">(\w)<', html)[::-1])
    assert found == {"blue": "h", "green": "r", "gold": "o", "teal": "c"}
    assert '<table style="border:1px solid">' in html and "pink" not in html
    other = harmless('<style>#T_a th{color:red}</style><table id="T_b"><tr><th>x</th></tr></table>')
    assert "red" not in other


def test_styler_with_everything_on_is_still_a_table() -> None:
    """Tooltips, sticky and hovered cells are decoration: without them the table is shown all the same."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("jinja2")
    columns = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    frame = pd.DataFrame([[1, 2, 3, 4], [5, 6, 7, 8]], columns=columns)
    tips = pd.DataFrame([["tip"] * 4] * 2, columns=columns)
    style = (
        frame.style.set_sticky(axis="index")
        .set_tooltips(tips)
        .set_table_styles(
            [{"selector": "tr:hover", "props": "color: red"}, {"selector": "td:nth-child(2)", "props": "color: red"}]
        )
    )
    html = harmless(style.to_html(doctype_html=True))
    assert html.count("<td") == 8 and 'colspan="2"' in html and "red" not in html
    assert Judge(html).guilty == [] and harmless(html) == html
