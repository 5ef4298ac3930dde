"""What may be repeated, and what an exception of the session means and shows (contract 3.8)."""

import ssl

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    CertificateError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitError,
)
from nexmo_dispatch_async.models.problems import parse_problem
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport.body import Body, Phase, failure_of, may_repeat, without_token
from nexmo_dispatch_async.transport.causes import presentable
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import (
    ACCEPTED,
    Handler,
    RawServer,
    answering,
    close_after_body,
    hang,
    reply,
    reset_after_body,
)

POST = Request("POST", "https://h/dispatch", {}, b"{}", "/dispatch")
GET = Request("GET", "https://h/applications", {}, None, "/applications")
EAGER = RetryPolicy(unavailable=True)

UNKNOWN: dict[str, Handler] = {
    "500": answering(reply(500)),
    "502": answering(reply(502)),
    "504": answering(reply(504)),
    "no answer in time": hang,
    "closed after the body": close_after_body,
    "reset after the body": reset_after_body,
    "half an answer": answering(reply(202, ACCEPTED)[:-5] + b"\r\n\r\n"),
    "503 in a success": answering(reply(202, {"status": 503})),
}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_only_a_503_is_repeated_by_who_asked_for_that(workflow: Workflow, name: str) -> None:
    """`RetryPolicy.unavailable` speaks of 503 alone: after any other unknown outcome there is one POST."""
    async with (
        RawServer(UNKNOWN[name]) as server,
        client_of(server, retry=EAGER, timeout=Timeout(connect=5, total=0.2)) as client,
    ):
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.send(workflow)

    assert server.posts == 1
    assert caught.value.attempts == 1


def unknown(status: int | None) -> OutcomeUnknownError:
    return OutcomeUnknownError("x", request="POST /dispatch", status=status, phase="wait")


@pytest.mark.parametrize(
    ("error", "post", "eager", "get"),
    [
        (APIConnectionError("x", request="", phase="connect"), True, True, True),
        (RateLimitError("x", request="", status=429), True, True, True),
        (CertificateError("x", request="", phase="connect"), False, False, False),
        (BadRequestError("x", request="", status=400), False, False, False),
        (unknown(None), False, False, True),
        (unknown(500), False, False, True),
        (unknown(503), False, True, True),
        (ProtocolError("x", status=None), False, False, True),
        (ProtocolError("x", status=200), False, False, False),
    ],
)
def test_what_may_be_repeated(error: APIError, post: bool, eager: bool, get: bool) -> None:
    """A POST that left only when the caller asked for it and the answer was 503; reading does no harm."""
    policy = RetryPolicy()

    found = may_repeat(error, POST, policy), may_repeat(error, POST, EAGER), may_repeat(error, GET, policy)

    assert found == (post, eager, get)


# --- what an exception of the session means, and what of it is shown ---------------------------------


def body_in(phase: Phase) -> Body:
    body = Body(b"{}")
    body.phase = phase
    return body


TIMEOUT = TimeoutError()


@pytest.mark.parametrize(
    ("error", "phase", "answering", "kind", "reached"),
    [
        (TIMEOUT, Phase.PREPARED, False, APITimeoutError, "connect"),
        (TIMEOUT, Phase.STALE, False, APITimeoutError, "write"),
        (aiohttp.ConnectionTimeoutError(), Phase.UNSEEN, False, APITimeoutError, "connect"),
        (OSError("x"), Phase.PREPARED, False, APIConnectionError, "connect"),
        (aiohttp.InvalidURL("x"), Phase.LEFT, False, APIConnectionError, "connect"),
        (ssl.SSLCertVerificationError("x"), Phase.PREPARED, False, CertificateError, "connect"),
        (TIMEOUT, Phase.LEFT, False, OutcomeUnknownError, "wait"),
        (TIMEOUT, Phase.LEFT, True, OutcomeUnknownError, "read"),
        (aiohttp.ClientPayloadError("x"), Phase.LEFT, True, ProtocolError, "read"),
        (OSError("x"), Phase.LEFT, False, OutcomeUnknownError, "wait"),
        (OSError("x"), Phase.UNSEEN, False, OutcomeUnknownError, "wait"),
        (ValueError("x"), Phase.PREPARED, False, APIConnectionError, "connect"),
        (RuntimeError("x"), Phase.LEFT, False, OutcomeUnknownError, "wait"),
    ],
)
def test_what_an_exception_means(
    error: Exception, phase: Phase, answering: bool, kind: type[APIError], reached: str
) -> None:
    """By what left before it; each of our errors names its request and how far it got."""
    failure = failure_of(POST, body_in(phase), error, answering=answering)

    assert type(failure) is kind
    assert isinstance(failure, APIError)
    assert (failure.request, failure.phase) == ("POST /dispatch", reached)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (RuntimeError("Session is closed"), "Session is closed"),
        (RuntimeError("Task <Task pending name='Task-1'> got Future"), "RuntimeError"),
        (OSError("a < b"), "a < b"),
        (OSError("https://h/x?key=1"), "OSError"),
        (OSError("no route to +31617185666"), "no route to …66"),
        (RuntimeError("see https://h/x?key=1"), "RuntimeError"),
    ],
)
def test_a_reason_is_shown_unless_it_names_an_address_or_a_task(error: Exception, shown: str) -> None:
    failure = failure_of(POST, body_in(Phase.PREPARED), error)

    assert str(failure).endswith(f": {shown}")


def caused(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


CLEAN, ADDRESS = OSError("refused"), OSError("https://h/x?key=1")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (CLEAN, CLEAN),
        (caused(ValueError("http://h/ is odd"), CLEAN), CLEAN),
        (caused(ValueError("http://h/ is odd"), ADDRESS), None),
        (caused(ValueError("http://h/ is odd"), None), None),
        (caused(ValueError("http://h/ is odd"), KeyboardInterrupt()), None),
        (ADDRESS, None),
    ],
)
def test_a_cause_that_shows_an_address_is_left_out(error: Exception, cause: Exception | None) -> None:
    """A traceback shows causes: the one that is clean stands in, or there is none."""
    assert presentable(error) is cause


def test_a_cause_that_holds_the_headers_is_left_out() -> None:
    """An error about an answer holds the request with its token: what is behind it stands in."""
    headers: CIMultiDict[str] = CIMultiDict({"Authorization": "Bearer very-secret"})
    info = aiohttp.RequestInfo(URL("https://h/"), "POST", CIMultiDictProxy(headers), URL("https://h/"))

    assert presentable(caused(aiohttp.ClientResponseError(info, ()), CLEAN)) is CLEAN


def test_a_failed_token_request_tells_all_that_is_known() -> None:
    """Contract 2.2: what the token endpoint said, with its trace id, stands on the error of the call."""
    details = parse_problem(b'{"error": {"transactionId": "t-1", "message": "out of order"}}')
    failed = OutcomeUnknownError("m", request="POST /token", status=503, details=details, phase="wait")
    failed.__cause__ = CLEAN

    error = without_token(failed)

    assert (error.message, error.request, error.status) == ("m", "POST /token", 503)
    assert (error.transaction_id, error.phase, error.outcome) == ("t-1", "token", "not_sent")
    assert error.__cause__ is CLEAN
