"""Promises of the error tree: one base, one outcome per branch, messages as interface."""

import copy
import inspect
import json
import pickle
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async import exceptions
from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CertificateError,
    ClientClosedError,
    ConfigurationError,
    DispatchError,
    InvalidWorkflowError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitError,
    RefusedError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.models.problems import Problem
from nexmo_dispatch_async.sansio import Headers, Request, Response, decipher_dispatch, decipher_response
from nexmo_dispatch_async.transport.failures import failure_of
from nexmo_dispatch_async.transport.progress import Phase, Progress
from nexmo_dispatch_async.workflow import Finding, Workflow
from nexmo_dispatch_webhooks import exceptions as receiver_exceptions
from tests.support.paths import ROOT

CLASSES = [getattr(exceptions, name) for name in exceptions.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_the_one_base(error: type[Exception]) -> None:
    """`except DispatchError` catches all that this package raises."""
    assert issubclass(error, DispatchError)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_exported_and_in_the_drawn_tree(error: type[Exception]) -> None:
    assert error.__module__ == "nexmo_dispatch_async.exceptions"
    assert re.search(rf"\b{error.__name__}\b", exceptions.__doc__ or "")


def test_the_page_shows_the_same_trees() -> None:
    """That of the SDK and that of the receiver: docs/errors.md has all that can be raised."""
    drawn = [*(exceptions.__doc__ or "").splitlines(), *(receiver_exceptions.__doc__ or "").splitlines()]
    tree = [line.removeprefix("    ") for line in drawn if "Error  " in line]
    page = (ROOT / "docs" / "errors.md").read_text("utf-8").splitlines()

    assert [line for line in page if "Error  " in line and "|" not in line] == tree


def test_an_error_is_caught_by_the_builtin_that_the_trees_name() -> None:
    """A program with both packages catches both classes of wrong settings as one ValueError."""
    drawn = re.compile(r"(\w+Error)  .*; (?:also an? (\w+Error)|an? (\w+Error) as well)$", re.MULTILINE)
    said = [
        (getattr(module, found[1]), found[2] or found[3])
        for module in (exceptions, receiver_exceptions)
        for found in drawn.finditer(module.__doc__ or "")
    ]

    assert sum(error.__name__ == "ConfigurationError" for error, _ in said) == 2
    assert len(said) > 5
    wrong = [error for error, name in said if name not in {base.__name__ for base in error.__mro__}]
    assert wrong == []


def test_no_error_class_is_forgotten_in_all() -> None:
    defined = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and value.__module__ == exceptions.__name__
    }

    assert {error.__name__ for error in CLASSES} == defined


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotSentError, "not_sent"),
        (APIConnectionError, "not_sent"),
        (APITimeoutError, "not_sent"),
        (AuthenticationError, "not_sent"),
        (RateLimitError, "not_sent"),
        (TokenUnavailableError, "not_sent"),
        (ClientClosedError, "not_sent"),
        (RefusedError, "refused"),
        (BadRequestError, "refused"),
        (OutcomeUnknownError, "unknown"),
        (ProtocolError, "unknown"),
    ],
)
def test_every_branch_has_its_outcome(error: type[APIError | ClientClosedError], outcome: str) -> None:
    assert error("x").outcome == outcome


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("kind", [BadRequestError, APITimeoutError, CertificateError])
@pytest.mark.parametrize("clone", [copy.copy, pickled])
def test_errors_survive_copying_and_pickling(
    clone: Callable[[APIError], APIError], kind: type[APIError]
) -> None:
    """An error crosses a process boundary with all that it knows."""
    error = kind(
        "no", request="POST /dispatch", status=400, details=Problem(title="T"), retry_after=2.0, attempts=3
    )

    twin = clone(error)

    assert type(twin) is kind
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)
    assert twin.message == "no"


def test_a_protocol_error_keeps_the_answer() -> None:
    """Contract 3.7: the body must reach the caller, because the messages may have been sent."""
    error = copy.copy(ProtocolError("odd", body=b"?", request="POST /dispatch", status=202))

    assert (error.body, error.status, error.request) == (b"?", 202, "POST /dispatch")


def test_an_invalid_workflow_lists_every_problem() -> None:
    findings = [
        Finding(rule="one", severity="error", step=1, field="to.number", message="is wrong"),
        Finding(rule="two", severity="error", step=2, field="from", message="is missing"),
    ]

    one, two = InvalidWorkflowError(findings[:1]), InvalidWorkflowError(findings)

    assert str(one).startswith("the workflow has 1 problem, nothing was sent:\n  step 1")
    assert str(two).startswith("the workflow has 2 problems, nothing was sent:\n")
    assert str(findings[1]) in str(two)
    assert pickled(two).findings == tuple(findings)


def test_wrong_settings_are_value_errors_and_wrong_use_is_a_runtime_error() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidWorkflowError, ValueError)
    assert issubclass(ClientClosedError, RuntimeError)


def test_checking_a_bad_workflow_raises_it() -> None:
    bad = Workflow.failover()

    with pytest.raises(InvalidWorkflowError, match="nothing was sent"):
        bad.check()


def test_an_error_without_an_answer_has_no_code_and_no_trace() -> None:
    error = APIConnectionError("x", phase="connect")

    assert (error.code, error.transaction_id, error.instance) == ("", "", "")
    assert (error.error_class, error.phase) == ("temporary", "connect")


def test_the_trace_ids_of_the_gateway() -> None:
    error = RateLimitError("x", details=Problem(transaction_id="28b9658d", instance="bf0c"))

    assert (error.transaction_id, error.instance) == ("28b9658d", "bf0c")


ECHO = "to 447700900123: 'Hello there'"
REQUEST = Request("POST", "https://h/dispatch", {}, b'{"text":"Hello there"}', "/dispatch")


def answered(status: int, body: object, headers: dict[str, str] | None = None) -> APIError:
    """Return the error that an answer means."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(APIError) as caught:
        decipher_response(
            Response(status, Headers(headers or {}), content), decipher_dispatch, request=REQUEST
        )
    return caught.value


def broken(error: Exception, phase: Phase, *, answering: bool = False) -> APIError:
    """Return the error that an exception of aiohttp means."""
    progress = Progress()
    progress.phase, progress.answering = phase, answering
    failure = failure_of(REQUEST, progress, error)
    assert isinstance(failure, APIError)
    return failure


def token(status: int, body: object) -> APIError:
    """Return the error of a token endpoint."""
    auth = KpnOAuth("the-client", "client-secret", "https://h/token")
    with pytest.raises(APIError) as caught:
        auth.receive_token(Response(status, Headers(), json.dumps(body).encode()), 0.0)
    return caught.value


PROBLEM = {"type": "https://h/errors#InvalidParams", "title": "Bad", "detail": ECHO, "instance": "bf0c"}
GATEWAY = {"error": {"transactionId": "28b9", "name": "Forbidden", "message": "no"}}
FAULT = {"fault": {"faultstring": "Rate limit", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}}
INFO: Any = SimpleNamespace(real_url="")  # what aiohttp says of the request, which no message shows

MESSAGES = [
    (answered(400, PROBLEM), "POST /dispatch: 400 Bad: to …23: '…' [InvalidParams], trace bf0c"),
    (
        answered(401, {"type": "UNAUTHORIZED", "error_title": "Unauthorized"}),
        "POST /dispatch: 401 Unauthorized [UNAUTHORIZED]",
    ),
    (answered(402, b""), "POST /dispatch: 402"),
    (answered(403, GATEWAY), "POST /dispatch: 403 Forbidden: no, trace 28b9"),
    (answered(404, b"<html>"), "POST /dispatch: 404"),
    (answered(500, FAULT), "POST /dispatch: 500 Rate limit [policies.ratelimit.QuotaViolation]"),
    (
        answered(200, {}),
        "POST /dispatch: the service answered 200 without a dispatch_uuid: the workflow may be under way",
    ),
    (
        token(500, {"error": {"message": "invalid_client-invalid_client_id"}}),
        "POST /token: no access token: 500 invalid_client-invalid_client_id",
    ),
    (
        token(401, {"ErrorCode": "invalid_client", "Error": "client-secret?"}),
        "POST /token: no access token: 401 …? [invalid_client]",
    ),
    (token(200, {}), "POST /token: 200 without a usable access_token"),
    (broken(OSError(111, "refused"), Phase.PREPARED), "POST /dispatch: no connection: [Errno 111] refused"),
    (broken(aiohttp.ConnectionTimeoutError(), Phase.PREPARED), "POST /dispatch: no connection in time"),
    (broken(TimeoutError(), Phase.LEFT), "POST /dispatch: sent, and no response in time"),
    (
        broken(aiohttp.ServerDisconnectedError(), Phase.LEFT),
        "POST /dispatch: sent, and the connection broke: the server disconnected",
    ),
    (
        broken(aiohttp.ClientResponseError(INFO, (), message=f"Bad status line:\n b'{ECHO}'"), Phase.LEFT),
        "POST /dispatch: sent, and the response is unusable: Bad status line",
    ),
    (broken(OSError(), Phase.LEFT), "POST /dispatch: sent, and the connection broke: OSError"),
]


@pytest.mark.parametrize(("error", "message"), MESSAGES, ids=lambda it: it if isinstance(it, str) else "")
def test_messages(error: APIError, message: str) -> None:
    """Messages are interface: what happened, to which call, in one line, and nothing of what was sent."""
    assert error.message == message
    assert str(error) in (message, f"{message}; {error.next_step}")


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (broken(OSError(), Phase.PREPARED), "connect"),
        (broken(OSError(), Phase.STALE), "write"),
        (broken(OSError(), Phase.LEFT), "wait"),
        (broken(OSError(), Phase.LEFT, answering=True), "read"),
        (answered(500, b""), "response"),
        (answered(200, b""), "response"),
        (token(500, b"".decode()), "token"),
    ],
)
def test_every_error_knows_its_phase(error: APIError, phase: str) -> None:
    assert error.phase == phase
