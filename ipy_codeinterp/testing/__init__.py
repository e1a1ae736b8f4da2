"""For tests of one's own: the laws of a sandbox, and a provider that does what a script says and sends a bill."""

from ipy_codeinterp.testing.batches import ScriptedBatches
from ipy_codeinterp.testing.laws import Place, Places, Ran, SandboxLaws, Start, places_of
from ipy_codeinterp.testing.provider import (
    Action,
    Billed,
    ColdStart,
    Fail,
    Received,
    Reply,
    Reset,
    ScriptedProvider,
    Stall,
    Truncate,
)

__all__ = [
    "Action",
    "Billed",
    "ColdStart",
    "Fail",
    "Place",
    "Places",
    "Ran",
    "Received",
    "Reply",
    "Reset",
    "SandboxLaws",
    "ScriptedBatches",
    "ScriptedProvider",
    "Stall",
    "Start",
    "Truncate",
    "places_of",
]
