"""Applications as the account keeps them (contract 4)."""

import json
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.violations import InvalidBody

EXAMPLES = Path(__file__).parents[2] / "data" / "payloads" / "applications"
FIELDS = {
    "name": "Parcel notices",
    "type": "messages",
    "status_url": "https://hooks.example.com/status",
    "inbound_url": "https://hooks.example.com/inbound",
}


@pytest.fixture
def applications() -> SimulatedApplications:
    return SimulatedApplications(SeededRandom(0))


def names(error: InvalidBody) -> list[str]:
    return [violation.name for violation in error.violations]


def test_a_created_application_shows_its_urls_in_the_v1_shape(applications: SimulatedApplications) -> None:
    """Contract 4.3."""
    wanted = json.loads((EXAMPLES / "create_response_v1.json").read_bytes())["body"]
    request = json.loads((EXAMPLES / "create_request_flat.json").read_bytes())

    body = applications.create(request).body(private_key="secret")

    assert body.keys() == wanted.keys()
    assert body["messages"] == wanted["messages"]
    assert body["keys"].keys() == wanted["keys"].keys()  # type: ignore[attr-defined]  # an object of JSON


def test_a_private_key_is_shown_only_when_asked(applications: SimulatedApplications) -> None:
    assert "private_key" not in str(applications.create(FIELDS).body())


def test_message_in_the_singular_means_messages(applications: SimulatedApplications) -> None:
    """Contract 4.1: KPN's voice definition writes it so."""
    assert applications.create({**FIELDS, "type": "message"}).type == "messages"


def test_a_voice_application_has_other_urls(applications: SimulatedApplications) -> None:
    body = applications.create(
        {"name": "IVR", "type": "voice", "answer_url": "http://a/", "event_url": "http://e/"}
    ).body()

    assert body["voice"] == {
        "webhooks": [
            {"endpoint_type": "answer_url", "endpoint": "http://a/", "http_method": "GET"},
            {"endpoint_type": "event_url", "endpoint": "http://e/", "http_method": "POST"},
        ]
    }
    assert "messages" not in body


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "fax"}, ["type"]),
        ({"name": " "}, ["name"]),
        ({"name": None, "status_url": None}, ["name", "status_url"]),
        ({"status_url": "ftp://x/", "inbound_url": "hooks"}, ["status_url", "inbound_url"]),
        ({"status_url": 3}, ["status_url"]),
        ({"status_url": "http://["}, ["status_url"]),
        ({"status_url": "http://x:99999/"}, ["status_url"]),
        ({"status_method": "PATCH"}, ["status_method"]),
    ],
)
def test_what_is_wrong_is_named(
    applications: SimulatedApplications, change: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(InvalidBody) as caught:
        applications.create({**FIELDS, **change})

    assert names(caught.value) == expected
    assert len(applications) == 0


def test_an_update_changes_what_it_names(applications: SimulatedApplications) -> None:
    """Contract 4.1: the documented PUT names voice fields, on a messages application."""
    application = applications.create(FIELDS)
    for request in ("update_request_messages_fields", "update_request_seed_fields"):
        applications.update(application, json.loads((EXAMPLES / f"{request}.json").read_bytes()))

    assert application.name == "Parcel notices 2"
    assert application.status_url == "https://hooks.example.com/dispatch/status2"
    assert application.urls["answer"] == "https://hooks.example.com/voice/answer"
    assert application.methods["answer"] == "GET"


def test_a_wrong_update_changes_nothing(applications: SimulatedApplications) -> None:
    """Contract 4.2: the type cannot be changed."""
    application = applications.create(FIELDS)

    with pytest.raises(InvalidBody) as caught:
        applications.update(application, {"type": "voice", "name": "", "status_url": "http://new/"})

    assert names(caught.value) == ["type", "name"]
    assert application.status_url == FIELDS["status_url"]
    applications.update(application, {"name": FIELDS["name"], "type": "messages", "status_method": "GET"})
    assert application.name == FIELDS["name"]


def test_an_update_names_the_application_and_its_type(applications: SimulatedApplications) -> None:
    """Contract 4.3: the API asks for both; what passes without them here would be refused there."""
    application = applications.create(FIELDS)

    with pytest.raises(InvalidBody) as caught:
        applications.update(application, {"status_method": "GET"})
    assert names(caught.value) == ["name", "type"]
    assert application.methods.get("status", "POST") == "POST"

    applications.update(application, {"status_method": "GET"}, partial=True)
    assert application.methods["status"] == "GET"


def test_ids_compare_without_case(applications: SimulatedApplications) -> None:
    """Contract 5.11."""
    application = applications.create(FIELDS)

    assert applications.get(f" {application.id.upper()} ") is application
    applications.delete(application)
    applications.delete(application)
    assert applications.get(application.id) is None


def test_paging(applications: SimulatedApplications) -> None:
    """Contract 4.3: the links say where to go on."""
    for number in range(5):
        applications.add(f"number {number}")

    middle: Any = applications.page("1", "2")

    assert [a["name"] for a in middle["_embedded"]["applications"]] == ["number 2", "number 3"]
    assert (middle["count"], middle["page_size"], middle["page_index"]) == (5, 2, 1)
    assert {name: link["href"][-1] for name, link in middle["_links"].items()} == {
        "self": "1",
        "first": "0",
        "last": "2",
        "next": "2",
        "prev": "0",
    }
    everything: Any = applications.page(None, None)
    assert everything["page_size"] == 10
    assert everything["_links"].keys() == {"self", "first", "last"}


@pytest.mark.parametrize(
    ("index", "size", "expected"),
    [
        ("-1", "0", ["page_index", "page_size"]),
        ("x", "101", ["page_index", "page_size"]),
        (None, "²", ["page_size"]),
    ],
)
def test_a_page_out_of_range_is_refused(
    applications: SimulatedApplications, index: str | None, size: str | None, expected: list[str]
) -> None:
    """Contract 4.4."""
    with pytest.raises(InvalidBody) as caught:
        applications.page(index, size)

    assert names(caught.value) == expected


def test_an_application_may_have_no_urls() -> None:
    application = SimulatedApplication("1", "quiet", "messages")

    assert (application.status_url, application.inbound_url) == ("", "")
    assert application.body().keys() == {"id", "name", "keys", "_links"}
