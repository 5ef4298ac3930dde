"""Builds and signs callback bodies as the service does, and says when a failed delivery is tried again.

It does not deliver them: the engine says when, the courier does it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

import msgspec
from jwt.algorithms import HMACAlgorithm
from jwt.utils import base64url_encode

from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.sms_segments import count_segments
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = [
    "INBOUND_SMS",
    "Answer",
    "Callback",
    "Delivery",
    "Signer",
    "final_report_body",
    "inbound_body",
    "retry_delay",
    "status_body",
    "timestamp",
]

Kind = Literal["message-status", "inbound-message", "final-report"]
RetryPolicy = Literal["current", "older"]

_encode = msgspec.json.Encoder().encode
_HS256: Final = HMACAlgorithm(HMACAlgorithm.SHA256)
_JWT_HEADER: Final = base64url_encode(b'{"alg":"HS256","typ":"JWT"}') + b"."

#: price of an inbound SMS per segment, in EUR
INBOUND_SMS: Final = Decimal("0.0060")

_FIRST_RETRY_S: Final = 5
_LONGEST_RETRY_S: Final = 900
_GIVE_UP_S: Final = 24 * 3600
_OLDER_RETRIES_S: Final = (5, 60, 300, 900)


@dataclass(slots=True, eq=False)
class Callback:
    """A callback and the state of its delivery."""

    number: int
    kind: Kind
    url: str
    body: bytes
    application_id: str
    created_ms: int
    attempts: int = 0
    authorization: str = ""
    #: addresses of the customers concerned; set only while faults are armed
    recipients: tuple[str, ...] = ()
    #: the faults that hit the callback rather than an attempt
    faults: tuple[str, ...] = ()
    #: whether the callback is a duplicate, which is not retried
    copy: bool = False


@dataclass(slots=True, frozen=True)
class Delivery:
    """One attempt to deliver a callback that is due now."""

    callback: Callback
    attempt: int
    at_ms: int
    #: the response that a fault dictates
    verdict: Answer | None = None
    signed: bool = True
    faults: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """URL of the receiver."""
        return self.callback.url

    @property
    def body(self) -> bytes:
        """Body of the request."""
        return self.callback.body

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request."""
        headers = {"Content-Type": "application/json"}
        if self.signed:
            headers["Authorization"] = self.callback.authorization
        return headers


@dataclass(slots=True, frozen=True)
class Answer:
    """The response of the receiver: a status, or the reason for none."""

    status: int | None = None
    body: bytes = b""
    failure: str | None = None

    def wants_retry(self, policy: RetryPolicy = "current") -> bool:
        """Return whether to retry: after 429, 5xx or no response; in the older policy, unless 200 (5.10)."""
        if policy == "older":
            return self.status != 200
        return self.status is None or self.status == 429 or self.status >= 500


def retry_delay(attempts: int, age_s: float, policy: RetryPolicy = "current") -> int | None:
    """Return the seconds until the next attempt, None to give up (contract 5.10).

    Args:
        attempts: Number of attempts so far: the delay starts at 5 s and doubles up to 900 s.
        age_s: Age of the callback in seconds; it is given up after 24 h.
        policy: The older policy waits 5 s, 1 min, 5 min, and then 15 min each time.
    """
    if policy == "older":
        delay = _OLDER_RETRIES_S[min(attempts, len(_OLDER_RETRIES_S)) - 1]
    else:
        exponent = min(attempts - 1, 8)  # 5 * 2**8 already exceeds the longest delay
        delay = min(_FIRST_RETRY_S << exponent, _LONGEST_RETRY_S)
    return delay if age_s + delay <= _GIVE_UP_S else None


def timestamp(epoch: datetime, at_ms: int) -> str:
    """Format a virtual time as in the captures: ISO 8601, milliseconds, Z (contract 5.7)."""
    moment = (epoch + timedelta(milliseconds=at_ms)).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def _usage(price: Decimal) -> dict[str, str]:
    return {"price": f"{price:f}", "currency": "EUR"}


def status_body(
    *,
    message_uuid: str,
    to: Mapping[str, str],
    from_: Mapping[str, str],
    timestamp: str,
    status: str,
    dispatch_uuid: str,
    link: Literal["dispatch", "workflow"] = "dispatch",
    error: tuple[int, str] | None = None,
    client_ref: str | None = None,
    price: Decimal | None = None,
) -> bytes:
    """Return a message-status body (contract 5.2), with the members in the order of the captures."""
    body: dict[str, object] = {
        "message_uuid": message_uuid,
        "to": to,
        "from": from_,
        "timestamp": timestamp,
        "status": status,
    }
    if error is not None:
        body["error"] = {"code": error[0], "reason": error[1]}
    if client_ref is not None:
        body["client_ref"] = client_ref
    if price is not None:
        body["usage"] = _usage(price)
    href = f"v0.1/dispatch/{dispatch_uuid}" if link == "dispatch" else f"/workflows/{dispatch_uuid}"
    body["_links"] = {link: {"href": href, "dispatch_uuid": dispatch_uuid}}
    return _encode(body)


def final_report_body(
    *,
    dispatch_uuid: str,
    status: str,
    timestamp: str,
    fee: Decimal,
    messages: Iterable[tuple[str, str, Decimal | None, str]],
) -> bytes:
    """Return a final-report body (contract 5.4).

    Args:
        dispatch_uuid: The workflow.
        status: `completed` or `error`.
        timestamp: The formatted time of the report.
        fee: Price of the workflow on top of its messages.
        messages: Uuid, channel, price (None if unknown) and status of each attempted message.
    """
    entries: list[dict[str, object]] = []
    total = Decimal(0)
    for uuid, channel, price, reached in messages:
        entry: dict[str, object] = {
            "message_uuid": uuid,
            "href": f"v0.1/messages/{uuid}",
            "channel": channel,
        }
        if price is not None:
            entry["usage"] = _usage(price)
            total += price
        entry["status"] = reached
        entries.append(entry)
    body = {
        "template": "failover",
        "status": status,
        "timestamp": timestamp,
        "usage": _usage(total + fee),
        "dispatch_uuid": dispatch_uuid,
        "_links": {"messages": entries},
    }
    return _encode(body)


def inbound_body(
    *,
    message_uuid: str,
    to: Mapping[str, str],
    from_: Mapping[str, str],
    timestamp: str,
    content: Mapping[str, object],
) -> bytes:
    """Return an inbound-message body (contract 5.5); that of an SMS has its segments and its price."""
    message: dict[str, object] = {"content": content}
    body: dict[str, object] = {
        "message_uuid": message_uuid,
        "to": to,
        "from": from_,
        "timestamp": timestamp,
        "direction": "inbound",
        "message": message,
    }
    if to["type"] == "sms":
        parts = count_segments(str(content.get("text", ""))).segments
        message["sms"] = {"num_messages": str(parts)}
        body["usage"] = _usage(INBOUND_SMS * parts)
    return _encode(body)


class Signer:
    """Signs callbacks with HS256 as contract 5.9 describes.

    Args:
        api_key: The account.
        secret: Its signature secret.
        epoch: The moment of virtual time 0.
        random: Source of the `jti` claims.
        clock: Clock of the `iat` claims in epoch seconds; None for virtual time.
    """

    def __init__(
        self,
        *,
        api_key: str,
        secret: str,
        epoch: datetime,
        random: SeededRandom,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._api_key = api_key
        self._secret = secret.encode()
        self._epoch_s = int(epoch.timestamp())
        self._random = random
        self._clock = clock

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Signer {self._api_key}>"

    def authorization(self, callback: Callback, *, at_ms: int, attempt: int) -> str:
        """Return the value of the `Authorization` header."""
        claims: dict[str, object] = {
            "iat": self._epoch_s + at_ms // 1000 if self._clock is None else int(self._clock()),
            "jti": self._random.uuid(f"jti/{callback.number}/{attempt}"),
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(callback.body).hexdigest(),
            "api_key": self._api_key,
            "application_id": callback.application_id,
        }
        # as `jwt.encode`, but without checking the key each time
        signed = _JWT_HEADER + base64url_encode(_encode(claims))
        signature = base64url_encode(_HS256.sign(signed, self._secret))
        return f"Bearer {signed.decode()}.{signature.decode()}"
