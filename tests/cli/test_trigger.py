"""`nexmo-dispatch trigger` posts one signed callback of any kind, as the service does."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.trigger import body_of
from nexmo_dispatch_async.cli.trigger_options import Kind, TriggerOptions
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_webhooks import (
    FinalReport,
    InboundMessage,
    MessageStatus,
    Router,
    UnknownEvent,
    parse_event,
)
from nexmo_dispatch_webhooks.aiohttp import setup
from tests.cli.test_doctor import served

SECRET = "a1b2c3d4=signature-secret"
Event = MessageStatus | InboundMessage | FinalReport | UnknownEvent


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[Event]]]:
    """A receiver that verifies signatures, and the events that it saw."""
    seen: list[Event] = []
    router, application = Router(), web.Application()

    @router.register()
    async def keep(event: Event) -> None:
        seen.append(event)

    setup(application, router, path="/webhooks", secrets=dict([SECRET.split("=")]))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks", seen
    await runner.cleanup()


async def trigger(*arguments: str, secret: str = SECRET) -> tuple[int, str, str]:
    """Run the command in a thread, beside the receiver."""
    environment = {"NEXMO_DISPATCH_SIGNATURE_SECRETS": secret}
    done = await asyncio.to_thread(CliRunner().invoke, app, ["trigger", *arguments], env=environment)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("kind", Kind)
async def test_each_kind_reaches_its_handler(kind: Kind, receiver: tuple[str, list[Event]]) -> None:
    """Whatever kind is named arrives signed, and a handler sees it as from the service."""
    url, seen = receiver

    code, out, _ = await trigger(kind.value, "--to", url, "--json")

    assert code == 0
    (event,) = seen
    printed = json.loads(out)
    assert (printed["status"], printed["signed"]) == (200, True)
    assert printed["body"] == event.raw
    assert kind.value == (event.status if isinstance(event, MessageStatus | FinalReport) else "inbound")


async def test_what_is_given_is_what_arrives(receiver: tuple[str, list[Event]], tmp_path: Path) -> None:
    """Channel, addresses, reference, error and further members are those of the options."""
    url, seen = receiver
    more = tmp_path / "more.json"
    more.write_text('{"surprise": [1]}')

    code, out, _ = await trigger(
        *("rejected", "--to", url, "--channel", "viber", "--recipient", "447700900321", "--error", "1340"),
        *("--client-ref", "order-7", "--dispatch-uuid", "d-1", "--message-uuid", "m-1", "--body", str(more)),
    )

    assert code == 0
    assert out.startswith("rejected, signed: 200")
    (event,) = seen
    assert isinstance(event, MessageStatus)
    assert event.error is not None
    assert (event.channel, event.to.address, event.error.code) == (
        "viber_service_msg",
        "447700900321",
        1340,
    )
    assert (event.client_ref, event.dispatch_uuid, event.message_uuid) == ("order-7", "d-1", "m-1")
    assert event.raw["surprise"] == [1]


async def test_the_receiver_is_named_as_in_other_commands(receiver: tuple[str, list[Event]]) -> None:
    """`--url` is what `apps` calls a receiver, and `--to` says the same."""
    url, seen = receiver

    assert (await trigger("read", "--url", url))[0] == 0
    assert len(seen) == 1


async def test_a_refusal_ends_with_1(receiver: tuple[str, list[Event]]) -> None:
    """A wrong secret, a missing signature and a port without a receiver end with 1, and say why."""
    url, seen = receiver

    assert (await trigger("read", "--to", url, secret="a1b2c3d4=another"))[0] == 1
    code, out, _ = await trigger("read", "--to", url, "--unsigned")
    assert (code, out.startswith("read, unsigned: 503")) == (1, True)
    code, out, _ = await trigger("read", "--to", url, "--wrong-signature")
    assert (code, out.startswith("read, wrongly signed: 401")) == (1, True)
    assert (
        json.loads((await trigger("read", "--to", url, "--wrong-signature", "--json"))[1])["signed"] is False
    )
    assert (await trigger("read", "--to", url, "--unsigned", "--wrong-signature"))[0] == 2
    code, _, err = await trigger("read", "--to", "http://127.0.0.1:9/webhooks")
    assert (code, "does the receiver listen there?" in err) == (1, True)
    assert (await trigger("read", "--to", "127.0.0.1"))[0] == 2
    assert seen == []


@pytest.mark.parametrize(
    ("status", "consequence"),
    [
        (301, "follows no redirect: such a callback is lost"),
        (401, "does not repeat such a callback: it is lost"),
        (404, "does not repeat such a callback: it is lost"),
        (429, "repeats such a callback for 24 hours"),
        (503, "repeats such a callback for 24 hours"),
    ],
)
async def test_a_refusal_says_what_becomes_of_the_callback(status: int, consequence: str) -> None:
    """Contract 5.10: whether it comes again; the body, which nothing took, is only in --json."""
    application = web.Application()

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status)

    application.router.add_post("/webhooks", refuse)
    async with served(application) as url:
        code, out, _ = await trigger("read", "--to", f"{url}/webhooks")
        _, described, _ = await trigger("read", "--to", f"{url}/webhooks", "--json")

    assert code == 1
    first, second = out.splitlines()
    assert first.startswith(f"read, signed: {status}")
    assert consequence in second
    assert json.loads(described)["body"]["status"] == "read"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": Kind.READ, "text": "Hi"}, "--text has no place in a callback of the kind read"),
        ({"kind": Kind.DELIVERED, "error": 1340}, "--error has no place"),
        ({"kind": Kind.INBOUND, "client_ref": "a"}, "--client-ref has no place"),
        ({"kind": Kind.COMPLETED, "recipient": "447700900123"}, "--recipient has no place"),
        ({"kind": Kind.READ, "channel": "pigeon"}, "--channel must be one of messenger, mms, sms, viber"),
    ],
)
def test_an_option_without_effect_is_refused(options: dict[str, Any], message: str) -> None:
    """An option that does not belong to the kind is named instead of being dropped."""
    with pytest.raises(ConfigurationError, match=message):
        body_of(TriggerOptions(**options), {})


@pytest.mark.parametrize(("content", "reason"), [("[1]", "must hold an object"), ("{", "it is not JSON")])
async def test_members_are_an_object(content: str, reason: str, tmp_path: Path) -> None:
    """A file of members that cannot be used is named, with the reason."""
    file = tmp_path / "members.json"
    file.write_text(content)

    code, _, err = await trigger("read", "--body", str(file))

    assert code == 1
    assert reason in err


def test_what_is_made_up_is_whole() -> None:
    """A made up callback is one of the contract: it is parsed to its kind, with an inbound text as given."""
    event = parse_event(json.dumps(body_of(TriggerOptions(kind=Kind.INBOUND, text="STOP"), {})))

    assert isinstance(event, InboundMessage)
    assert event.text == "STOP"


@pytest.mark.parametrize(
    ("kind", "channel", "expected"),
    [
        (Kind.SUBMITTED, "", ("sms", None, None)),
        (Kind.READ, "", ("whatsapp", None, None)),
        (Kind.READ, "viber", ("viber_service_msg", None, None)),
        (Kind.REJECTED, "", ("whatsapp", 1300, "Not part of the provider network")),
        (Kind.REJECTED, "sms", ("sms", 1330, "Unknown")),
        (Kind.REJECTED, "mms", ("mms", 1330, "Unknown")),
        (Kind.UNDELIVERABLE, "", ("sms", 1260, "Destination unreachable")),
    ],
)
def test_what_is_made_up_is_possible(
    kind: Kind, channel: str, expected: tuple[str, int | None, str | None]
) -> None:
    """Contract 5.3, 6.1: a channel that reports the status, an error code of that channel, and its name."""
    event = parse_event(json.dumps(body_of(TriggerOptions(kind=kind, channel=channel), {})))

    assert isinstance(event, MessageStatus)
    error = event.error
    assert expected == (event.channel, error and error.code, error and error.reason)


@pytest.mark.parametrize("channel", ["sms", "mms"])
def test_a_status_that_no_channel_reports_is_refused(channel: str) -> None:
    """A handler that was tried with it would wait for ever in production."""
    with pytest.raises(ConfigurationError, match=f"no {channel} is ever read; give whatsapp, viber or mess"):
        body_of(TriggerOptions(kind=Kind.READ, channel=channel), {})


async def test_a_missing_variable_is_told(receiver: tuple[str, list[Event]]) -> None:
    """A reader who forgot `. ./env.sh` sees why it is refused; one who asked for it is told nothing."""
    url, _ = receiver

    told = (await trigger("read", "--to", url, secret=""))[2]
    asked = (await trigger("read", "--to", url, "--unsigned", secret=""))[2]

    assert told == "note: NEXMO_DISPATCH_SIGNATURE_SECRETS is not set: the callback is unsigned\n"
    assert asked == ""


async def test_a_wrong_kind_is_named_in_our_own_words() -> None:
    """The usage and the message name the argument alike, without words of the library that parses it."""
    code, _, err = await trigger("bogus")

    assert code == 2
    assert " trigger [OPTIONS] KIND\n" in err
    assert "Invalid value for 'KIND': 'bogus' is not one of 'submitted'," in err
