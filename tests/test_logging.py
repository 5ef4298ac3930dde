"""What the client logs at which level: nothing is formatted without a handler, nothing private is logged."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import BadRequestError, OutcomeUnknownError
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.workflow import Workflow
from tests.conftest import CLIENT_TESTS, place_of
from tests.support.log_guard import LogGuard, guarded, private_values
from tests.support.misbehaving import ACCEPTED, RawServer, answering, close_after_body, reply


def client_of(server: RawServer, **settings: Any) -> DispatchClient:
    ticks = iter(range(1000))

    async def no_sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    return DispatchClient(
        auth=KpnOAuth("id", "client-secret", server.token_url),
        application_id="app",
        base_url=server.base_url,
        sleep=no_sleep,
        clock=lambda: next(ticks) / 8,
        random=lambda: 0.0,
        **settings,
    )


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        f"{record.levelname} {record.getMessage()}"
        for record in caplog.records
        if record.name == "nexmo_dispatch_async"
    ]


async def test_a_send_in_full(workflow: Workflow, caplog: pytest.LogCaptureFixture) -> None:
    """DEBUG: each attempt and each token; INFO: what is tried again, and why."""
    handler = answering(reply(429, b"", {"Retry-After": "1"}), reply(401), reply(202, ACCEPTED))
    async with RawServer(handler) as server, client_of(server) as client:
        await client.send(workflow)

    token = "POST /oauth/client_credential/accesstoken: a new token after 1 attempts"
    assert lines(caplog) == [
        f"DEBUG {token}",
        "DEBUG attempt 1, 0.250 s: POST /dispatch: 429",
        "INFO attempt 1 failed, the next in 1.25 s: POST /dispatch: 429",
        "DEBUG attempt 2, 0.250 s: POST /dispatch: 401",
        "INFO POST /dispatch: 401, trying once more with a new token",
        f"DEBUG {token}",
        "DEBUG attempt 3, 0.250 s: POST /dispatch: 202",
    ]


async def test_an_unknown_outcome_is_a_warning(workflow: Workflow, caplog: pytest.LogCaptureFixture) -> None:
    """It may need attention even if the caller drops the exception."""
    async with RawServer(close_after_body) as server, client_of(server) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow)

    said = "POST /dispatch: sent, and the connection broke: the server disconnected"
    assert lines(caplog)[1:] == [
        f"DEBUG attempt 1, 0.250 s: {said}",
        f"WARNING outcome unknown after attempt 1: {said}",
    ]


async def test_errors_that_are_raised_are_not_logged_as_well(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with RawServer(answering(reply(400))) as server, client_of(server) as client:
        with pytest.raises(BadRequestError):
            await client.send(workflow)

    assert lines(caplog) == []


async def test_nothing_is_formatted_without_a_handler(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("nexmo_dispatch_async")
    monkeypatch.setattr(logger, "level", logging.CRITICAL)
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # what setLevel does besides
    monkeypatch.setattr(logger, "makeRecord", None)
    handler = answering(reply(429), reply(401), reply(503), reply(202, ACCEPTED))
    async with RawServer(handler) as server, client_of(server) as client:
        await client.send(workflow, retry=RetryPolicy(unavailable=True))
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # and after it

    assert len(server.received) == 4


# --- the guard that reads the log of the whole client suite ---------------------------------------


def test_the_guard_knows_what_is_private() -> None:
    values = private_values()

    assert len(values) > 30
    assert any(value.isdecimal() for value in values)
    assert any(" " in value for value in values)


@pytest.mark.parametrize(
    "leak", ["to 447700900123", "+31 for 31617185666.", "Bearer abc", "token12 is over", "client-secret"]
)
def test_the_guard_finds_a_leak(leak: str) -> None:
    guard = LogGuard()

    guard.emit(logging.LogRecord("x", logging.DEBUG, __file__, 1, "%s", (leak,), None))

    assert len(guard.found) == 1


def test_the_guard_reads_tracebacks_too() -> None:
    guard = LogGuard()
    try:
        raise LookupError("447700900123")
    except LookupError as error:
        info = (type(error), error, error.__traceback__)

    guard.emit(logging.LogRecord("x", logging.DEBUG, __file__, 1, "failed", (), info))

    assert len(guard.found) == 1


def test_the_guard_lets_ids_pass() -> None:
    with guarded() as guard:
        logging.getLogger("x").debug("trace 28b9658d-6418-4c86-991f-36708dccc0c2, 0.012345678 s, 202")

    assert (guard.records, guard.found) == (1, [])


def test_the_guard_stands_over_every_test_of_the_client() -> None:
    """That is, every module that lets a client talk to the server that misbehaves."""
    folder = Path(__file__).parent
    about_the_client = {
        place_of(path)
        for path in folder.rglob("test_*.py")
        if "support.misbehaving" in path.read_text("utf-8")
    }

    assert len(about_the_client) > 20
    assert {name for name in about_the_client if not CLIENT_TESTS.match(name)} == set()
