"""`WebhookClient`: posts signed callbacks as the service does, for tests of handlers.

The client simulates no workflows and no time; the simulator of the SDK package does.
"""

from __future__ import annotations

import json
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_core.vocabulary import Channel, ReportStatus, Status
from nexmo_dispatch_webhooks import events
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    HandlerError,
    HandlerFailure,
    InvalidBodyError,
)
from nexmo_dispatch_webhooks.logs import watchers
from nexmo_dispatch_webhooks.receiver import UNSET, Answer, Receiver, Unset
from nexmo_dispatch_webhooks.routing import Router
from nexmo_dispatch_webhooks.sansio import JwtVerification, RawRequest
from nexmo_dispatch_webhooks.signature import Secret, sign
from nexmo_dispatch_webhooks.testing_bodies import AddressLike, Price, inbound_body, report_body, status_body

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["WebhookClient", "inbound_body", "report_body", "status_body"]


class WebhookClient:
    """Plays the service for your handlers.

    Args:
        target: A router, to run its handlers without a socket; a `Receiver`, from `setup` or
            `ASGIReceiver.receiver`, to test your own settings; or the URL of a running receiver.
        secrets: The secrets of the receiver; the first secret of the first key signs. Not needed for a
            router, nor for a receiver that verifies no tokens: a secret in the path goes into `path`, another
            signature into the `headers` of `post`.
        values: Values for parameters of a router's handlers, by name; a receiver has its own.
        raise_failures: Whether a failed handler raises `HandlerError`, with the handler's exception as its
            cause; with an inbox each post then waits until no event is ready or being handled. False returns
            the answer that the service would get, at once. Without effect for a URL.
        clock: Returns epoch seconds, for timestamps and tokens.

    The first post starts a receiver with an inbox if necessary, and the client closes it at the end:
    write `async with WebhookClient(receiver) as client:`, or await its `aclose`.

    Raises:
        ConfigurationError: The receiver verifies tokens, and there are no *secrets*; *target* is none of the
            three, or already has values.
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
        self._started = self._closes = False
        self.receiver: Receiver | None = None
        if isinstance(target, Router):
            secrets = secrets or {"test-key": "a signature secret for tests"}
            self.receiver = Receiver(target, secrets=secrets, values=values, clock=clock)
        elif isinstance(target, Receiver):
            if secrets is None and isinstance(target.verification, JwtVerification):
                raise ConfigurationError("give the secrets of the receiver: they sign what the client posts")
            self.receiver = target
        self._signer = _first(secrets) if secrets else None

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<WebhookClient of {self._url or self.receiver!r}>"

    def __del__(self) -> None:
        # a client that was not made has neither
        receiver = getattr(self, "receiver", None)
        runs = getattr(self, "_started", False) and not self._closes
        if runs and receiver is not None and receiver.inbox is not None:
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
            self._closes = True
            await self.receiver.aclose()
            self._started = self._closes = False
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- what the service posts ---

    async def post_status(
        self,
        status: Status | str = "delivered",
        *,
        channel: Channel | str | None = None,
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
        channel: Channel | str = "whatsapp",
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
        status: ReportStatus | str = "completed",
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
        """Post any body: of another kind, forged, or a repeated one.

        Args:
            body: An object to encode as JSON, or bytes.
            path: Path below that of the receiver.
            headers: More headers, which override the usual ones.
            signed: False omits the token.

        Raises:
            HandlerError: See *raise_failures*.
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
    """Explain what to pass instead of a likely wrong target."""
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
    """Collect the exceptions of handlers of this body's event, also in an inbox; no answer has them."""
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
