"""Figures that a provider keeps as files: fetched and shown; all other files are named and left there."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field, replace

from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.figures import MOST_FIGURE, MOST_FIGURES, with_figures
from ipy_codeinterp.errors import BadReply
from ipy_codeinterp.execution import Display, Event, Execution, File, Notice, Phase, Result, Step

OFFER = replace(catalog.find("local"), provider="elsewhere")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
JPEG = b"\xff\xd8\xff\xe0" + bytes(16)


@dataclass
class Store:
    """What the provider keeps, by id; what was asked for."""

    contents: dict[str, bytes]
    names: dict[str, File] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    async def download(self, id: str, provider: str, most: int) -> bytes:
        self.fetched.append(id)
        if id not in self.contents:
            raise BadReply("it is gone")
        return self.contents[id]

    async def about(self, id: str, provider: str) -> File:
        return self.names[id]


def shown(store: Store, *files: File, outputs: tuple[Display, ...] = ()) -> tuple[Result, list[Event]]:
    """The Result of one step that left these, and what was told."""
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    result = Result("run_1", (Step("x", outputs=outputs, files=files),))
    run = Run(Execution("x"), OFFER, emit)
    return asyncio.run(with_figures(store, run, result)), events  # type: ignore[arg-type]


def test_figures_are_fetched() -> None:
    """A picture among the files is shown as what its first bytes say, and each file says whose it is."""
    store = Store({"f_1": PNG, "f_2": JPEG})

    result, events = shown(store, File("a.png", id="f_1"), File("b.jpg", id="f_2"), File("c.csv", id="f_3"))

    assert [next(iter(image.data)) for image in result.images] == ["image/png", "image/jpeg"]
    assert store.fetched == ["f_1", "f_2"]
    assert [(file.id, file.size) for file in result.files] == [
        ("elsewhere/f_1", len(PNG)),
        ("elsewhere/f_2", len(JPEG)),
        ("elsewhere/f_3", None),
    ]
    assert [type(event) for event in events] == [Phase, Display, Display]


def test_names_are_asked_for() -> None:
    """A file that a reply names by its id alone is described by the provider."""
    store = Store({"f_1": PNG}, {"f_1": File("plot.png", size=24)})

    result, _ = shown(store, File("f_1", id="f_1"))

    assert [(file.name, file.id) for file in result.files] == [("plot.png", "elsewhere/f_1")]
    assert len(result.images) == 1


def test_a_figure_is_shown_once() -> None:
    """One that was shown already, and left as a file too, is not shown again."""
    text = base64.b64encode(PNG).decode()

    result, _ = shown(Store({"f_1": PNG}), File("a.png", id="f_1"), outputs=(Display({"image/png": text}),))

    assert len(result.images) == 1


def test_no_picture() -> None:
    """What is called a picture and is none is a file."""
    result, _ = shown(Store({"f_1": b"<html>"}), File("a.png", id="f_1"))

    assert result.images == () and [file.id for file in result.files] == ["elsewhere/f_1"]


def test_one_that_is_gone() -> None:
    """A figure that cannot be fetched is said to be so, and the others are shown."""
    result, events = shown(Store({"f_2": PNG}), File("a.png", id="f_1"), File("b.png", id="f_2"))

    assert len(result.images) == 1 and len(result.files) == 2
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.text.startswith("a.png could not be fetched from elsewhere")


def test_too_many_and_too_large() -> None:
    """Beyond a number, and beyond a size, pictures stay where they are."""
    store = Store({f"f_{number}": PNG + bytes([number]) for number in range(MOST_FIGURES + 5)})
    large = File("large.png", id="f_large", size=MOST_FIGURE + 1)

    result, _ = shown(store, large, *[File(f"{id}.png", id=id) for id in store.contents])

    assert len(result.images) == len(store.fetched) == MOST_FIGURES
    assert len(result.files) == MOST_FIGURES + 6


def test_nothing_left() -> None:
    """A run that left nothing waits for nothing."""
    result, events = shown(Store({}))

    assert (result.files, events) == ((), [])
