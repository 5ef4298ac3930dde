"""What became of a call that was cancelled: the one question that the cancellation leaves open.

It cancels nothing and catches nothing: it writes the answer onto the exception that passes by, and reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from nexmo_dispatch_async.exceptions import APIError, DispatchError
from nexmo_dispatch_async.models.responses import Dispatch

if TYPE_CHECKING:
    from nexmo_dispatch_async.workflow import Workflow

__all__ = ["Interruption", "interrupt", "interruption_of", "note", "outcome_of_failure", "tell"]


class Interruption(msgspec.Struct):
    """What is known of a call that was cut short.

    Attributes:
        outcome: `not_sent`: no byte that counts left, so it may be made again. `unknown`: bytes left, so only
            callbacks can tell. `sent`: the service accepted it, and what came after was cut short.
        request: Method and URL template.
        steps: What a workflow consisted of, one line a step, without personal data.
        client_refs: The references of its steps.
        dispatch: What the service accepted, if it is known.
    """

    outcome: Literal["sent", "not_sent", "unknown"]
    request: str = ""
    steps: tuple[str, ...] = ()
    client_refs: tuple[str, ...] = ()
    dispatch: Dispatch | None = None

    def __str__(self) -> str:
        return f"{self.request}: cut short, outcome {self.outcome}"


def interrupt(
    error: BaseException,
    outcome: Literal["sent", "not_sent", "unknown"],
    request: str,
    *,
    anyway: bool = False,
) -> Interruption:
    """Write onto `error` what became of the call that it ends, unless something closer to it did."""
    found = _on(error)
    if anyway or found is None:
        found = note(error, Interruption(outcome, request))
    return found


def note(error: BaseException, known: Interruption) -> Interruption:
    """Write `known` onto `error`, whatever stands there."""
    # Not by assignment: an exception of another library may be frozen.
    error.__dict__["interruption"] = known
    return known


def tell(error: BaseException, workflow: Workflow) -> None:
    """Write onto an error, or its interruption, what was or would have been sent."""
    about = error if isinstance(error, APIError) else interrupt(error, "not_sent", "POST /dispatch")
    about.steps, about.client_refs = workflow.summary(), workflow.client_refs
    if isinstance(about, Interruption) and about.dispatch is not None and about.client_refs:
        about.dispatch = Dispatch(about.dispatch.dispatch_uuid, client_refs=about.client_refs)


def interruption_of(error: BaseException) -> Interruption | None:
    """Return what is known of the call that `error` cut short, or `None` if it cut none short.

    `error` is the `CancelledError` itself, or an exception that was made from it, such as the `TimeoutError`
    of `asyncio.timeout()` or one of a middleware. An `APIError` is no interruption: it has its own `outcome`.
    """
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        if (found := _on(current)) is not None:
            return found
        chain.append(current)
        current = current.__cause__ or current.__context__
    return None


def outcome_of_failure(error: BaseException) -> Interruption:
    """Return what an exception of any kind says about the work that it ended."""
    if (known := _on(error)) is not None:
        return known
    if isinstance(error, APIError):
        known = Interruption("not_sent", error.request, error.steps, error.client_refs)
        if error.outcome == "unknown":
            known.outcome = "unknown"
        return known
    if isinstance(error, DispatchError):
        # What else this package raises, it raises before anything is sent.
        return Interruption("not_sent")
    return interruption_of(error) or Interruption("unknown")


def _on(error: BaseException) -> Interruption | None:
    found = getattr(error, "interruption", None)
    return found if isinstance(found, Interruption) else None
