"""`Receiver`: turns a request into an answer, for any framework.

The receiver verifies and parses, then runs the handlers, or stores the event in an inbox that runs them
later. The module opens no socket: the adapters read the body, within their limits, and write the answer.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, cast

import msgspec

from nexmo_dispatch_core.bursts import Bursts, cause_of
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.doctor_probe import is_probe
from nexmo_dispatch_webhooks.events import Event, parse_event
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    InboxError,
    InvalidBodyError,
    MissingSignatureError,
    RequestRefusedError,
    RouterError,
    WebhookError,
)
from nexmo_dispatch_webhooks.injection import is_async
from nexmo_dispatch_webhooks.logs import FailureLog, logger
from nexmo_dispatch_webhooks.middleware import OuterCallNext, OuterMiddleware
from nexmo_dispatch_webhooks.refusals import Refusals, WrongSignature
from nexmo_dispatch_webhooks.routing import Context, DispatchResult, Router
from nexmo_dispatch_webhooks.sansio import Answer, JwtVerification, RawRequest, Verification, authenticate
from nexmo_dispatch_webhooks.signature import Secret

__all__ = ["UNSET", "Answer", "Inbox", "InboxSource", "Receiver", "Statistics", "Unset"]

Unset = msgspec.UnsetType
#: The value of omitted arguments, distinct from None: `verification=None` explicitly disables verification.
UNSET = msgspec.UNSET
#: Maximum number of different oddities, since peers choose the names of unknown members.
_MOST_ODDITIES = 1000


_HANDLED = Answer()


class Inbox(Protocol):
    """A store for authentic requests, which are answered after storing and handled later."""

    async def start(self, router: Router) -> None:
        """Start: `put` is called from now on, and handlers may run. The router is frozen."""

    async def put(self, request: RawRequest, context: Context, event: Event | None) -> None:
        """Store durably, then return. `event` is None for an authentic body that is no JSON object."""

    async def aclose(self) -> None:
        """End: handle pending events for a limited time, then release all resources."""


#: What `inbox=` takes: the path of an SQLite file, the URL of a Postgres database, an inbox, or None for
#: handlers before the answer.
InboxSource = Inbox | str | os.PathLike[str] | None


class Statistics(msgspec.Struct, frozen=True):
    """Counts since the start."""

    #: Requests by the HTTP status that answered them.
    answers: dict[int, int]
    #: Events by kind.
    events: dict[str, int]
    #: Events without a matching handler.
    unhandled: int
    #: Oddities by place (contract 5.11).
    oddities: dict[str, int]
    #: Requests without a token or signature, which the service repeats (contract 5.9).
    missing_signatures: int = 0
    #: Requests with a wrong one: of strangers, or callbacks that are lost after a change of the secret.
    wrong_signatures: int = 0
    #: Requests with a genuine one outside its time, which the service repeats: one of two clocks is wrong.
    wrong_token_times: int = 0


class Receiver:
    """Answers every request.

    Args:
        router: The handlers; frozen by `start`.
        secrets: Signature secrets by `api_key`, several for a rotation.
        verification: Instead of `secrets`: another way to verify, or None to check nothing.
        wrong_signature: The answer to a token or signature that is there and wrong: 401, which the service
            takes as final, or 503, after which it repeats the callback for 24 hours. What has none at all
            is always answered with 503 (contract 5.9).
        inbox: Where to store before answering: a path makes an `SqliteInbox`, a URL a `PostgresInbox`
            (`postgresql://…`) or a `JetStreamInbox` (`nats://…`). None runs the handlers before the answer,
            so that a failed handler answers 500 and the service repeats the delivery.
        values: Values for parameters of handlers, by name.
        clock: Returns epoch seconds.
        monotonic: Returns monotonic seconds, for bursts of refusals, which are logged once.

    Raises:
        ConfigurationError: There is neither `secrets` nor `verification`, or there are both; *verification*
            has no method `verify(request)`, or an async one; *router* or *inbox* is none.
    """

    def __init__(
        self,
        router: Router,
        *,
        secrets: Mapping[str, Secret] | None = None,
        verification: Verification | Unset | None = UNSET,
        wrong_signature: WrongSignature = 401,
        inbox: InboxSource = None,
        values: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        checks.instance("router", router, Router)
        checks.function("clock", clock)
        self.router = router
        self.verification: Verification | None = _verification(secrets, verification, clock)
        self._refusals = Refusals(
            wrong_signature=wrong_signature,
            api_keys=getattr(self.verification, "api_keys", ()),
            monotonic=monotonic,
        )
        self._public_path: Callable[[str], str] | None = getattr(self.verification, "public_path", None)
        #: Where events are stored before they are answered; None without an inbox. To list, retry or purge
        #: what is there, make a `SqliteInbox` yourself, keep it, and give it to the receiver.
        self.inbox: Inbox | None = _inbox(inbox, clock)
        self._values = dict(values or {})
        self._bound = router  # from the start on with the values of this receiver
        self._clock = clock
        self._handle: OuterCallNext = self._receive
        self._answers: Counter[int] = Counter()
        self._events: Counter[str] = Counter()
        self._oddities: Counter[str] = Counter()
        self._unhandled = 0
        self._failures = FailureLog(monotonic)
        self._not_stored = Bursts(monotonic)
        self._started = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Receiver of {self.router!r}: {self.verification!r}, {self._answers.total()} requests>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Start, and start the inbox; adapters call it when the application starts.

        Raises:
            RouterError: A parameter of a handler has no value.
            InboxError: The inbox cannot be opened.
        """
        self.start()
        if self.inbox is not None:
            self._started = False
            await self.inbox.start(self._bound)
            self._started = True

    @property
    def is_open(self) -> bool:
        """Whether the receiver has started and has not ended."""
        return self._started

    async def aclose(self) -> None:
        """Drain and close the inbox; adapters call it when no more requests can arrive."""
        self._started = False
        if self.inbox is not None:
            await self.inbox.aclose()

    async def idle(self) -> None:
        """Wait until no stored event is ready or being handled: in tests, before effects are checked.

        Events between two attempts do not count, nor do those that another process handles. Without an inbox,
        handlers run before the answer, and this returns at once.

        Raises:
            ConfigurationError: The inbox is one of the application and has no `idle()`.
        """
        if self.inbox is None:
            return
        wait: Any = getattr(self.inbox, "idle", None)
        if wait is None:
            raise ConfigurationError(
                f"{type(self.inbox).__qualname__} has no idle(): no wait for it is possible"
            )
        await wait()

    def _check_accounts(self) -> None:
        known = getattr(self.verification, "api_keys", None)
        if self.verification is not None and known is None:
            return  # a verification of the application knows its accounts itself
        if missing := sorted(self.router.accounts() - frozenset(known or ())):
            raise RouterError(
                f"include_router(account={missing[0]!r}): no callback can be signed by that account here; "
                "add its signature secret to `secrets`"
            )

    def start(self) -> None:
        """Freeze the router and check that its handlers can be called; `open` does it, with the inbox.

        Raises:
            RouterError: A handler asks for something that nothing provides, or a router is included for an
                account whose signature the receiver does not know, so that its handlers would hear nothing.
        """
        self._check_accounts()
        self._bound = self.router.bind(self._values)
        handle: OuterCallNext = self._receive
        for middleware in reversed(self.router.outer_middlewares):
            handle = _wrap(middleware, handle)
        self._handle = handle
        self._started = True

    def statistics(self) -> Statistics:
        """Return the counts so far; without personal data."""
        stored: int = getattr(self._inbox_health(), "unhandled", 0)
        return Statistics(
            dict(self._answers),
            dict(self._events),
            self._unhandled + stored,
            dict(self._oddities),
            self._refusals.missing_signatures,
            self._refusals.wrong_signatures,
            self._refusals.wrong_token_times,
        )

    def health(self) -> dict[str, Any]:
        """Return the state of the receiver, for probes.

        `ready`; how many requests had no signature, a wrong one, or one outside its time, since the start;
        and the figures of the inbox if it tells some.
        """
        report: dict[str, Any] = {
            "ready": self._started,
            "missing_signatures": self._refusals.missing_signatures,
            "wrong_signatures": self._refusals.wrong_signatures,
            "wrong_token_times": self._refusals.wrong_token_times,
        }
        health = self._inbox_health()
        if health is not None:
            report["inbox"] = msgspec.to_builtins(health)
            report["ready"] = self._started and bool(health.ready)
        return report

    def _inbox_health(self) -> Any:
        tell: Any = getattr(self.inbox, "health", None)
        return tell() if callable(tell) else None

    async def handle(self, request: RawRequest) -> Answer:
        """Answer one request: 200, or a status of contract 5.10. Only a cancellation is raised."""
        try:
            answer = await self._handle(request)
        except RequestRefusedError as error:
            return self.refuse(error)
        except InboxError as error:
            kind, words = type(error).__name__, str(error)
            more = self._not_stored.begin(kind, cause_of(words))
            if more is not None:
                logger.warning("answered with %d, not stored: %s: %s%s", error.status, kind, words, more)
            answer = Answer(error.status, "not stored, please repeat")
        except WebhookError as error:
            self._failures.note("the request", error)
            answer = Answer(error.status, "failed, please repeat")
        except Exception as error:  # noqa: BLE001 - a middleware or an inbox may raise anything; the service retries
            self._failures.note("the request", error)
            answer = Answer(500, "failed, please repeat")
        self._answers[answer.status] += 1
        return answer

    def refuse(self, error: RequestRefusedError) -> Answer:
        """Return the answer to a refused request; adapters call it for bodies that they refuse."""
        answer = self._refusals.answer(error)
        self._answers[answer.status] += 1
        return answer

    async def _receive(self, request: RawRequest) -> Answer:
        verification, inbox = self.verification, self.inbox
        try:
            claims = authenticate(request, verification)
        except MissingSignatureError as error:
            if is_probe(request, verification):
                return Answer(error.status, str(error))
            raise
        if self._public_path is not None:
            request = msgspec.structs.replace(request, path=self._public_path(request.path))
        context = Context(request.path, self._clock(), claims)
        try:
            event = parse_event(request.body)
        except InvalidBodyError:
            if inbox is None or verification is None:
                raise
            # Authentic, so strangers cannot fill the store: keep the body for an operator (contract 5.10).
            await inbox.put(request, context, None)
            return _HANDLED
        self._events[event.kind] += 1
        if event.oddities:
            self._count(event.oddities)
        if inbox is not None:
            await inbox.put(request, context, event)
            return _HANDLED
        return self._conclude(await self._bound.dispatch(event, context))

    def _conclude(self, result: DispatchResult) -> Answer:
        """Return 200, or 500 if a handler failed, since the service certainly repeats only a 5xx (9.11)."""
        if not result.failures:
            self._unhandled += result.unhandled
            return _HANDLED
        for failure in result.failures:
            self._failures.note(f"handler {failure.handler}", failure.error)
        return Answer(500, "a handler failed, please repeat")

    def _count(self, oddities: tuple[str, ...]) -> None:
        for oddity in oddities:
            if oddity in self._oddities or len(self._oddities) < _MOST_ODDITIES:
                self._oddities[oddity] += 1


def _verification(
    secrets: Mapping[str, Secret] | None,
    verification: Verification | Unset | None,
    clock: Callable[[], float],
) -> Verification | None:
    if secrets is not None:
        if verification is not UNSET:
            raise ConfigurationError("give secrets or verification, not both")
        return JwtVerification(secrets, clock=clock)
    if isinstance(verification, Unset):
        raise ConfigurationError(
            "say how callbacks are verified: secrets={api_key: signature secret}, or verification=None to "
            "accept callbacks of any origin (contract 5.9)"
        )
    verify: Any = getattr(verification, "verify", None)
    if verification is not None and (
        isinstance(verification, type) or not callable(verify) or is_async(verify)
    ):
        raise ConfigurationError(
            "verification takes an object with a plain method `verify(request)`, which raises "
            "SignatureVerificationError to refuse, or None"
        )
    return verification


def _wrap(middleware: OuterMiddleware, handle: OuterCallNext) -> OuterCallNext:
    async def wrapped(request: RawRequest) -> Answer:
        answer: Any = await middleware(request, handle)
        if not isinstance(answer, Answer):
            raise TypeError("an outer middleware must return an Answer")
        return answer

    return wrapped


def _inbox_at(url: str, clock: Callable[[], float]) -> Inbox:
    """Return the inbox of a URL."""
    scheme = url.partition("://")[0].lower()
    if scheme in {"postgresql", "postgres"}:
        from nexmo_dispatch_webhooks.inbox import PostgresInbox

        return PostgresInbox(url) if clock is time.time else PostgresInbox(url, clock=clock)
    if scheme in {"nats", "tls"}:
        from nexmo_dispatch_webhooks.inbox import JetStreamInbox

        return JetStreamInbox(url, clock=clock)
    raise ConfigurationError(
        "inbox takes the URL of a Postgres database or of NATS, and no other: postgresql://user@host/name, "
        "nats://host/name"
    )


def _inbox(source: Any, clock: Callable[[], float]) -> Inbox | None:
    if isinstance(source, str | os.PathLike):
        if os.fspath(source) in {"", ":memory:"}:
            raise ConfigurationError("inbox takes the path of a file; MemoryInbox() is one without a file")
        # sqlite3, psycopg and nats-py are loaded by those who want them
        if isinstance(source, str) and "://" in source:
            return _inbox_at(source, clock)
        from nexmo_dispatch_webhooks.inbox import SqliteInbox

        return SqliteInbox(cast("str | os.PathLike[str]", source), clock=clock)
    methods = ("start", "put", "aclose")
    if source is not None and (
        isinstance(source, type) or not all(callable(getattr(source, name, None)) for name in methods)
    ):
        raise ConfigurationError(
            "inbox takes a path, None, or an object with `start(router)`, `put(request, context, event)` and "
            "`aclose()`"
        )
    return cast("Inbox | None", source)
