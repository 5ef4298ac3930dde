"""Callbacks of one workflow as events, built through the receiver's own parser."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from nexmo_dispatch_async.channels import messenger, sms, viber, whatsapp
from nexmo_dispatch_async.tracking import WorkflowResult, WorkflowState, conclude
from nexmo_dispatch_async.tracking.reducer import observe, planned
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import Event, parse_event

UUID = "9788c4a0-1222-4a5e-ac72-1674ec726fed"
START = datetime(2025, 3, 11, 8, 21, tzinfo=UTC)
NUMBER, PSID = "447700900123", "2903557611987403"

WHATSAPP_THEN_SMS = Workflow.failover(
    whatsapp.text("Hello", from_="447418342140", to=NUMBER).until("read", within=600),
    sms.text("Hello", from_="31647356950", to=NUMBER),
)
FOUR_CHANNELS = Workflow.failover(
    messenger.text("Hello", from_="118820033417905", to=PSID).until("read", within=60),
    viber.text("Hello", from_="VSM", to=NUMBER).until("delivered", within=60),
    sms.text("Hello", from_="31647356950", to=NUMBER).until("delivered", within=60),
    sms.text("Hello", from_="31647356950", to="447700900999"),
)


def moment(seconds: float) -> datetime:
    """The moment so long after the start."""
    return START + timedelta(seconds=seconds)


def status(
    message: str,
    status: str,
    at: float | None = 0,
    *,
    channel: str = "sms",
    to: str | dict[str, Any] = NUMBER,
    dispatch: str | None = UUID,
    code: int | None = None,
    price: str | None = None,
    **more: Any,
) -> Event:
    """A message-status, `at` seconds after the start; None for a time that cannot be read."""
    key = "id" if channel == "messenger" else "number"
    body: dict[str, Any] = {
        "message_uuid": message,
        "to": to if isinstance(to, dict) else {"type": channel, key: to},
        "from": {key: "1"},
        "timestamp": "at noon" if at is None else moment(at).isoformat(),
        "status": status,
        **more,
    }
    if dispatch is not None:
        body["_links"] = {"dispatch": {"dispatch_uuid": dispatch}}
    if code is not None:
        body["error"] = {"code": code, "reason": "no"}
    if price is not None:
        body["usage"] = {"price": price, "currency": "EUR"}
    return parse_event(json.dumps(body))


def report(
    status: str | None,
    at: float | None,
    *messages: tuple[str | None, str, str] | tuple[str | None, str, str, str],
    total: str | None = None,
    dispatch: str = UUID,
) -> Event:
    """A final report; of each message: uuid, channel, status and perhaps the price."""
    entries = [
        {
            "message_uuid": message[0],
            "channel": message[1],
            "status": message[2],
            **({"usage": {"price": message[3], "currency": "EUR"}} if len(message) == 4 else {}),
        }
        for message in messages
    ]
    body: dict[str, Any] = {
        "dispatch_uuid": dispatch,
        "template": "failover",
        "status": status,
        "timestamp": None if at is None else moment(at).isoformat(),
        "_links": {"messages": entries},
    }
    if total is not None:
        body["usage"] = {"price": total, "currency": "EUR"}
    return parse_event(json.dumps(body))


def state_of(*events: Event, workflow: Workflow | None = None) -> WorkflowState:
    """What is known after these events, in this order."""
    state = planned(UUID, workflow)
    for event in events:
        seen = observe(event)
        assert seen is not None
        state = state.merge(seen)
    return state


def result_of(*events: Event, workflow: Workflow | None = None) -> WorkflowResult:
    """What these events amount to."""
    return conclude(state_of(*events, workflow=workflow))
