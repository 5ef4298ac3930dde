"""Cancelling at any await: no task, slot or socket is left, the client goes on, and the outcome is told."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient, new_client_ref
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    ClientClosedError,
    OutcomeUnknownError,
    RateLimitError,
)
from nexmo_dispatch_async.interruption import Interruption, interrupt, interruption_of, outcome_of_failure
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.sansio import Request, Response, application_request
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import kpn_client_of
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    RawServer,
    Received,
    accept,
    answering,
    close_after_body,
    hang,
    reply,
)
from tests.support.tls import client_context, server_context
from tests.support.walker import Walker

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True


def narrow_client_of(server: RawServer, **settings: Any) -> DispatchClient:
    """A client with one slot, so that a slot that is not given back would be noticed."""
    return kpn_client_of(server, **{"limit": 1, **settings})


def pool_of(client: DispatchClient) -> aiohttp.BaseConnector:
    client._calls.open()
    session = client._calls._connections.session
    assert session is not None
    assert session.connector is not None
    return session.connector


class Pausing(Middleware):
    """Waits before and after everything, so that there is something to cancel."""

    async def call(self, request: Request, proceed: Callable[[Request], Any]) -> Any:
        await asyncio.sleep(0)
        value = await proceed(request)
        await asyncio.sleep(0)
        return value

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Any]) -> Response:
        await asyncio.sleep(0)
        response: Response = await proceed(attempt)
        await asyncio.sleep(0)
        return response


async def send(client: DispatchClient, workflow: Workflow) -> None:
    await client.send(workflow)


async def send_with_response(client: DispatchClient, workflow: Workflow) -> None:
    await client.send(workflow, on_response=lambda response: response.status)


async def create(client: DispatchClient, _workflow: Workflow) -> None:
    await client.applications.create(name="n")


ANSWER = reply(202, {**ACCEPTED, "id": "an application"})

# name: answers in turn, settings of the client, what is walked through
Walk = tuple[list[bytes], dict[str, Any], Callable[[DispatchClient, Workflow], Coroutine[Any, Any, None]]]
WALKS: dict[str, Walk] = {
    "a cold client": ([ANSWER], {}, send),
    "a rate limit first": ([reply(429), ANSWER], {}, send),
    "a rejected token first": ([reply(401), ANSWER], {}, send),
    "503 first, repeated": ([reply(503), ANSWER], {"retry": RetryPolicy(unavailable=True)}, send),
    "middleware": ([ANSWER], {"middleware": [Pausing()]}, send),
    "a reference and a tracker": ([ANSWER], {"client_ref": new_client_ref, "tracker": Tracker()}, send),
    "with the answer": ([ANSWER], {}, send_with_response),
    "an application call": ([ANSWER], {}, create),
}  # fmt: skip


@pytest.fixture
def tls(request: pytest.FixtureRequest, certificate: Path) -> tuple[Any, Any]:
    if request.param == "http":
        return None, True
    return server_context(certificate), client_context(certificate)


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.parametrize(
    ("tls", "name"),
    [
        pytest.param(tls, name, marks=[pytest.mark.long] * (tls == "https" and name != "a cold client"))
        for tls in ("http", "https")
        for name in WALKS
    ],
    indirect=["tls"],
)
async def test_cancelling_at_every_await_leaks_nothing(
    workflow: Workflow, tls: tuple[Any, Any], name: str
) -> None:
    """Whatever is said of the outcome is true of what the server saw: that is counted too."""
    answers, settings, call = WALKS[name]
    server_tls, client_tls = tls
    told: set[str] = set()
    steps = 0
    cancelled: asyncio.CancelledError | None = asyncio.CancelledError()
    files = open_files()
    while cancelled is not None:
        steps += 1
        assert steps < 100, "the walk does not end"
        async with RawServer(answering(*answers), ssl_context=server_tls) as server:
            before = asyncio.all_tasks()
            async with narrow_client_of(server, ssl=client_tls, **settings) as client:
                cancelled = await Walker(steps).run(call(client, workflow))
                finals = server.posts - (len(answers) - 1)

                if cancelled is not None:
                    interruption = interruption_of(cancelled)
                    assert interruption is not None
                    told.add(interruption.outcome)
                    if interruption.outcome == "not_sent":
                        assert finals <= 0, "what is said not to be sent was not seen"
                    if interruption.outcome == "sent":
                        assert finals == 1
                    assert client.statistics().interrupted + client.statistics().succeeded == (
                        client.statistics().calls
                    )
                # The only slot is free again, the token lock too, and a later send works.
                assert client._calls._slots._value == 1
                assert not client._calls._tokens.busy
                assert client.statistics()[-3:] == (0, 0, 0)
                server.handler = accept
                assert (await client.send(workflow)).dispatch_uuid == ACCEPTED["dispatch_uuid"]
                assert not pool_of(client)._acquired
            left = [task for task in asyncio.all_tasks() - before if "RawServer" not in repr(task)]
            assert left == []

    assert steps > 4
    assert {"not_sent", "unknown"} <= told
    assert ("sent" in told) is (name == "middleware")
    async with asyncio.timeout(10):
        while open_files() > files + 2:  # noqa: ASYNC110 - sockets of the server's side are on their way out
            await asyncio.sleep(0.005)


# --- what is told ---------------------------------------------------------------------------------


async def test_a_cancelled_send_tells_what_was_sent(workflow: Workflow) -> None:
    """Enough to find the callbacks by, and no personal data in it."""
    async with RawServer(hang) as server, narrow_client_of(server) as client:
        task = asyncio.create_task(client.send(workflow, client_ref="order-17"))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

    assert interruption_of(caught.value) == Interruption(
        "unknown",
        "POST /dispatch",
        ("whatsapp text until read within 900 s to …21", "sms text to …23"),
        ("order-17",),
    )
    assert client.statistics().interrupted_unknown == 1


async def test_a_send_that_waits_for_a_slot_was_not_sent(workflow: Workflow) -> None:
    async with RawServer(hang) as server, narrow_client_of(server) as client:
        first, second = [asyncio.create_task(client.send(workflow)) for _ in range(2)]
        await server.arrived.wait()
        assert client.statistics().waiting == 1
        second.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await second
        first.cancel()
        await asyncio.wait([first])

    interruption = interruption_of(caught.value)
    assert interruption is not None
    assert interruption.outcome == "not_sent"
    assert str(interruption) == "POST /dispatch: cut short, outcome not_sent"


async def test_a_time_out_around_a_send_tells_it_too(workflow: Workflow) -> None:
    """`asyncio.timeout()` makes another exception of the cancellation."""
    async with RawServer(hang) as server, narrow_client_of(server) as client:
        deadline = asyncio.timeout(None)

        async def expire() -> None:
            await server.arrived.wait()
            deadline.reschedule(0)

        expiring = asyncio.create_task(expire())
        with pytest.raises(TimeoutError) as caught:
            async with deadline:
                await client.send(workflow)
        await expiring

    interruption = interruption_of(caught.value)
    assert interruption is not None
    assert interruption.outcome == "unknown"


async def test_a_cancel_scope_leaves_the_statistics_and_the_log(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyio's scopes swallow the exception: what remains is the warning and the count."""
    async with (
        RawServer(hang) as server,
        narrow_client_of(server) as client,
        anyio.create_task_group() as group,
    ):

        async def cancel() -> None:
            await server.arrived.wait()
            group.cancel_scope.cancel()

        group.start_soon(cancel)
        await client.send(workflow)

    assert client.statistics().interrupted_unknown == 1
    assert "POST /dispatch: cut short, outcome unknown" in caplog.messages


async def test_cancelled_while_it_is_noted_down_it_was_sent(workflow: Workflow) -> None:
    """The service accepted it; the tracker's store is slow."""
    storing = asyncio.Event()

    class Slow(Tracker):
        async def sent(self, dispatch: Any, workflow: Any) -> Any:
            storing.set()
            await asyncio.Event().wait()

    async with RawServer() as server, narrow_client_of(server, tracker=Slow()) as client:
        task = asyncio.create_task(client.send(workflow))
        await storing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

    interruption = interruption_of(caught.value)
    assert interruption is not None
    assert interruption.outcome == "sent"
    assert interruption.dispatch is not None
    assert interruption.dispatch.dispatch_uuid == ACCEPTED["dispatch_uuid"]


async def test_a_tracker_that_fails_loses_no_id(workflow: Workflow, caplog: pytest.LogCaptureFixture) -> None:
    """The service accepted it: the caller must learn that, whatever exception a store raises."""

    class Full(Tracker):
        async def sent(self, dispatch: Any, workflow: Any) -> Any:
            raise OSError("disk full")

    async with RawServer() as server, narrow_client_of(server, tracker=Full()) as client:
        dispatch = await client.send(workflow, client_ref="order-17")
        responses: list[Response] = []
        await client.send(workflow, on_response=responses.append)

    assert (dispatch.dispatch_uuid, dispatch.client_ref) == (ACCEPTED["dispatch_uuid"], "order-17")
    assert [response.status for response in responses] == [202]
    assert (
        caplog.messages.count("POST /dispatch: accepted, and not followed: OSError") == 1
    )  # one line for both


async def test_leaving_a_fan_out_tells_of_each_item(workflow: Workflow) -> None:
    """Some were sent and not answered, the others waited for a slot."""
    both = asyncio.Event()

    async def hang_at_two(request: Received, connection: Connection) -> None:
        if len(server.received) == 2:
            both.set()
        await hang(request, connection)

    async with (
        RawServer(hang_at_two) as server,
        narrow_client_of(server, auth=BearerToken("t"), limit=2) as client,
        client.send_many([workflow] * 5, limit=5) as results,
    ):
        waiting = asyncio.ensure_future(anext(results))
        await both.wait()
        waiting.cancel()
        await asyncio.wait([waiting])

    outcomes = sorted(interruption.outcome for _, interruption in results.interruptions)
    assert outcomes == ["not_sent", "not_sent", "not_sent", "unknown", "unknown"]
    assert results.interrupted == [workflow] * 5


async def test_work_that_never_began_was_not_sent(workflow: Workflow) -> None:
    """Room for the second came with the first result, and then no send wanted it."""
    async with (
        RawServer() as server,
        narrow_client_of(server) as client,
        client.send_many([workflow] * 2, limit=1) as results,
    ):
        await anext(results)

    ((item, interruption),) = results.interruptions
    assert (item, interruption.outcome) == (workflow, "not_sent")
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RateLimitError("x"), "not_sent"),
        (APIConnectionError("x"), "not_sent"),
        (OutcomeUnknownError("x"), "unknown"),
        (ClientClosedError("x"), "not_sent"),
        (LookupError("x"), "unknown"),
    ],
)
def test_every_exception_says_something_about_the_outcome(error: Exception, outcome: str) -> None:
    assert outcome_of_failure(error).outcome == outcome


def test_an_error_that_cut_nothing_short_is_no_interruption() -> None:
    loop = LookupError("a")
    loop.__cause__ = loop

    assert interruption_of(loop) is None


async def test_the_warning_carries_the_references_beside_its_text(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    """They are the caller's own, so they stand in no line; a handler may look them up by them."""
    async with RawServer(hang) as server, narrow_client_of(server) as client:
        task = asyncio.create_task(client.send(workflow, client_ref="order-17"))
        await server.arrived.wait()
        task.cancel()
        await asyncio.wait([task])
        server.handler = close_after_body
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow, client_ref="order-18")

    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.__dict__["client_refs"] for record in warnings] == [("order-17",), ("order-18",)]
    assert "order" not in caplog.text


async def test_a_cancelled_reading_may_be_made_again(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever left of it: there is nothing to look after."""
    async with RawServer(hang) as server, narrow_client_of(server) as client:
        task = asyncio.create_task(client.applications.get("a"))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

    interruption = interruption_of(caught.value)
    assert interruption is not None
    assert interruption.outcome == "not_sent"
    assert client.statistics().interrupted_unknown == 0
    assert "WARNING" not in {record.levelname for record in caplog.records}


async def test_code_that_raises_in_the_session_tells_what_was_sent(workflow: Workflow) -> None:
    """A trace of the caller's own session, for one: before the request, and after the answer."""

    async def fail(*_: object) -> None:
        raise LookupError("mine")

    for signal, outcome in (("on_request_start", "not_sent"), ("on_request_end", "unknown")):
        traces = aiohttp.TraceConfig()
        getattr(traces, signal).append(fail)
        async with (
            RawServer() as server,
            aiohttp.ClientSession(trace_configs=[traces]) as session,
            narrow_client_of(server, session=session, auth=BearerToken("t")) as client,
        ):
            with pytest.raises(LookupError, match="mine") as caught:
                await client.send(workflow)

        assert outcome_of_failure(caught.value).outcome == outcome
        assert client.statistics().interrupted_unknown == (outcome == "unknown")


@pytest.mark.parametrize(("method", "outcome"), [("POST", "unknown"), ("GET", "not_sent")])
async def test_code_that_cannot_read_an_answer_tells_that_one_came(method: str, outcome: str) -> None:
    async with RawServer() as server, narrow_client_of(server) as client:
        request = application_request(method, server.base_url, "/applications")
        with pytest.raises(ZeroDivisionError) as caught:
            await client.call(request, lambda _response: 1 / 0)

    assert outcome_of_failure(caught.value).outcome == outcome
    assert client.statistics().interrupted == 1
    assert client.statistics().interrupted_unknown == (outcome == "unknown")


async def test_a_token_that_could_not_be_asked_for_means_that_nothing_was_sent(workflow: Workflow) -> None:
    class Broken(KpnOAuth):
        def token_request(self) -> Request:
            raise LookupError("mine")

    async with RawServer() as server, narrow_client_of(server, auth=Broken("a", "b")) as client:
        with pytest.raises(LookupError, match="mine") as caught:
            await client.send(workflow)

    assert outcome_of_failure(caught.value).outcome == "not_sent"


async def test_an_exception_that_cannot_be_changed_reaches_the_caller() -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error = FrozenError()

    assert interrupt(error, "unknown", "POST /x") is interruption_of(error)


async def test_what_came_before_does_not_speak_for_what_comes_after(workflow: Workflow) -> None:
    """A caller that sends again while it handles what was cut short learns of the second send."""
    async with RawServer(hang) as server, narrow_client_of(server) as client:
        task = asyncio.create_task(client.send(workflow))
        await server.arrived.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            await client.aclose()
            with pytest.raises(ClientClosedError) as caught:
                await client.send(workflow)

    assert outcome_of_failure(caught.value).outcome == "not_sent"
