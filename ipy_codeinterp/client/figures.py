"""Figures that a provider keeps as files: fetched when its reply is over, and shown where they were made.

Other files stay where they are until somebody asks for them. A file's id is written `PROVIDER/ID` from here on, since
only its provider can give it.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import PurePosixPath

from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.transport import Transport
from ipy_codeinterp.dialects import images
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Display, File, Notice, Output, Phase, Result, Step

MOST_FIGURE = 20 << 20  # bytes
MOST_FIGURES = 20  # of one reply
SUFFIXES = (".png", ".jpg", ".jpeg")


async def with_figures(transport: Transport, run: Run, result: Result) -> Result:
    """`result` with its files named, and its figures among its outputs."""
    if not any(step.files for step in result.steps):
        return result
    await run.emit(Phase("transferring"))
    parts, left = [], MOST_FIGURES
    for part in result.parts:
        if isinstance(part, Step) and part.files:
            part, fetched = await _with_figures(transport, run, part, left)
            left -= fetched
        parts.append(part)
    return replace(result, parts=tuple(parts))


async def _with_figures(transport: Transport, run: Run, step: Step, most: int) -> tuple[Step, int]:
    provider = run.offer.provider
    shown = {o.data.get("image/png") or o.data.get("image/jpeg") for o in step.outputs if isinstance(o, Display)}
    files: list[File] = []
    figures: list[Output] = []
    for file in step.files:
        try:
            known = await _known(transport, file, provider)
            if _is_figure(known) and len(figures) < most:
                data = await transport.download(file.id or "", provider, MOST_FIGURE)
                text = base64.b64encode(data).decode()
                figure = images.from_base64(text)
                if text not in shown and text in figure.data.values():  # some show a figure and leave it as a file too
                    figures.append(figure)
                    await run.emit(figure)
                known = replace(known, size=len(data))
            files.append(replace(known, id=f"{provider}/{file.id}"))
        except InterpError as error:
            files.append(replace(file, id=f"{provider}/{file.id}"))
            await run.emit(Notice(f"{file.name} could not be fetched from {provider}: {error}"))
    return replace(step, outputs=(*step.outputs, *figures), files=tuple(files)), len(figures)


async def _known(transport: Transport, file: File, provider: str) -> File:
    """With its name: some replies have ids alone."""
    if file.name != file.id and PurePosixPath(file.name).suffix:
        return file
    return replace(await transport.about(file.id or "", provider), id=file.id)


def _is_figure(file: File) -> bool:
    return PurePosixPath(file.name).suffix.lower() in SUFFIXES and (file.size or 0) <= MOST_FIGURE
