"""Composes the bodies of callbacks: in the form of v0.1 or, by the switches, of v1 where it exists.

The forms are in `bodies.py` and `bodies_v1.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import cast

from nexmo_dispatch_async.simulator.callbacks.bodies import (
    final_report_body,
    inbound_body,
    status_body,
    timestamp,
)
from nexmo_dispatch_async.simulator.callbacks.bodies_v1 import inbound_body_v1, status_body_v1
from nexmo_dispatch_async.simulator.world.runs import Message, Run
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.sms_segments import count_segments

__all__ = ["CallbackComposer", "address_of"]


class CallbackComposer:
    """Composes the bodies of callbacks.

    Args:
        settings: The switches.
        epoch: The moment of virtual time 0.
    """

    def __init__(self, settings: Settings, epoch: datetime) -> None:
        self._settings = settings
        self._epoch = epoch

    def status(
        self,
        message: Message,
        status: str,
        at_ms: int,
        *,
        error: tuple[int, str] | None,
        price: Decimal | None,
    ) -> bytes:
        """Return the message-status body for a status of a message."""
        step, run = message.step, message.run
        if self._settings.webhook_version == "v1":
            return status_body_v1(
                channel=step.channel,
                message_uuid=message.uuid,
                to=step.address,
                from_=step.from_address,
                timestamp=self._timestamp_v1(at_ms),
                status=status,
                dispatch_uuid=run.dispatch_uuid,
                place=(message.index + 1, len(run.steps)),
                error=error,
                client_ref=step.client_ref,
                price=price,
                segments=_segments(message) if step.channel == "sms" else None,
                spelling=self._settings.v1_workflow,
            )
        return status_body(
            message_uuid=message.uuid,
            to=step.recipient,
            from_=step.sender,
            timestamp=timestamp(self._epoch, at_ms),
            status=status,
            dispatch_uuid=run.dispatch_uuid,
            link=self._settings.dispatch_link,
            error=error,
            client_ref=step.client_ref,
            price=price,
        )

    def report(self, run: Run, at_ms: int) -> bytes:
        """Return the final-report body of a workflow."""
        viber = self._settings.report_viber_as
        return final_report_body(
            dispatch_uuid=run.dispatch_uuid,
            status=run.failover.outcome or "error",
            timestamp=timestamp(self._epoch, at_ms),
            fee=self._settings.workflow_fee,
            messages=[
                (
                    message.uuid,
                    viber if message.step.channel == "viber_service_msg" else message.step.channel,
                    message.price,
                    message.status or "submitted",
                )
                for message in run.messages
            ],
        )

    def inbound(
        self,
        message_uuid: str,
        at_ms: int,
        *,
        to: Mapping[str, str],
        from_: Mapping[str, str],
        content: Mapping[str, object],
    ) -> bytes:
        """Return the inbound-message body of a message from a customer."""
        if self._settings.webhook_version == "v1":
            return inbound_body_v1(
                channel=to["type"],
                message_uuid=message_uuid,
                to=address_of(to),
                from_=address_of(from_),
                timestamp=self._timestamp_v1(at_ms),
                content=content,
            )
        return inbound_body(
            message_uuid=message_uuid,
            to=to,
            from_=from_,
            timestamp=timestamp(self._epoch, at_ms),
            content=content,
        )

    def _timestamp_v1(self, at_ms: int) -> str:
        """Format a time as in v1: with milliseconds or without a fraction (contract 5.7)."""
        text = timestamp(self._epoch, at_ms)
        return text if self._settings.v1_timestamps == "milliseconds" else text[:19] + "Z"


def _segments(message: Message) -> int:
    content = cast("dict[str, object]", message.step.message["content"])
    return count_segments(str(content.get("text", ""))).segments


def address_of(end: Mapping[str, str]) -> str:
    """Return the number or the id of a sender or recipient."""
    return end.get("number") or end.get("id", "")
