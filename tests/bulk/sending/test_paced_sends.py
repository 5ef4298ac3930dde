"""`PacedSends`: single sends and a campaign share one rate, and each learns from the other's responses."""

from __future__ import annotations

import math
from collections import Counter

import anyio
import msgspec
import pytest

from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.bulk import Campaign, Governor, PacedSends
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.exceptions import APIConnectionError, ConfigurationError, RateLimitError
from nexmo_dispatch_async.middleware import Attempt
from nexmo_dispatch_async.sansio import Headers, Request, Response
from nexmo_dispatch_async.simulator import Settings, Simulator
from tests.bulk.campaigns import TEMPLATE, phone
from tests.support.virtual_loop import run_virtually

URL = "https://service.invalid/v0.1/dispatch"
BUCKET = "sms|31647356950"
ACCEPTED = Response(202, {}, b'{"dispatch_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"}')


def attempt(body: bytes | None = None, *, method: str = "POST") -> Attempt:
    if body is None:
        body = msgspec.json.encode(
            {"template": "failover", "workflow": [{"from": {"type": "sms", "number": "31647356950"}}]}
        )
    return Attempt(Request(method, URL, {}, body, "/dispatch"), 1, "call")


class Service:
    """Answers as it is told, and notes when."""

    def __init__(self, *responses: Response | Exception) -> None:
        self.responses = list(responses)
        self.times: list[float] = []

    async def __call__(self, _attempt: Attempt) -> Response:
        self.times.append(anyio.current_time() - 1000)
        await anyio.sleep(0.01)
        response = self.responses.pop(0) if self.responses else ACCEPTED
        if isinstance(response, Exception):
            raise response
        return response


def governor(rate: float = math.inf) -> Governor:
    made = Governor(random=lambda: 0.5)
    made.meter(f"{URL} ", BUCKET).cap = rate
    return made


def test_sends_leave_at_the_rate_and_in_their_order() -> None:
    """Ten at 2/s: the last one leaves after 4.5 s, and none overtakes another."""
    service, order = Service(), list[int]()
    paced = PacedSends(governor(2))

    async def send(number: int) -> None:
        await paced.attempt(attempt(), service)
        order.append(number)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(send, number)

    run_virtually(main())

    assert service.times == pytest.approx([n / 2 for n in range(10)], abs=0.06)
    assert order == list(range(10))


def test_what_one_send_learns_holds_for_the_campaigns_and_the_others() -> None:
    """A 429 with `Retry-After: 3` pauses the meter that all share; a send waits, and leaves afterwards."""
    shared = governor()
    service = Service(Response(429, Headers({"Retry-After": "3"}), b""))

    async def main() -> None:
        await PacedSends(shared).attempt(attempt(), service)
        assert shared.lane(f"{URL} ", BUCKET).ask(anyio.current_time(), 1) == 0
        await PacedSends(shared).attempt(attempt(), service)

    run_virtually(main())

    assert service.times[1] >= 3
    assert shared.meter(f"{URL} ", BUCKET).out == 0


def test_a_send_that_would_wait_too_long_is_not_sent() -> None:
    """It raises when its time is over, says for how long to wait, and takes nothing from the rate."""
    shared = governor(1 / 120)
    service = Service()

    async def main() -> None:
        paced = PacedSends(shared, longest=5)
        await paced.attempt(attempt(), service)
        with pytest.raises(
            RateLimitError, match=r"POST /dispatch: not sent, since sms\|31647356950 holds"
        ) as e:
            await paced.attempt(attempt(), service)
        assert anyio.current_time() - 1000 == pytest.approx(5.01, abs=0.06)
        assert e.value.retry_after == pytest.approx(115, abs=0.1)

    run_virtually(main())

    assert len(service.times) == 1
    assert shared.meter(f"{URL} ", BUCKET).out == 0


def test_whatever_ends_a_send_gives_its_place_back() -> None:
    """A refusal, a lost connection, an unknown outcome and a cancellation."""
    shared = governor()
    service = Service(Response(400, {}, b"{}"), APIConnectionError("no"), RuntimeError("?"))

    async def main() -> None:
        paced = PacedSends(shared)
        await paced.attempt(attempt(), service)
        with pytest.raises(APIConnectionError):
            await paced.attempt(attempt(), service)
        with pytest.raises(RuntimeError):
            await paced.attempt(attempt(), service)
        with anyio.move_on_after(0.001):
            await paced.attempt(attempt(), service)

    run_virtually(main())

    assert shared.meter(f"{URL} ", BUCKET).out == 0


@pytest.mark.parametrize(
    "request_", [attempt(method="GET"), attempt(b"{}"), attempt(b"no JSON"), attempt(b'{"workflow": []}')]
)
def test_other_requests_do_not_wait(request_: Attempt) -> None:
    """Application calls, and what is no send, have no bucket."""
    shared = governor(1 / 3600)
    service = Service()

    async def main() -> None:
        for _ in range(3):
            await PacedSends(shared).attempt(request_, service)

    run_virtually(main())

    assert max(service.times) < 0.1


@pytest.mark.parametrize("longest", [-1, math.nan, "30"])
def test_the_longest_wait_is_a_number_of_seconds(longest: float) -> None:
    with pytest.raises(ConfigurationError, match="longest"):
        PacedSends(Governor(), longest=longest)


async def test_a_campaign_over_the_same_client_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sends took their turn before their claim; a single send beside it counts as one more."""
    counted, accepted = Counter[str](), Meter.accepted

    def count(meter: Meter, now: float, n: int = 1) -> None:
        counted[meter.name] += n
        accepted(meter, now, n)

    monkeypatch.setattr(Meter, "accepted", count)
    shared = Governor()
    async with (
        Simulator(settings=Settings(quota_limit=100_000)) as simulator,
        simulator.client(middleware=[PacedSends(shared)]) as client,
        Campaign.open(":memory:", client=client, template=TEMPLATE, governor=shared) as campaign,
    ):
        await campaign.add([{"phone": phone(number)} for number in range(50)])
        await campaign.run()
        await client.send(Workflow.failover(sms.text("Code 1", from_="31647356950", to=phone(0))))

    assert simulator.accepted == 51
    assert counted[BUCKET] == counted["gateway"] == 51
