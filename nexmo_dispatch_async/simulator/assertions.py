"""Assertions for tests with the simulator: steps sent, outcomes, statuses; failures show the timeline.

They only read a simulator's records: advance time with `Simulator.advance()` first. Messages contain
channels, steps and times, but no address, text or token, because they end up in build logs.
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
#: What stands above the timeline in the message of a failed assertion.
HEADING: Final = "timeline until"


class _Dispatch(Protocol):
    @property
    def dispatch_uuid(self) -> str: ...


#: a workflow: its uuid, or the return value of `DispatchClient.send()`
Workflow = str | _Dispatch


def assert_sent(simulator: Simulator, channels: Sequence[str], workflow: Workflow | None = None) -> None:
    """Assert that exactly these channels were used, in this order.

    Args:
        simulator: The simulator that received the workflow.
        channels: Names as in the API: `["viber_service_msg", "sms"]`.
        workflow: One workflow; None for all workflows together.

    Raises:
        AssertionError: Other steps were sent; the message contains the timeline.
        ConfigurationError: `channels` is not a list or tuple.
    """
    __tracebackhide__ = True
    uuid = _uuid(workflow)
    sent = simulator.sent_channels(uuid)
    if sent != (expectation := in_order("channels", channels)):
        actual = _list(sent) if sent else "nothing at all"
        _fail(simulator, uuid, f"expected {_list(expectation)} to be sent, but it was {actual}")


def assert_outcome(
    simulator: Simulator, outcome: Literal["completed", "error"] | None, workflow: Workflow | None = None
) -> None:
    """Assert the outcome of a workflow.

    Args:
        simulator: The simulator that received the workflow.
        outcome: `completed`, `error`, or None for a workflow that still runs.
        workflow: One workflow; None for every workflow sent.

    Raises:
        AssertionError: The outcome is another, or no workflow was sent; the message contains the timeline.
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
        simulator: The simulator that received the workflow.
        channel: Name as in the API.
        status: `submitted`, `delivered`, `read`, `rejected` or `undeliverable`.
        workflow: One workflow; None for any of them.
        code: The error code of the status; None for any.

    Raises:
        AssertionError: No message on that channel reached it; the message contains the timeline.
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
    expectation = f"expected {channel} to be {_coded(status, code)}, but "
    if not sent:
        _fail(simulator, uuid, f"{expectation}nothing was sent on {channel}")
    actual = ", ".join(_coded(one, number) for one, number in reached) or "nothing yet"
    _fail(simulator, uuid, f"{expectation}it was {actual}")


def assert_callbacks_accepted(simulator: Simulator) -> None:
    """Assert that callbacks were sent and that the receiver answered every attempt with 2xx.

    Raises:
        AssertionError: An attempt failed, or there was none; the message contains the timeline.
    """
    __tracebackhide__ = True
    attempts = simulator.deliveries
    if not attempts:
        _fail(simulator, None, "expected callbacks, but none was sent: has the application a status_url?")
    refused = [one for one in attempts if one.status is None or not 200 <= one.status < 300]
    if refused:
        first_five = "; ".join(f"{_callback(one)} {_answer(one)}" for one in refused[:5])
        _fail(simulator, None, f"{len(refused)} of {len(attempts)} callbacks were not accepted: {first_five}")


def timeline(simulator: Simulator, workflow: Workflow | None = None, *, limit: int = _LINES) -> str:
    """Return the records as text, one line each with its virtual time.

    Args:
        simulator: The simulator that received the workflow.
        workflow: One workflow; None for all records.
        limit: Maximum number of lines; the newest are kept.
    """
    lines = [f"{record.at_ms / 1000:>12.3f}s  {_line(record)}" for record in _of(simulator, _uuid(workflow))]
    if not lines:
        return "             nothing happened"
    omitted = len(lines) - limit
    return "\n".join([f"             … {omitted} more before", *lines[-limit:]] if omitted > 0 else lines)


# ---- texts


def _line(record: Record) -> str:
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
    except msgspec.DecodeError:  # a fault may have damaged the body
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
    raise AssertionError(f"{what}\n\n{HEADING} {simulator.now:.3f}s:\n{timeline(simulator, uuid)}")


# ---- records


def _uuid(workflow: Workflow | None) -> str | None:
    return workflow if workflow is None or isinstance(workflow, str) else workflow.dispatch_uuid


def _workflows(simulator: Simulator) -> list[str]:
    sent = (record for record in simulator.records if isinstance(record, StepSent))
    return list(dict.fromkeys(record.dispatch_uuid for record in sent))


def _of(simulator: Simulator, uuid: str | None) -> Iterator[Record]:
    """Yield the records of one workflow, its requests and callbacks included; all records without a uuid."""
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
