"""`CareWindow`: may free content be sent to a customer now, and until when (contract 7.1, 7.3)?

On WhatsApp the window is open for 24 hours after the customer's last message; at other times only templates
are delivered. Messenger has the same 24 hours, and requires a tag at other times. The module does no I/O and
reads no clock but the given ones; `care_window.sqlite` keeps the times in a file.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

import msgspec
from msgspec import UNSET, Struct

from nexmo_dispatch_async.care_window.store import MemoryWindowStore, WindowStore
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.phone_numbers.normalizer import international
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.rules.report import Report
from nexmo_dispatch_async.rules.windows import check_windows, is_free
from nexmo_dispatch_async.workflow import Workflow

__all__ = ["CareWindow", "Inbound", "WindowStatus"]

_WINDOWED = ("whatsapp", "messenger")
_DIGITS = frozenset("0123456789")
# Number of recorded messages between two clean-ups, which bound the size of the store.
_CLEAN_EVERY = 1024
# Maximum number of customers, the most recent writers, whose time since the last message is measured.
_MEASURED = 10_000
# Maximum time by which a message may be in the future: clocks differ a little.
_LEEWAY = timedelta(minutes=5)
# Minimum difference of the two clocks that proves that one of them was set.
_CONTRADICTION = timedelta(seconds=1)


class _Peer(Protocol):
    @property
    def number(self) -> str | None: ...
    @property
    def id(self) -> str | None: ...


class Inbound(Protocol):
    """The required part of an inbound message; the receiver's `InboundMessage` has it.

    If the message has a `whatsapp_user` with `user_id`, `parent_user_id` and `wa_id`, the window opens for
    these ids, too (contract 5.5).
    """

    @property
    def channel(self) -> str:
        """The channel."""
        ...

    @property
    def from_(self) -> _Peer:
        """The customer."""
        ...

    @property
    def timestamp(self) -> datetime | None:
        """The time of the message; None when unreadable."""
        ...


class _Router(Protocol):
    """The part of a router that `attach` needs; the receiver's `Router` has it."""

    def add(self, handler: Any, *, kind: Any, channel: Any) -> object:
        """Register a handler."""
        ...


class WindowStatus(Struct, frozen=True):
    """Whether free content may be sent.

    Attributes:
        open: Whether free content may be sent at the requested time.
        until: The end of the window; None when the customer never wrote, or the channel has no window.
        last_inbound: The time of the customer's last message, if it is known.
    """

    open: bool
    until: datetime | None = None
    last_inbound: datetime | None = None


class CareWindow:
    """Records inbound messages, and says whether free content may be sent.

    One instance belongs to one application, which has one WhatsApp and one Messenger account (contract 7.5),
    so the address alone identifies a customer.

    Args:
        store: Keeps the times; in memory by default.
        clock: Returns the time as an aware datetime.
        monotonic: Returns monotonic seconds, which measure the time since a customer wrote to this process,
            so that a clock that is set back keeps no window open.
        duration: Length of the window after a message.
        margin: Time before the end at which the window counts as closed, since a message takes time to
            arrive.
        numbers: Reads the numbers that `record` and `status` are given, such as `NumberNormalizer("NL")` for
            numbers without a country code. Without it numbers need their country code.

    Example:
        window = CareWindow()
        window.attach(router)

        step = window.choose(free=whatsapp.text(…), otherwise=whatsapp.template(…))
    """

    def __init__(
        self,
        store: WindowStore | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        duration: timedelta = timedelta(hours=24),
        margin: timedelta = timedelta(0),
        numbers: Callable[[str], str] | None = None,
    ) -> None:
        self._numbers = numbers
        self.store: WindowStore = MemoryWindowStore() if store is None else store
        self.duration = duration
        self.margin = margin
        self._clock, self._monotonic = clock, monotonic
        self._begun = clock(), monotonic()
        self._recorded = 0
        # By channel and customer: when they wrote last, on the monotonic clock; the latest news is last.
        self._measured: dict[tuple[str, str], float] = {}

    def attach(self, router: _Router) -> None:
        """Register `receive` on a router of the receiver for inbound messages."""
        router.add(self.receive, kind="inbound-message", channel=_WINDOWED)

    async def receive(self, event: Inbound) -> None:
        """Record an inbound message; a handler for a router, otherwise the same as `observe`."""
        self.observe(event)

    def observe(self, message: Inbound) -> bool:
        """Record an inbound message, in any order and any number of deliveries.

        Args:
            message: The inbound message.

        Returns:
            False when nothing was recorded, since the channel has no window or the message has no sender.
        """
        names = _names(message) if message.channel in _WINDOWED else set[str]()
        for name in names:
            # the service writes numbers with their country code
            self._record(message.channel, _key(message.channel, name), message.timestamp)
        return bool(names)

    def record(self, customer: str, *, channel: str = "whatsapp", at: datetime | None = None) -> None:
        """Record that a customer wrote.

        Args:
            customer: The number, in any spelling with its country code, or the id. Numbers compare by
                their digits, ids as a whole and without case.
            channel: `whatsapp` or `messenger`.
            at: Time of the message; now if omitted. A time in the future counts as now, so that a wrong clock
                cannot keep the window open.

        Raises:
            ConfigurationError: `at` is no datetime or has no time zone, the channel has no window, or
                `customer` is a text that no store takes.
            PhoneNumberError: `numbers` cannot read the number.
        """
        if channel not in _WINDOWED:
            raise ConfigurationError(
                f"{channel!r} has no window to record a message for: whatsapp and messenger have"
            )
        self._record(channel, self._key(channel, customer), at)

    def _record(self, channel: str, key: str, at: datetime | None) -> None:
        now = self._clock()
        if at is not None:
            checks.instance("at", at, datetime, advice="write datetime.fromtimestamp(seconds, UTC)")
        if at is not None and at.tzinfo is None:
            raise ConfigurationError(
                "the moment of a message needs a time zone, for example datetime.now(UTC)"
            )
        moment = now if at is None else min(at, now)
        self.store.record(channel, key, moment.astimezone(UTC))
        self._measure(channel, key, now - moment)
        self._recorded += 1
        if self._recorded % _CLEAN_EVERY == 0:
            # The earlier of the message's time and the measured time: a fast clock must not forget customers.
            at_first, began = self._begun
            measured = at_first + timedelta(seconds=self._monotonic() - began)
            self.store.forget_before(min(moment, measured) - self.duration)

    def status(
        self, customer: str, *, channel: str = "whatsapp", after: timedelta = timedelta(0)
    ) -> WindowStatus:
        """Return whether free content may be sent to a customer.

        Args:
            customer: The number, in any spelling with its country code, or the id.
            channel: The channel; channels without a window (SMS, MMS, Viber) are always open.
            after: Time from now, for a step that is sent after the expiry of an earlier step.

        Raises:
            ConfigurationError: `customer` is a text that no store takes.
            PhoneNumberError: `numbers` cannot read the number.
        """
        if channel not in _WINDOWED:
            return WindowStatus(open=True)
        return self._status(channel, self._key(channel, customer), after)

    def _key(self, channel: str, customer: str) -> str:
        """Return the canonical spelling of an address that the caller wrote."""
        checks.texts(customer=customer)
        if channel == "whatsapp" and self._numbers is not None:
            customer = self._numbers(customer)
        return _key(channel, customer)

    def _status(self, channel: str, key: str, after: timedelta) -> WindowStatus:
        last = self.store.last(channel, key)
        if last is None:
            return WindowStatus(open=False)
        age = self._age(channel, key, last)
        is_open = age is not None and age + after + self.margin < self.duration
        return WindowStatus(is_open, last + self.duration, last)

    def _measure(self, channel: str, key: str, age: timedelta) -> None:
        written = self._monotonic() - age.total_seconds()
        before = self._measured.pop((channel, key), written)
        self._measured[channel, key] = max(before, written)
        if len(self._measured) > _MEASURED:
            del self._measured[next(iter(self._measured))]

    def _age(self, channel: str, key: str, last: datetime) -> timedelta | None:
        """Return the time since a customer wrote; None when the clock contradicts the store.

        The result is the longer of the time by the clock and the measured time, if this process received the
        message.
        """
        elapsed = self._clock() - last
        written = self._measured.get((channel, key))
        if written is None:
            return None if elapsed < -_LEEWAY else max(elapsed, timedelta(0))
        measured = timedelta(seconds=self._monotonic() - written)
        return measured if measured - elapsed > _CONTRADICTION else elapsed

    def allows(self, step: Step, *, after: timedelta = timedelta(0)) -> bool:
        """Return whether a step may be sent: a template, one with a tag, or in an open window."""
        if not is_free(step):
            return True
        ends = (step.to.id, step.to.number) if step.channel == "messenger" else (step.to.number, step.to.id)
        recipient = next((str(end) for end in ends if end is not UNSET), "")
        return self._status(step.channel, _key(step.channel, recipient), after).open

    def choose(self, free: Step, otherwise: Step, *, after: timedelta = timedelta(0)) -> Step:
        """Return the free step while the window of its recipient is open, otherwise the other step.

        Args:
            free: The step for an open window.
            otherwise: The step for a closed window, usually a template. It gets the failover condition and
                the `client_ref` of `free` unless it has its own.
            after: Time from now, as in `status()`.
        """
        if self.allows(free, after=after):
            return free
        return msgspec.structs.replace(
            otherwise,
            failover=free.failover if otherwise.failover is UNSET else otherwise.failover,
            client_ref=free.client_ref if otherwise.client_ref is UNSET else otherwise.client_ref,
        )

    def lint(self, workflow: Workflow, rules: Rules = DEFAULT_RULES) -> list[Finding]:
        """Return warnings about free content that would meet a closed window at its latest possible send.

        A second step may be sent only after the expiry of the first, and the window may close in between.

        Args:
            workflow: The workflow.
            rules: The rules that apply, with their severities.
        """
        report = Report(rules)
        check_windows(report, workflow.steps, self)
        return report.findings


def _key(channel: str, customer: str) -> str:
    """Return the address of a customer in a canonical spelling."""
    # Captured addresses contain blanks (contract 3.3), and people write numbers in many ways. A callback may
    # hold half surrogates (contract 5.11), which no store takes.
    customer = customer.strip().encode("utf-8", "backslashreplace").decode()
    if channel != "whatsapp":
        return customer
    if known := international(customer):
        return known
    if any(sign.isalnum() and sign not in _DIGITS for sign in customer):
        # A user id (contract 5.5) or an unknown address: without its signs it could be another person's.
        return customer.lower()
    digits = "".join(sign for sign in customer.replace("(0)", "") if sign in _DIGITS).removeprefix("00")
    return digits or customer


def _names(message: Inbound) -> set[str]:
    """Return every number and id by which a step may address the sender of a message."""
    sender = message.from_
    if message.channel == "messenger":
        return {sender.id or sender.number or ""} - {""}
    user = cast("object", getattr(message, "whatsapp_user", None))
    # Beside a number, an id that is not WhatsApp's could be mistaken for the number of another person.
    names = [sender.number, sender.id if not sender.number or is_user_id(sender.id) else None]
    names += [getattr(user, name, None) for name in ("user_id", "parent_user_id", "wa_id")]
    return {name for name in names if name}
