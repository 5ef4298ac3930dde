"""What the filters of a handler compare, one promise of docs/receiver.md each."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks import Event, Router
from tests.webhooks.payloads import report, status


def reaches(event: Event, **filters: Any) -> bool:
    async def handle(event: Event) -> None: ...

    router = Router()
    router.add(handle, **filters)
    return router.fetch(event) == (handle,)


@pytest.mark.parametrize(
    ("sender", "reached"),
    [("PageID", True), ("pageid", True), (" PAGEID ", True), ("447700900001", True), ("page", False)],
)
def test_a_sender_is_a_number_or_an_id_in_any_case(sender: str, reached: bool) -> None:
    """Ids compare without case (contract 5.11), and both of an address count (5.5.1)."""
    event = status(**{"from": {"type": "messenger", "id": "PageID", "number": "447700900001"}})

    assert reaches(event, sender=sender) is reached


def test_a_report_matches_by_the_channel_of_any_of_its_messages() -> None:
    """The one that ended the workflow is the last (contract 5.4)."""
    messages = [{"message_uuid": name, "channel": name, "status": "read"} for name in ("whatsapp", "sms")]
    event = report(_links={"messages": messages})

    assert [reaches(event, channel=name) for name in ("whatsapp", "sms", "mms")] == [True, True, False]


@pytest.mark.parametrize("written", ["sms", " sms ", "SMS", "\tSms\n"])
@pytest.mark.parametrize("several", [False, True])
def test_the_name_of_a_channel_may_have_blanks_and_capitals(written: str, several: bool) -> None:
    """It may come from a file of settings."""
    channels = ["mms", written] if several else written

    assert reaches(status(to={"type": "sms", "number": "1"}), channel=channels)
