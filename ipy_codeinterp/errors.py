"""Everything that can go wrong, told apart by type.

InterpError                     .hint says what to do next      .transient says whether trying again may help
├── InvalidInput                what was given cannot be run
│   ├── NothingToRun            blank, or only comments
│   ├── UnknownName             no such model, language, setting: names the nearest
│   ├── BadAttachment           a file that cannot be attached
│   └── BadRecording            a folder that holds no recording we can read
├── NotAllowed                  consent or configuration forbids it
│   ├── ReplayMiss              a replay was asked for what was not recorded
│   ├── HoldsSecret             what looks like a key is in it: nothing was sent or kept
│   └── OverBudget              it could cost more than is left
├── NoOffer                     nobody can do it, or all have given up: .reasons by offer
├── Batched                     it is put aside until later: .id
├── BatchEnded                  what was put aside came to nothing: .id
│   ├── BatchFailed             it could not be run, or its Result is lost
│   ├── BatchExpired            its vendor did not come to it in time
│   └── BatchCancelled          nobody wanted it any more
├── DeadlineExceeded            the time for the whole call is over
├── ProviderError               .provider .status .param .request_id .retry_after .should_retry .may_have_run
│   ├── AuthenticationFailed    401, 403
│   ├── QuotaExceeded           402, 429 that no waiting mends: no credit, no quota
│   ├── Rejected                400, 404, 413: our request was wrong
│   │   └── TooLarge            more tokens than the limit ever lets through
│   ├── BadReply                their reply was not the wire format
│   ├── Overloaded              408, 409, 429, 5xx                            transient
│   └── Unreachable             no connection, or lost before the reply       transient
├── SandboxError
│   ├── NoIsolation             this machine cannot isolate: nothing was run
│   └── GatewayLost             the local gateway died under a run            transient
├── StoreError                  the journal cannot be opened or written
└── CodeError                   raised in a notebook for a Result that is not ok
    ├── LimitReached            the code hit a wall
    └── Crashed                 the interpreter died

The user's code raising is a Result, not an exception: `CodeError` exists so that a *cell* fails like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class InterpError(Exception):
    """Base of all our errors. `hint` is the sentence that says what to do next."""

    transient = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of our frames: the error, then the way out."""
        lines = [f"{type(self).__name__}: {self}"]
        return [*lines, self.hint] if self.hint else lines


class InvalidInput(InterpError):
    """What was given cannot be run."""

    def _render_traceback_(self) -> list[str]:
        """One line: there is nothing to read but the mistake and its mend."""
        return [f"{type(self).__name__}: {self}" + (f": {self.hint}" if self.hint else "")]


class NothingToRun(InvalidInput):
    """The body is blank or holds only comments."""


class UnknownName(InvalidInput):
    """A name nobody knows; the hint has the nearest one."""


class BadAttachment(InvalidInput):
    """A file that cannot be attached."""


class BadRecording(InvalidInput):
    """A folder that holds no recording, or one that cannot be read."""


class NotAllowed(InterpError):
    """Consent or configuration forbids it."""


class ReplayMiss(NotAllowed):
    """A replay runs nothing, and this was not recorded; the hint shows what comes nearest, and what differs."""


class HoldsSecret(NotAllowed):
    """What looks like a key is in the cell or on its line: nothing was sent, run or kept."""


class OverBudget(NotAllowed):
    """What it could cost is more than is left of a budget."""


class NoOffer(InterpError):
    """Nobody can do it, or all have given up. `reasons` says why, by offer; `causes` are the errors of the latter."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        reasons: Mapping[str, str] | None = None,
        causes: Sequence[InterpError] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.reasons = dict(reasons or {})
        self.causes = tuple(causes)


class Batched(InterpError):
    """It was not run, but put aside: it will be when there is capacity. `id` finds it again."""

    def __init__(self, message: str, *, hint: str = "", id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.id = id


class BatchEnded(InterpError):
    """What was put aside has failed, expired or was cancelled: no Result will come of it."""

    def __init__(self, message: str, *, hint: str = "", id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.id = id


class BatchFailed(BatchEnded):
    """What was put aside could not be run, or what came of it is lost."""


class BatchExpired(BatchEnded):
    """Its vendor did not come to it within its day, and bills nothing."""


class BatchCancelled(BatchEnded):
    """It was cancelled before it ran."""


class DeadlineExceeded(InterpError):
    """The time for the whole call, with its waiting and its retries, is over."""


class ProviderError(InterpError):
    """The provider did not give a reply we can use.

    `retry_after` is the seconds it asks us to wait, `should_retry` what it says of trying again (None: nothing), and
    `may_have_run` whether it may have begun to work, and to bill, before it failed.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        provider: str = "",
        status: int | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        may_have_run: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.may_have_run = may_have_run
        self.provider = provider
        self.status = status
        self.param = param  # which part of the request is wrong
        self.request_id = request_id


class AuthenticationFailed(ProviderError):
    """The provider refused the key."""


class QuotaExceeded(ProviderError):
    """The account has no credit or quota left: waiting does not mend it."""


class Rejected(ProviderError):
    """The provider says our request is wrong."""


class TooLarge(Rejected):
    """It asks for more than the provider's limit ever lets through."""


class BadReply(ProviderError):
    """The reply is not the wire format, or ends before its end."""


class Overloaded(ProviderError):
    """The provider asks to come back later."""

    transient = True


class Unreachable(ProviderError):
    """No connection, or it was lost before the reply began."""

    transient = True


class SandboxError(InterpError):
    """The local sandbox could not do its work."""


class NoIsolation(SandboxError):
    """This machine cannot isolate code, so nothing was run."""


class GatewayLost(SandboxError):
    """The local gateway died under a run."""

    transient = True


class StoreError(InterpError):
    """The journal cannot be opened or written."""


class CodeError(InterpError):
    """The code did not end well. `traceback` is the remote one, as lines; `hints` follow it."""

    def __init__(self, message: str, *, traceback: Sequence[str] = (), hints: Sequence[str] = ()) -> None:
        super().__init__(message, hint="\n".join(hints))
        self.traceback = tuple(traceback)

    def _render_traceback_(self) -> list[str]:
        shown = list(self.traceback) or [f"{type(self).__name__}: {self}"]
        return [*shown, self.hint] if self.hint else shown


class LimitReached(CodeError):
    """The code hit a wall: time, memory, output."""


class Crashed(CodeError):
    """The interpreter died under the code."""
