"""`Receiver`: one request to one answer, without a socket."""

import asyncio
import logging
from typing import Any

import pytest

from nexmo_dispatch_webhooks import (
    Answer,
    ConfigurationError,
    Context,
    Event,
    InboxFullError,
    PathSecretVerification,
    RawRequest,
    Receiver,
    Router,
    RouterError,
    SignatureVerificationError,
    from_http,
    sign,
)
from nexmo_dispatch_webhooks.inbox import MemoryInbox
from nexmo_dispatch_webhooks.testing import WebhookClient
from tests.webhooks.payloads import NOW, PATH_SECRET, SECRETS, VECTORS, encode, inbound_body, status_body

BODY: bytes = VECTORS["raw_body"].encode()
AUTHORIZATION: str = VECTORS["cases"][0]["authorization"]


def request(body: bytes = BODY, **headers: str) -> RawRequest:
    return RawRequest({"authorization": AUTHORIZATION, **headers}, body, "status")


def receiver(router: Router | None = None, **settings: Any) -> Receiver:
    built = Receiver(router or Router(), **{"secrets": SECRETS, "clock": lambda: NOW, **settings})
    built.start()
    return built


class Store:
    """An inbox that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[tuple[RawRequest, Context, Event | None]] = []
        self.life: list[object] = []

    async def start(self, router: Router) -> None:
        self.life.append(router)

    async def aclose(self) -> None:
        self.life.append("closed")

    async def put(self, request: RawRequest, context: Context, event: Event | None) -> None:
        self.kept.append((request, context, event))


async def test_a_good_callback_is_handled_and_answered_with_200() -> None:
    """The handler learns path, time and claims from the context."""
    router, seen = Router(), []

    @router.message_status(status="delivered")
    async def on_delivered(event: Event, context: Context) -> None:
        seen.append(context)

    answer = await receiver(router).handle(request())

    assert answer == Answer(200)
    assert [
        (c.path, c.received_at and c.received_at.timestamp(), c.claims and c.claims.api_key) for c in seen
    ] == [("status", NOW, VECTORS["claims"]["api_key"])]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(), 200),
        (RawRequest({}, BODY), 503),
        (request(BODY + b" "), 401),
        (RawRequest({"content-type": "text/plain"}, BODY), 503),
        (RawRequest({**request().headers, "content-type": "text/plain"}, BODY), 200),
        (
            request(
                b"not json",
                authorization=sign(
                    b"not json", secret=VECTORS["signature_secret"], api_key="a1b2c3d4", iat=int(NOW), jti="j"
                ),
            ),
            400,
        ),
    ],
)
async def test_answers(raw: RawRequest, status: int) -> None:
    """The statuses of contract 5.10; unknown objects and unhandled events are 200."""
    subject = receiver()

    answer = await subject.handle(raw)

    assert answer.status == status
    assert subject.statistics().answers == {status: 1}


async def test_a_failed_handler_asks_for_a_repetition(caplog: pytest.LogCaptureFixture) -> None:
    """500 is repeated by the service (contract 5.10); the log has type and place, and no message."""
    router = Router()

    @router.register()
    async def bad(event: Event) -> None:
        raise ValueError(event.raw["to"]["number"])

    answer = await receiver(router).handle(request())

    assert answer.status == 500
    assert "ValueError" in caplog.text
    assert "test_receiver.py" in caplog.text
    assert "447700900123" not in caplog.text


async def test_logs_hold_no_personal_data(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes: no number, text, secret or token."""
    caplog.set_level(logging.DEBUG)
    subject = receiver()

    for body in (
        BODY,
        b"\xff",
        encode(inbound_body({"type": "text", "text": "my secret"})),
        encode({"447700900123": 1}),
    ):
        authorization = sign(
            body, secret=VECTORS["signature_secret"], api_key="a1b2c3d4", iat=int(NOW), jti="j"
        )
        for header in (authorization, "Bearer x", ""):
            await subject.handle(RawRequest({"authorization": header}, body))

    assert not [
        word for word in ("4477009", "my secret", "eyJ", VECTORS["signature_secret"]) if word in caplog.text
    ]


async def test_statistics_count_kinds_oddities_and_the_unhandled() -> None:
    """Unknown values are kept and counted, never an error (contract 5.11)."""
    router = Router()

    @router.message_status(status="teleported")
    async def handle(event: Event) -> None: ...

    subject = receiver(router, secrets=None, verification=None)
    for status in ("teleported", "teleported", "read"):
        await subject.handle(RawRequest({}, encode(status_body(status=status))))
    for number in range(1100):
        await subject.handle(RawRequest({}, encode(status_body(**{f"member_{'ab' * (number % 4)}": 1}))))
    await subject.handle(RawRequest({}, b"{}"))

    counts = subject.statistics()

    assert counts.events == {"message-status": 1103, "unknown": 1}
    assert counts.unhandled == 1102
    assert counts.oddities["status: unknown value"] == 2
    assert repr(subject) == "<Receiver of <Router 'router': 1 handlers, frozen>: None, 1104 requests>"


async def test_counters_cannot_be_filled_from_outside() -> None:
    """Member names come from the sender, so the number of different oddities is bounded."""
    subject = receiver(secrets=None, verification=None)
    letters = "abcdefghijklmnopqrstuvwxyz"

    for first in letters:
        body = {f"{first}{second}{third}": 1 for second in letters for third in letters[:2]}
        await subject.handle(RawRequest({}, encode({**status_body(), **body})))

    assert len(subject.statistics().oddities) == 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "verification=None to accept callbacks of any origin"),
        ({"secrets": {}}, "secrets is empty"),
        ({"secrets": {"k": ""}}, "signature secret of 'k' is empty, so it protects nothing"),
        (
            {"secrets": {"k": "secret\n"}},
            "signature secret of 'k' begins or ends with a blank or a line break",
        ),
        (
            {"secrets": {"k": None}},
            "signature secret of 'k' must be text, bytes, or several of them, not NoneType",
        ),
        ({"secrets": {"k": ["new", 1]}}, "signature secret of 'k' must be text or bytes, not int"),
        ({"secrets": {1: "secret"}}, "an api_key must be text"),
        ({"secrets": "secret"}, "secrets must be a mapping"),
        ({"verification": None, "clock": 5.0}, "clock must be a function, not 5.0"),
        ({"verification": None, "inbox": ":memory:"}, "MemoryInbox.. is one without a file"),
        ({"verification": None, "inbox": MemoryInbox}, "inbox takes a path, None, or"),
        ({"secrets": SECRETS, "verification": None}, "not both"),
        ({"secrets": SECRETS, "inbox": object()}, "inbox takes a path, None, or"),
    ],
)
def test_missing_verification_is_never_an_accident(settings: dict[str, Any], message: str) -> None:
    """A loud error where the receiver is built (issue: fails closed)."""
    with pytest.raises(ConfigurationError, match=message):
        Receiver(Router(), **settings)


def test_start_checks_that_handlers_can_be_called() -> None:
    router = Router()

    @router.register()
    async def handle(event: Event, store: Any) -> None: ...

    with pytest.raises(RouterError, match="wants 'store'"):
        receiver(router)

    receiver(router, values={"store": 1})


# --- inbox ---


async def test_an_inbox_takes_everything_authentic() -> None:
    """Stored before the answer and handled later; also a body that is no object, which goes to quarantine."""
    router, store = Router(), Store()

    @router.register()
    async def never(event: Event) -> None:
        raise AssertionError

    subject = receiver(router, inbox=store)
    bad = sign(b"[]", secret=VECTORS["signature_secret"], api_key="a1b2c3d4", iat=int(NOW), jti="j")

    answers = [
        await subject.handle(r) for r in (request(), request(b"[]", authorization=bad), request(b"[]"))
    ]

    assert [answer.status for answer in answers] == [200, 200, 401]
    assert [(raw.body, event and event.kind) for raw, _, event in store.kept] == [
        (BODY, "message-status"),
        (b"[]", None),
    ]


@pytest.mark.parametrize(
    ("verification", "status"), [(None, 400), (PathSecretVerification(PATH_SECRET), 200)]
)
async def test_only_the_authentic_may_fill_the_quarantine(verification: Any, status: int) -> None:
    """Without verification, a body that is no object is a stranger's and gets 400."""
    store = Store()
    subject = receiver(secrets=None, verification=verification, inbox=store)

    answer = await subject.handle(RawRequest({}, b"[]", PATH_SECRET))

    assert answer.status == status
    assert len(store.kept) == (status == 200)


async def test_5xx_when_storing_fails() -> None:
    """The service repeats it (contract 5.10)."""

    class Full(Store):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        async def put(self, request: RawRequest, context: Context, event: Event | None) -> None:
            raise self.error

    for error, status in ((OSError("disk full"), 500), (InboxFullError("too many"), 503)):
        assert (await receiver(inbox=Full(error)).handle(request())).status == status


async def test_what_cannot_be_stored_is_one_line_of_log(caplog: pytest.LogCaptureFixture) -> None:
    """However often: an overload must not make the log the next thing that is full."""

    class Full(Store):
        async def put(self, request: RawRequest, context: Context, event: Event | None) -> None:
            raise InboxFullError("too many events wait")

    subject = receiver(inbox=Full())
    for _ in range(700):
        await subject.handle(request())

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "answered with 503, not stored: InboxFullError: too many events wait")
    ]
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize(("path", "seen"), [(PATH_SECRET, ""), (f"team/{PATH_SECRET}/", "team")])
async def test_a_secret_in_the_path_goes_no_further(path: str, seen: str) -> None:
    """Neither to handlers nor to the inbox, and so to no log and no file."""
    router, paths, store = Router(), [], Store()

    @router.register()
    async def keep(event: Event, context: Context) -> None:
        paths.append(context.path)

    settings = {"secrets": None, "verification": PathSecretVerification(PATH_SECRET)}
    for inbox in (None, store):
        answer = await receiver(router, inbox=inbox, **settings).handle(RawRequest({}, BODY, path))
        assert answer.status == 200

    assert paths == [seen]
    assert [(kept.path, context.path) for kept, context, _ in store.kept] == [(seen, seen)]


async def test_an_end_is_the_end_of_readiness() -> None:
    """Events of the inbox without a handler are counted too."""
    subject = Receiver(Router(), verification=None)
    inbox = MemoryInbox()
    stored = Receiver(Router(), verification=None, inbox=inbox)

    async with subject, stored:
        await stored.handle(RawRequest({}, BODY))
        await inbox.idle()
        assert (subject.health()["ready"], stored.health()["ready"]) == (True, True)
        assert stored.statistics().unhandled == 1

    assert (subject.health()["ready"], stored.health()["ready"]) == (False, False)


async def test_the_inbox_lives_as_long_as_the_receiver() -> None:
    """It starts with the frozen router, and is closed at the end."""
    store, router = Store(), Router()

    async with Receiver(router, secrets=SECRETS, inbox=store) as subject:
        assert [repr(started) for started in store.life] == ["<Router 'router': 0 handlers, frozen>"]
        assert subject.health()["ready"]

    assert store.life[1:] == ["closed"]


async def test_idle_waits_for_what_was_answered() -> None:
    """An inbox answers first; after `idle` the handlers have run, and without an inbox they have anyway."""
    begun, go, log = asyncio.Event(), asyncio.Event(), list[str]()

    async def on_status(event: Event) -> None:
        begun.set()
        await go.wait()
        log.append(event.kind)

    router = Router()
    router.add(on_status)
    async with Receiver(router, verification=None, inbox=MemoryInbox()) as subject:
        assert (await subject.handle(request())).status == 200
        await begun.wait()
        waiting = asyncio.create_task(subject.idle())
        await asyncio.sleep(0)
        assert not waiting.done()
        go.set()
        await waiting

        assert log == ["message-status"]
    await receiver().idle()


async def test_idle_says_that_an_inbox_cannot_be_waited_for() -> None:
    """A wait that waits for nothing would make tests of chance."""
    subject = receiver(inbox=Store())

    with pytest.raises(ConfigurationError, match=r"Store has no idle\(\)"):
        await subject.idle()


async def test_receivers_of_one_router_have_each_their_own_values() -> None:
    """Also behind an inbox, which runs the handlers later; and whichever started last."""
    router, seen = Router(), []

    @router.register()
    async def keep(event: Event, tenant: str) -> None:
        seen.append(tenant)

    def subject(tenant: str, inbox: MemoryInbox | None = None) -> Receiver:
        return Receiver(router, verification=None, values={"tenant": tenant}, inbox=inbox)

    stored = MemoryInbox()
    async with subject("one") as one, subject("two") as two, subject("three", stored) as three:
        async with WebhookClient(router, values={"tenant": "test"}) as client:
            await client.post_status()
        for each in (one, two, one, three):
            await each.handle(RawRequest({}, BODY))
        await stored.idle()

    assert seen == ["test", "one", "two", "one", "three"]


# --- outer middleware ---


async def test_outer_middleware_sees_the_raw_request_first() -> None:
    """It may answer by itself, before anything is verified."""
    router = Router()
    log: list[str] = []

    @router.outer_middleware
    async def first(request: RawRequest, call_next: Any) -> Answer:
        log.append("first")
        answer: Answer = await call_next(request)
        log.append(f"first {answer.status}")
        return answer

    @router.outer_middleware
    async def second(request: RawRequest, call_next: Any) -> Answer:
        log.append("second")
        return Answer(429, "slow down") if request.path == "busy" else await call_next(request)

    subject = receiver(router)

    assert (await subject.handle(request())).status == 200
    assert (await subject.handle(RawRequest({}, b"", "busy"))).status == 429
    assert log == ["first", "second", "first 200", "first", "second", "first 429"]


async def test_outer_middleware_must_answer() -> None:
    """Forgetting to return is a failure, not a silent 200."""
    router = Router()

    @router.outer_middleware  # type: ignore[type-var]  # the point of the test
    async def forgetful(request: RawRequest, call_next: Any) -> None:
        await call_next(request)

    assert (await receiver(router).handle(request())).status == 500


async def test_an_error_of_a_verification_is_not_an_open_door() -> None:
    """Fails closed: 500, and nothing is handled."""

    class Broken:
        def verify(self, request: RawRequest) -> None:
            raise KeyError("x")

    subject = receiver(secrets=None, verification=Broken())

    assert (await subject.handle(request())).status == 500
    assert subject.statistics().events == {}


class AsyncVerification:
    async def verify(self, request: RawRequest) -> None:
        raise SignatureVerificationError("never awaited, so it would refuse no request")


@pytest.mark.parametrize(
    "verification", [AsyncVerification(), PathSecretVerification, object(), "secret", True]
)
def test_what_cannot_verify_is_refused_where_the_receiver_is_built(verification: Any) -> None:
    """Not at the first callback; and an async `verify` would accept every request."""
    with pytest.raises(ConfigurationError, match=r"plain method `verify\(request\)`"):
        Receiver(Router(), verification=verification)


@pytest.mark.parametrize("returned", [True, False, {"api_key": "k"}, object()])
async def test_a_verification_gives_claims_or_none_or_refuses(returned: object) -> None:
    """Anything else is no proof: 500, so that the service repeats, and nothing is handled or stored."""

    class Odd:
        def verify(self, request: RawRequest) -> Any:
            return returned

    store = Store()
    subject = receiver(secrets=None, verification=Odd(), inbox=store)

    assert (await subject.handle(request())).status == 500
    assert store.kept == []
    with pytest.raises(ConfigurationError, match=r"Odd\.verify returned"):
        from_http({}, BODY, verification=Odd())
