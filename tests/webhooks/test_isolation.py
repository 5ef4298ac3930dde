"""A handler that ends in an unusual way does not take the other handlers, or the answer, with it."""

import asyncio
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Event, HandlerError, Receiver, Router, parse_event
from nexmo_dispatch_webhooks.inbox import MemoryInbox
from nexmo_dispatch_webhooks.testing import WebhookClient
from tests.webhooks.payloads import encode, status_body

STATUS = parse_event(encode(status_body()))


async def await_what_was_cancelled() -> None:
    """Let the cancellation of a helper task leak."""
    helper = asyncio.create_task(asyncio.sleep(3600))
    helper.cancel()
    await helper


async def raise_a_base_exception() -> None:
    class Outcome(BaseException):
        """Such as those of pytest.fail and pytest.skip."""

    raise Outcome


UNUSUAL = pytest.mark.parametrize(
    ("end", "name"), [(await_what_was_cancelled, "CancelledError"), (raise_a_base_exception, "Outcome")]
)


def router_with(end: Any, log: list[str]) -> Router:
    router = Router()

    @router.register(name="unusual")
    async def unusual(event: Event) -> None:
        await end()

    @router.register(name="second")
    async def second(event: Event) -> None:
        log.append("second")

    return router


@UNUSUAL
async def test_it_is_a_failure_and_the_next_handler_runs(end: Any, name: str) -> None:
    """The dispatch was not cancelled, so no exception is raised."""
    log: list[str] = []

    result = await router_with(end, log).dispatch(STATUS)

    assert log == ["second"]
    assert [(failure.handler, type(failure.error).__name__) for failure in result.failures] == [
        ("unusual", name)
    ]


@UNUSUAL
async def test_without_an_inbox_the_service_is_asked_to_repeat(end: Any, name: str) -> None:
    """500, as for every failure (contract 5.10)."""
    log: list[str] = []

    async with (
        Receiver(router_with(end, log), verification=None) as receiver,
        WebhookClient(receiver, raise_failures=False) as client,
    ):
        answer = await client.post_status()

    assert (answer.status, log) == (500, ["second"])
    assert receiver.statistics().answers == {500: 1}


@UNUSUAL
async def test_the_client_for_tests_raises_it(end: Any, name: str) -> None:
    """A test of handlers sees what the service would see."""
    async with WebhookClient(router_with(end, [])) as client:
        with pytest.raises(HandlerError, match=rf"unusual \({name}\)"):
            await client.post_status()


async def test_the_client_for_tests_raises_a_leaked_cancellation_from_behind_an_inbox() -> None:
    """There no answer tells of it."""
    router = router_with(await_what_was_cancelled, [])

    async with (
        Receiver(router, verification=None, inbox=MemoryInbox()) as receiver,
        WebhookClient(receiver) as client,
    ):
        with pytest.raises(HandlerError, match=r"unusual \(CancelledError\)"):
            await client.post_status()


async def test_a_cancelled_task_ends_though_a_handler_waits() -> None:
    """The server ends the request: no further handler runs."""
    log: list[str] = []
    waits = asyncio.Event()

    async def wait() -> None:
        waits.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(router_with(wait, log).dispatch(STATUS))
    await waits.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_the_end_of_the_program_comes_through(error: type[BaseException]) -> None:
    """It is the failure of no handler."""

    async def end() -> None:
        raise error

    coroutine = router_with(end, []).dispatch(STATUS)

    # driven by hand: asyncio would end its loop
    with pytest.raises(error):
        coroutine.send(None)


def test_without_asyncio_a_cancellation_comes_through() -> None:
    """Other loops have other exceptions for it, which must not be held back."""

    class Cancelled(BaseException):
        pass

    async def end() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        router_with(end, []).dispatch(STATUS).send(None)
