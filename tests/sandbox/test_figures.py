"""Figures: all that are open are shown, in the format that is asked for, with words for those who cannot see them."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from ipy_codeinterp.execution import Display
from ipy_codeinterp.sandbox.container import Container

from .wing import Ran, Wing

pytestmark = pytest.mark.sandbox

PLOT = """
import matplotlib.pyplot as plt
fig, (left, right) = plt.subplots(1, 2, figsize=(4, 2))
fig.suptitle("Growth")
left.plot([1, 2], [3, 4], label="rye")
left.plot([1, 2], [4, 3], label="oats")
left.set(title="Yield", xlabel="year", ylabel="t/ha")
left.legend()
right.bar([1, 2, 3], [1, 2, 3])"""


def pictures(ran: Ran) -> list[Display]:
    return [o for o in ran.outputs if isinstance(o, Display) and any(m.startswith("image/") for m in o.data)]


def width(picture: Display) -> int:
    return int(struct.unpack(">I", base64.b64decode(picture.data["image/png"])[16:20])[0])


def test_every_open_figure_is_shown(wing: Wing, fresh: Container) -> None:
    """Figures that the code leaves open come at its end, each once, without `plt.show()`."""
    ran = wing.run("import matplotlib.pyplot as plt\nfor i in range(3): plt.figure(); plt.plot([i])", container=fresh)
    assert len(pictures(ran)) == 3
    assert pictures(wing.run("1", container=fresh)) == []


def test_a_figure_is_described(wing: Wing, fresh: Container) -> None:
    """Titles, panels, axes and series are told in the picture's metadata."""
    (picture,) = pictures(wing.run(PLOT, container=fresh))
    assert picture.metadata["image/png"]["alt"] == (
        "Growth. 2 panels. Yield. 2 lines. x axis: year, y axis: t/ha. Series: rye, oats. 3 bars"
    )


@pytest.mark.parametrize(
    ("asked", "mime"),
    [({}, "image/png"), ({"figure_format": "svg"}, "image/svg+xml"), ({"figure_dpi": 200}, "image/png")],
)
def test_format_and_resolution(wing: Wing, fresh: Container, asked: dict[str, Any], mime: str) -> None:
    """A figure has the format that is asked for, and as many dots."""
    (plain,) = pictures(wing.run(PLOT, container=fresh))
    (picture,) = pictures(wing.run(PLOT, container=fresh, **asked))
    assert set(picture.data) - {"text/plain"} == {mime}
    assert "Growth" in picture.metadata[mime]["alt"]
    if "figure_dpi" in asked:
        assert width(picture) == pytest.approx(2 * width(plain), rel=0.05)


def test_a_choice_of_the_code_stays(wing: Wing, fresh: Container) -> None:
    """What the code itself chooses in a container is not undone by the next run."""
    wing.run("from matplotlib_inline.backend_inline import set_matplotlib_formats as f; f('svg')", container=fresh)
    (picture,) = pictures(wing.run(PLOT, container=fresh))
    assert "image/svg+xml" in picture.data
