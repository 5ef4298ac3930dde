"""The governor in virtual time: exact rates, quotas with and without headers, buckets apart, ramps."""

from __future__ import annotations

import math

import pytest

from nexmo_dispatch_async.bulk.sending.governor import Answers, Governor, Lane, planned_rate
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.bulk.settings import Pace, Rate
from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.models.problems import Problem
from nexmo_dispatch_async.quota import Quota
from nexmo_dispatch_async.sansio import Headers
from tests.bulk.virtual_service import Log, SmoothService, WindowService, run, steps

# 100/s, then 10/s for two minutes, then 100/s again.
DROP, LIFT, END = 60.0, 180.0, 220.0
LIMIT = steps((0, 100), (DROP, 10), (LIFT, 100))

SERVICES = [
    (WindowService, True),
    (SmoothService, False),
    pytest.param(WindowService, False, marks=pytest.mark.long),
    pytest.param(SmoothService, True, marks=pytest.mark.long),
]


def governor() -> Governor:
    return Governor(random=lambda: 0.5)


def lane_of(rate: float = math.inf) -> Lane:
    return governor().lane("app", "sms|31647356950", [Meter("rate", rate)])


def endless() -> WindowService:
    return WindowService(lambda _now: 1e9)


@pytest.mark.parametrize("rate", [1, 10, 100, pytest.param(2000, marks=pytest.mark.long)])
def test_a_rate_is_kept_exactly(rate: int) -> None:
    """From 1/s to 2,000/s, ten seconds bring ten seconds' worth, and each second its share."""
    (log,) = run([(lane_of(rate), endless())], until=10, limit=5000)

    assert len(log.accepted) in {10 * rate, 10 * rate + 1}
    assert all(log.accepted_in(second, second + 1) <= rate + 1 for second in range(10))


@pytest.mark.parametrize("rate", [1, 10, 100, pytest.param(2000, marks=pytest.mark.long)])
def test_a_stall_of_200_ms_costs_nothing(rate: int) -> None:
    """What a stalled loop missed is made up for, at no more than double the rate."""
    (log,) = run([(lane_of(rate), endless())], until=10, limit=5000, stalls=[(3.301, 0.2)])

    assert len(log.accepted) >= 10 * rate
    assert log.accepted_in(3.501, 3.701) <= 0.4 * rate + 0.1 * rate + 1


def test_a_long_pause_of_the_demand_is_no_credit() -> None:
    """One send in two minutes stays one in any two minutes, also after an hour without rows."""
    lane = lane_of(1 / 120)

    assert lane.ask(0.0, 5) == 1
    assert lane.ask(119.9, 5) == 0
    assert lane.ask(120.0, 1) == 1
    assert lane.ask(4000.0, 1) == 1
    assert lane.ask(4119.9, 1) == 0
    assert lane.held(4000.0).until == pytest.approx(4120.0)
    assert lane.held(4000.0).kind == "rate"


@pytest.mark.parametrize(("service", "retry_after"), SERVICES)
def test_headers_end_the_429s_after_one_round(
    service: type[WindowService | SmoothService], retry_after: bool
) -> None:
    """With quota headers: one round of 429s, then none, 0.95 of the quota used, and a recovery at once."""
    told = service(LIMIT, headers=True, retry_after=retry_after)

    (log,) = run([(lane_of(100), told)], until=END)

    # The service counts a tenth of a second after the send.
    assert log.refused_in(0, DROP - 0.1) == 0
    assert log.pauses_in(DROP, DROP + 5) <= 1
    assert log.refused_in(DROP - 0.1, DROP + 1) <= 25
    assert log.refused_in(DROP + 1, END) == 0
    assert log.accepted_in(DROP + 15, LIFT) >= 0.95 * 10 * (LIFT - DROP - 15)
    assert log.first_full(LIFT, 100, END) == 0


@pytest.mark.parametrize(("service", "retry_after"), SERVICES)
def test_without_headers_two_rounds_find_the_limit(
    service: type[WindowService | SmoothService], retry_after: bool
) -> None:
    """Blind: two rounds of 429s, 0.93 of the limit used, 3 % of the calls as probes, recovery in 30 s."""
    (log,) = run([(lane_of(100), service(LIMIT, retry_after=retry_after))], until=END)

    settled = DROP + 5
    calls = log.accepted_in(settled, LIFT) + log.refused_in(settled, LIFT)
    assert log.pauses_in(DROP, settled) <= 2
    assert log.accepted_in(DROP + 15, LIFT) >= 0.93 * 10 * (LIFT - DROP - 15)
    assert log.refused_in(settled, LIFT) <= 0.03 * calls
    assert log.first_full(LIFT, 100, END) <= 30


def test_a_throttled_bucket_holds_no_other() -> None:
    """Of two buckets of one application, one throttled: the other keeps 0.99 of its rate."""
    shared = governor()
    throttled = shared.lane("app", "whatsapp|447418342140", [Meter("rate", 50)])
    other = shared.lane("app", "sms|31647356950", [Meter("rate", 50)])

    slow, fast = run([(throttled, WindowService(lambda _now: 5)), (other, endless())], until=120)

    assert len(fast.accepted) >= 0.99 * 50 * 120
    assert len(slow.accepted) >= 0.9 * 5 * 120


def test_the_gateway_holds_all_buckets_of_its_application() -> None:
    """A fault of the gateway counts for the application: all of its buckets pause, another's do not."""
    shared = governor()
    a, b = shared.lane("app", "a"), shared.lane("app", "b")
    other = shared.lane("another", "a")
    assert [a.ask(0.0, 1), b.ask(0.0, 1), other.ask(0.0, 1)] == [1, 1, 1]

    fault = Problem("fault", code="policies.ratelimit.SpikeArrestViolation")
    a.throttled(0.0, 0.1, RateLimitError("429", details=fault, retry_after=3))

    assert b.ask(0.2, 1) == 0
    assert b.held(0.2).kind == "throttled"
    assert b.held(0.2).until == pytest.approx(3.1)
    assert other.ask(0.2, 1) == 1
    assert b.ask(3.2, 1) == 1


def test_answers_to_sends_from_before_the_pause_say_nothing_new() -> None:
    """A burst of 429s is one reason to slow down, not as many as there were sends in flight."""
    lane = lane_of(100)
    for moment in range(20):
        lane.ask(moment / 100, 1)
    bucket = lane.throttled(0.0, 0.2, RateLimitError("429", retry_after=1))
    slowed = bucket.rate

    for moment in range(1, 20):
        lane.throttled(moment / 100, 0.2 + moment / 10, RateLimitError("429", retry_after=1))

    assert bucket.rate == slowed
    assert bucket.paused_until == pytest.approx(1.2)


def test_a_new_rate_counts_at_once() -> None:
    """100 -> 10 -> 100 per second while it runs, without a pause and without a burst."""
    own = Meter("rate", 100)
    lane = governor().lane("app", "b", [own])
    events = [(10.0, lambda now: own.retune(10, now)), (20.0, lambda now: own.retune(100, now))]

    (log,) = run([(lane, endless())], until=30, events=events)

    assert [log.accepted_in(begin, begin + 10) for begin in (0, 10, 20)] == [
        pytest.approx(1000, abs=2),
        pytest.approx(100, abs=2),
        pytest.approx(1000, abs=2),
    ]


def test_a_slow_rate_does_not_delay_a_fast_one() -> None:
    """After one send per hour, a retune to one per second waits a second at most."""
    own = Meter("rate", 1 / 3600)
    own.take(0.0, own.available(0.0, 1), hungry=True)

    own.retune(1.0, 10.0)

    assert own.next(10.0) <= 11.0


# --- headers ---------------------------------------------------------------------------------------


def test_a_day_is_no_pace_and_ends_in_a_stop() -> None:
    """A quota of a day leaves the user's rate alone, and holds when it is spent, until its reset."""
    lane = lane_of(50)
    assert lane.ask(0.0, 1) == 1
    lane.accepted(0.1, Quota(limit=1000, window=86_400, used=10, reset_in=3600))
    assert lane.gateway.rate == math.inf

    assert lane.ask(1.0, 1) == 1
    lane.accepted(1.1, Quota(limit=1000, window=86_400, used=1000, reset_in=3599))

    held = lane.held(1.2)
    assert lane.ask(1.2, 1) == 0
    assert (held.kind, held.meter) == ("quota", "gateway")
    assert held.until == pytest.approx(3600.1)
    assert lane.ask(3600.2, 1) == 1


def test_an_hour_is_paced_by_what_is_left_of_it() -> None:
    """Half of the window gone and nine tenths used: the pace is that of what is left, in-flight included."""
    lane = lane_of()
    lane.ask(0.0, 1)

    lane.accepted(0.1, Quota(limit=3600, window=3600, used=3240, reset_in=1800))

    assert lane.gateway.rate == pytest.approx(0.99 * 360 / 1800)
    assert lane.gateway.available(1801.0, 1) == 1
    assert lane.gateway.rate == pytest.approx(0.99)


def test_used_counts_upwards_only_within_a_window() -> None:
    """Answers overtake each other: a smaller number of the same window is old, that of the next is not."""
    lane = lane_of()
    lane.ask(0.0, 4)
    lane.accepted(1.0, Quota(limit=600, window=60, used=500, reset_in=30))
    paced = lane.gateway.rate
    lane.accepted(1.0, Quota(limit=600, window=60, used=400, reset_in=30))
    assert lane.gateway.rate == pytest.approx(paced, rel=0.05)

    lane.accepted(1.0, Quota(limit=600, window=60, used=3, reset_in=90))
    assert lane.gateway.rate > paced


def test_a_changed_reset_moves_the_stop() -> None:
    """A 429 that names a later reset than was known prolongs the pause."""
    lane = lane_of()
    lane.ask(0.0, 2)
    lane.accepted(0.1, Quota(limit=10, window=86_400, used=10, reset_in=100))
    lane.accepted(0.2, Quota(limit=10, window=86_400, used=10, reset_in=500))

    assert lane.held(0.3).until == pytest.approx(500.2)


def test_a_window_without_a_reset_is_still_a_pace() -> None:
    """Where the moment of the reset is garbage, limit and window say enough."""
    lane = lane_of()
    lane.ask(0.0, 1)
    lane.accepted(0.1, Quota(limit=600, window=60, used=599))

    assert lane.gateway.rate == pytest.approx(0.99 * 10)


def test_a_spent_quota_without_any_time_doubles_the_pause() -> None:
    """No `Retry-After`, no reset: 1 s, 2 s, 4 s …, at most a minute and a fifth of it."""
    lane = lane_of()
    now, pauses = 0.0, list[float]()
    for _ in range(9):
        lane.ask(now, 1)
        lane.throttled(now, now, RateLimitError("429"))
        pauses.append(lane.bucket.paused_until - now)
        now = lane.bucket.paused_until

    assert pauses[:3] == [pytest.approx(1.1), pytest.approx(2.2), pytest.approx(4.4)]
    assert pauses[-1] == pytest.approx(66.0)


# --- failures --------------------------------------------------------------------------------------


def test_an_unreachable_service_is_tried_by_one_send() -> None:
    """No connection: all pause, then one goes alone; its success lets the others follow."""
    lane = lane_of()
    assert lane.ask(0.0, 10) == 10
    for _ in range(10):
        lane.unreachable(0.0, 0.1)
    until = lane.held(0.2).until
    assert until == pytest.approx(1.2)

    assert lane.ask(until, 10) == 1
    assert lane.ask(until, 10) == 0
    assert lane.held(until).until == math.inf
    assert lane.held(until).kind == "unreachable"
    lane.accepted(until + 0.1)

    assert lane.ask(until + 0.1, 10) == 10


def test_the_brake_counts_trials_that_failed() -> None:
    """One send after the other unknown: pauses of 1, 5, 15 and 30 s with one trial between them."""
    meter = Meter("gateway")
    now, pauses = 0.0, list[float]()
    for _ in range(5):
        meter.brake(now, now)
        pauses.append(meter.paused_until - now)
        now = meter.paused_until

    assert pauses == [1, 5, 15, 30, 30]
    assert meter.failures == 5


def test_sends_that_did_not_start_are_given_back() -> None:
    """To every meter; none asked for and none given back change nothing."""
    lane = lane_of(1)
    assert lane.ask(0.0, 0) == 0
    assert [lane.ask(0.0, 1), lane.ask(0.0, 1)] == [1, 0]

    lane.give_back(0)
    assert lane.ask(0.5, 1) == 0
    lane.give_back(1)

    assert lane.ask(0.5, 1) == 1
    assert lane.bucket.out == lane.gateway.out == 1


def test_to_ask_for_none_and_to_give_back_none_leave_a_stall_to_be_made_up_for() -> None:
    """A rate that was the limit stays owed what a stalled loop missed."""
    plain, asked = lane_of(10), lane_of(10)
    for lane in (plain, asked):
        assert lane.ask(0.0, 5) == 1
    asked.ask(0.05, 0)
    asked.give_back(0)

    assert [lane.ask(0.35, 5) for lane in (plain, asked)] == [2, 2]


def test_a_send_is_under_way_until_its_result() -> None:
    """Whatever the result, in each of its meters."""
    own = Meter("rate", math.inf)
    lane = governor().lane("app", "b", [own])
    lane.ask(0.0, 7)
    out: list[set[int]] = []
    for tell in (
        lambda: lane.accepted(0.1),
        lambda: lane.accepted(0.1, n=2),
        lane.lost,
        lambda: lane.throttled(0.0, 0.1, RateLimitError("429")),
        lambda: lane.unreachable(0.0, 0.1),
    ):
        tell()
        out.append({own.out, lane.bucket.out, lane.gateway.out})

    assert out == [{6}, {4}, {3}, {2}, {1}]


def test_accepted_sends_are_told_together_with_the_last_headers() -> None:
    """Once: what was told is forgotten."""
    answers, lane, other = Answers(), lane_of(), lane_of()
    lane.ask(0.0, 4)
    other.ask(0.0, 1)
    spent = {"quota-limit": "9", "quota-used": "9", "quota-reset-UTC": "2025-11-12T23:00:30Z"}
    for headers in ({}, {}, spent):
        answers.note(lane, Headers(headers))
    answers.note(other, Headers())

    answers.tell(0.1, at=1_762_988_400.0)
    answers.tell(0.2, at=1_762_988_400.0)

    assert (lane.bucket.out, other.bucket.out) == (1, 0)
    held = lane.held(0.2)
    assert (held.meter, held.kind) == ("gateway", "quota")
    assert held.until == pytest.approx(30.1)
    assert other.held(0.2).kind == "rate"


SPENT, LEFT = (Quota(limit=9, window=60, used=used, reset_in=30) for used in (9, 8))


@pytest.mark.parametrize(
    ("code", "quota", "slowed"),
    [
        ("policies.ratelimit.Other", None, "gateway"),
        ("x.QuotaViolation", None, "gateway"),
        ("x.SpikeArrestViolation", LEFT, "gateway"),
        ("throttled", None, "sms|1"),
        ("throttled", LEFT, "sms|1"),
        ("throttled", SPENT, "gateway"),
        (None, SPENT, "gateway"),
        (None, None, "sms|1"),
    ],
)
def test_a_rejection_counts_where_it_came_from(code: str | None, quota: Quota | None, slowed: str) -> None:
    """Contract 1.4, 3.8: the gateway counts by application, by its words or by a spent quota."""
    lane = governor().lane("app", "sms|1")
    lane.ask(0.0, 1)
    error = RateLimitError("429", details=None if code is None else Problem("fault", code=code))
    error.quota = quota

    meter = lane.throttled(0.0, 0.1, error)

    assert meter.name == slowed
    assert meter is (lane.gateway if slowed == "gateway" else lane.bucket)
    assert meter.paused_until > 0.1
    assert lane.held(0.1).kind in {"quota", "throttled"}
    assert lane.held(meter.paused_until).kind == "rate"


def test_a_meter_is_the_same_each_time() -> None:
    """By application and bucket; that of the gateway has no bucket."""
    shared = governor()

    assert shared.meter("app") is shared.meter("app", "") is shared.lane("app", "b").gateway
    assert shared.meter("app", "b") is shared.lane("app", "b").bucket
    assert shared.meter("app", "b") is not shared.meter("other", "b")
    assert (shared.meter("app").name, shared.meter("app", "b").name) == ("gateway", "b")


# --- what the user asked for -----------------------------------------------------------------------


def test_a_ramp_goes_by_what_was_sent() -> None:
    """A stage ends when its time's worth was sent, in whatever run: a pause does not shorten a warm-up."""
    pace = Pace(rates=(Rate(50 / 3600, 86_400), Rate(1, 3600), Rate(20)))

    rates = [planned_rate(pace, total=100_000, done=done) for done in (0, 1199, 1200, 4799, 4800, 50_000)]

    assert rates == [50 / 3600, 50 / 3600, 1, 1, 20, 20]


def test_over_spreads_all_rows_and_the_slower_counts() -> None:
    """`over` makes a rate of the number of rows; a slower rate wins."""
    assert planned_rate(Pace(over=21_600), total=21_600, done=5) == 1
    assert planned_rate(Pace(over=10, rates=(Rate(5),)), total=1000, done=5) == 5
    assert planned_rate(Pace(), total=1000, done=5) == math.inf
    assert planned_rate(Pace(over=10), total=0, done=0) == 0.1


def test_campaigns_of_one_process_share_the_bucket() -> None:
    """Two campaigns on one sender send together what the service allows, not each."""
    shared = governor()
    shared.meter("app", "b").retune(10, 0.0)
    first, second = shared.lane("app", "b", [Meter("rate", 50)]), shared.lane("app", "b", [Meter("rate", 50)])
    service = endless()

    logs: list[Log] = run([(first, service), (second, service)], until=10)

    assert sum(len(log.accepted) for log in logs) in {100, 101}
    assert first.bucket is second.bucket
