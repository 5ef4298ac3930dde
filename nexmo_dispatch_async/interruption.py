"""The outcome of a cancelled call: whether its request was sent.

The module cancels and catches nothing: it records the outcome on the propagating exception, and reads it.
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
    """The known facts about a call that was cut short.

    Attributes:
        outcome: `not_sent`: no byte of the request left, so the call may be repeated. `unknown`: bytes left,
            so only callbacks can tell. `sent`: the service accepted the request, and a later part of the call
            was cut short.
        request: Method and URL template.
        steps: The steps of the workflow, one line each, without personal data.
        client_refs: The references of the steps.
        dispatch: The accepted dispatch, if it is known.
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
    """Record on `error` the outcome of the call that it ends, unless an inner layer already did.

    Args:
        error: The propagating exception.
        outcome: The outcome to record.
        request: Method and URL template.
        anyway: Replace a recorded outcome.
    """
    found = _on(error)
    if anyway or found is None:
        found = note(error, Interruption(outcome, request))
    return found


def note(error: BaseException, known: Interruption) -> Interruption:
    """Record `known` on `error`, replacing an earlier record."""
    # No assignment of an attribute: an exception of another library may be frozen.
    error.__dict__["interruption"] = known
    return known


def tell(error: BaseException, workflow: Workflow) -> None:
    """Record on an error, or on its interruption, the steps and the references of the workflow."""
    about = error if isinstance(error, APIError) else interrupt(error, "not_sent", "POST /dispatch")
    about.steps, about.client_refs = workflow.summary(), workflow.client_refs
    if isinstance(about, Interruption) and about.dispatch is not None and about.client_refs:
        about.dispatch = Dispatch(about.dispatch.dispatch_uuid, client_refs=about.client_refs)


def interruption_of(error: BaseException) -> Interruption | None:
    """Return the known facts about the call that `error` cut short; `None` if it cut no call short.

    Args:
        error: The `CancelledError`, or an exception raised from it, such as the `TimeoutError` of
            `asyncio.timeout()` or an exception of a middleware. An `APIError` is no interruption: it has its
            own `outcome`.
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
    """Return the outcome that an exception of any kind implies for the call that it ended."""
    if (known := _on(error)) is not None:
        return known
    if isinstance(error, APIError):
        known = Interruption("not_sent", error.request, error.steps, error.client_refs)
        if error.outcome == "unknown":
            known.outcome = "unknown"
        return known
    if isinstance(error, DispatchError):
        # This package raises all its other exceptions before anything is sent.
        return Interruption("not_sent")
    return interruption_of(error) or Interruption("unknown")


def _on(error: BaseException) -> Interruption | None:
    found = getattr(error, "interruption", None)
    return found if isinstance(found, Interruption) else None
