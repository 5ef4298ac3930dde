"""The manual half of `Simulator`: statuses, replies, inbound messages, expired tokens.

The read-only half is in `observed.py`, the clock and the server are in `simulator.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication
from nexmo_dispatch_async.simulator.world.people import CHANNELS
from nexmo_dispatch_async.simulator.world.tokens import Tokens

__all__ = ["ByHand"]


class ByHand:
    """Manual control of a `Simulator`."""

    _engine: Engine
    _tokens: Tokens
    _default_application: SimulatedApplication | None
    _catch_up: Callable[[], None]
    _wake_driver: Callable[[], None]

    @property
    def default_application(self) -> SimulatedApplication | None:
        """The application created last with `create_application()`, otherwise the newest; or None."""
        applications = self._engine.applications
        default = self._default_application
        if default is not None and applications.get(default.id) is not None:
            return default
        return next(reversed(list(applications)), None)

    def set_status(self, message_uuid: str, status: str, *, code: int | None = None) -> None:
        """Set the status of a message now, overriding the script; `advance(0)` delivers the callback.

        Raises:
            KeyError: No message in memory has this uuid.
        """
        self._catch_up()
        self._engine.intervene(message_uuid, status, code=code)
        self._wake_driver()

    def reply(self, message_uuid: str, content: str | Mapping[str, object]) -> None:
        """Reply to a message as its recipient; `advance(0)` delivers the callback.

        Args:
            message_uuid: The message.
            content: A text, or an object such as `{"type": "image", "image": {"url": "…"}}` (contract 5.5.2).

        Raises:
            KeyError: No message in memory has this uuid.
        """
        self._catch_up()
        self._engine.reply(message_uuid, content)
        self._wake_driver()

    def inbound(
        self,
        content: str | Mapping[str, object],
        *,
        channel: str,
        from_: str,
        to: str,
        application: SimulatedApplication | None = None,
    ) -> None:
        """Send an inbound message that answers no message; `advance(0)` delivers the callback (contract 5.5).

        Args:
            content: A text, or an object such as `{"type": "button", "button": {…}}` (contract 5.5.2).
            channel: A channel such as `whatsapp`; the message opens the care window of that channel.
            from_: The number or id of the customer.
            to: The number or id of the business.
            application: The application whose inbound URL is called; by default `default_application`.

        Raises:
            ConfigurationError: The channel is unknown, or there is no application.
        """
        target = application or self.default_application
        if channel not in CHANNELS:
            raise ConfigurationError(f"channel must be one of {', '.join(CHANNELS)}; got {channel!r}")
        if target is None:
            raise ConfigurationError(
                "there is no application to receive the inbound message: call "
                "create_application(inbound_url=…) first, or pass application=…"
            )
        self._catch_up()
        by_id = channel == "messenger" or (channel == "whatsapp" and is_user_id(from_))
        customer = {"type": channel, "id" if by_id else "number": from_}
        business = {"type": channel, "id" if channel in ("messenger", "viber_service_msg") else "number": to}
        self._engine.inbound(target, to=business, from_=customer, content=content)
        self._wake_driver()

    def expire_tokens(self) -> None:
        """Expire every access token issued so far: the gateway refuses each of them (contract 2.3)."""
        self._tokens.expire()

    def clear(self) -> None:
        """Forget all workflows, records and callbacks, also those that are under way.

        The clock, the account with its applications, the settings, the faults, and what is known of customers
        (open care windows, opt-outs) stay. Numbers and ids go on, so that none is given twice.
        """
        self._catch_up()
        self._engine.clear()
        self._wake_driver()
