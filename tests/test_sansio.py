"""Promises of reading answers: every example has its class, any bytes give a value or one of our errors."""

import pytest

from nexmo_dispatch_async.exceptions import NotFoundError, ProtocolError
from nexmo_dispatch_async.sansio import (
    Headers,
    application_request,
    decipher_dispatch,
    decipher_nothing,
    decipher_response,
    dispatch_request,
    retry_after,
)
from tests.conftest import payload
from tests.support.answers import NOW, answer, error_of, exchange

# --- when to come back ----------------------------------------------------------------------------

SPENT = {"quota-limit": "100", "quota-used": "100"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 12 Nov 2025 23:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 12 Nov 2025 22:00:30 GMT"}, 0.0),
        ({"Retry-After": "Wed, 12 Nov 2025 23:00:30 GMT", "Date": "Wed, 12 Nov 2025 23:00:20 GMT"}, 10.0),
        ({"Retry-After": "5", "quota-reset-UTC": "2025-11-13 00:00:00", **SPENT}, 5.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13T00:00:00Z", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00 UTC", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "1762992000", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "1762992000000", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00"}, 3600.0),
        ({"quota-reset-UTC": "12", **SPENT}, None),
        ({"quota-reset-UTC": "tomorrow", **SPENT}, None),
        ({"quota-reset-UTC": "2025-11-13 00:00:00", "quota-limit": "100", "quota-used": "7"}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    """Contract 1.4: the format of the reset is not specified, and other limits hit in mid-quota too."""
    assert retry_after(Headers(headers), now=NOW) == seconds


def test_a_date_means_nothing_without_a_clock() -> None:
    assert retry_after(Headers({"Retry-After": "Wed, 12 Nov 2025 23:00:30 GMT"})) is None


# --- successes ------------------------------------------------------------------------------------


def test_the_documented_success_is_read() -> None:
    """Contract 3.7."""
    response = exchange("responses/dispatch_202.json")

    dispatch = decipher_response(response, decipher_dispatch)

    assert dispatch.dispatch_uuid == payload("responses/dispatch_202.json")["body"]["dispatch_uuid"]


@pytest.mark.parametrize(
    ("status", "body", "uuid"),
    [
        (200, b'{"dispatch_uuid":"a","more":{"b":[1]}}', "a"),
        (202, b'\xef\xbb\xbf{"dispatch_uuid":"a"}', "a"),
        (202, b'{"dispatch_uuid":" a "}', "a"),
        (202, b'{"dispatch_uuid":12}', "12"),
        (
            299,
            b'{"dispatch_uuid":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}',
            "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
        ),
    ],
)
def test_success_is_read_generously(status: int, body: bytes, uuid: str) -> None:
    """Contract 3.7, 5.11: any 2xx, extra members, a mark at the beginning; the id is opaque (9.25)."""
    assert decipher_response(answer(status, body), decipher_dispatch).dispatch_uuid == uuid


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b'{"dispatch_uuid":null}', b'{"dispatch_uuid":""}', b'"a"', b"<html>"]
)
def test_success_without_id_carries_its_body(body: bytes) -> None:
    """Contract 3.7: the messages may have been sent."""
    error = error_of(answer(202, body))

    assert type(error) is ProtocolError
    assert error.body == body
    assert error.status == 202
    assert error.request == "POST /dispatch"
    said = "the service answered 202 without a dispatch_uuid: the workflow may be under way"
    assert str(error) == f"POST /dispatch: {said}"


def test_the_error_needs_no_request() -> None:
    with pytest.raises(NotFoundError, match=r"^404$"):
        decipher_response(answer(404), decipher_nothing)
    with pytest.raises(ProtocolError) as caught:
        decipher_response(answer(202), decipher_dispatch)
    assert caught.value.request == ""


# --- requests -------------------------------------------------------------------------------------


def test_the_dispatch_request_is_a_post_of_the_body() -> None:
    request = dispatch_request("https://h/base", {"ApplicationId": "a"}, b"{}")

    assert (request.method, request.url, request.body) == ("POST", "https://h/base/dispatch", b"{}")
    assert repr(request) == "Request('POST /dispatch')"


@pytest.mark.parametrize(
    ("encoding", "url", "body", "content_type"),
    [
        ("json", "https://h/applications/a%2Fb", b'{"name":"x y"}', "application/json"),
        ("form", "https://h/applications/a%2Fb", b"name=x+y", "application/x-www-form-urlencoded"),
        ("query", "https://h/applications/a%2Fb?name=x+y", None, None),
    ],
)
def test_fields_travel_as_told(encoding: str, url: str, body: bytes | None, content_type: str | None) -> None:
    """Contract 9.8."""
    request = application_request(
        "PUT", "https://h", "/applications", "a/b", fields={"name": "x y"}, encoding=encoding
    )

    assert (request.url, request.body, request.headers.get("Content-Type")) == (url, body, content_type)
    assert request.summary == "PUT /applications/{id}"


def test_headers_ignore_case() -> None:
    headers = Headers([("Retry-After", "1")])

    assert headers["retry-AFTER"] == headers.get("RETRY-after") == "1"
    assert "Retry-after" in headers
    assert not headers.__contains__(1)
    assert headers.get("other") is None


def test_a_response_shows_no_body() -> None:
    assert repr(answer(200, b"secret")) == "Response(200, 6 bytes)"
