"""Middleware: where it stands, what it sees, in which order, and that it costs nothing when absent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.exceptions import BadRequestError, InvalidWorkflowError, OutcomeUnknownError
from nexmo_dispatch_async.interruption import Interruption, interruption_of, outcome_of_failure
from nexmo_dispatch_async.middleware import Attempt, Middleware, around_attempt, around_call
from nexmo_dispatch_async.sansio import Headers, Request, Response
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import APPLICATION, client_of
from tests.support.misbehaving import ACCEPTED, RawServer, accept, answering, close_after_body, hang, reply

T = TypeVar("T")


class Recorder(Middleware):
    """Writes down what passes by."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def call(self, request: Request, proceed: Callable[[Request], Awaitable[T]]) -> T:
        self.log.append(f"{self.name} call {request.summary}")
        try:
            value = await proceed(request)
        except Exception as error:
            self.log.append(f"{self.name} {type(error).__name__}")
            raise
        self.log.append(f"{self.name} value {type(value).__name__}")
        return value

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        self.log.append(f"{self.name} {attempt.purpose} {attempt.number} {attempt.request.template}")
        try:
            response = await proceed(attempt)
        except Exception as error:
            self.log.append(f"{self.name} {type(error).__name__}")
            raise
        self.log.append(f"{self.name} {response.status}")
        return response


async def test_it_stands_around_calls_and_attempts(workflow: Workflow) -> None:
    """A rate limit is one call, two attempts; the token is fetched inside of the call."""
    log: list[str] = []
    async with RawServer(answering(reply(429), reply(202, ACCEPTED))) as server:
        oauth = KpnOAuth("id", "client-secret", server.token_url)
        async with client_of(server, middleware=[Recorder("r", log)], auth=oauth) as client:
            await client.send(workflow)

    assert log == [
        "r call POST /dispatch",
        "r token 1 /oauth/client_credential/accesstoken",
        "r 200",
        "r call 1 /dispatch",
        "r 429",
        "r call 2 /dispatch",
        "r 202",
        "r value Dispatch",
    ]


async def test_the_first_is_the_outermost(workflow: Workflow) -> None:
    log: list[str] = []
    middleware = [Recorder("a", log), Recorder("b", log)]
    async with RawServer() as server, client_of(server, middleware=middleware) as client:
        await client.send(workflow)

    assert [line[0] for line in log] == ["a", "b", "a", "b", "b", "a", "b", "a"]


@pytest.mark.parametrize(
    ("handler", "kind", "seen"),
    [
        (answering(reply(400)), BadRequestError, ["r 400", "r BadRequestError"]),
        (close_after_body, OutcomeUnknownError, ["r OutcomeUnknownError"] * 2),
    ],
)
async def test_it_sees_how_it_failed(
    workflow: Workflow, handler: Any, kind: type[Exception], seen: list[str]
) -> None:
    """An answer is an answer, whatever its status; what it means is known around the call."""
    log: list[str] = []
    async with RawServer(handler) as server, client_of(server, middleware=[Recorder("r", log)]) as client:
        with pytest.raises(kind):
            await client.send(workflow)

    assert log[2:] == seen


async def test_it_may_change_what_is_sent(workflow: Workflow) -> None:
    """A header for your own proxy, for instance; the client's own are not touched by it."""

    class Tagging(Middleware):
        async def attempt(
            self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]
        ) -> Response:
            headers = {**attempt.request.headers, "X-Tag": str(attempt.number)}
            request = msgspec.structs.replace(attempt.request, headers=headers)
            return await proceed(msgspec.structs.replace(attempt, request=request))

    async with RawServer(answering(reply(429), reply(202, ACCEPTED))) as server:
        async with client_of(server, middleware=[Tagging()]) as client:
            await client.send(workflow)
        async with client_of(server) as client:
            await client.send(workflow)

    assert [request.header("X-Tag") for request in server.received] == ["1", "2", None]
    assert server.received[0].header("ApplicationId") == APPLICATION


async def test_it_may_answer_itself(workflow: Workflow) -> None:
    """A dry run: nothing reaches the network."""

    class DryRun(Middleware):
        async def attempt(
            self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]
        ) -> Response:
            return Response(202, Headers(), b'{"dispatch_uuid":"dry"}')

    async with RawServer() as server, client_of(server, middleware=[DryRun()]) as client:
        dispatch = await client.send(workflow)

    assert (dispatch.dispatch_uuid, server.received) == ("dry", [])


async def test_no_attempt_shows_its_authorization(workflow: Workflow) -> None:
    seen: list[Any] = []

    class Looking(Middleware):
        async def attempt(
            self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]
        ) -> Response:
            seen.append(attempt)
            return await proceed(attempt)

    async with RawServer() as server, client_of(server, middleware=[Looking()]) as client:
        await client.send(workflow)

    (attempt,) = seen
    assert "Authorization" not in attempt.request.headers
    assert repr(attempt) == "Attempt(request=Request('POST /dispatch'), number=1, purpose='call')"


def test_what_does_nothing_is_left_out() -> None:
    """A middleware of calls costs no attempt anything, and the other way round."""

    class Calls(Middleware):
        async def call(self, request: Request, proceed: Callable[[Request], Awaitable[T]]) -> T:
            return await proceed(request)

    assert (around_call([]), around_attempt([])) == (None, None)
    assert around_attempt([Calls(), Middleware()]) is None
    assert around_call([Middleware()]) is None
    assert around_call([Calls()]) is not None


async def test_what_is_inherited_passes_everything_on() -> None:
    request = Request("POST", "https://h/x", {}, b"", "/x")
    response = Response(200, {}, b"")

    async def answer(_it: object) -> Response:
        return response

    assert await Middleware().call(request, answer) is response
    assert await Middleware().attempt(Attempt(request, 1, "call"), answer) is response


@pytest.mark.parametrize(("method", "outcome"), [("call", "sent"), ("attempt", "unknown")])
async def test_cancelled_after_the_answer(workflow: Workflow, method: str, outcome: str) -> None:
    """Around the call the value was there; around the attempt the response was not read any more."""
    answered = asyncio.Event()

    async def slow(_self: Middleware, it: Any, proceed: Callable[[Any], Awaitable[Any]]) -> Any:
        value = await proceed(it)
        answered.set()
        await asyncio.Event().wait()
        return value

    kind = type("Slow", (Middleware,), {method: slow})
    async with RawServer() as server, client_of(server, middleware=[kind()]) as client:
        task = asyncio.create_task(client.send(workflow))
        await answered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

    interruption = interruption_of(caught.value)
    assert interruption is not None
    assert interruption.outcome == outcome
    if outcome == "sent":
        assert interruption.dispatch is not None
        assert interruption.dispatch.dispatch_uuid == ACCEPTED["dispatch_uuid"]


# --- what becomes of a send that a middleware ends ------------------------------------------------


async def timing_out_once(arrived: asyncio.Event, proceeding: Awaitable[T]) -> T:
    """Await as `asyncio.timeout` does whose time is over as soon as the request has arrived."""
    async with asyncio.timeout(None) as limit:

        async def expire() -> None:
            await arrived.wait()
            limit.reschedule(asyncio.get_running_loop().time())

        expiring = asyncio.create_task(expire())
        try:
            return await proceeding
        finally:
            expiring.cancel()


def ending(method: str, what: str, arrived: asyncio.Event | None = None) -> Middleware:
    """Return a middleware that ends what it stands around, with an exception of its own."""

    async def end(_self: Middleware, it: Any, proceed: Callable[[Any], Awaitable[Any]]) -> Any:
        if what == "before it proceeds":
            raise ValueError(what)
        if what == "once the request has arrived":
            assert arrived is not None
            return await timing_out_once(arrived, proceed(it))
        if what == "in place of an error":
            try:
                return await proceed(it)
            except OutcomeUnknownError:
                raise ValueError(what) from None
        await proceed(it)
        raise InvalidWorkflowError([]) if what == "with an error of ours" else ValueError(what)

    made: Middleware = type("Ending", (Middleware,), {method: end})()
    return made


@pytest.mark.parametrize(
    ("method", "what", "handler", "outcome"),
    [
        ("attempt", "before it proceeds", accept, "not_sent"),
        ("attempt", "once the request has arrived", hang, "unknown"),
        ("attempt", "in place of an error", close_after_body, "unknown"),
        ("attempt", "after the answer", accept, "unknown"),
        ("attempt", "with an error of ours", accept, "unknown"),
        ("call", "before it proceeds", accept, "not_sent"),
        ("call", "once the request has arrived", hang, "unknown"),
        ("call", "in place of an error", close_after_body, "unknown"),
        ("call", "after the answer", accept, "sent"),
        ("call", "with an error of ours", accept, "sent"),
    ],
)
async def test_whatever_it_raises_tells_what_became_of_the_send(
    workflow: Workflow, caplog: pytest.LogCaptureFixture, method: str, what: str, handler: Any, outcome: str
) -> None:
    """Its own exceptions, and those that `asyncio.timeout()` makes inside of it."""
    async with RawServer(handler) as server:
        middleware = ending(method, what, server.arrived)
        async with client_of(server, middleware=[middleware]) as client:
            with pytest.raises((ValueError, TimeoutError)) as caught:
                await client.send(workflow, client_ref="order-17")

    dispatch = caught.value.__dict__["interruption"].dispatch
    assert outcome_of_failure(caught.value) == Interruption(
        outcome,  # type: ignore[arg-type]  # a text, to mypy
        "POST /dispatch",
        workflow.summary(),
        ("order-17",),
        dispatch,
    )
    assert (dispatch is not None) is (outcome == "sent")
    if dispatch is not None:
        assert (dispatch.dispatch_uuid, dispatch.client_ref) == (ACCEPTED["dispatch_uuid"], "order-17")
    now = client.statistics()
    assert now.succeeded == (outcome == "sent")
    assert now.interrupted_unknown + now.unknown == (outcome == "unknown")
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (outcome == "unknown")
    assert now[-3:] == (0, 0, 0)


async def test_what_it_raises_around_a_token_means_that_nothing_was_sent(workflow: Workflow) -> None:
    class Impatient(Middleware):
        async def attempt(
            self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]
        ) -> Response:
            async with asyncio.timeout(0.05):
                return await proceed(attempt)

    async with RawServer(token_handler=hang) as server:
        oauth = KpnOAuth("id", "client-secret", server.token_url)
        async with client_of(server, middleware=[Impatient()], auth=oauth) as client:
            with pytest.raises(TimeoutError) as caught:
                await client.send(workflow)

    assert outcome_of_failure(caught.value).outcome == "not_sent"
    assert client.statistics().interrupted_unknown == 0


async def test_reading_that_it_ends_leaves_nothing_to_look_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for method in ("attempt", "call"):
        middleware = ending(method, "after the answer")
        async with (
            RawServer(answering(reply(200, {"id": "a"}))) as server,
            client_of(server, middleware=[middleware]) as client,
        ):
            with pytest.raises(ValueError, match="after the answer") as caught:
                await client.applications.get("a")

        assert outcome_of_failure(caught.value).outcome == "not_sent"
    assert "WARNING" not in {record.levelname for record in caplog.records}


async def test_its_own_exceptions_reach_the_caller(workflow: Workflow) -> None:
    class Broken(Middleware):
        async def attempt(
            self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]
        ) -> Response:
            raise LookupError("mine")

    async with RawServer() as server, client_of(server, middleware=[Broken()]) as client:
        with pytest.raises(LookupError, match="mine"):
            await client.send(workflow)

    assert client.statistics().interrupted == 1
    assert client._calls._slots._value == 100
