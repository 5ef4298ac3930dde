"""Assertions for tests against the simulator: what was sent, how it ended, and the timeline when it differs.

They look at what a simulator has recorded and move nothing: let time pass with `Simulator.advance()` first.
Messages name channels, steps and times, never an address, a text or a token: they end in the logs of builds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NoReturn, Protocol

import msgspec

from nexmo_dispatch_async.models.several import in_order
from nexmo_dispatch_async.simulator.simulator import Simulator
from nexmo_dispatch_async.simulator.world.history import (
    CallbackAttempt,
    Record,
    RequestSeen,
    StatusReached,
    StepExpired,
    StepSent,
    WorkflowEnded,
)

__all__ = [
    "assert_callbacks_accepted",
    "assert_outcome",
    "assert_sent",
    "assert_status",
    "timeline",
]

_LINES: Final = 60


class _Dispatch(Protocol):
    @property
    def dispatch_uuid(self) -> str: ...


#: a workflow: its uuid, or what `DispatchClient.send()` returned
Workflow = str | _Dispatch


def assert_sent(simulator: Simulator, channels: Sequence[str], workflow: Workflow | None = None) -> None:
    """Assert that steps were sent on these channels, in this order, and on no others.

    Args:
        simulator: What was sent to.
        channels: Names as in the API: `["viber_service_msg", "sms"]`.
        workflow: One workflow; all of them together without it.

    Raises:
        AssertionError: Other steps were sent; the message holds the timeline.
        ConfigurationError: `channels` is no list or tuple.
    """
    __tracebackhide__ = True
    uuid = _uuid(workflow)
    sent = simulator.sent_channels(uuid)
    if sent != (wanted := in_order("channels", channels)):
        told = _list(sent) if sent else "nothing at all"
        _fail(simulator, uuid, f"expected {_list(wanted)} to be sent, but it was {told}")


def assert_outcome(
    simulator: Simulator, outcome: Literal["completed", "error"] | None, workflow: Workflow | None = None
) -> None:
    """Assert how a workflow ended.

    Args:
        simulator: What was sent to.
        outcome: `completed`, `error`, or None for a workflow that still runs.
        workflow: The workflow; without it, all that were sent.

    Raises:
        AssertionError: It ended otherwise, or no workflow was sent; the message holds the timeline.
    """
    __tracebackhide__ = True
    uuid = _uuid(workflow)
    known = _workflows(simulator) if uuid is None else [uuid]
    if not known:
        _fail(simulator, uuid, f"expected {_ended(outcome)}, but no workflow was sent")
    for number, one in enumerate(known, 1):
        try:
            actual = simulator.outcome(one)
        except KeyError:
            _fail(simulator, None, f"this simulator knows no workflow {one}")
        if actual != outcome:
            which = f"workflow {number} of {len(known)}" if len(known) > 1 else "the workflow"
            _fail(simulator, one, f"expected {_ended(outcome)}, but {which} {_is(actual)}")


def assert_status(
    simulator: Simulator,
    channel: str,
    status: str,
    workflow: Workflow | None = None,
    *,
    code: int | None = None,
) -> None:
    """Assert that a message on a channel reached a status.

    Args:
        simulator: What was sent to.
        channel: Name as in the API.
        status: `submitted`, `delivered`, `read`, `rejected` or `undeliverable`.
        workflow: One workflow; any of them without it.
        code: The error code that came with it.

    Raises:
        AssertionError: No message on that channel did; the message holds the timeline.
    """
    __tracebackhide__ = True
    uuid = _uuid(workflow)
    sent = {
        record.message_uuid
        for record in _of(simulator, uuid)
        if isinstance(record, StepSent) and record.channel == channel
    }
    reached = [
        (record.status, record.code)
        for record in _of(simulator, uuid)
        if isinstance(record, StatusReached) and record.message_uuid in sent
    ]
    if any(one == status and code in (None, number) for one, number in reached):
        return
    wanted = f"expected {channel} to be {_coded(status, code)}, but "
    if not sent:
        _fail(simulator, uuid, f"{wanted}nothing was sent on {channel}")
    told = ", ".join(_coded(one, number) for one, number in reached) or "nothing yet"
    _fail(simulator, uuid, f"{wanted}it was {told}")


def assert_callbacks_accepted(simulator: Simulator) -> None:
    """Assert that callbacks were made, and that the receiver answered every attempt with 2xx.

    Raises:
        AssertionError: One was refused or not answered, or there was none; the message holds the timeline.
    """
    __tracebackhide__ = True
    attempts = simulator.deliveries
    if not attempts:
        _fail(simulator, None, "expected callbacks, but none was made: has the application a status_url?")
    refused = [one for one in attempts if one.status is None or not 200 <= one.status < 300]
    if refused:
        told = "; ".join(f"{_callback(one)} {_answer(one)}" for one in refused[:5])
        _fail(simulator, None, f"{len(refused)} of {len(attempts)} callbacks were not accepted: {told}")


def timeline(simulator: Simulator, workflow: Workflow | None = None, *, limit: int = _LINES) -> str:
    """Return what happened, a line each with the virtual time, the newest `limit` lines.

    Args:
        simulator: What was sent to.
        workflow: One workflow; everything without it.
        limit: How many lines at most.
    """
    lines = [f"{record.at_ms / 1000:>12.3f}s  {_told(record)}" for record in _of(simulator, _uuid(workflow))]
    if not lines:
        return "             nothing happened"
    left_out = len(lines) - limit
    return "\n".join([f"             … {left_out} more before", *lines[-limit:]] if left_out > 0 else lines)


# ---- how it is said


def _told(record: Record) -> str:
    match record:
        case RequestSeen():
            return f"→ {record.method} {record.path.partition('?')[0]} → {record.status}"
        case StepSent():
            return f"step {record.step + 1} sent on {record.channel}"
        case StepExpired():
            return f"step {record.step + 1} expired"
        case StatusReached():
            return f"step {record.step + 1} {_coded(record.status, record.code)}"
        case WorkflowEnded():
            return f"workflow {record.status}"
        case CallbackAttempt():
            attempt = f", attempt {record.attempt}" if record.attempt > 1 else ""
            return f"← callback {_callback(record)}{attempt} {_answer(record)}"


class _Body(msgspec.Struct):
    status: str = ""


def _callback(attempt: CallbackAttempt) -> str:
    try:
        status = msgspec.json.decode(attempt.body, type=_Body).status
    except msgspec.DecodeError:  # a fault may have spoilt it
        status = ""
    return f"{attempt.kind} {status}".rstrip()


def _answer(attempt: CallbackAttempt) -> str:
    return f"→ {attempt.status}" if attempt.status is not None else f"→ no answer ({attempt.failure})"


def _coded(status: str, code: int | None) -> str:
    return status if code is None else f"{status} ({code})"


def _ended(outcome: str | None) -> str:
    return "a workflow that still runs" if outcome is None else f"the outcome {outcome}"


def _is(outcome: str | None) -> str:
    return "still runs" if outcome is None else f"ended with {outcome}"


def _list(channels: Iterable[str]) -> str:
    return " → ".join(channels) or "nothing"


def _fail(simulator: Simulator, uuid: str | None, what: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(f"{what}\n\nwhat happened until {simulator.now:.3f}s:\n{timeline(simulator, uuid)}")


# ---- what it looks at


def _uuid(workflow: Workflow | None) -> str | None:
    return workflow if workflow is None or isinstance(workflow, str) else workflow.dispatch_uuid


def _workflows(simulator: Simulator) -> list[str]:
    sent = (record for record in simulator.records if isinstance(record, StepSent))
    return list(dict.fromkeys(record.dispatch_uuid for record in sent))


def _of(simulator: Simulator, uuid: str | None) -> Iterator[Record]:
    """Yield the records of one workflow, without requests and callbacks of others; or all records."""
    for record in simulator.records:
        if uuid is None or getattr(record, "dispatch_uuid", None) == uuid or uuid in _text(record):
            yield record


def _text(record: Record) -> str:
    match record:
        case RequestSeen():
            return record.answer
        case CallbackAttempt():
            return record.body
        case _:
            return ""
