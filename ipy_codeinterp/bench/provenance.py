"""Where the figures of a benchmark come from: versions, prices with their dates, the machine, seeds, limits, walls."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ipy_codeinterp import probe
from ipy_codeinterp.bench.plan import Plan
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.session import Session

PACKAGES = ("ipy-codeinterp", "aiohttp", "numpy")
MEMORY = Path("/proc/meminfo")
PROCESSOR = Path("/proc/cpuinfo")


def gather(session: Session, plan: Plan) -> dict[str, Any]:
    """What JSON knows of it. Nothing in it is a secret, or leads to one."""
    return {
        "run": plan.id,
        "reported": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": "replay" if session.is_replay else "live",
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": machine(),
        "seed": plan.seed,
        "mode": plan.mode,
        "limits": {"concurrency": plan.concurrency, "rate": plan.rate, "deadline": session.settings.deadline},
        "isolation": session.settings.isolation,
        "offers": {name: _offer(session, name) for name in plan.offers},
    }


def machine() -> dict[str, Any]:
    """What it is made of; None for what it does not say."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _line_of(PROCESSOR, "model name"),
        "processors": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        "memory": _line_of(MEMORY, "MemTotal"),
    }


def _offer(session: Session, name: str) -> dict[str, Any]:
    """Its price and limits, and what its last probe found; a replay may know offers that are not here."""
    try:
        offer = session.offer(name)
    except InterpError:
        return {}
    return {
        "local": offer.is_local,
        "timeout": offer.timeout,
        "memory": offer.memory,
        "requests_per_minute": offer.limits.requests,
        "tokens_per_minute": offer.limits.tokens,
        **_price(offer),
        **_walls(session, offer),
    }


def _price(offer: Offer) -> dict[str, Any]:
    """USD per million tokens; that of the model whose list price is shown, where nothing is billed."""
    price = offer.price or (offer.listed.price if offer.listed else None)
    if price is None:
        return {"price": None}
    stated = {"input": str(price.input), "output": str(price.output), "source": price.source}
    return {"price": stated | {"as_of": str(price.checked), "is_billed": offer.price is not None}}


def _walls(session: Session, offer: Offer) -> dict[str, Any]:
    last = probe.latest(session.settings.data_dir, str(offer))
    if last is None:
        return {"walls": None}
    walls = [finding for finding in last.findings if finding.group == "walls" and finding.ok is not None]
    return {"walls": {"held": sum(bool(wall.ok) for wall in walls), "of": len(walls), "asked": str(last.asked.date())}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _line_of(path: Path, name: str) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
