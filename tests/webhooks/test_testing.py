"""The test client that users get: bodies that keep the contract, signed, in process and over HTTP."""

import asyncio
import hmac
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web

from nexmo_dispatch_webhooks import (
    Answer,
    AudioContent,
    ButtonContent,
    ConfigurationError,
    Content,
    Context,
    Event,
    FileContent,
    FinalReport,
    HandlerError,
    HmacVerification,
    ImageContent,
    InboundMessage,
    LocationContent,
    MessageStatus,
    PathSecretVerification,
    Receiver,
    ReplyContent,
    Router,
    TextContent,
    UnknownContent,
    UnsupportedContent,
    VideoContent,
    parse_event,
)
from nexmo_dispatch_webhooks.asgi import ASGIReceiver
from nexmo_dispatch_webhooks.inbox import MemoryInbox, SqliteInbox
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body, report_body, status_body
from tests.webhooks import adapters
from tests.webhooks.payloads import PATH_SECRET, encode

CHANNELS = ["sms", "mms", "whatsapp", "viber_service_msg", "messenger"]
STATUSES = ["submitted", "delivered", "read", "rejected", "undeliverable"]
SECRETS = {"k": adapters.SECRET}
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def parsed(body: dict[str, Any]) -> Any:
    """The event of a body in which nothing is odd; Any: the test knows its kind."""
    return parse_event(encode(body), strict=True)


@pytest.fixture
def seen() -> list[tuple[Event, Context]]:
    """What the handler of `router` saw."""
    return []


@pytest.fixture
def router(seen: list[tuple[Event, Context]]) -> Router:
    """A router with one handler, for everything."""
    router = Router()

    @router.register()
    async def keep(event: Event, context: Context) -> None:
        seen.append((event, context))

    return router


# --- bodies ---


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("status", STATUSES)
def test_statuses_keep_the_contract(status: str, channel: str) -> None:
    """Contract 5.2, strictly: own ids on Viber and Messenger, a price if delivered, an error if failed."""
    event = parsed(status_body(status, channel=channel))

    assert isinstance(event, MessageStatus)
    assert (event.status, event.channel) == (status, channel)
    assert (event.to.by_id, event.from_.by_id) == (
        channel == "messenger",
        channel in {"messenger", "viber_service_msg"},
    )
    assert event.to.address != event.from_.address
    assert (event.usage is not None) == (status == "delivered")
    assert (event.error is not None) == event.is_failed
    assert event.dispatch_uuid


def test_everything_in_a_status_can_be_said() -> None:
    event = parsed(
        status_body(
            "rejected",
            channel="whatsapp",
            message_uuid="m",
            dispatch_uuid="d",
            to="447700900001",
            from_={"id": "x"},
            price=Decimal("0.01"),
            error=1340,
            client_ref="order-1",
            timestamp=NOON.astimezone(timezone(timedelta(hours=2))),
        )
    )

    assert (event.message_uuid, event.dispatch_uuid, event.client_ref) == ("m", "d", "order-1")
    assert (event.to.number, event.from_.number, event.from_.id) == ("447700900001", None, "x")
    assert (event.usage.price, event.usage.currency) == (Decimal("0.01"), "EUR")
    assert (event.error.code, event.error.error_class) == (1340, "request")
    assert (event.timestamp, event.timestamp_raw) == (NOON, "2025-01-01T12:00:00.000Z")


def test_a_status_without_its_usual_members() -> None:
    """None leaves a member out, and further members go in as they are."""
    body = status_body("delivered", dispatch_uuid=None, price=None, timestamp=None, to=None, new={"a": 1})
    failed = status_body("rejected", error={"code": "1300", "reason": "no"}, timestamp="yesterday")

    assert {"_links", "usage", "error", "client_ref"} & set(body) == set()
    assert body["new"] == {"a": 1}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    assert (failed["error"], failed["timestamp"]) == ({"code": "1300", "reason": "no"}, "yesterday")
    assert status_body("read", error=None)["status"] == "read"


@pytest.mark.parametrize(
    ("status", "channel", "expected"),
    [
        ("delivered", None, ("sms", None)),
        ("read", None, ("whatsapp", None)),
        ("rejected", None, ("whatsapp", {"code": 1300, "reason": "Not part of the provider network"})),
        ("rejected", "sms", ("sms", {"code": 1330, "reason": "Unknown"})),
        ("undeliverable", None, ("sms", {"code": 1260, "reason": "Destination unreachable"})),
    ],
)
def test_what_is_made_up_is_what_the_service_may_report(
    status: str, channel: str | None, expected: tuple[str, object]
) -> None:
    """Contract 5.3, 6.1: no SMS is ever read, and an error has a code of its channel, with its name."""
    body = status_body(status, channel=channel)

    assert (body["to"]["type"], body.get("error")) == expected


def test_the_name_of_the_builder_is_a_channel() -> None:
    """`viber` is what `viber.text(…)` sends over; the service itself never writes it (contract 5.11)."""
    status, inbound = status_body(channel="viber"), inbound_body(channel="viber")
    report = parsed(report_body(messages=[("viber", "read")]))

    assert {end["type"] for body in (status, inbound) for end in (body["to"], body["from"])} == {
        "viber_service_msg"
    }
    assert (parsed(status).from_.by_id, parsed(inbound).to.by_id) == (True, True)
    assert report.messages[0].channel == "viber_service_msg"


@pytest.mark.parametrize("channel", [*CHANNELS, "viber_service"])
def test_inbound_keeps_the_contract(channel: str) -> None:
    """Contract 5.5: the two ends are swapped against a status."""
    event = parsed(inbound_body(channel=channel))
    status = parsed(status_body(channel=channel))

    assert isinstance(event, InboundMessage)
    assert event.text == "Hello"
    assert (event.from_, event.to) == (status.to, status.from_)
    assert event.num_messages == (1 if channel == "sms" else None)


@pytest.mark.parametrize(
    "content",
    [
        TextContent("words"),
        ImageContent(url="https://example.com/1", caption="c"),
        AudioContent(url="https://example.com/1"),
        VideoContent(url="https://example.com/1"),
        FileContent(url="https://example.com/1", name="n"),
        ButtonContent(payload="p", text="t"),
        ReplyContent(id="1", title="t", description="d"),
        UnsupportedContent(),
    ],
    ids=lambda content: content.type,
)
def test_contents_come_back_as_they_went(content: Content) -> None:
    assert parsed(inbound_body(content=content, from_="447700900001")).content == content


def test_other_contents() -> None:
    """A place, a type that is not known yet, and the object on the wire."""
    place = parsed(inbound_body(content=LocationContent(52.5, 4.75, name="Terminal"))).content
    unknown = parse_event(encode(inbound_body(content=UnknownContent("hologram", {"a": 1}))))
    wire = parsed(inbound_body(content={"type": "text", "text": "wire"}))

    assert (place.latitude, place.longitude, place.name, place.address) == (52.5, 4.75, "Terminal", None)
    assert isinstance(unknown, InboundMessage)
    assert unknown.content == UnknownContent("hologram", {"a": 1})
    assert wire.text == "wire"
    with pytest.raises(TypeError, match="not both"):
        inbound_body("a", content=TextContent("b"))


def test_reports_keep_the_contract() -> None:
    """Contract 5.4: the messages in order, and a total that is the sum and the fee."""
    event = parsed(
        report_body(
            dispatch_uuid="d",
            messages=[
                ("whatsapp", "submitted"),
                ("sms", "delivered"),
                {
                    "message_uuid": "m",
                    "channel": "mms",
                    "status": "read",
                    "usage": {"price": "1.5", "currency": "EUR"},
                },
            ],
        )
    )

    assert isinstance(event, FinalReport)
    assert [(m.channel, m.status) for m in event.messages] == [
        ("whatsapp", "submitted"),
        ("sms", "delivered"),
        ("mms", "read"),
    ]
    assert event.usage is not None
    assert event.usage.price == Decimal("1.5353")
    assert event.dispatch_uuid == "d"


def test_reports_by_themselves() -> None:
    """A report says by default what fits its status."""
    good, bad = parsed(report_body()), parse_event(encode(report_body("error", price="0.5", template=None)))

    assert [(m.channel, m.status) for m in good.messages] == [("sms", "delivered")]
    assert isinstance(bad, FinalReport)
    assert [(m.channel, m.status) for m in bad.messages] == [("sms", "undeliverable")]
    assert bad.usage is not None
    assert (bad.usage.price, bad.template) == (Decimal("0.5"), None)


# --- in process ---


async def test_a_router_gets_each_kind_signed(router: Router, seen: list[tuple[Event, Context]]) -> None:
    """Nothing has to be set up: the receiver around the router verifies what the client signs."""
    async with WebhookClient(router, clock=lambda: NOON.timestamp()) as client:
        answers = [
            await client.post_status("read", channel="whatsapp"),
            await client.post_inbound("Hi", path="/inbound/"),
            await client.post_report(),
            await client.post({"something": "else"}),
        ]

    assert answers == [Answer()] * 4
    assert [event.kind for event, _ in seen] == [
        "message-status",
        "inbound-message",
        "final-report",
        "unknown",
    ]
    assert [context.path for _, context in seen] == ["", "inbound", "", ""]
    assert all(context.claims and context.received_at == NOON for _, context in seen)
    assert isinstance(seen[0][0], MessageStatus)
    assert seen[0][0].timestamp == NOON


async def test_what_the_receiver_refuses(router: Router, seen: list[tuple[Event, Context]]) -> None:
    """Unsigned, forged or broken requests can be posted too."""
    client = WebhookClient(router)

    assert (await client.post(status_body(), signed=False)).status == 503
    assert (await client.post(status_body(), headers={"Authorization": "Bearer x"})).status == 401
    assert (await client.post(b"not json")).status == 400
    assert seen == []


async def test_a_failing_handler_is_raised_with_its_cause() -> None:
    """A test shows the handler's own traceback; the service would see 500."""
    router, problem = Router(), RuntimeError("out of paper")

    @router.message_status()
    async def bad(event: Event) -> None:
        raise problem

    with pytest.raises(HandlerError, match=r"bad \(RuntimeError\)") as caught:
        await WebhookClient(router).post_status()
    answer = await WebhookClient(router, raise_failures=False).post_status()

    assert caught.value.__cause__ is problem
    assert answer.status == 500
    assert await WebhookClient(router).post_report() == Answer()


async def test_values_for_handlers() -> None:
    router, got = Router(), []

    @router.register()
    async def handle(event: Event, store: str) -> None:
        got.append(store)

    one, two = (WebhookClient(router, values={"store": store}) for store in ("one", "two"))
    for client in (one, two, one):
        await client.post_report()

    assert got == ["one", "two", "one"]


async def test_a_receiver_with_its_own_secrets(router: Router, seen: list[tuple[Event, Context]]) -> None:
    """The mapping that the receiver has will do, also during a rotation."""
    secrets = {"k": ["new", "old"]}
    client = WebhookClient(Receiver(router, secrets=secrets), secrets=secrets)

    assert await client.post_status() == Answer()
    assert seen[0][1].claims is not None


async def test_a_receiver_that_verifies_nothing(router: Router, seen: list[tuple[Event, Context]]) -> None:
    client = WebhookClient(Receiver(router, verification=None))

    assert await client.post_status() == Answer()
    assert seen[0][1].claims is None


async def test_a_receiver_with_an_inbox(router: Router, seen: list[tuple[Event, Context]]) -> None:
    """The client starts it and, at its end, drains it."""
    receiver = Receiver(router, verification=None, inbox=MemoryInbox())

    async with WebhookClient(receiver) as client:
        assert await client.post_status() == Answer()
        assert await client.post(b"{}") == Answer()
        assert [event.kind for event, _ in seen] == ["message-status", "unknown"]  # each post waits

    assert not receiver.is_open


@pytest.mark.parametrize("make_inbox", [lambda: None, MemoryInbox, lambda: SqliteInbox("inbox.db")])
async def test_a_failing_handler_is_raised_from_a_receiver_too(
    make_inbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind an inbox, for which the post waits; or the answer as the service would see it."""
    monkeypatch.chdir(tmp_path)
    inbox = make_inbox()
    router, problem = Router(), RuntimeError("out of paper")

    @router.message_status(name="printer")
    async def bad(event: Event) -> None:
        raise problem

    @router.final_report(name="ledger")
    async def broken_sql(event: Event, context: Context) -> None:
        if isinstance(inbox, SqliteInbox):
            context.transaction.execute("INSERT INTO nowhere VALUES (1)")
        else:
            raise problem

    async with Receiver(router, verification=None, inbox=inbox) as receiver:
        client = WebhookClient(receiver)
        with pytest.raises(HandlerError, match=r"printer \(RuntimeError\)") as caught:
            await client.post_status()
        with pytest.raises(HandlerError, match="ledger"):
            await client.post_report()
        answer = await WebhookClient(receiver, raise_failures=False).post_status()
        assert await client.post_inbound() == Answer()

    assert caught.value.__cause__ is problem
    assert answer.status == (500 if inbox is None else 200)


async def test_a_failure_is_raised_where_it_was_posted(router: Router) -> None:
    """Two posts at the same time do not raise for each other."""

    @router.message_status()
    async def bad(event: Event) -> None:
        await asyncio.sleep(0)
        raise RuntimeError

    client = WebhookClient(router)

    bad_one, good_one = await asyncio.gather(
        client.post_status(), client.post_report(), return_exceptions=True
    )

    assert isinstance(bad_one, HandlerError)
    assert good_one == Answer()


async def test_an_inbox_that_is_never_ended_is_not_silent(router: Router) -> None:
    """It would outlive the test."""
    receiver = Receiver(router, verification=None, inbox=MemoryInbox())
    client = WebhookClient(receiver)
    await client.post_status()

    with pytest.warns(ResourceWarning, match="unclosed <WebhookClient of .*: its inbox still runs"):
        del client

    await receiver.aclose()


async def test_a_receiver_that_runs_is_left_running(router: Router) -> None:
    """The client that started it ends it."""
    async with Receiver(router, verification=None, inbox=MemoryInbox()) as receiver:
        async with WebhookClient(receiver) as client:
            await client.post_status()

        assert receiver.health()["ready"]


def test_a_receiver_that_verifies_tokens_needs_secrets(router: Router) -> None:
    with pytest.raises(ConfigurationError, match="give the secrets"):
        WebhookClient(Receiver(router, secrets=SECRETS))


async def test_what_is_not_signed_with_a_token_is_given_with_the_post(router: Router) -> None:
    """A secret of the path, or the header of another scheme."""
    body = json.dumps(status_body()).encode()
    signature = hmac.new(b"key", body, "sha256").hexdigest()
    async with WebhookClient(Receiver(router, verification=PathSecretVerification(PATH_SECRET))) as client:
        assert (await client.post_status(path=PATH_SECRET)).status == 200
        assert (await client.post_status(path="guess")).status == 401
    async with WebhookClient(Receiver(router, verification=HmacVerification("key"))) as client:
        assert (await client.post(body, headers={"X-KPN-Webhook-Signature": signature})).status == 200
        assert (await client.post(body)).status == 503


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (ASGIReceiver(Router(), verification=None), "give the .receiver of the ASGIReceiver"),
        (web.Application(), "takes a Router, a Receiver .setup.. returns one. or a URL, not Application"),
        (None, "or a URL, not NoneType"),
        ("localhost:8080/webhooks", "must start with http:// or https://"),
    ],
)
def test_what_it_cannot_post_to_is_refused(target: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        WebhookClient(target)


def test_values_belong_to_a_router(router: Router) -> None:
    with pytest.raises(ConfigurationError, match="values are for a Router"):
        WebhookClient(Receiver(router, verification=None), values={"pool": 1})


def test_messages_of_a_report_are_pairs() -> None:
    with pytest.raises(ConfigurationError, match="messages are pairs"):
        report_body(messages=cast("Any", ["whatsapp"]))


def test_repr_shows_no_secret(router: Router) -> None:
    client = WebhookClient(Receiver(router, secrets={"k": "hush"}), secrets={"k": "hush"})

    assert "hush" not in repr(client)
    assert repr(WebhookClient("http://127.0.0.1:1/x")) == "<WebhookClient of 'http://127.0.0.1:1/x'>"


# --- over HTTP ---


@pytest.fixture(params=["aiohttp", "asgi"])
async def url(request: pytest.FixtureRequest, router: Router) -> AsyncIterator[str]:
    """Where a receiver of `router` listens."""
    async with ClientSession() as session:
        served = await adapters.serve(request.param, session, router=router)
        yield served.url + "/webhooks"
        await served.stop()


async def test_a_redirect_is_an_answer() -> None:
    """The service follows none, so a test that did would hide that nothing arrives."""

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/webhooks/")

    app = web.Application()
    app.router.add_post("/webhooks", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async with WebhookClient(f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks") as client:
        assert (await client.post_status()).status == 307
    await runner.cleanup()


async def test_a_running_receiver_by_its_url(url: str, seen: list[tuple[Event, Context]]) -> None:
    async with WebhookClient(url, secrets=SECRETS) as client:
        answers = [
            await client.post_status(path="status"),
            await client.post_inbound(),
            await client.post(b"{}", signed=False),
        ]

    assert [answer.status for answer in answers] == [200, 200, 503]
    assert answers[2].text == "the Authorization header is missing"
    assert [context.path for _, context in seen] == ["status", ""]
