"""Promises of reading answers: every example has its class, any bytes give a value or one of our errors."""

import json

import pytest

from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.sansio import (
    Headers,
    Response,
    application_request,
    decipher_application,
    decipher_dispatch,
    decipher_nothing,
    decipher_page,
    decipher_response,
    decipher_token,
    dispatch_request,
    observed,
    token_request,
)
from tests.conftest import payload
from tests.support.answers import NOW, answer, error_of, exchange

SPENT = {"quota-limit": "100", "quota-used": "100"}

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
    assert error.message == f"POST /dispatch: {said}"


def test_the_error_needs_no_request() -> None:
    with pytest.raises(NotFoundError, match=r"^404; check the id"):
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
    assert "other" not in headers
    assert not headers.__contains__(1)
    assert headers.get("other") is None


def test_a_response_shows_no_body() -> None:
    assert repr(answer(200, b"secret")) == "Response(200, 6 bytes)"


@pytest.mark.parametrize("count", [0, 2])
def test_an_application_is_one(count: int) -> None:
    """Contract 4.3: it may come as a list of one; a list of two does not say which of them was asked for."""
    body = {"_embedded": {"applications": [{"id": str(n), "name": "n"} for n in range(count)]}}

    with pytest.raises(ProtocolError, match="the service answered 200 without an application") as caught:
        decipher_application(answer(200, body))

    assert caught.value.status == 200
    assert json.loads(caught.value.body) == body


def test_an_answer_without_a_list_of_applications_tells_what_it_was() -> None:
    with pytest.raises(ProtocolError, match="without a list of applications") as caught:
        decipher_page(answer(200, {"odd": True}))

    assert (caught.value.status, json.loads(caught.value.body)) == (200, {"odd": True})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b'{"error":{"message":"\\u0069nvalid_client"}}', AuthenticationError),
        (500, b'{"deep":[{"x":"Quota\\u0056iolation"}]}', RateLimitError),
        (500, b'{"error":{"message":"\\u0069nvalid"}}', TokenUnavailableError),
        (500, b'{"error":{"message":"\\u0069nvalid_client"}', TokenUnavailableError),
        (500, b'{"fault":{"detail":{"errorcode":"policies.ratelimit.Other"}}}', RateLimitError),
        (200, b"{}", TokenUnavailableError),
    ],
)
def test_an_error_of_the_token_endpoint_tells_all_that_is_known(
    status: int, body: bytes, kind: type[APIError]
) -> None:
    """Contract 2.2: words count with their escapes resolved, at any depth, in whole JSON only."""
    request = token_request("https://h/token", "id", "client-secret")

    with pytest.raises(kind) as caught:
        decipher_token(Response(status, Headers(), body), request=request)

    assert type(caught.value) is kind
    assert (caught.value.request, caught.value.status) == ("POST /token", status)
    assert (caught.value.phase, caught.value.outcome) == ("token", "not_sent")


@pytest.mark.parametrize("code", ["policies.ratelimit.Other", "x.QuotaViolation", "y.SpikeArrestViolation"])
def test_each_word_of_the_gateway_about_limits_counts_alone(code: str) -> None:
    """Contract 3.8, 9.18."""
    body = {"fault": {"faultstring": "Slow down", "detail": {"errorcode": code}}}

    assert type(error_of(answer(500, body))) is RateLimitError


def test_a_success_without_an_id_tells_which_call_it_was() -> None:
    """Contract 3.7: with its status, and as whole an answer as it was."""
    error = error_of(answer(202, b"odd"))

    assert type(error) is ProtocolError
    assert (error.request, error.status, error.body, error.phase) == (
        "POST /dispatch",
        202,
        b"odd",
        "response",
    )


def test_a_call_of_the_user_sees_the_response_before_it_is_decoded() -> None:
    """And the value is that of the decoder; without such a call the decoder is left as it is."""
    response, seen = answer(200, b"body"), list[Response]()

    assert observed(repr, None) is repr
    assert observed(lambda it: (it.body, len(seen)), seen.append)(response) == (b"body", 1)
    assert seen == [response]


def test_the_first_thousand_bytes_of_an_answer_without_sense_are_kept() -> None:
    """Enough to see what it was, too few to fill a log; also of a redirect."""
    body = b"x" * 2000

    lost, redirect = error_of(answer(202, body)), error_of(answer(302, body))
    with pytest.raises(ProtocolError) as application:
        decipher_application(answer(200, body))
    with pytest.raises(ProtocolError) as page:
        decipher_page(answer(200, body))

    for error in (lost, redirect, application.value, page.value):
        assert isinstance(error, ProtocolError)
        assert error.body == body[:1000]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"fault": {"faultstring": "Slow down", "detail": {"errorcode": "policies.ratelimit.X"}}}),
        (429, {}),
    ],
)
def test_a_refusal_without_its_request_is_classified_as_well(status: int, body: object) -> None:
    """Contract 3.8: what a request may have quoted is unknown, so the words of the gateway count."""
    with pytest.raises(RateLimitError, match=f"^{status}"):
        decipher_response(answer(status, body), decipher_nothing)


def test_only_a_rate_limit_waits_for_the_reset_of_a_quota() -> None:
    """Contract 1.4: every response tells the quota, and an error of the service may pass long before it."""
    headers = {"quota-reset-UTC": "2025-11-13 00:00:00", **SPENT}

    failed, limited = (error_of(answer(status, b"", headers), NOW) for status in (500, 429))

    assert (failed.retry_after, limited.retry_after) == (None, 3600.0)
    with pytest.raises(APIError) as refused:
        decipher_token(answer(401, b"", headers), now=NOW)
    with pytest.raises(APIError) as many:
        decipher_token(answer(429, b"", headers), now=NOW)
    assert (refused.value.retry_after, many.value.retry_after) == (None, 3600.0)


def test_a_token_is_what_fits_into_a_header_and_its_life_is_told_as_it_came() -> None:
    """Contract 2.1: a blank would end the token in the header line."""
    assert decipher_token(answer(200, {"access_token": "a.b-c", "expires_in": "3599"})) == ("a.b-c", "3599")
    for token in ("a b", "ä", "a\x7f"):
        with pytest.raises(TokenUnavailableError, match="200 without a usable access_token"):
            decipher_token(answer(200, {"access_token": token}))


def test_an_error_of_the_token_endpoint_quotes_no_secret() -> None:
    """Contract 2.2: an endpoint may repeat the form that it refuses."""
    request = token_request("https://h/token?a=&grant_type=other", "id", "client-secret")
    said = {"error": "invalid_client", "error_description": "client-secret is wrong"}

    with pytest.raises(AuthenticationError) as caught:
        decipher_token(answer(401, said), request=request)

    assert request.url == "https://h/token?a=&grant_type=client_credentials"
    assert "client-secret" not in str(caught.value)
    assert "no access token: 401" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({"count": 7}, (None, None, 7)),
        ({"total_items": 7, "count": 8}, (None, None, 7)),
        ({"page_size": 10}, (None, 10, None)),
        ({"page_size": 10, "page": 2, "count": 7}, (2, 10, 7)),
        ({"page_size": 10, "page_index": 1, "page": 2, "record_index": 3}, (1, 10, None)),
        ({"page_size": 10, "record_index": 3}, (3, 10, None)),
    ],
)
def test_a_page_has_its_numbers_under_any_of_their_names(
    fields: dict[str, int], numbers: tuple[int | None, ...]
) -> None:
    """Contract 4.3: one of them is enough to make an answer without applications an empty page."""
    page = decipher_page(answer(200, fields))

    assert (page.index, page.size, page.total) == numbers
    assert (page.applications, page.raw) == ((), fields)


def test_an_application_is_read_alone_and_as_a_list_of_one() -> None:
    """Contract 4.3."""
    fields = {"id": "a", "name": "n"}

    alone = decipher_application(answer(200, fields))
    listed = decipher_application(answer(200, {"_embedded": {"applications": [fields]}}))
    page = decipher_page(answer(200, {"_embedded": {"applications": [fields]}}))

    assert (alone.id, alone.name) == ("a", "n")
    assert alone == listed
    assert page.applications == (alone,)
