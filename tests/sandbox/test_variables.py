"""Variables in real interpreters: what was sent is there before the code begins, what is asked for comes back."""

from __future__ import annotations

import datetime as dates
import os
import shutil
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.inside import values
from ipy_codeinterp.sandbox.inside.values import Missing
from ipy_codeinterp.sandbox.job import Input

from .wing import Ran, Wing

pytestmark = pytest.mark.sandbox

FRAME = pd.DataFrame(
    {
        "whole": [1, -(2**31), 3],
        "real": [1.5, np.nan, 0.1],
        "text": ["x", None, "ü€😀"],
        "truth": [True, False, True],
        "maybe": pd.array([1, None, 3], dtype="Int64"),
        "grade": pd.Categorical(["lo", "hi", None], categories=["lo", "hi"], ordered=True),
        "local": pd.to_datetime(["2026-01-01", "2026-07-01", "2026-10-25"]).tz_localize("Europe/Paris"),
        "took": pd.to_timedelta([1, None, 3.5], unit="s"),
    }
)
DAYS = pd.DataFrame({"day": [dates.date(2026, 1, 1), None, dates.date(1969, 12, 31)]})


def container(wing: Wing, language: str, program: str) -> Iterator[Container]:
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")
    made = wing.fresh(language)
    yield made
    wing.end(made)


@pytest.fixture(scope="module")
def r(wing: Wing) -> Iterator[Container]:
    yield from container(wing, "r", "Rscript")


@pytest.fixture(scope="module")
def node(wing: Wing) -> Iterator[Container]:
    yield from container(wing, "node", "node")


def ran(wing: Wing, code: str, get: str = "", where: Container | None = None, **sent: Any) -> Ran:
    language = where.language if where else "python"
    packed = {name: values.pack(value, language) for name, value in sent.items()}
    inputs = tuple(Input(values.file_name(name, suffix), data) for name, (suffix, data) in packed.items())
    return wing.run(code, container=where, values=inputs, get=tuple(get.split()))


def came(ran: Ran) -> dict[str, Any]:
    """What came back, by name; why it did not, where it did not."""
    found: dict[str, Any] = {}
    for file, data in ran.files.items():
        name, suffix = values.name_and_suffix(file) or pytest.fail(file)
        try:
            found[name] = values.unpack(suffix, data)
        except Missing as error:
            found[name] = str(error)
    return found


# --- Python -----------------------------------------------------------------------------------------


def test_python(wing: Wing) -> None:
    """Values are there under their names, as what they were, and come back so; line numbers stay those of the code."""
    again = ran(wing, "out, k = df.assign(c=df.whole * k), k + 1", "out k x", df=FRAME, k=3, x=np.arange(3))
    found = came(again)

    pd.testing.assert_frame_equal(found["out"], FRAME.assign(c=FRAME.whole * 3))
    assert found["k"] == 4 and found["x"].tolist() == [0, 1, 2]
    failed = ran(wing, "x\n\n1/0", "x", x=1)
    assert failed.error and "line 3" in "\n".join(failed.error.traceback)
    assert failed.files == {}


def test_python_text_within_little_memory(wing: Wing, fresh: Container) -> None:
    """Where pyarrow is installed pandas keeps texts in it: a small limit is enough for them all the same."""
    packed = values.pack(FRAME)
    sent = (Input(values.file_name("df", packed[0]), packed[1]),)
    found = came(wing.run("df['text'] += '!'", container=fresh, values=sent, get=("df",), memory=256 << 20))

    assert found["df"]["text"].tolist()[0] == "x!"


def test_python_says_why_nothing_comes(wing: Wing) -> None:
    """A name that is not there, what cannot travel, and what is too large come back as a reason, beside the others."""
    found = came(ran(wing, "f = print\nbig = bytes(90 << 20)\nx = 1", "f nope big x"))

    assert "type builtin_function_or_method cannot travel" in found["f"]
    assert found["nope"] == "the code left no variable nope"
    assert found["big"] == "it takes 120 MB, and may take 100" and found["x"] == 1


def test_python_cannot_make_it(wing: Wing) -> None:
    """A value that cannot be made inside fails the run before the code begins, and is forgotten."""
    forged = (Input("x.value.json", b'{"$": "polars"}'),)
    failed = wing.run("print('begun')", values=forged)

    assert (failed.outcome, failed.stdout) == ("error", "")
    assert failed.error and failed.error.evalue.startswith("x was sent, but cannot be made here")
    assert wing.run("print('begun')").stdout == "begun\n"


def test_python_with_changed_libraries(wing: Wing, fresh: Container) -> None:
    """Code that breaks what its values are read with is told so, and the interpreter lives."""
    code = "import pandas as pd\ndf = pd.DataFrame({'a': [1]})\npd.DataFrame.shape = property(lambda self: 1/0)"
    found = came(ran(wing, code, "df", fresh))

    assert found["df"].startswith("it could not be read: ZeroDivisionError")
    assert wing.run("print(2)", container=fresh).stdout == "2\n"


# --- R ----------------------------------------------------------------------------------------------


def test_r_frame(wing: Wing, r: Container) -> None:
    """A frame is a data.frame with R's own types, and comes back as it was."""
    found = ran(
        wing,
        "cat(sapply(df, function(x) class(x)[1]), sum(is.na(df)), nchar(df$text[3])); out <- df",
        "out",
        r,
        df=FRAME,
    )

    assert found.stdout == "numeric numeric character logical integer ordered POSIXct difftime 5 3"
    out = came(found)["out"]
    assert out.drop(columns="grade").equals(FRAME.drop(columns="grade").astype(out.dtypes.drop("grade")))
    assert out["grade"].tolist()[:2] == ["lo", "hi"] and out["grade"].isna().tolist() == [False, False, True]
    kinds = out.dtypes.astype(str).to_dict()
    assert kinds["maybe"] == "Int64" and kinds["truth"] == "bool" and kinds["text"] == str(FRAME["text"].dtype)
    assert kinds["local"].endswith("Europe/Paris]") and out["grade"].cat.ordered


def test_r_integers_and_dates(wing: Wing, r: Container) -> None:
    """Whole numbers of R's size are its integers, days are Dates; what has no equal is refused with its column."""
    frame = pd.DataFrame({"i": [1, 2, 2**31 - 1], "b": np.array([1, 2, 255], "u1"), "n": [2**40, -(2**40), 0]})
    found = ran(
        wing,
        "cat(sapply(df, class), format(df$n[1]), sapply(days, class)); out <- df; back <- days",
        "out back",
        r,
        df=frame,
        days=DAYS,
    )

    assert found.stdout == "integer integer numeric 1.099512e+12 Date"
    assert came(found)["out"].to_dict("list") == frame.to_dict("list")
    assert came(found)["back"]["day"].tolist() == [pd.Timestamp("2026-01-01"), pd.NaT, pd.Timestamp("1969-12-31")]
    assert "beyond 2^53" in str(ran(wing, "1", "", r, x=2**60).error)
    assert "NUL" in str(ran(wing, "1", "", r, x="a\0b").error)


def test_r_index(wing: Wing, r: Container) -> None:
    """An index that says more than a count comes as columns; row names come back as an index."""
    pairs = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None])
    found = came(
        ran(wing, "out <- df; cars <- head(mtcars, 2)", "out cars", r, df=pd.DataFrame({"v": [1, 2]}, index=pairs))
    )

    assert found["out"].to_dict("list") == {"k": ["a", "b"], "level_1": [1, 2], "v": [1, 2]}
    assert found["cars"].index.tolist() == ["Mazda RX4", "Mazda RX4 Wag"] and found["cars"]["mpg"].tolist() == [21, 21]


def test_r_values(wing: Wing, r: Container) -> None:
    """Single values, vectors, matrices, lists and factors of R are Python's, and the other way round."""
    code = """
      one <- 5; whole <- 5L; gone <- NA; v <- c(1.5, NA); texts <- c('a', NA, 'ü'); named <- c(a = 1L, b = NA)
      both <- list(a = list(TRUE, 'x'), b = NULL, c = m); f <- factor(c('b', 'a')); day <- as.Date('2026-02-28')
      inf <- -Inf; none <- NULL; z <- 1+2i; when <- as.POSIXct('2026-01-01', tz = 'Europe/Paris'); fun <- sum
      raw <- as.raw(1:2); said <- paste(x, class(l), l[3], names(d), money, is.na(no), t)
    """
    names = "one whole gone v texts named both f day inf none z when fun raw said"
    sent: dict[str, Any] = {"m": np.arange(6.0).reshape(2, 3), "x": "ü", "l": [1, None, 3], "d": {"k": 1}, "no": None}
    sent |= {"money": Decimal("1.25"), "t": dates.date(2026, 1, 1), "no": float("nan")}
    found = came(ran(wing, code, names, r, **sent))

    assert found["one"] == 5.0 and type(found["one"]) is float and found["whole"] == 5 and found["gone"] is None
    assert found["v"][0] == 1.5 and np.isnan(found["v"][1]) and found["texts"] == ["a", None, "ü"]
    assert found["named"] == {"a": 1, "b": None} and found["both"]["a"] == [True, "x"]
    assert found["both"]["c"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["f"].tolist() == ["b", "a"] and found["f"].cat.categories.tolist() == ["a", "b"]
    assert found["day"] == dates.date(2026, 2, 28) and found["when"] == pd.Timestamp("2026-01-01", tz="Europe/Paris")
    assert found["inf"] == -np.inf and found["none"] is None and found["z"] == 1 + 2j and found["raw"] == b"\x01\x02"
    assert "class function cannot travel; what can: data frames" in found["fun"]
    assert found["said"] == "ü integer 3 k 1.25 TRUE 2026-01-01"


# --- Node -------------------------------------------------------------------------------------------


def test_node_frame(wing: Wing, node: Container) -> None:
    """A frame is an array of records: missing is null, moments are Dates; records come back as a list of dicts."""
    code = "const out = df.map((row) => ({ ...row, year: row.local.getUTCFullYear() })); console.log(df.length, df[1])"
    found = came(ran(wing, code, "out", node, df=FRAME.set_index("text")))["out"]

    assert [row["year"] for row in found] == [2025, 2026, 2026]
    assert found[1] == {
        "text": None,
        "whole": -(2**31),
        "real": None,
        "truth": False,
        "maybe": None,
        "grade": "hi",
        "local": dates.datetime(2026, 6, 30, 22, tzinfo=dates.UTC),
        "took": None,
        "year": 2026,
    }


def test_node_values(wing: Wing, node: Container) -> None:
    """What JavaScript has is Python's, also where JSON has no word for it, and the other way round."""
    code = """
      let big = 2n ** 70n; const map = new Map([[1, [2]]]), nan = NaN, set = new Set(["a"]), at = new Date(0);
      var typed = new Float64Array([1, 2]), bytes = Buffer.from("ab"), fun = () => 1, gone = null, dollar = { $: 1 };
      class A {}; const made = new A(), half = "\\ud800";
      said = [x, l[2], d.k.a, large, m[1][2], [...s].length, odd.get(1), String(t.toISOString())].join();
    """
    sent: dict[str, Any] = {
        "x": "ü",
        "l": [1, None, 3],
        "d": {"k": {"a": 2}},
        "large": 2**60,
        "s": {1, 2},
        "odd": {1: "one"},
    }
    sent |= {"m": np.arange(6).reshape(2, 3), "t": dates.datetime(2026, 1, 1, 12)}  # noqa: DTZ001
    found = came(ran(wing, code, "big map nan set at typed bytes fun gone dollar made half said nope", node, **sent))

    assert found["big"] == 2**70 and found["map"] == {1: [2]} and np.isnan(found["nan"]) and found["set"] == {"a"}
    assert found["at"] == dates.datetime(1970, 1, 1, tzinfo=dates.UTC) and found["typed"].tolist() == [1.0, 2.0]
    assert found["bytes"] == b"ab" and found["gone"] is None and found["dollar"] == {"$": 1}
    assert "type function cannot travel" in found["fun"] and "type A cannot travel" in found["made"]
    assert "half a character" in found["half"] and found["nope"] == "the code left no variable nope"
    assert found["said"] == f"ü,3,2,{2**60},5,2,one,2026-01-01T12:00:00.000Z"
