"""What is stored of an event: its conversation and its identity, and nothing of it in `repr`."""

from rich.pretty import pretty_repr

from nexmo_dispatch_webhooks import Context, parse_event
from nexmo_dispatch_webhooks.inbox.records import make_record
from tests.webhooks.inbox.support import Make, frozen, in_workflow, new_record, put, request, status_bytes
from tests.webhooks.payloads import encode, status_body


def test_bodies_that_nobody_can_read_wait_for_nobody() -> None:
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
