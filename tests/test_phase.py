"""What may be repeated, and what an exception of the session means and shows (contract 3.8)."""

import pytest

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    BadRequestError,
    CertificateError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitError,
)
from nexmo_dispatch_async.phase import may_repeat
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import Request
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
