"""What an operator sees and sets: references, rules, statistics, answers, deadlines."""

import asyncio
import inspect
import json
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient, new_client_ref
from nexmo_dispatch_async.client_settings import ClientSettings
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    InvalidWorkflowError,
    OutcomeUnknownError,
    RateLimitError,
)
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.transport.settings import TransportSettings
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.clock import Time
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    RawServer,
    Received,
    answering,
    close_after_body,
    hang,
    reply,
)


def refs_of(request: Received) -> list[str | None]:
    return [step.get("client_ref") for step in request.json["workflow"]]


# --- references -----------------------------------------------------------------------------------


async def test_no_reference_is_invented_unless_asked_for(workflow: Workflow) -> None:
    """Contract 3.1: what is sent is what the caller gave."""
    async with RawServer() as server, client_of(server) as client:
        dispatch = await client.send(workflow)

    assert refs_of(server.received[0]) == [None, None]
    assert (dispatch.client_ref, dispatch.client_refs) == (None, ())


async def test_a_reference_is_made_and_returned(workflow: Workflow) -> None:
    """One for the workflow: any callback of any of its steps carries it (contract 3.2)."""
    async with RawServer() as server, client_of(server, client_ref=new_client_ref) as client:
        first, second = await client.send(workflow), await client.send(workflow)

    assert first.client_ref != second.client_ref
    assert refs_of(server.received[0]) == [first.client_ref] * 2
    assert first.client_ref is not None
    assert len(first.client_ref) <= 40
    assert repr(first) == f"Dispatch(dispatch_uuid={first.dispatch_uuid!r})"


async def test_a_reference_that_was_given_stays() -> None:
    step = {
        "from": {"type": "sms", "number": "31647356950"},
        "to": {"type": "sms", "number": "31617185666"},
        "message": {"content": {"type": "text", "text": "Hello there"}},
    }
    failover = {"expiry_time": 60, "condition_status": "delivered"}
    steps = [{**step, "failover": failover, "client_ref": "mine"}, step]
    workflow = Workflow.from_json(json.dumps({"template": "failover", "workflow": steps}))
    async with RawServer() as server, client_of(server, client_ref=lambda: "made") as client:
        dispatch = await client.send(workflow)
        of_the_call = await client.send(workflow, client_ref="call")

    assert [refs_of(request) for request in server.received] == [["mine", "made"], ["mine", "call"]]
    assert dispatch.client_refs == ("mine", "made")
    assert of_the_call.client_refs == ("mine", "call")


async def test_a_reference_is_checked_like_any_other(workflow: Workflow) -> None:
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(InvalidWorkflowError, match="client_ref"):
            await client.send(workflow, client_ref="x" * 41)

    assert server.received == []


async def test_a_followed_dispatch_has_its_references(workflow: Workflow) -> None:
    async with RawServer() as server, client_of(server, tracker=Tracker()) as client:
        dispatch = await client.send(workflow, client_ref="order-17")

    assert dispatch.client_refs == ("order-17",)


@pytest.mark.parametrize(
    ("handler", "kind"), [(close_after_body, OutcomeUnknownError), (answering(reply(409)), ConflictError)]
)
async def test_an_error_carries_what_was_sent_without_personal_data(
    workflow: Workflow, handler: Any, kind: type[APIError]
) -> None:
    async with RawServer(handler) as server, client_of(server, client_ref=lambda: "ref-1") as client:
        with pytest.raises(kind) as caught:
            await client.send(workflow)

    error = caught.value
    assert error.client_refs == ("ref-1",)
    assert error.steps == ("whatsapp text until read within 900 s to …21", "sms text to …23")


# --- rules ----------------------------------------------------------------------------------------


async def test_rules_of_the_client_and_of_the_call(workflow: Workflow) -> None:
    """docs/rules.md: the same switches as for lint() and check()."""
    plus = Workflow.from_json(workflow.to_json().replace(b'"number":"447', b'"number":"+447'))
    async with RawServer() as server, client_of(server, rules=Rules(off=["e164"])) as client:
        await client.send(plus)
        with pytest.raises(InvalidWorkflowError):
            await client.send(plus, rules=Rules())
        async with client.send_many([plus], rules=Rules()) as results:
            (refused,) = [result async for result in results]

    assert len(server.received) == 1
    assert refused.outcome == "refused"


# --- statistics -----------------------------------------------------------------------------------


async def test_statistics_count_calls_by_their_end(workflow: Workflow) -> None:
    token_down = KpnOAuth("id", "client-secret", "http://127.0.0.1:1/t")
    answers = [reply(202, ACCEPTED), reply(429), reply(202, ACCEPTED), reply(400), reply(500), reply(404)]
    async with RawServer(answering(*answers)) as server:
        oauth = KpnOAuth("id", "client-secret", server.token_url)
        async with client_of(server, auth=oauth) as client:
            await client.send(workflow)
            await client.send(workflow)
            for kind in (BadRequestError, OutcomeUnknownError):
                with pytest.raises(kind):
                    await client.send(workflow)
            with pytest.raises(APIError):
                await client.applications.get("a")
            with pytest.raises(InvalidWorkflowError):
                await client.send(Workflow.failover())
        assert client.statistics() == (5, 2, 0, 2, 1, 0, 0, 6, 1, 1, 0, 0, 0)

        async with client_of(server, auth=token_down) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.send(workflow)
    assert caught.value.phase == "token"
    assert client.statistics()._asdict() == {
        **dict.fromkeys(client.statistics()._fields, 0),
        "calls": 1,
        "not_sent": 1,
        "token_requests": 4,
    }


async def test_statistics_show_who_waits_for_what(workflow: Workflow) -> None:
    pausing = asyncio.Event()

    class Pausing(Time):
        async def sleep(self, seconds: float) -> None:
            pausing.set()
            await asyncio.Event().wait()

    async def first_limited(request: Received, connection: Connection) -> None:
        if len(server.received) == 1:
            await connection.write(reply(429))
        else:
            await hang(request, connection)

    async with RawServer(first_limited) as server, client_of(server, limit=1, time=Pausing()) as client:
        tasks = [asyncio.create_task(client.send(workflow)) for _ in range(3)]
        await pausing.wait()
        now = client.statistics()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    assert (now.pausing, now.in_flight, now.waiting) == (1, 1, 1)
    assert client.statistics()[-3:] == (0, 0, 0)


async def test_an_exception_of_middleware_is_counted_as_an_interruption(workflow: Workflow) -> None:
    class Broken(Time):
        async def sleep(self, seconds: float) -> None:
            raise LookupError("broken")

    async with RawServer(answering(reply(429))) as server, client_of(server, time=Broken()) as client:
        with pytest.raises(LookupError):
            await client.send(workflow)

    assert client.statistics().interrupted == 1


# --- answers --------------------------------------------------------------------------------------


async def test_each_call_can_have_its_own_response(workflow: Workflow) -> None:
    """`on_response` gets status, headers and bytes, without anything shared between calls."""

    async def numbered(request: Received, connection: Connection) -> None:
        number = len(server.received)
        await connection.write(reply(202, {"dispatch_uuid": str(number)}, {"quota-used": str(number)}))

    async def send() -> tuple[Dispatch, Response]:
        responses: list[Response] = []
        dispatch = await client.send(workflow, on_response=responses.append)
        (response,) = responses
        return dispatch, response

    async with RawServer(numbered) as server, client_of(server) as client:
        pairs = await asyncio.gather(*(send() for _ in range(50)))

    assert len({dispatch.dispatch_uuid for dispatch, _ in pairs}) == 50
    for dispatch, response in pairs:
        assert response.status == 202
        assert response.headers["Quota-Used"] == dispatch.dispatch_uuid
        assert json.loads(response.body)["dispatch_uuid"] == dispatch.dispatch_uuid
        assert repr(response).startswith("Response(202, ")


async def test_a_response_that_makes_no_sense_is_seen_as_well(workflow: Workflow) -> None:
    """The response may be all that is known of a workflow that is under way."""
    responses: list[Response] = []
    async with RawServer(answering(reply(200, b"hello"))) as server, client_of(server) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow, on_response=responses.append)

    assert [response.body for response in responses] == [b"hello"]


async def test_a_call_of_your_own_reads_the_response_itself() -> None:
    handler = answering(reply(200, {"id": "a"}, {"sunset": "n/a"}))
    async with RawServer(handler) as server, client_of(server) as client:
        request = Request("GET", f"{server.base_url}/applications/a", {}, None, "/applications/{id}")
        sunset = await client.call(request, lambda response: response.headers["sunset"])

    assert sunset == "n/a"


# --- what is no workflow, no auth, or no setting --------------------------------------------------


async def test_a_step_is_sent_as_a_workflow_of_one_step(workflow: Workflow) -> None:
    """One message needs no list: `send(step)` and `send_many([step])` send a workflow of one step."""
    step = workflow.steps[-1]
    items: list[Any] = [step, ("key", step)]
    async with (
        RawServer(answering(reply(202, {"dispatch_uuid": "a"}))) as server,
        client_of(server) as client,
    ):
        dispatch = await client.send(step, client_ref="order-7")
        outcomes = [outcome async for outcome in client.send_many(items)]

    assert dispatch.client_ref == "order-7"
    assert [outcome.outcome for outcome in outcomes] == ["sent", "sent"]
    assert {outcome.workflow for outcome in outcomes} == {Workflow((step,))}
    bodies = [json.loads(request.body) for request in server.received]
    assert [len(body["workflow"]) for body in bodies] == [1, 1, 1]


async def test_a_step_with_a_condition_says_that_it_is_the_last(workflow: Workflow) -> None:
    """A step that would fail over to nothing is refused as in a workflow."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(InvalidWorkflowError, match="must not be on the last step"):
            await client.send(workflow.steps[0])

    assert server.posts == 0


@pytest.mark.parametrize("what", ["bytes", "the class"])
async def test_what_is_no_workflow_is_named(workflow: Workflow, what: str) -> None:
    """Without type checking, bytes instead of a workflow are among the first things one tries."""
    given: Any = {
        "bytes": workflow.to_json(),
        "the class": dict,
    }[what]
    async with RawServer() as server, client_of(server) as client:
        for client_ref in (None, "r"):
            with pytest.raises(ConfigurationError, match=r"send a Workflow\.failover\(…\)") as caught:
                await client.send(given, client_ref=client_ref)
        with pytest.raises(ConfigurationError, match="send a Workflow"):
            await anext(client.send_many([given]))

    assert str(caught.value).endswith({"bytes": "not a bytes", "the class": "not the class dict"}[what])
    assert server.posts == 0


async def test_a_workflow_of_your_own_may_have_faults_of_its_own(workflow: Workflow) -> None:
    class Broken(Workflow, frozen=True):
        def check(self, rules: Rules | None = None) -> None:
            raise AttributeError("mine")

    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(AttributeError, match="mine"):
            await client.send(Broken(workflow.steps))


@pytest.mark.parametrize(
    ("auth", "kind"), [("secret-token", "a str"), (KpnOAuth, "the class KpnOAuth"), (None, "a NoneType")]
)
def test_what_is_no_auth_is_refused_at_once(auth: Any, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^auth must be KpnOAuth\(…\), .*, not {kind}$"):
        DispatchClient(auth=auth)


async def test_the_token_endpoint_of_kpn_can_be_another(workflow: Workflow) -> None:
    async with (
        RawServer() as server,
        DispatchClient.kpn(
            "id", "client-secret", "app", token_url=server.token_url, base_url=server.base_url
        ) as client,
    ):
        await client.send(workflow)

    assert len(server.token_requests) == 1


def test_an_application_that_nothing_would_carry_is_refused() -> None:
    """Vonage reads it from the token, so an explicit id would be ignored silently."""
    settings: Any = {"application_id": "app"}
    with pytest.raises(ConfigurationError, match="Vonage knows the application from the token"):
        DispatchClient.vonage(BearerToken("t"), **settings)


def test_the_settings_are_the_same_for_type_checkers_and_for_help() -> None:
    """The fields of `ClientSettings` are named twice, since Python cannot derive one from the other."""
    shown = inspect.signature(DispatchClient).parameters
    kinds = {**TransportSettings.__annotations__, **ClientSettings.__annotations__}
    settings = ClientSettings(auth=BearerToken("t"))

    assert list(shown)[:2] == ["auth", "application_id"]
    assert set(shown) == set(ClientSettings.__struct_fields__) == set(kinds)
    for name, parameter in shown.items():
        assert parameter.annotation == kinds[name]
        assert name == "auth" or parameter.default == getattr(settings, name)


def test_the_settings_of_a_client_cannot_change() -> None:
    client = DispatchClient(auth=BearerToken("t"))

    with pytest.raises(AttributeError):
        client._settings.limit = 1  # type: ignore[misc]  # that is what is tested


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"retry": 3}, "retry must be of type RetryPolicy, not int"),
        ({"timeout": 10.0}, "timeout must be of type Timeout, not float"),
        ({"rules": Rules}, "rules must be of type Rules, not Rules itself"),
        ({"limit": 0}, "limit must be a whole number, at least 1, not 0"),
        ({"max_response": "1 MB"}, "max_response must be a whole number, at least 1, not str"),
        ({"client_ref": "order-17"}, "client_ref must be a function, not str"),
        ({"sleep": 1}, "sleep must be a function, not 1"),
        ({"keepalive_timeout": -1}, "keepalive_timeout must be from 0 to 86400 seconds, not -1"),
    ],
)
def test_a_wrong_setting_is_refused_where_it_is_given(setting: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DispatchClient(auth=BearerToken("t"), **setting)

    assert str(caught.value) == message


def test_settings_show_no_secret() -> None:
    """A proxy may have a password."""
    client = DispatchClient(auth=BearerToken("t"), proxy="http://user:very-secret@proxy.example")

    assert repr(client._settings) == "ClientSettings(…)"
    assert "very-secret" not in str(client._settings.__rich_repr__())


async def test_a_call_can_change_one_field_of_what_is_set(workflow: Workflow) -> None:
    """What is given for a call counts with all its fields; the client shows its own to start from."""
    handler = answering(reply(503), reply(202, ACCEPTED))
    policy, timeout = RetryPolicy(unavailable=True), Timeout(connect=3)
    async with RawServer(handler) as server, client_of(server, retry=policy, timeout=timeout) as client:
        await client.send(
            workflow,
            retry=msgspec.structs.replace(client.retry, attempts=2),
            timeout=msgspec.structs.replace(client.timeout, total=5),
        )

        assert (client.retry, client.timeout) == (policy, timeout)
    assert len(server.received) == 2


# --- attempts, time-outs, deadlines ---------------------------------------------------------------


async def test_the_deadline_ends_the_tries(workflow: Workflow) -> None:
    """Per client and per call; a wait that would end after it is not begun."""
    time = Time()
    policy = RetryPolicy(attempts=9, timeout=2)
    async with (
        RawServer(answering(reply(429))) as server,
        client_of(server, time=time, retry=policy) as client,
    ):
        with pytest.raises(RateLimitError):
            await client.send(workflow)
        of_the_client, time.slept = time.slept, []
        with pytest.raises(RateLimitError):
            await client.send(workflow, retry=RetryPolicy(attempts=9, timeout=0.5))

    assert of_the_client == [0.25, 0.5, 1.0]
    assert time.slept == [0.25]


async def test_waiting_for_a_slot_does_not_count_for_the_deadline(workflow: Workflow) -> None:
    """The second try waits an hour for the only slot; a third is made all the same."""
    time = Time()
    policy = RetryPolicy(timeout=10)
    handler = answering(reply(429))
    async with RawServer(handler) as server, client_of(server, time=time, limit=1, retry=policy) as client:

        async def take_the_slot(_seconds: float) -> None:
            slots = client._calls._slots
            await slots.acquire()

            def give_back() -> None:
                time.now += 3600
                slots.release()

            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, give_back)

        client._calls.settings = msgspec.structs.replace(client._calls.settings, sleep=take_the_slot)
        with pytest.raises(RateLimitError) as caught:
            await client.send(workflow)

    assert caught.value.attempts == 4
    assert time.now >= 3 * 3600


async def test_the_time_out_of_a_call(workflow: Workflow) -> None:
    async with RawServer(hang) as server, client_of(server, timeout=Timeout(total=30)) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.send(workflow, timeout=Timeout(connect=5, total=0.1))

    assert (caught.value.phase, caught.value.message) == (
        "wait",
        "POST /dispatch: sent, and no response in time",
    )


# --- a repetition that was asked for --------------------------------------------------------------


@pytest.mark.parametrize(
    "later",
    [[reply(400)], [reply(429)], [reply(401)], [b"HTTP/1.1 202 OK\r\n"]],
    ids=["400", "429", "401", "half"],
)
async def test_what_comes_after_a_503_does_not_tell_what_became_of_it(
    workflow: Workflow, later: list[bytes]
) -> None:
    """The first attempt may have been accepted, however certain the failure of the second is."""
    policy = RetryPolicy(attempts=3, unavailable=True)
    async with RawServer(answering(reply(503), *later)) as server, client_of(server, retry=policy) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.send(workflow, timeout=Timeout(total=0.2))

    assert caught.value.outcome == "unknown"
    assert client.statistics().unknown == 1


async def test_reading_is_repeated_without_doubt() -> None:
    async with RawServer(answering(reply(503), reply(404))) as server, client_of(server) as client:
        client._calls.settings = msgspec.structs.replace(
            client._calls.settings, retry=RetryPolicy(unavailable=True)
        )
        with pytest.raises(APIError) as caught:
            await client.applications.get("a")

    assert caught.value.status == 404
