"""`parse_event`: open words, the places of a value, and their order, one statement of contract 5 each."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks import Address, MessageError, Usage, WorkflowPosition, parse_event
from tests.webhooks.payloads import encode, inbound, report, status, status_body

TEXT = {"type": "text", "text": "x"}


def reported(**changes: Any) -> Any:
    message = {"message_uuid": "m", "channel": "sms", "status": "delivered", **changes}
    return report(_links={"messages": [message]}).messages[0]


# --- words (contract 5.3, 5.4, 5.11) ---


@pytest.mark.parametrize("word", ["accepted", "seen"])
def test_words_of_the_prose_are_known_and_end_nothing(word: str) -> None:
    """Contract 5.3: whether `accepted` and `seen` end a message is unknown, so they do not."""
    event = status(status=word.upper())

    assert (event.status, event.is_final, event.is_failed) == (word, False, False)


@pytest.mark.parametrize(
    ("text", "read_as"), [(" Completed\n", "completed"), ("ERROR", "error"), (" Ok ", "Ok")]
)
def test_the_words_of_a_report_are_open(text: str, read_as: str) -> None:
    """Contract 5.4, 5.11: trimmed, without case where they are known, else as they came."""
    assert report(status=text).status == read_as


@pytest.mark.parametrize(("text", "read_as"), [(" Failover", "failover"), ("Broadcast", "Broadcast")])
def test_the_template_of_a_report_is_open(text: str, read_as: str) -> None:
    """Contract 5.4, 5.11."""
    assert report(template=text).template == read_as


@pytest.mark.parametrize(("text", "read_as"), [(" READ ", "read"), ("Lost", "Lost"), (None, None)])
def test_the_status_of_a_reported_message_is_open(text: str | None, read_as: str | None) -> None:
    """Contract 5.4, as 5.3."""
    assert reported(status=text).status == read_as


@pytest.mark.parametrize(("text", "read_as"), [("RCS-Basic", "RCS-Basic"), (" Fax ", "Fax"), ("Sms", "sms")])
def test_an_unknown_channel_keeps_its_spelling(text: str, read_as: str) -> None:
    """Contract 5.11: unknown values survive as text."""
    assert status(to={"type": text, "number": "1"}).channel == read_as
    assert status(channel=text).channel == read_as
    assert reported(channel=text).channel == read_as


@pytest.mark.parametrize("currency", ["SEK", "usd", " eur ", None])
def test_a_reported_message_keeps_its_currency(currency: str | None) -> None:
    """Contract 9.19: any text is accepted; only EUR has a known spelling."""
    usage = reported(usage={"price": "1", "currency": currency}).usage

    assert isinstance(usage, Usage)
    assert usage.currency == {" eur ": "EUR"}.get(currency or "", currency)


@pytest.mark.parametrize("direction", ["inbound", "INBOUND", "\tinBound "])
def test_the_direction_counts_in_any_case(direction: str) -> None:
    """Contract 5.1 and 5.11: it makes an inbound-message of a body without a `message`."""
    body = status_body(direction=direction)

    assert parse_event(encode(body)).kind == "inbound-message"


@pytest.mark.parametrize("direction", ["outbound", "in", "", 1, []])
def test_any_other_direction_says_nothing(direction: Any) -> None:
    """Contract 5.1: then the status decides."""
    assert parse_event(encode(status_body(direction=direction))).kind == "message-status"


# --- which kind, and from where (contract 5.1, 5.2, 5.5) ---


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "inbound-message"),
        ("", "unknown"),
        (" ", "unknown"),
        (5, "unknown"),
        ("read", "message-status"),
    ],
)
def test_the_v1_form_of_an_inbound_message_has_no_status(value: Any, kind: str) -> None:
    """Contract 5.1: `message_uuid` and `message_type` and no `status`; null is absent (5.11)."""
    body = {"message_uuid": "m", "message_type": "text", "text": "x", "channel": "sms", "status": value}

    assert parse_event(encode(body)).kind == kind


@pytest.mark.parametrize("sender", [None, {"number": "1"}, {"type": "", "number": "1"}])
def test_the_channel_of_an_inbound_message_comes_from_to_when_from_has_none(sender: Any) -> None:
    """Contract 5.5.1: both ends name it."""
    assert inbound(TEXT, **{"from": sender}).channel == "whatsapp"


def test_an_address_without_a_type_keeps_both_of_its_names() -> None:
    """Contract 5.11: both are kept, trimmed; the type is the channel of the v1 form (5.8)."""
    event = status(channel="sms", to={"number": "1", "id": " 2"})

    assert event.to == Address("sms", "1", "2")
    assert event.oddities == ("to: not exactly one of number and id as text",)


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ({"messages": [], "dispatch": {"dispatch_uuid": "a"}}, "a"),
        ({"messages": [], "workflow": {"dispatch_uuid": "b"}}, "b"),
        ({"messages": {"dispatch_uuid": "no link to a workflow"}}, None),
    ],
)
def test_the_workflow_of_a_report_may_come_from_its_links(links: Any, found: str | None) -> None:
    """Contract 5.2 says where to look when the top level has none."""
    assert report(dispatch_uuid=None, _links=links).dispatch_uuid == found
    assert report(dispatch_uuid="top", _links=links).dispatch_uuid == "top"


# --- errors (contract 5.6) ---


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"title": "-1000", "type": "https://x#1010"}, MessageError(1010, "-1000")),
        ({"title": "+1000", "type": "https://x#1010"}, MessageError(1010, "+1000")),
        ({"title": "1000.0", "type": "https://x#1010"}, MessageError(1010, "1000.0")),
        ({"title": " 1000 ", "type": "https://x#1010"}, MessageError(1000, "1000")),
        ({"type": "https://x#1000#1010"}, MessageError(1010, None)),
        ({"type": "https://x#messages#1010", "detail": "d"}, MessageError(1010, "d")),
        ({"code": 1020, "title": "1000", "type": "https://x#1010"}, MessageError(1020, "1000")),
    ],
)
def test_the_code_of_a_v1_error(error: Any, expected: MessageError) -> None:
    """Contract 5.6: `code`, else `title` if it is all digits, else what follows the last `#` of `type`."""
    assert status(error=error).error == expected


# --- types of the v1 format (contract 5.8) ---


def test_ids_and_numbers_of_the_v1_format_have_one_type() -> None:
    """Contract 5.8 and 5.11: ids are trimmed text, counts are integers, whatever they came as."""
    workflow = status(workflow={"id": " w ", "items_number": "1", "items_total": 2}).workflow
    by_number = status(workflow={"id": 7, "items_number": "x"}).workflow
    message = inbound(None, message=None, message_type="text", text="x", context={"message_uuid": " o "})
    numbered = inbound(TEXT, context={"message_uuid": 7}, profile={"name": 7})

    assert workflow == WorkflowPosition("w", 1, 2)
    assert by_number == WorkflowPosition("7", None, None)
    assert (message.reply_to, numbered.reply_to, numbered.profile_name) == ("o", "7", "7")
