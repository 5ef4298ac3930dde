"""What follows a failed attempt: the table of `decision`, row by row (contract 3.8)."""

import pytest

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CertificateError,
    OutcomeUnknownError,
    ProtocolError,
    ProxyError,
    RateLimitError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.models.problems import Problem
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.transport.decision import (
    TABLE,
    Failure,
    GiveUp,
    Move,
    Pause,
    Purpose,
    RenewToken,
    decide,
    failure_in,
    printed,
    purpose_of,
)
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
from tests.support.paths import ROOT

POLICY = RetryPolicy(wait_initial=1.0, wait_jitter=0.0)
EAGER = RetryPolicy(wait_initial=1.0, wait_jitter=0.0, unavailable=True)
PURPOSES: tuple[Purpose, ...] = ("write", "read", "token")
AGAIN = Pause(1.0)


def unknown(status: int | None) -> OutcomeUnknownError:
    return OutcomeUnknownError("x", request="POST /dispatch", status=status, phase="wait")


def refused_by_proxy(status: int) -> ProxyError:
    return ProxyError("x", request="", status=status, phase="connect")


ERRORS: list[tuple[APIError, Failure]] = [
    (AuthenticationError("x", request="", status=401), Failure.REJECTED),
    (CertificateError("x", request="", phase="connect"), Failure.SETTING),
    (refused_by_proxy(407), Failure.SETTING),
    (refused_by_proxy(502), Failure.NOT_SENT),
    (APIConnectionError("x", request="", phase="connect"), Failure.NOT_SENT),
    (APITimeoutError("x", request="", phase="connect"), Failure.NOT_SENT),
    (TokenUnavailableError("x", request="", phase="token"), Failure.NOT_SENT),
    (RateLimitError("x", request="", status=429), Failure.NOT_SENT),
    (BadRequestError("x", request="", status=400), Failure.REFUSED),
    (ProtocolError("x", status=200), Failure.UNUSABLE),
    (ProtocolError("x", status=None), Failure.UNKNOWN),
    (unknown(503), Failure.UNAVAILABLE),
    (unknown(500), Failure.UNKNOWN),
    (unknown(None), Failure.UNKNOWN),
]


@pytest.mark.parametrize(("error", "failure"), ERRORS)
def test_every_error_has_a_row(error: APIError, failure: Failure) -> None:
    assert failure_in(error) is failure


def test_a_limit_is_waited_for_whatever_its_code_is_about() -> None:
    """A refused quota may carry the code of a suspended account (contract 6): nothing was sent."""
    error = RateLimitError("x", request="", status=429, details=Problem("x", code="account-suspended"))

    assert error.error_class == "configuration"
    assert failure_in(error) is Failure.NOT_SENT


@pytest.mark.parametrize(
    ("method", "purpose"), [("GET", "read"), ("POST", "write"), ("PUT", "write"), ("DELETE", "write")]
)
def test_only_a_get_reads(method: str, purpose: Purpose) -> None:
    """Contract 4.1: whatever else leaves twice may happen twice."""
    assert purpose_of(method) == purpose


ROWS = {
    # what follows for a call that writes, one that reads, and a token request; then with `unavailable`
    Failure.REJECTED: ((RenewToken(), RenewToken(), GiveUp()), RenewToken()),
    Failure.SETTING: ((GiveUp(), GiveUp(), GiveUp()), GiveUp()),
    Failure.NOT_SENT: ((AGAIN, AGAIN, AGAIN), AGAIN),
    Failure.REFUSED: ((GiveUp(), GiveUp(), AGAIN), GiveUp()),
    Failure.UNUSABLE: ((GiveUp(), GiveUp(), AGAIN), GiveUp()),
    Failure.UNAVAILABLE: ((GiveUp(), AGAIN, AGAIN), AGAIN),
    Failure.UNKNOWN: ((GiveUp(), AGAIN, AGAIN), GiveUp()),
}


@pytest.mark.parametrize("failure", Failure)
def test_a_row(failure: Failure) -> None:
    """What follows the first attempt, by the purpose of the request; a write also with `unavailable`."""
    error = next(error for error, row in ERRORS if row is failure)

    found = tuple(
        decide(error, purpose, POLICY, attempt=1, elapsed=0.0, random=0.0, renewable=True)
        for purpose in PURPOSES
    )
    eager = decide(error, "write", EAGER, attempt=1, elapsed=0.0, random=0.0, renewable=True)

    assert (found, eager) == ROWS[failure]
    # Named tuples without fields are equal: their classes tell them apart.
    assert [*map(type, found), type(eager)] == [*map(type, ROWS[failure][0]), type(ROWS[failure][1])]


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_row_goes_on_for_ever(failure: Failure, purpose: Purpose) -> None:
    """Neither after the last attempt nor after the time of the policy, and with one new token at most."""
    error = next(error for error, row in ERRORS if row is failure)
    policy = RetryPolicy(attempts=2, timeout=10.0, unavailable=True)

    last = decide(error, purpose, policy, attempt=2, elapsed=0.0, random=0.0)
    late = decide(error, purpose, policy, attempt=1, elapsed=10.1, random=0.0, renewable=True)

    assert type(last) is type(late) is GiveUp


def test_a_pause_is_what_the_policy_says_after_what_the_service_asked_for() -> None:
    error = RateLimitError("x", request="", status=429)
    error.retry_after = 5.0
    policy = RetryPolicy(wait_initial=1.0, wait_jitter=0.5)

    assert decide(error, "write", policy, attempt=2, elapsed=0.0, random=0.5) == Pause(5.0 + 2.0 * 0.75)


def test_the_table_is_complete_and_in_the_documentation() -> None:
    """`python -m nexmo_dispatch_async.transport.decision` prints it."""
    page = (ROOT / "docs" / "failures.md").read_text("utf-8")

    assert set(TABLE) == set(Failure)
    assert {move for row in TABLE.values() for move in row} == set(Move)
    assert printed() in page


UNKNOWN: dict[str, Handler] = {
    "500": answering(reply(500)),
    "502": answering(reply(502)),
    "504": answering(reply(504)),
    "no response in time": hang,
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
