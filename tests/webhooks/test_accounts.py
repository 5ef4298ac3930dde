"""Several accounts in one receiver: each moves its own workflows only."""

from pathlib import Path

import pytest

from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_webhooks import (
    HmacVerification,
    MessageStatus,
    PathSecretVerification,
    Router,
    RouterError,
    Verification,
)
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from nexmo_dispatch_webhooks.receiver import Receiver
from nexmo_dispatch_webhooks.testing import WebhookClient
from tests.webhooks.payloads import encode, report_body

SECRETS = {"a1": "a secret of the first account, long enough", "b2": "a secret of the other account, too"}


@pytest.mark.parametrize("durable", [False, True])
async def test_an_account_cannot_end_the_workflow_of_another(tmp_path: Path, durable: bool) -> None:
    """Not even with its dispatch_uuid, and not after the event has been stored and read again."""
    trackers = {name: Tracker() for name in SECRETS}
    router = Router()
    for name, tracker in trackers.items():
        tracker.attach(own := Router(name=name))
        router.include_router(own, account=name)
    body = report_body()
    uuid = str(body["dispatch_uuid"])

    inbox = SqliteInbox(tmp_path / "i.db") if durable else None
    async with Receiver(router, secrets=SECRETS, inbox=inbox) as receiver:
        answer = await WebhookClient(receiver, secrets={"a1": SECRETS["a1"]}).post(encode(body))
        if inbox is not None:
            await inbox.idle()

    assert answer.status == 200
    assert (await trackers["a1"].result(uuid)).ended
    assert not (await trackers["b2"].result(uuid)).ended


@pytest.mark.parametrize(
    "verification",
    [None, HmacVerification("key"), PathSecretVerification("abcdefghijklmnopqrstuv")],
    ids=lambda verification: type(verification).__name__,
)
async def test_a_router_that_would_hear_nothing_is_refused_at_the_start(
    verification: Verification | None,
) -> None:
    """A receiver that knows no such account would lose every callback of the router in silence."""
    own, router = Router(), Router()
    own.message_status()(_ignore)
    router.include_router(own, account="b2")

    for receiver in (
        Receiver(router, verification=verification),
        Receiver(router, secrets={"a1": SECRETS["a1"]}),
    ):
        with pytest.raises(RouterError, match=r"account='b2'.*add its signature secret to `secrets`"):
            await receiver.open()


async def _ignore(event: MessageStatus) -> None: ...
