"""What has arrived is read before a time-out says that nothing did (contract 3.8)."""

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APITimeoutError, OutcomeUnknownError
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of, kpn_client_of
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, accept, hang
from tests.support.server_thread import ServerThread
from tests.support.tls import client_context, server_context

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

ONCE = RetryPolicy(attempts=1)
IN_FLIGHT = 64


def block(seconds: float) -> None:
    """Keep the event loop from running."""
    time.sleep(max(0.0, seconds))


async def until(event: threading.Event) -> None:
    """Return once the thread of the server has set `event`."""
    assert await asyncio.to_thread(event.wait, 20)


def run_out(client: DispatchClient) -> None:
    """Let the time of everything pass that the client has under way, as the timers see it."""
    deadlines = client._calls._attempts._deadlines
    assert deadlines._running
    for deadline in list(deadlines._running):
        if deadline.timers:
            deadlines._over(deadline)  # what its timer calls
        else:
            deadline.until = 0.0
    deadlines._look()


@pytest.mark.parametrize(
    ("total", "tls"),
    [
        pytest.param(4, False, id="a timer of its own-http"),
        pytest.param(60, False, id="the common timer-http"),
        pytest.param(4, True, id="a timer of its own-https", marks=pytest.mark.long),
        pytest.param(60, True, id="the common timer-https"),
    ],
)
async def test_answers_that_came_while_the_loop_was_blocked_count(
    workflow: Workflow, certificate: Path, total: float, *, tls: bool
) -> None:
    """The loop is blocked for longer than `total`, and all answers lie in the sockets: all are sent."""
    context, trust = (server_context(certificate), client_context(certificate)) if tls else (None, True)
    limits = Timeout(connect=30, total=total)
    with ServerThread(IN_FLIGHT, context) as thread:
        async with client_of(thread.server, timeout=Timeout(connect=30, total=None), ssl=trust) as client:
            # The connections are made before: handshakes take time, and are not what is asked here.
            warm = [asyncio.create_task(client.send(workflow)) for _ in range(IN_FLIGHT)]
            await until(thread.arrived)
            thread.answer()
            await asyncio.gather(*warm)
            thread.hold()
            sending = [
                asyncio.create_task(client.send(workflow, timeout=limits, retry=ONCE))
                for _ in range(IN_FLIGHT)
            ]
            await until(thread.arrived)

            thread.answer()  # from here to the next await nothing else runs
            run_out(client)
            results = await asyncio.gather(*sending, return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["Dispatch"] * IN_FLIGHT


async def test_an_answer_of_many_reads_counts(workflow: Workflow) -> None:
    """It is there as a whole, and reading it takes the event loop several rounds."""
    with ServerThread(1, body={**ACCEPTED, "more": "x" * 300_000}) as thread:
        async with client_of(thread.server, timeout=Timeout(total=60), retry=ONCE) as client:
            sending = asyncio.create_task(client.send(workflow))
            await until(thread.arrived)
            thread.answer()
            run_out(client)

            assert (await sending).dispatch_uuid == ACCEPTED["dispatch_uuid"]


async def test_a_token_that_came_while_the_loop_was_blocked_counts(workflow: Workflow) -> None:
    with ServerThread(1, hold_token=True) as thread:
        async with kpn_client_of(thread.server, timeout=Timeout(total=60), retry=ONCE) as client:
            sending = asyncio.create_task(client.send(workflow))
            await until(thread.arrived)
            thread.answer()
            run_out(client)

            assert (await sending).dispatch_uuid
            assert client.statistics().token_requests == 1


async def test_a_connection_that_was_made_while_the_loop_was_blocked_counts(workflow: Workflow) -> None:
    """The time for connecting is over when the loop comes back, and the connection is there."""
    async with RawServer() as server, client_of(server, timeout=Timeout(connect=0.05)) as client:
        sending = asyncio.create_task(client.send(workflow))
        await asyncio.sleep(0)  # it runs until it waits for the connection
        block(0.1)

        assert (await sending).dispatch_uuid

    assert client.statistics().attempts == 1


async def test_what_did_not_leave_in_time_leaves_no_more(workflow: Workflow) -> None:
    """A last look is for answers: the answer to a request that left in it would come too late."""
    async with RawServer(hang) as server, client_of(server, timeout=Timeout(total=0.05)) as client:
        sending = asyncio.create_task(client.send(workflow, retry=ONCE))
        await asyncio.sleep(0)
        block(0.1)
        with pytest.raises(APITimeoutError):
            await sending

    assert server.posts == 0


async def test_a_trickle_does_not_hold_up_the_end(workflow: Workflow) -> None:
    """The last look is bounded in rounds, whatever the service goes on to write."""

    async def trickle(_request: Received, connection: Connection) -> None:
        await connection.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.write(b"1\r\n \r\n")
            await asyncio.sleep(0)

    async with RawServer(trickle) as server, client_of(server, timeout=Timeout(total=60)) as client:
        sending = asyncio.create_task(client.send(workflow, retry=ONCE))
        await server.arrived.wait()
        run_out(client)
        with pytest.raises(OutcomeUnknownError, match="no response in time"):
            await sending


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be suspended here")
async def test_64_answers_to_a_process_that_was_suspended_are_64_sent() -> None:
    """SIGSTOP for longer than `total`, as a paused container: every answer is in its socket afterwards."""
    total = 3.0
    all_here, stopped, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
    arrived: list[float] = []
    writes = 0

    async def answer_later(request: Received, connection: Connection) -> None:
        nonlocal writes
        arrived.append(time.monotonic())
        if len(arrived) == IN_FLIGHT:
            all_here.set()
        await stopped.wait()
        await accept(request, connection)
        writes += 1
        if writes == IN_FLIGHT:
            answered.set()

    async with RawServer(answer_later) as server:
        module = "tests.support.sending_process"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, server.base_url, str(IN_FLIGHT), str(total),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await asyncio.wait_for(all_here.wait(), 20)
            os.kill(process.pid, signal.SIGSTOP)
            stopped.set()
            await asyncio.wait_for(answered.wait(), 10)
            # The time that has to pass; nothing happens in it.
            await asyncio.sleep(max(0.0, arrived[-1] + total + 0.2 - time.monotonic()))
            os.kill(process.pid, signal.SIGCONT)
            out, _ = await asyncio.wait_for(process.communicate(), 20)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert out.decode().strip() == f"{{'sent': {IN_FLIGHT}}}"
