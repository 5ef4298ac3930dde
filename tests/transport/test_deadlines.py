"""Long timeouts: one timer for all, and a cancellation that is told from those of other tasks."""

import asyncio

import pytest

from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APITimeoutError, OutcomeUnknownError
from nexmo_dispatch_async.interruption import interruption_of
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.transport.deadlines import Deadlines
from nexmo_dispatch_async.workflow import Workflow
from tests.support.misbehaving import Connection, RawServer, Received, hang

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

LONG = Timeout(connect=None, total=60)


async def wait_for_ever(deadlines: Deadlines, seconds: float, notes: list[str]) -> None:
    deadline = deadlines.start(seconds)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not deadline.take_back():
            raise
        notes.append("over")
    finally:
        deadlines.stop(deadline)


async def test_what_takes_too_long_ends_and_the_task_goes_on() -> None:
    notes: list[str] = []

    await wait_for_ever(Deadlines(every=0.001), 0.0, notes)

    task = asyncio.current_task()
    assert task is not None
    assert notes == ["over"]
    assert task.cancelling() == 0


async def test_a_cancellation_from_elsewhere_is_not_taken_back() -> None:
    """Not even when the time is over in the same moment."""
    deadlines = Deadlines(every=60)
    notes: list[str] = []
    task = asyncio.create_task(wait_for_ever(deadlines, 0.0, notes))
    await asyncio.sleep(0)

    task.cancel()
    deadlines._look()
    await asyncio.wait([task])

    assert task.cancelled()
    assert notes == []


async def test_a_cancellation_that_was_not_taken_back_is_taken_back_at_the_end() -> None:
    """Code in between may turn the cancellation into another exception."""
    deadlines = Deadlines(every=60)

    async def swallow() -> int:
        deadline = deadlines.start(0.0)
        try:
            deadlines._look()
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass
        finally:
            deadlines.stop(deadline)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await swallow() == 0


async def test_there_is_one_timer_and_none_while_nothing_is_under_way() -> None:
    deadlines = Deadlines(every=0.001)
    first, second = deadlines.start(60), deadlines.start(60)
    timer = deadlines._timer
    assert timer is not None

    deadlines.stop(first)
    deadlines.close()
    assert not timer.cancelled()
    deadlines.stop(second)
    deadlines._look()

    assert deadlines._timer is None
    deadlines.stop(deadlines.start(60))
    deadlines.close()
    assert deadlines._timer is None


def test_outside_of_a_task_there_is_nothing_to_end() -> None:
    loop = asyncio.new_event_loop()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            Deadlines().start(1)
        except RuntimeError as error:
            errors.append(error)
        loop.stop()

    loop.call_soon(call)
    loop.run_forever()
    loop.close()

    assert [str(error) for error in errors] == ["the network is awaited in a task"]


# --- in the client ----------------------------------------------------------------------------------


def client_of(server: RawServer) -> DispatchClient:
    return DispatchClient(
        auth=BearerToken("t"),
        application_id="app",
        base_url=server.base_url,
        timeout=LONG,
        retry=RetryPolicy(attempts=1),
    )


def run_out(client: DispatchClient) -> None:
    """Let a minute pass for everything that the client has under way."""
    deadlines = client._calls._attempts._deadlines
    assert deadlines._running
    for deadline in deadlines._running:
        deadline.until = 0.0
    deadlines._look()


async def test_no_answer_in_time(workflow: Workflow) -> None:
    """Contract 3.8: bytes left, so the outcome is unknown; nothing is repeated."""
    arrived = asyncio.Event()

    async def never_answer(request: Received, connection: Connection) -> None:
        arrived.set()
        await hang(request, connection)

    async with RawServer(never_answer) as server, client_of(server) as client:
        sending = asyncio.create_task(client.send(workflow))
        await arrived.wait()
        run_out(client)
        with pytest.raises(
            OutcomeUnknownError, match=r"^POST /dispatch: sent, and no response in time; do not repeat it: "
        ) as caught:
            await sending

        assert caught.value.phase == "wait"
        assert len(server.received) == 1
        assert client._calls._slots._value == 100
        assert not client._calls._attempts._deadlines._running
        assert sending.cancelling() == 0


async def test_no_connection_in_time(workflow: Workflow) -> None:
    """Nothing left: sending again is safe."""
    async with RawServer() as server, client_of(server) as client:
        sending = asyncio.create_task(client.send(workflow))
        await asyncio.sleep(0)  # it runs until it waits for the connection
        run_out(client)
        with pytest.raises(APITimeoutError, match="no connection in time"):
            await sending

        assert server.received == []
        assert (await client.send(workflow)).dispatch_uuid


async def test_who_is_cancelled_when_the_time_is_over_is_cancelled(workflow: Workflow) -> None:
    arrived = asyncio.Event()

    async def never_answer(request: Received, connection: Connection) -> None:
        arrived.set()
        await hang(request, connection)

    async with RawServer(never_answer) as server, client_of(server) as client:
        sending = asyncio.create_task(client.send(workflow))
        await arrived.wait()
        sending.cancel()
        run_out(client)
        with pytest.raises(asyncio.CancelledError) as caught:
            await sending

    known = interruption_of(caught.value)
    assert known is not None
    assert known.outcome == "unknown"
