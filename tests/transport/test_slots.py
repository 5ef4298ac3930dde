"""The slots of the client: bounded, in order, and never lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.transport.slots import Slots


async def test_who_waits_is_served_in_order_and_nobody_overtakes() -> None:
    slots = Slots(1)
    await slots.acquire()
    served: list[int] = []

    async def take(number: int) -> None:
        await slots.acquire()
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(take(number))
        await asyncio.sleep(0)
        assert slots.waiting == 3
        for _ in range(3):
            slots.release()
            # The slot belongs to who waited: a newcomer would find none.
            assert slots.free == 0
            await asyncio.sleep(0)

    assert served == [0, 1, 2]


async def test_a_slot_that_arrives_with_a_cancellation_goes_to_the_next() -> None:
    slots = Slots(1)
    await slots.acquire()
    first = asyncio.ensure_future(slots.acquire())
    second = asyncio.ensure_future(slots.acquire())
    await asyncio.sleep(0)

    slots.release()
    first.cancel()
    await asyncio.wait([first, second], timeout=1)

    assert first.cancelled()
    assert second.done()
    assert slots.waiting == 0


async def test_a_cancelled_waiter_is_forgotten_at_once() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiter = asyncio.ensure_future(slots.acquire())
    await asyncio.sleep(0)

    waiter.cancel()
    await asyncio.wait([waiter])

    assert repr(slots) == "<Slots free=0 waiting=0>"
    slots.release()
    assert slots.free == 1


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["take", "give", "cancel", "turn"]), st.integers(0, 9))),
)
def test_slots_are_neither_lost_nor_invented(limit: int, actions: list[tuple[str, int]]) -> None:
    """Whatever the order of calls, cancellations and turns of the loop, held and free are the limit."""

    async def play() -> None:
        slots = Slots(limit)
        waiting: list[asyncio.Task[None]] = []
        for action, which in actions:
            held = [task for task in waiting if task.done() and not task.cancelled()]
            if action == "take":
                waiting.append(asyncio.create_task(slots.acquire()))
            elif action == "cancel" and waiting:
                waiting[which % len(waiting)].cancel()
            elif action == "give" and held:
                waiting.remove(held[0])
                slots.release()
            else:
                await asyncio.sleep(0)
            assert 0 <= slots.free <= limit
        for _ in range(3):
            await asyncio.sleep(0)
        held = [task for task in waiting if task.done() and not task.cancelled()]
        assert len(held) + slots.free == limit or not slots.free
        assert len(held) <= limit
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in held:
            slots.release()
        late = [task for task in waiting if not task.cancelled() and task not in held]
        assert slots.free + len(late) == limit
        assert slots.waiting == 0

    asyncio.run(play())
