"""The fast path of parsing `POST /dispatch`: text messages, spelt as in the examples of the contract.

Any other body is left to `validation.py`, which gives the same result for these bodies.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from nexmo_dispatch_async.simulator.world.steps import SimulatedStep, condition, is_e164

__all__ = ["read_usual"]

_Address = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]


class _End(msgspec.Struct, gc=False):
    type: str
    number: _Address | None = None
    id: _Address | None = None


class _Content(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class _Message(msgspec.Struct, gc=False):
    content: _Content
    whatsapp: None = None
    viber_service_msg: None = None
    messenger: None = None


class _Failover(msgspec.Struct, gc=False):
    expiry_time: Annotated[int, msgspec.Meta(ge=15, le=86400)]
    condition_status: Literal["delivered", "read"]


class _Step(msgspec.Struct, gc=False):
    to: _End
    message: _Message
    from_: _End = msgspec.field(name="from")
    failover: _Failover | None = None
    client_ref: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class _Body(msgspec.Struct, gc=False):
    template: Literal["failover"]
    workflow: Annotated[list[_Step], msgspec.Meta(min_length=1)]


_decode: Final = msgspec.json.Decoder(_Body).decode

# Keys of `from` and `to`, and maximum length of a text, by channel (contract 3.3, 3.4.2).
_CHANNELS: Final[dict[str, tuple[str, str, int]]] = {
    "sms": ("number", "number", 1000),
    "mms": ("number", "number", 1000),
    "whatsapp": ("number", "number", 4096),
    "viber_service_msg": ("id", "number", 1000),
    "messenger": ("id", "id", 640),
}


def read_usual(body: bytes, text: str) -> tuple[SimulatedStep, ...] | None:
    """Return the steps of a usual workflow, None for any other body.

    Args:
        body: The raw request body.
        text: The decoded body, which the steps share.
    """
    try:
        raw_steps = _decode(body).workflow
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    steps: list[SimulatedStep] = []
    last = len(raw_steps) - 1
    for place, raw in enumerate(raw_steps):
        sender, recipient, failover = raw.from_, raw.to, raw.failover
        channel = sender.type
        keys = _CHANNELS.get(channel)
        if keys is None or recipient.type != channel or (failover is None) != (place == last):
            return None
        from_key, to_key, limit = keys
        from_address = sender.number if from_key == "number" else sender.id
        address = recipient.number if to_key == "number" else recipient.id
        if from_address is None or address is None or len(raw.message.content.text) > limit:
            return None
        if (to_key == "number" and not is_e164(address)) or (
            channel == "whatsapp" and not is_e164(from_address)
        ):
            return None
        steps.append(
            SimulatedStep(
                channel,
                from_key,
                from_address,
                to_key,
                address,
                text,
                place,
                "text",
                raw.client_ref,
                None if failover is None else condition(failover.condition_status, failover.expiry_time),
            )
        )
    return tuple(steps)
