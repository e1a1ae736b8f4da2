"""Everything that can go wrong, told apart by type.

InterpError                     .hint says what to do next      .transient says whether trying again may help
├── InvalidInput                what was given cannot be run
│   ├── NothingToRun            blank, or only comments
│   ├── UnknownName             no such model, language, setting: names the nearest
│   ├── BadAttachment           a file that cannot be attached
│   ├── BadValue                a variable's value that cannot be sent
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
├── LostValue                   a variable's value that did not come back: its run is kept
├── NotSaved                    what a run left could not be written: its run is kept
├── NotMet                      a benchmark did not show what it was expected to, or something has become worse
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
    """Base of all our errors. `hint` is the sentence that says what to do next; without one it is `advice`.

    `failed` says who it was: the code, the key, a limit. `details` are lines that are shown where they are asked for.
    """

    transient = False
    failed = "this run"
    advice = "try again; --debug says more"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.details: tuple[str, ...] = ()

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of our frames: the error and who failed, then the way out."""
        return [self._what_happened(), self.hint or self.advice, *self.details]

    def _what_happened(self) -> str:
        return f"{type(self).__name__} ({self.failed}): {self}"


class InvalidInput(InterpError):
    """What was given cannot be run."""

    failed = "your input"
    advice = "%interp help says more"

    def _render_traceback_(self) -> list[str]:
        """One line: there is nothing to read but the mistake and its mend."""
        return [f"{self._what_happened()}: {self.hint or self.advice}", *self.details]


class NothingToRun(InvalidInput):
    """The body is blank or holds only comments."""

    failed = "your cell"
    advice = "write some code below the first line"


class UnknownName(InvalidInput):
    """A name nobody knows; the hint has the nearest one."""

    failed = "your input"
    advice = "%interp help names what there is"


class BadAttachment(InvalidInput):
    """A file that cannot be attached."""

    failed = "an attached file"
    advice = "look at its path"


class BadValue(InvalidInput):
    """A variable's value that cannot be sent."""

    failed = "the value"
    advice = "send what can travel: docs/data.md"


class BadRecording(InvalidInput):
    """A folder that holds no recording, or one that cannot be read."""

    failed = "the recording"
    advice = "record it anew: ipy-codeinterp record NOTEBOOK"


class NotAllowed(InterpError):
    """Consent or configuration forbids it."""

    failed = "your settings"
    advice = "%interp config says who set what"


class ReplayMiss(NotAllowed):
    """A replay runs nothing, and this was not recorded; the hint shows what comes nearest, and what differs."""

    failed = "the recording"
    advice = "record it anew: ipy-codeinterp record NOTEBOOK"


class HoldsSecret(NotAllowed):
    """What looks like a key is in the cell or on its line: nothing was sent, run or kept."""

    failed = "the secret shield"
    advice = "take it out, or --allow-secrets"


class OverBudget(NotAllowed):
    """What it could cost is more than is left of a budget."""

    failed = "the budget"
    advice = "%interp budget says what is held; %config InterpMagics.budget = USD changes it"


class NoOffer(InterpError):
    """Nobody can do it, or all have given up. `reasons` says why, by offer; `causes` are the errors of the latter."""

    failed = "every offer"
    advice = "name another --model, or change the cell's flags"

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

    failed = "put aside"
    advice = "%interp batch collect shows what comes of it"

    def __init__(self, message: str, *, hint: str = "", id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.id = id


class BatchEnded(InterpError):
    """What was put aside has failed, expired or was cancelled: no Result will come of it."""

    failed = "the batch"
    advice = "put it aside again"

    def __init__(self, message: str, *, hint: str = "", id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.id = id


class BatchFailed(BatchEnded):
    """What was put aside could not be run, or what came of it is lost."""


class BatchExpired(BatchEnded):
    """Its vendor did not come to it within its day, and bills nothing."""


class BatchCancelled(BatchEnded):
    """It was cancelled before it ran."""


class LostValue(InterpError):
    """The value of a variable did not come back from a run, or as what is no value."""

    failed = "the value"
    advice = "the run is kept: look at its Result (--out)"


class NotSaved(InterpError):
    """What a run left could not be written into a folder."""

    failed = "the folder"
    advice = "name another one: --save DIR"


class NotMet(InterpError):
    """A benchmark did not show what it was expected to, or something has become worse than it was."""

    failed = "the figures"
    advice = "look at the report"


class DeadlineExceeded(InterpError):
    """The time for the whole call, with its waiting and its retries, is over."""

    failed = "the deadline"
    advice = "give it longer: %config InterpMagics.deadline = S"


class ProviderError(InterpError):
    """The provider did not give a reply we can use.

    `retry_after` is the seconds it asks us to wait, `should_retry` what it says of trying again (None: nothing), and
    `may_have_run` whether it may have begun to work, and to bill, before it failed.
    """

    failed = "the provider"
    advice = "look at the base URL and at the network, and try again"

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

    def _what_happened(self) -> str:
        """With the provider's own name for the request: its support asks for that."""
        named = self.request_id and self.request_id not in str(self)
        return super()._what_happened() + (f" (request {self.request_id})" if named else "")


class AuthenticationFailed(ProviderError):
    """The provider refused the key."""

    failed = "your key"
    advice = "look at its key, and at what that may do"


class QuotaExceeded(ProviderError):
    """The account has no credit or quota left: waiting does not mend it."""

    failed = "your account"
    advice = "add credit there, or use another model"


class Rejected(ProviderError):
    """The provider says our request is wrong."""

    failed = "the request"
    advice = "look at the model, at what was asked, and at the base URL"


class TooLarge(Rejected):
    """It asks for more than the provider's limit ever lets through."""

    failed = "a limit of the provider"
    advice = "ask for less, or use another model"


class BadReply(ProviderError):
    """The reply is not the wire format, or ends before its end."""

    failed = "the gateway"
    advice = "try again; if it stays so, look at the base URL and at what stands there"


class Overloaded(ProviderError):
    """The provider asks to come back later."""

    failed = "the provider is busy"
    advice = "try again later, or use another model"

    transient = True


class Unreachable(ProviderError):
    """No connection, or it was lost before the reply began."""

    failed = "the network"
    advice = "look at the base URL and at the network, and try again"

    transient = True


class SandboxError(InterpError):
    """The local sandbox could not do its work."""

    failed = "the sandbox"
    advice = "%interp doctor says what is missing"


class NoIsolation(SandboxError):
    """This machine cannot isolate code, so nothing was run."""

    failed = "this machine"
    advice = "%interp doctor says what is missing"


class GatewayLost(SandboxError):
    """The local gateway died under a run."""

    failed = "the local gateway"
    advice = "run the cell again: it starts another"

    transient = True


class StoreError(InterpError):
    """The journal cannot be opened or written."""

    failed = "the journal"
    advice = "make room, or set IPY_CODEINTERP_DATA_DIR to another folder"


class CodeError(InterpError):
    """The code did not end well. `traceback` is the remote one, as lines; `hints` follow it."""

    failed = "your code"
    advice = "look at the last line that is yours"

    def __init__(self, message: str, *, traceback: Sequence[str] = (), hints: Sequence[str] = ()) -> None:
        super().__init__(message, hint="\n".join(hints))
        self.traceback = tuple(traceback)

    def _render_traceback_(self) -> list[str]:
        """The code's own traceback needs no other word; without one there is ours."""
        shown = list(self.traceback) or [self._what_happened(), *([] if self.hint else [self.advice])]
        return [*shown, *([self.hint] if self.hint else []), *self.details]


class LimitReached(CodeError):
    """The code hit a wall: time, memory, output."""

    failed = "a limit"
    advice = "ask for less, or for more: --timeout S, --model"


class Crashed(CodeError):
    """The interpreter died under the code."""

    failed = "your code"
    advice = "look at what calls C: a native library, ctypes, a very deep recursion"
