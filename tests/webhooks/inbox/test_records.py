"""What is stored of an event: its conversation and its identity, and nothing of it in `repr`."""

import gc

import msgspec
import pytest
from rich.pretty import pretty_repr

from nexmo_dispatch_webhooks import Claims, Context, MessageStatus, parse_event
from nexmo_dispatch_webhooks.inbox.records import PendingEvent, make_record
from tests.webhooks.inbox.support import Make, frozen, in_workflow, new_record, put, request, status_bytes
from tests.webhooks.payloads import encode, status_body


def test_unreadable_bodies_wait_for_no_other_event() -> None:
    """Each has a lane of its own."""
    assert new_record(b"broken").lane != new_record(b"broken too").lane


def test_statuses_of_a_workflow_in_the_v1_format_are_one_conversation() -> None:
    """Contract 5.8: `workflow.id` says where they belong."""
    first, second = (
        new_record(encode({**status_body(message_uuid=uuid), "workflow": {"id": "w1"}})) for uuid in "ab"
    )
    assert first.lane == second.lane
    assert first.lane == new_record(in_workflow(3, "w1")).lane


def test_ids_with_nul_are_not_taken_for_one_another() -> None:
    """Their parts may not run together: the second would never be handled."""
    first = new_record(encode(status_body(message_uuid="a\0b", status="c")))
    second = new_record(encode(status_body(message_uuid="a", status="b\0c")))
    assert first.key != second.key


@pytest.mark.parametrize("body", [status_bytes(1), b"broken"])
def test_an_event_of_one_account_is_not_taken_for_one_of_another(body: bytes) -> None:
    """What A signs with B's message_uuid must not suppress B's event; of one account it is a repetition."""
    event = parse_event(body) if body.startswith(b"{") else None
    keys = [
        make_record(request(body), Context("", 0.0, claims), event).key
        for claims in (claims_of("a"), claims_of("b"), claims_of("a", jti="another"), None)
    ]

    assert keys[0] == keys[2]
    assert len(set(keys)) == 3


async def test_both_accounts_are_handled(make: Make) -> None:
    """Two accounts in one receiver, and one message_uuid: neither event is lost, each repetition is known."""
    inbox, seen = make(), []

    async def keep(event: MessageStatus, context: Context) -> None:
        seen.append(context.claims and context.claims.api_key)

    await inbox.start(frozen(keep))
    body = status_bytes(1)
    for api_key in ("a", "b", "a", "b"):
        await inbox.put(
            request(body), Context("", inbox.settings.clock(), claims_of(api_key)), parse_event(body)
        )
    await inbox.idle()

    assert sorted(str(api_key) for api_key in seen) == ["a", "b"]
    assert inbox.health().duplicates == 2


def claims_of(api_key: str, jti: str = "j") -> Claims:
    return Claims("Vonage", 1_000_000.0, jti, api_key)


def test_records_show_no_content() -> None:
    """Neither in `repr` nor in rich."""
    body = status_bytes(1, client_ref="secret words")
    record = make_record(request(body), Context(), parse_event(body))
    assert "secret" not in repr(record) + pretty_repr(record)


async def test_shown_records_show_no_content(make: Make) -> None:
    inbox = make()
    await inbox.start(frozen())
    await put(inbox, status_bytes(1, client_ref="secret words"))
    record = await inbox.show(1)
    assert "secret" not in repr(record) + pretty_repr(record)


def test_the_garbage_collector_visits_no_record() -> None:
    """Of a burst all records live until their commit, so each collection would visit them in vain."""
    record = new_record(status_bytes(1))
    pending = PendingEvent(1, record.lane, 0.0, event=record.event, context=record.context)
    assert not any(gc.is_tracked(part) for part in (record, record.context, pending, request(b"{}")))


def test_a_record_holds_only_the_claims_of_its_token() -> None:
    """A commit costs by the size of its records, and most tokens have five of ten claims (contract 5.9)."""
    claims = claims_of("a")
    stored = make_record(request(b"{}"), Context("", 0.0, claims), None).claims
    assert b"null" not in stored
    assert msgspec.json.decode(stored, type=Claims) == claims
