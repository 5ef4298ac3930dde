"""Promises of reading errors: every example has its class, code and phase; none shows what was sent."""

import html
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, sms
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotAcceptedError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RefusedError,
)
from nexmo_dispatch_async.models.problems import InvalidParameter, Problem, parse_problem
from nexmo_dispatch_async.redaction import mask
from nexmo_dispatch_async.sansio import (
    Request,
    application_request,
    decipher_application,
    decipher_dispatch,
    decipher_nothing,
    decipher_page,
    decipher_response,
)
from nexmo_dispatch_core.lenient import text_or_empty
from tests.conftest import payload
from tests.support.answers import NOW, REQUEST, answer, error_of, exchange
from tests.support.misbehaving import Connection, RawServer, Received, reply
from tests.support.paths import PAYLOADS

MEANING: dict[str, tuple[type[APIError], str, float | None]] = {
    "kpn_400_flat_envelope": (BadRequestError, "", None),
    "kpn_401_error_title": (AuthenticationError, "UNAUTHORIZED", None),
    "kpn_401_expired_token_fault": (
        AuthenticationError,
        "keymanagement.service.access_token_expired",
        None,
    ),
    "kpn_401_invalid_token_fault": (
        AuthenticationError,
        "keymanagement.service.invalid_access_token",
        None,
    ),
    "kpn_401_no_product_match": (
        PermissionDeniedError,
        "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound",
        None,
    ),
    "kpn_403_forbidden_nested": (PermissionDeniedError, "", None),
    "kpn_404_nested": (NotFoundError, "", None),
    "kpn_404_unknown_path": (NotFoundError, "messaging.adaptors.http.flow.ApplicationNotFound", None),
    "kpn_429_quota": (RateLimitError, "policies.ratelimit.QuotaViolation", 3600.0),
    "kpn_429_spike_arrest": (RateLimitError, "policies.ratelimit.SpikeArrestViolation", None),
    "kpn_500_error_response": (OutcomeUnknownError, "500", None),
    "kpn_500_invalid_token_envelope": (AuthenticationError, "", None),
    "kpn_500_invalid_token_fault": (AuthenticationError, "oauth.v2.InvalidAccessToken", None),
    "kpn_500_quota_fault": (RateLimitError, "policies.ratelimit.QuotaViolation", None),
    "kpn_503_flat": (OutcomeUnknownError, "", None),
    "vonage_400_invalid_params_array": (BadRequestError, "1020", None),
    "vonage_400_invalid_params_object": (BadRequestError, "InvalidParams", None),
    "vonage_401_unauthorized": (AuthenticationError, "unauthorized", None),
    "vonage_402_low_balance": (PaymentRequiredError, "low-balance", None),
    "vonage_404_not_found": (NotFoundError, "not-found", None),
    "vonage_415_content_type": (RefusedError, "content-type-header", None),
    "vonage_429_throttled": (RateLimitError, "throttled", 2.0),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in (PAYLOADS / "errors").glob("*.json")))
def test_every_error_body_has_its_class(name: str) -> None:
    kind, code, asked = MEANING[name]
    response = exchange(f"errors/{name}.json")

    error = error_of(response, NOW)

    assert type(error) is kind
    assert error.status == response.status
    assert error.request == "POST /dispatch"
    assert error.retry_after == asked
    assert error.details is not None
    assert error.details.code == code
    assert error.details.shape != "text"
    assert str(error).startswith(f"POST /dispatch: {response.status} ")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            payload("errors/vonage_400_invalid_params_array.json")["body"],
            "Invalid params [1020] (workflow[0].failover.expiry_time, workflow[1].to.number)",
        ),
        (
            payload("errors/vonage_400_invalid_params_object.json")["body"],
            "Invalid Parameters [InvalidParams] (from)",
        ),
        ({"type": "x", "title": "Bad", "invalid_parameters": [{"name": "447700900123 Anna"}]}, "Bad [x]"),
        (
            {"type": "x#Anna Jansen", "title": "Anna Jansen is no name", "detail": "Anna Jansen"},
            "… is no name",
        ),
        ({"type": "x", "title": "Anna Jansen", "detail": "d"}, "[x]"),
        (
            {"type": "x", "title": "t", "invalid_parameters": {"name": "message.content.text"}},
            "t [x] (message.content.text)",
        ),
        (b"<html>", ""),
    ],
)
def test_a_refusal_has_a_reason_without_a_value(body: object, reason: str) -> None:
    """Title, code and names of parameters are kept; a value of the request in their places is not."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    values = b'{"text": "Anna Jansen, your message.", "name": ["Anna Jansen"]}'
    sent = Request("POST", "https://h.example/dispatch", {}, values, "/dispatch")

    with pytest.raises(BadRequestError) as caught:
        decipher_response(answer(400, content), decipher_nothing, request=sent)

    assert caught.value.reason == reason
    assert pickle.loads(pickle.dumps(caught.value)).reason == reason  # noqa: S301 - its own


def test_every_trace_id_is_read() -> None:
    """KPN calls it transactionId, Vonage instance."""
    for path in (PAYLOADS / "errors").glob("*.json"):
        body: dict[str, Any] = payload(f"errors/{path.name}")["body"]
        flat = body.get("error", body)
        details = error_of(exchange(f"errors/{path.name}")).details
        assert details is not None
        assert details.transaction_id == flat.get("transactionId", "")
        assert details.instance == flat.get("instance", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "a", "reason": "b"}, (("a", "b"),)),
        ([{"name": "a", "reason": "b"}, {"name": 1, "reason": None}], (("a", "b"), ("1", ""))),
        (["a", "b"], (("", "a"), ("", "b"))),
        ("a", (("", "a"),)),
        ([], ()),
        ([None, {}, True], ()),
    ],
)
def test_invalid_parameters_come_in_any_form(value: object, expected: tuple[tuple[str, str], ...]) -> None:
    """Contract 9.7: object, array, absent, null, and entries that are strings."""
    problem = parse_problem(json.dumps({"title": "x", "type": "#y", "invalid_parameters": value}).encode())

    assert problem.invalid_parameters == tuple(InvalidParameter(name, reason) for name, reason in expected)


@pytest.mark.parametrize(
    ("body", "shape", "code", "detail"),
    [
        (
            b'{"fault":{"faultstring":"f","detail":{"errorcode":"c"}},"error":{"message":"m"}}',
            "fault",
            "c",
            "f",
        ),
        (b'{"error":{"message":"m"},"ErrorCode":"c"}', "error", "", "m"),
        (b'{"errorResponse":{"code":12,"message":"m"}}', "errorResponse", "12", "m"),
        (b'{"ErrorCode":"c","Error":"e"}', "ErrorCode", "c", "e"),
        (b'{"type":"https://h/api-errors#low-balance","detail":"d"}', "problem", "low-balance", "d"),
        (b'{"type":"https://h/api-errors","title":"t","detail":"d"}', "problem", "", "d"),
        (b'{"title":"Unauthorised","detail":"Invalid Token"}', "problem", "", "Invalid Token"),
        (b'{"message":"m"}', "envelope", "", "m"),
        (b'{"error":"invalid_request","error_description":"d"}', "error", "invalid_request", "d"),
        (b'{"fault":null,"error":[]}', "text", "", ""),
        (b"<fault><faultstring>f</faultstring></fault>", "text", "", ""),
        (b'\xef\xbb\xbf{"message":"m"}', "envelope", "", "m"),
        (b"", "text", "", ""),
    ],
)
def test_shapes_are_tried_in_the_order_of_the_contract(
    body: bytes, shape: str, code: str, detail: str
) -> None:
    problem = parse_problem(body)

    assert (problem.shape, problem.code, problem.detail) == (shape, code, detail)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (301, b"", ProtocolError),
        (303, b"", ProtocolError),
        (307, b"", RefusedError),
        (308, b"", RefusedError),
        (400, b"", BadRequestError),
        (402, b"", PaymentRequiredError),
        (403, b"", PermissionDeniedError),
        (403, {"type": "x#low-balance", "title": "Low balance"}, PaymentRequiredError),
        (403, b"<html>", PermissionDeniedError),
        (400, {"type": "x", "title": "t", "invalid_parameters": [{"name": "balance"}]}, PaymentRequiredError),
        (400, {"invalid_parameters": {"name": "balance", "reason": "r"}}, PaymentRequiredError),
        (400, {"invalid_parameters": [{"name": "to"}, {"name": "balance"}]}, PaymentRequiredError),
        (400, {"invalid_parameters": [{"name": "workflow.0.balance"}]}, BadRequestError),
        (400, {"invalid_parameters": [{"name": "to", "reason": "balance"}]}, BadRequestError),
        (500, {"invalid_parameters": [{"name": "balance"}]}, OutcomeUnknownError),
        (404, {"invalid_parameters": [{"name": "balance"}]}, NotFoundError),
        (405, b"", RefusedError),
        (408, b"", NotAcceptedError),
        (408, {"type": "x#timeout", "title": "Request Timeout"}, NotAcceptedError),
        (421, b"<html>", NotAcceptedError),
        (425, b"", NotAcceptedError),
        (409, b"", ConflictError),
        (412, b"", RefusedError),
        (422, {"type": "x#1150", "title": "t"}, BadRequestError),
        (429, b"<html>", RateLimitError),
        (451, b"", RefusedError),
        (500, b"", OutcomeUnknownError),
        (502, b"<html>", OutcomeUnknownError),
        (504, b"upstream time-out", OutcomeUnknownError),
        (500, b"<fault>oauth.v2.AccessTokenExpired</fault>", AuthenticationError),
        (500, {"fault": {"faultstring": "Access Token expired"}}, AuthenticationError),
        (500, {"transactionId": "1", "message": "Access  Token\nexpired"}, AuthenticationError),
        (
            500,
            b'{"error":{"transactionId":1,"message":"invalid\\u005faccess\\u005ftoken"}}',
            AuthenticationError,
        ),
        (500, b'{"error":{"message":"invalid\\u005faccess\\u005ftoken"}', OutcomeUnknownError),
        (403, {"error": {"transactionId": "1", "message": "access_token_not_approved"}}, AuthenticationError),
        (
            500,
            {"error": {"transactionId": "1", "message": "InvalidAPICallAsNoApiProductMatchFound"}},
            PermissionDeniedError,
        ),
        (503, b"<fault>policies.ratelimit.SpikeArrestViolation</fault>", RateLimitError),
        (600, b"", ProtocolError),
    ],
)
def test_the_body_decides_before_the_status(status: int, body: object, kind: type[APIError]) -> None:
    """Contract 2.3, 3.8, 9.17, 9.18."""
    assert type(error_of(answer(status, body))) is kind


@pytest.mark.parametrize(
    "body",
    [
        {"x": ["deep", {"y": "Access Token expired"}]},
        {"type": "x#internal", "title": "Internal Error", "detail": "WhatsApp says: access token expired"},
        {"type": "x#1370", "title": "Invalid access token", "detail": "Link the page again"},
        {"error": {"message": "Invalid access token", "type": "OAuthException", "code": 190}},
        {"error": "server_error", "error_description": "access token expired"},
        {"message": "access token expired"},
        {
            "type": "x#e",
            "title": "t",
            "invalid_parameters": [{"name": "a", "reason": "invalid access token"}],
        },
        b"<html>Access Token expired</html>",
        b"not a <fault>Access Token expired</fault>",
        "policies.ratelimit.QuotaViolation",
    ],
)
def test_only_what_the_gateway_says_proves_that_nothing_happened(body: object) -> None:
    """Anything else may come from behind it, and from after the messages were sent."""
    error = error_of(answer(500, body))

    assert type(error) is OutcomeUnknownError
    assert error.outcome == "unknown"


WORDS = [
    "Your access token expired, log in again",
    "about POLICIES.RateLimit",
    "Invalid\naccess  token? Call us",
    "ns:access_token_expired",
    "no apiproduct match",
]
ECHOES: list[Callable[[str], object]] = [
    lambda text: {"type": "https://x#internal", "title": f"Failed: {text}", "detail": text},
    lambda text: {"error": {"transactionId": "1", "message": f"failed after accept: {text}"}},
    lambda text: {"transactionId": "1", "message": text.upper()},
    lambda text: {
        "fault": {"faultstring": html.escape(" ".join(text.split())), "detail": {"errorcode": "x"}}
    },
    lambda text: {"errorResponse": {"code": "500", "message": text}},
    lambda text: {"ErrorCode": text, "Error": text},
    lambda text: f"<fault><faultstring>{text}</faultstring></fault>".encode(),
]


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize(("status", "kind"), [(500, OutcomeUnknownError), (400, BadRequestError)])
def test_a_text_that_is_repeated_does_not_send_the_message_twice(
    text: str, echo: Callable[[str], object], status: int, kind: type[APIError]
) -> None:
    """A refusal is told by words, and a text that holds such words may come back in the answer."""
    workflow = {"workflow": [{"message": {"content": {"type": "template", "template": {"name": text}}}}]}
    request = Request("POST", "https://h/dispatch", {}, json.dumps(workflow).encode(), "/dispatch")

    with pytest.raises(APIError) as caught:
        decipher_response(answer(status, echo(text)), decipher_dispatch, request=request)

    assert type(caught.value) is kind


def test_a_code_of_the_gateway_counts_beside_a_text_of_the_same_meaning() -> None:
    """Each word for itself: the text says that a token expired, and so does the gateway, in its own word."""
    request = Request("POST", "https://h/dispatch", {}, b'{"text":"Access token expired"}', "/dispatch")

    with pytest.raises(AuthenticationError):
        decipher_response(
            exchange("errors/kpn_401_expired_token_fault.json"), decipher_dispatch, request=request
        )
    fault = {
        "fault": {"faultstring": "Access Token expired", "detail": {"errorcode": "a.access_token_expired"}}
    }
    with pytest.raises(AuthenticationError):
        decipher_response(answer(500, fault), decipher_dispatch, request=request)


@pytest.mark.parametrize("encoding", ["form", "query"])
def test_fields_of_an_application_are_not_taken_for_a_refusal_either(encoding: str) -> None:
    fields = {"name": "Access token expired"}
    request = application_request("PUT", "https://h", "/applications", "1", fields=fields, encoding=encoding)

    with pytest.raises(OutcomeUnknownError):
        decipher_response(
            answer(500, {"transactionId": "1", "message": fields["name"]}),
            decipher_application,
            request=request,
        )


@pytest.mark.parametrize("status", [400, 500])
async def test_an_echo_is_posted_once(status: int) -> None:
    """Over a socket, with credentials that could fetch another token."""

    async def echo(received: Received, connection: Connection) -> None:
        text = received.json["workflow"][0]["message"]["content"]["text"]
        await connection.write(reply(status, {"error": {"transactionId": "1", "message": f"failed: {text}"}}))

    workflow = Workflow.failover(
        sms.text(
            "Your access token expired; about policies.ratelimit", from_="31647356950", to="447700900123"
        )
    )
    async with RawServer(echo) as server:
        auth = KpnOAuth("a", "b", server.token_url)
        async with DispatchClient(auth=auth, application_id="app", base_url=server.base_url) as client:
            with pytest.raises(BadRequestError if status == 400 else OutcomeUnknownError):
                await client.send(workflow)

        assert (server.posts, len(server.token_requests)) == (1, 1)


def test_messages_are_one_line_without_numbers_of_people() -> None:
    body = {
        "type": "x#InvalidParams",
        "title": "Invalid",
        "detail": "to 447700900123\nis +31612345678",
        "invalid_parameters": {"name": "to.number", "reason": "447700900123 is barred"},
        "instance": "797a8f199c45014ab7b08bfe9cc1c12c",
    }

    error = error_of(answer(400, body))

    assert error.message == (
        "POST /dispatch: 400 Invalid: to …23 is …78 [InvalidParams] (to.number: …23 is barred), "
        "trace 797a8f199c45014ab7b08bfe9cc1c12c"
    )
    assert "447700900123" not in repr(error) + repr(error.details)
    assert error.details is not None
    assert "447700900123" in error.details.detail


def test_invalid_parameters_are_masked_when_shown() -> None:
    parameter = InvalidParameter("to.number", "447700900123 is barred")

    assert repr(parameter) == "InvalidParameter('to.number: …23 is barred')"
    assert str(InvalidParameter("", "no name")) == "no name"


def test_numbers_beyond_what_python_converts_are_nothing() -> None:
    assert text_or_empty(10**5000) == ""
    assert text_or_empty(10**30) == "1" + "0" * 30


def test_masking_leaves_ids_alone() -> None:
    text = "0b9e6d6e-8a55-4c2e-9d7e-123456789012 code 1340 at 447700900123"

    assert mask(text) == "0b9e6d6e-8a55-4c2e-9d7e-123456789012 code 1340 at …23"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(), ""),
        (Problem(code="c"), "c"),
        (Problem(title="t", detail="t"), "t"),
        (Problem(code="c", detail="has c inside"), "has c inside"),
        (Problem(title="t", transaction_id="1"), "t, trace 1"),
    ],
)
def test_a_problem_says_everything_once(problem: Problem, text: str) -> None:
    assert str(problem) == text


HARD = [
    b"[" * 1_000_000,
    b'{"a":' * 100_000,
    b'{"error":NaN}',
    b'{"type":"\\ud800#\\udfff","title":"\\ud83d"}',
    b'{"message":"a","message":"b","fault":[],"fault":{}}',
    b'{"fault":{"detail":{"errorcode":' + b"7" * 400 + b'},"faultstring":1e999}}',
    b'{"errorResponse":{"code":' + b"7" * 5000 + b"}}",
    b'{"type":1,"title":2.5,"invalid_parameters":[[[]],{"name":{"a":1}}]}',
    b"\xff\xfe\x00",
]


@given(body=st.binary(max_size=200), status=st.integers(100, 999), header=st.text(max_size=30))
@example(body=HARD[0], status=500, header="x")
@example(body=HARD[3], status=400, header="\u0661")
@example(body=HARD[5], status=429, header="9" * 400)
@example(body=HARD[6], status=202, header="nan")
def test_any_bytes_give_a_value_or_our_error(body: bytes, status: int, header: str) -> None:
    headers = {"Retry-After": header, "quota-reset-UTC": header, "Date": header, "quota-used": header}

    for decode in (decipher_dispatch, decipher_application, decipher_page, decipher_nothing):
        try:
            decipher_response(answer(status, body, headers), decode, request=REQUEST)
        except APIError as error:
            repr(error)


@pytest.mark.parametrize("body", HARD)
@pytest.mark.parametrize("status", [202, 400, 500])
def test_hard_bytes_give_our_error(body: bytes, status: int) -> None:
    assert str(error_of(answer(status, body))).startswith(("POST /dispatch", "the service answered"))


MEMBERS = (
    *("fault", "error", "errorResponse", "ErrorCode", "type", "title", "detail", "name", "message", "id"),
    *("invalid_parameters", "_embedded", "applications", "messages", "webhooks", "capabilities", "_links"),
    *("dispatch_uuid", "count", "page_size", "keys"),
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(
                st.sampled_from(MEMBERS),
                children,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_gives_a_value_or_our_error(value: object) -> None:
    body = json.dumps(value).encode()

    for decode in (decipher_dispatch, decipher_application, decipher_page):
        for status in (200, 400):
            try:
                decipher_response(answer(status, body), decode)
            except APIError as error:
                repr(error)
