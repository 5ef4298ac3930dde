"""For tests of your own handlers: `WebhookClient` posts, signed, what the service would post.

It simulates no workflow and keeps no time; for that there is the simulator of the SDK package.
"""

from __future__ import annotations

import json
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nexmo_dispatch_webhooks import events
from nexmo_dispatch_webhooks.events.vocabulary import CHANNEL_NAMES, FAILED_STATUSES
from nexmo_dispatch_webhooks.exceptions import ConfigurationError, HandlerError, InvalidBodyError
from nexmo_dispatch_webhooks.logs import watchers
from nexmo_dispatch_webhooks.receiver import UNSET, Answer, Receiver, Unset
from nexmo_dispatch_webhooks.routing import HandlerFailure, Router
from nexmo_dispatch_webhooks.sansio import JwtVerification, RawRequest
from nexmo_dispatch_webhooks.signature import Secret, sign

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["WebhookClient", "inbound_body", "report_body", "status_body"]

Body = dict[str, Any]
#: A number or an id, or the whole object of contract 5.2.
AddressLike = str | Mapping[str, Any]
Price = Decimal | str | None

# Numbers of ranges that are reserved for fiction; ids are invented.
_CUSTOMER = {"messenger": "9000000000000001", "mms": "12025550143"}
_OWN = {"messenger": "900000000000002", "viber_service_msg": "VSM-ID-1", "mms": "24273"}
_PRICE = "0.0333"
_FEE = Decimal("0.002")  # contract 5.4: the total is the sum and a fee
_ERROR = 1300


class WebhookClient:
    """Plays the service for your handlers.

    Args:
        target: a router, to run its handlers without a socket; a `Receiver`, which `setup` and
            `ASGIReceiver.receiver` give, to go through your own settings; or the URL of a running receiver.
        secrets: what to sign with: the mapping that your receiver has; the first secret of its first key is
            taken. Not needed for a router, nor where no token is verified: a secret of the path goes into
            `path`, another signature into the `headers` of `post`.
        values: what handlers of a router may ask for by parameter name; a receiver has its own.
        raise_failures: raise `HandlerError` when a handler fails, with the handler's exception as its cause;
            behind an inbox each post waits for that until nothing is ready or under way. False gives the
            answer as the service would see it, at once. For a URL it means nothing.
        clock: gives epoch seconds, for timestamps and tokens.

    A receiver that has an inbox and does not run yet is started by the first post, and ended with the client:
    write `async with WebhookClient(receiver) as client:`, or await its `aclose`.

    Raises:
        ConfigurationError: the receiver verifies tokens, and there are no *secrets* to sign with; *target* is
            none of the three, or has values already.
    """

    def __init__(
        self,
        target: Router | Receiver | str,
        *,
        secrets: Mapping[str, Secret] | None = None,
        values: Mapping[str, Any] | None = None,
        raise_failures: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check_target(target, values)
        self._clock = clock
        self._raise = raise_failures
        self._url = target if isinstance(target, str) else None
        self._session: ClientSession | None = None
        self._started = False
        self.receiver: Receiver | None = None
        if isinstance(target, Router):
            secrets = secrets or {"test-key": "a signature secret for tests"}
            self.receiver = Receiver(target, secrets=secrets, values=values, clock=clock)
        elif isinstance(target, Receiver):
            if secrets is None and isinstance(target.verification, JwtVerification):
                raise ConfigurationError("give the secrets of the receiver: they sign what the client posts")
            self.receiver = target
        self._signer = _first(secrets) if secrets else None

    def __repr__(self) -> str:
        return f"<WebhookClient of {self._url or self.receiver!r}>"

    def __del__(self) -> None:
        # a client that was not made has neither
        receiver = getattr(self, "receiver", None)
        if getattr(self, "_started", False) and receiver is not None and receiver.inbox is not None:
            warnings.warn(
                f"unclosed {self!r}: its inbox still runs", ResourceWarning, stacklevel=1, source=self
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections to a URL, or the receiver with its inbox, if this client has started it."""
        if self._started and self.receiver is not None:
            self._started = False
            await self.receiver.aclose()
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- what the service posts ---

    async def post_status(
        self,
        status: str = "delivered",
        *,
        channel: str = "sms",
        message_uuid: str | None = None,
        dispatch_uuid: str | Unset | None = UNSET,
        to: AddressLike | None = None,
        from_: AddressLike | None = None,
        price: Price | Unset = UNSET,
        error: int | Mapping[str, Any] | Unset | None = UNSET,
        client_ref: str | None = None,
        timestamp: datetime | str | None = None,
        path: str = "",
        **fields: Any,
    ) -> Answer:
        """Post a message-status; see `status_body` for the arguments, and `post` for what it raises."""
        body = status_body(
            status,
            channel=channel,
            message_uuid=message_uuid,
            dispatch_uuid=dispatch_uuid,
            to=to,
            from_=from_,
            price=price,
            error=error,
            client_ref=client_ref,
            timestamp=timestamp or self._now(),
            **fields,
        )
        return await self.post(body, path=path)

    async def post_inbound(
        self,
        text: str | None = None,
        *,
        content: events.Content | Mapping[str, Any] | None = None,
        channel: str = "whatsapp",
        message_uuid: str | None = None,
        from_: AddressLike | None = None,
        to: AddressLike | None = None,
        timestamp: datetime | str | None = None,
        path: str = "",
        **fields: Any,
    ) -> Answer:
        """Post an inbound-message; see `inbound_body` for the arguments, and `post` for what it raises."""
        body = inbound_body(
            text,
            content=content,
            channel=channel,
            message_uuid=message_uuid,
            from_=from_,
            to=to,
            timestamp=timestamp or self._now(),
            **fields,
        )
        return await self.post(body, path=path)

    async def post_report(
        self,
        status: str = "completed",
        *,
        dispatch_uuid: str | None = None,
        messages: Sequence[tuple[str, str] | Mapping[str, Any]] | None = None,
        price: Price | Unset = UNSET,
        timestamp: datetime | str | None = None,
        path: str = "",
        **fields: Any,
    ) -> Answer:
        """Post a final-report; see `report_body` for the arguments, and `post` for what it raises."""
        body = report_body(
            status,
            dispatch_uuid=dispatch_uuid,
            messages=messages,
            price=price,
            timestamp=timestamp or self._now(),
            **fields,
        )
        return await self.post(body, path=path)

    async def post(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        path: str = "",
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
    ) -> Answer:
        """Post anything: a body of another kind, a forged one, the same one twice.

        Args:
            body: an object to encode as JSON, or the bytes themselves.
            path: below the path of the receiver.
            headers: more headers, which win over those made here.
            signed: False leaves the token out.

        Raises:
            HandlerError: see *raise_failures*.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"}
        if signed and self._signer is not None:
            api_key, secret = self._signer
            sent["authorization"] = sign(
                data, secret=secret, api_key=api_key, iat=int(self._clock()), jti=str(uuid.uuid4())
            )
        sent.update({name.lower(): value for name, value in (headers or {}).items()})
        if self.receiver is None:
            return await self._send(data, path, sent)
        if not self._started and not self.receiver.is_open:
            await self.receiver.open()
            self._started = True
        request = RawRequest(sent, data, path.strip("/"))
        if not self._raise:
            return await self.receiver.handle(request)
        idle: Any = getattr(self.receiver.inbox, "idle", None)
        with _failures(data) as failures:
            answer = await self.receiver.handle(request)
            if idle is not None:
                await idle()
        if failures:
            raise HandlerError(failures) from failures[0].error
        return answer

    async def _send(self, data: bytes, path: str, headers: Mapping[str, str]) -> Answer:
        from aiohttp import ClientSession

        if self._session is None:
            self._session = ClientSession()
        url = f"{self._url}".rstrip("/") + (f"/{path.strip('/')}" if path else "")
        # the service follows no redirect: a URL that answers with one receives nothing
        async with self._session.post(url, data=data, headers=headers, allow_redirects=False) as answer:
            return Answer(answer.status, await answer.text())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _check_target(target: object, values: object) -> None:
    """Say what to give instead of what is near at hand."""
    if isinstance(target, str) and not target.startswith(("http://", "https://")):
        raise ConfigurationError("the URL of a receiver must start with http:// or https://")
    if not isinstance(target, str | Receiver | Router):
        kind = type(target).__qualname__
        if hasattr(target, "receiver"):
            raise ConfigurationError(f"WebhookClient takes a Receiver: give the .receiver of the {kind}")
        raise ConfigurationError(
            f"WebhookClient takes a Router, a Receiver (setup() returns one) or a URL, not {kind}"
        )
    if values is not None and not isinstance(target, Router):
        raise ConfigurationError("values are for a Router: a receiver was given its own")


@contextmanager
def _failures(body: bytes) -> Generator[list[HandlerFailure]]:
    """What handlers of this body's event raise meanwhile, also in an inbox; no answer tells that."""
    found: list[HandlerFailure] = []

    def watch(what: str, error: BaseException, event: Any) -> None:
        kind, _, name = what.partition(" ")
        if kind == "handler" and event is not None and event.dedup_key == own:
            found.append(HandlerFailure(name, error))

    try:
        own = events.parse_event(body).dedup_key
    except InvalidBodyError:  # no handler ever sees it
        yield found
        return
    watchers.append(watch)
    try:
        yield found
    finally:
        watchers.remove(watch)


def _first(secrets: Mapping[str, Secret]) -> tuple[str, str | bytes]:
    api_key, several = next(iter(secrets.items()))
    return api_key, several if isinstance(several, str | bytes) else several[0]


# --- bodies ---


def status_body(
    status: str = "delivered",
    *,
    channel: str = "sms",
    message_uuid: str | None = None,
    dispatch_uuid: str | Unset | None = UNSET,
    to: AddressLike | None = None,
    from_: AddressLike | None = None,
    price: Price | Unset = UNSET,
    error: int | Mapping[str, Any] | Unset | None = UNSET,
    client_ref: str | None = None,
    timestamp: datetime | str | None = None,
    **fields: Any,
) -> Body:
    """The body of a message-status (contract 5.2), in the form of real traffic.

    Args:
        status: `submitted`, `delivered`, `read`, `rejected`, `undeliverable`, or a word yet unknown.
        channel: the channel of both ends.
        message_uuid: a new one when None.
        dispatch_uuid: the workflow, a new one when not given; None for a message without a workflow.
        to: the customer; a fictional number or id when None.
        from_: your own number or id.
        price: in EUR; when not given, a `delivered` has one and other statuses do not.
        error: a code of contract 6.1 or the whole object; when not given, failures have 1300.
        client_ref: the echo of your reference.
        timestamp: when; now when None.
        fields: further members as on the wire, or others for those above; None removes a member.
    """
    if isinstance(price, Unset):
        price = _PRICE if status == "delivered" else None
    if isinstance(error, Unset):
        error = _ERROR if status in FAILED_STATUSES else None
    if isinstance(dispatch_uuid, Unset):
        dispatch_uuid = str(uuid.uuid4())
    body = {
        "message_uuid": message_uuid or str(uuid.uuid4()),
        "to": _address(channel, to, _customer(channel)),
        "from": _address(channel, from_, _own(channel), own=True),
        "timestamp": _moment(timestamp),
        "status": status,
        "error": {"code": error, "reason": f"Error {error}"} if isinstance(error, int) else error,
        "usage": _usage(price),
        "client_ref": client_ref,
        "_links": dispatch_uuid
        and {"dispatch": {"href": f"v0.1/dispatch/{dispatch_uuid}", "dispatch_uuid": dispatch_uuid}},
    }
    return _without_none(body | fields)


def inbound_body(
    text: str | None = None,
    *,
    content: events.Content | Mapping[str, Any] | None = None,
    channel: str = "whatsapp",
    message_uuid: str | None = None,
    from_: AddressLike | None = None,
    to: AddressLike | None = None,
    timestamp: datetime | str | None = None,
    **fields: Any,
) -> Body:
    """The body of an inbound-message (contract 5.5).

    Args:
        text: what the customer wrote; "Hello" when there is no *content* either.
        content: instead of *text*: a struct such as `ImageContent(url=…)`, or the object on the wire.
        channel: the channel of both ends.
        message_uuid: a new one when None.
        from_: the customer; a fictional number or id when None.
        to: your own number or id.
        timestamp: when; now when None.
        fields: further members as on the wire, or others for those above; None removes a member.

    Raises:
        TypeError: both *text* and *content* were given.
    """
    if text is not None and content is not None:
        raise TypeError("give text or content, not both")
    if content is None:
        content = events.TextContent("Hello" if text is None else text)
    message: Body = {"content": _content(content)}
    if CHANNEL_NAMES.get(channel, channel) == "sms":
        message["sms"] = {"num_messages": "1"}
    body = {
        "message_uuid": message_uuid or str(uuid.uuid4()),
        "to": _address(channel, to, _own(channel), own=True),
        "from": _address(channel, from_, _customer(channel)),
        "timestamp": _moment(timestamp),
        "direction": "inbound",
        "message": message,
    }
    return _without_none(body | fields)


def report_body(
    status: str = "completed",
    *,
    dispatch_uuid: str | None = None,
    messages: Sequence[tuple[str, str] | Mapping[str, Any]] | None = None,
    price: Price | Unset = UNSET,
    timestamp: datetime | str | None = None,
    **fields: Any,
) -> Body:
    """The body of a final-report (contract 5.4).

    Args:
        status: `completed` or `error`.
        dispatch_uuid: the workflow; a new one when None.
        messages: those that were attempted, in order: `("whatsapp", "submitted")`, or the object on the
            wire. When None, one SMS that fits the status.
        price: the total in EUR; when not given, the sum and the workflow fee.
        timestamp: when; now when None.
        fields: further members as on the wire, or others for those above; None removes a member.
    """
    if messages is None:
        messages = [("sms", "delivered" if status == "completed" else "undeliverable")]
    pairs: list[Any] = [item for item in messages if not isinstance(item, Mapping)]
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise ConfigurationError('messages are pairs, ("whatsapp", "submitted"), or the objects on the wire')
    reported = [dict(item) if isinstance(item, Mapping) else _reported(*item) for item in messages]
    if isinstance(price, Unset):
        price = sum((Decimal(m["usage"]["price"]) for m in reported if m.get("usage")), _FEE)
    body = {
        "template": "failover",
        "status": status,
        "timestamp": _moment(timestamp),
        "usage": _usage(price),
        "dispatch_uuid": dispatch_uuid or str(uuid.uuid4()),
        "_links": {"messages": reported},
    }
    return _without_none(body | fields)


def _reported(channel: str, status: str) -> Body:
    name = str(uuid.uuid4())
    message = {"message_uuid": name, "href": f"v0.1/messages/{name}", "channel": channel, "status": status}
    return {**message, "usage": _usage(_PRICE)} if status in {"delivered", "read"} else message


def _customer(channel: str) -> str:
    return _CUSTOMER.get(channel, "447700900123")


def _own(channel: str) -> str:
    return _OWN.get(CHANNEL_NAMES.get(channel, channel), "447700900800")


def _address(channel: str, given: AddressLike | None, default: str, *, own: bool = False) -> Body:
    """One end of a message: by id on Messenger and for your own end on Viber (contract 5.5.1)."""
    if isinstance(given, Mapping):
        return {"type": channel, **given}
    known = CHANNEL_NAMES.get(channel, channel)
    by_id = known == "messenger" or (own and known == "viber_service_msg")
    return {"type": channel, "id" if by_id else "number": default if given is None else given}


def _content(content: events.Content | Mapping[str, Any]) -> Body:
    """The object of contract 5.5.2."""
    if isinstance(content, Mapping):
        return dict(content)
    kind = content.type
    if isinstance(content, events.UnsupportedContent):
        return {"type": kind}
    if isinstance(content, events.TextContent):
        return {"type": kind, kind: content.text}
    if isinstance(content, events.UnknownContent):
        return {"type": kind, kind: content.raw}
    if isinstance(content, events.LocationContent):
        place = {"lat": content.latitude, "long": content.longitude}
        payload: Body = {name: None if value is None else str(value) for name, value in place.items()}
        payload |= {"url": content.url, "address": content.address, "name": content.name}
    else:
        payload = {name: getattr(content, name) for name in content.__struct_fields__}
    return {"type": kind, kind: _without_none(payload)}


def _moment(value: datetime | str | None) -> str:
    """The form of all captures (contract 5.7): UTC, milliseconds, `Z`."""
    if isinstance(value, str):
        return value
    moment = datetime.now(UTC) if value is None else value.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usage(price: Price) -> Body | None:
    return None if price is None else {"price": str(price), "currency": "EUR"}


def _without_none(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}
