"""When many sends pause, when they stop, and who tries."""

import asyncio
from typing import Any

import pytest

from nexmo_dispatch_async.exceptions import ConfigurationError, NotSentError, OutcomeUnknownError
from nexmo_dispatch_async.fan_out.brake import Brake, Braking
from nexmo_dispatch_async.interruption import interruption_of

UNKNOWN = OutcomeUnknownError("POST /dispatch: 502", request="POST /dispatch")


class Pauses:
    """Waits until the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.go_on = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.go_on.wait()


async def no_pause(_seconds: float) -> None: ...


async def fail(braking: Braking, times: int) -> None:
    for _ in range(times):
        trial = await braking.enter()
        assert trial is not None
        braking.leave(trial, UNKNOWN)


async def test_it_stops_after_the_last_pause() -> None:
    asked: list[float] = []

    async def pause(seconds: float) -> None:
        asked.append(seconds)

    braking = Braking(Brake(3, (1.0, 5.0)), pause)
    await fail(braking, 3)
    assert asked == []
    await fail(braking, 1)
    assert asked == [1.0]
    await fail(braking, 1)

    assert asked == [1.0, 5.0]
    assert await braking.enter() is None
    error = braking.error()
    assert error.message == (
        "POST /dispatch: not tried: send_many stopped, 5 in a row were unknown or not sent, the last one: "
        "POST /dispatch: 502"
    )
    assert (error.outcome, error.error_class, error.attempts) == ("not_sent", "temporary", 0)


async def test_without_pauses_it_stops_at_once() -> None:
    braking = Braking(Brake(2, ()), no_pause)
    await fail(braking, 2)

    assert await braking.enter() is None


async def test_what_the_service_takes_or_refuses_ends_a_row() -> None:
    braking = Braking(Brake(3, ()), no_pause)
    for _ in range(5):
        await fail(braking, 2)
        braking.leave(await braking.enter() or 0, None)

    assert await braking.enter() == 0


async def test_what_was_not_sent_counts_like_what_is_unknown() -> None:
    braking = Braking(Brake(2, ()), no_pause)
    braking.leave(0, UNKNOWN)
    braking.leave(0, NotSentError("no connection"))

    assert await braking.enter() is None


async def test_one_tries_alone_and_all_go_on_if_it_goes_through() -> None:
    pauses = Pauses()
    braking = Braking(Brake(2, (1.0, 5.0)), pauses)
    await fail(braking, 2)
    entering = [asyncio.create_task(braking.enter()) for _ in range(10)]
    await asyncio.sleep(0)
    pauses.go_on.set()
    done, waiting = await asyncio.wait(entering, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)

    (first,) = done
    assert sum(task.done() for task in entering) == 1
    assert pauses.asked == [1.0]
    braking.leave(first.result() or 0, None)
    await asyncio.wait(waiting)
    assert {task.result() for task in waiting} == {0}
    # The pauses begin anew.
    await fail(braking, 2)
    await fail(braking, 1)
    assert pauses.asked == [1.0, 1.0]


async def test_callbacks_from_before_do_not_pass_for_that_of_the_one_that_tries() -> None:
    """Sends that were under way when it took hold end as they may."""
    pauses = Pauses()
    braking = Braking(Brake(2, (1.0,)), pauses)
    await fail(braking, 2)
    trying = asyncio.create_task(braking.enter())
    await asyncio.sleep(0)
    for _ in range(20):
        braking.leave(0, UNKNOWN)
    pauses.go_on.set()

    assert await trying
    waiting = asyncio.create_task(braking.enter())
    await asyncio.sleep(0)
    assert not waiting.done()
    braking.leave(trying.result() or 0, UNKNOWN)
    assert await waiting is None


@pytest.mark.parametrize("cancelled", ["in its pause", "in its send"])
async def test_if_the_one_that_tries_is_cut_short_another_one_tries(cancelled: str) -> None:
    pauses = Pauses()
    braking = Braking(Brake(1, (1.0,)), pauses)
    await fail(braking, 1)
    trying = asyncio.create_task(braking.enter())
    waiting = asyncio.create_task(braking.enter())
    await asyncio.sleep(0)
    if cancelled == "in its pause":
        trying.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await trying
        known = interruption_of(caught.value)
        assert known is not None
        assert known.outcome == "not_sent"
        pauses.go_on.set()
    else:
        pauses.go_on.set()
        braking.abandon(await trying or 0)

    trial = await waiting
    assert trial
    assert pauses.asked == [1.0, 1.0]
    braking.leave(trial, None)
    assert await braking.enter() == 0


async def test_one_that_waits_may_be_cancelled_without_the_others() -> None:
    pauses = Pauses()
    braking = Braking(Brake(1, (1.0,)), pauses)
    await fail(braking, 1)
    trying, one, other = (asyncio.create_task(braking.enter()) for _ in range(3))
    await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await one
    known = interruption_of(caught.value)
    pauses.go_on.set()
    braking.leave(await trying or 0, None)

    assert known is not None
    assert known.outcome == "not_sent"
    assert await other == 0


async def test_no_brake_never_holds() -> None:
    braking = Braking(None, no_pause)
    await fail(braking, 1000)

    assert await braking.enter() == 0


@pytest.mark.parametrize("after", [0, -1, 1.5, True, "3", None])
def test_a_wrong_number_is_refused(after: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Brake\.after must be a whole number of at least 1, not "):
        Brake(after)


@pytest.mark.parametrize("pauses", [(-1,), (float("nan"),), (float("inf"),), ("1",), 5, "15", None])
def test_wrong_pauses_are_refused(pauses: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Brake\.pauses must be a tuple of seconds of at least 0"):
        Brake(3, pauses)
