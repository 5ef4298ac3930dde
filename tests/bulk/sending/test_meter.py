"""The meter by itself, step by step: pauses, the search for a limit that no header tells, and quotas."""

from __future__ import annotations

import math

import pytest

from nexmo_dispatch_async.bulk.sending.meter import CATCH_UP, Meter
from nexmo_dispatch_async.quota import Quota


def meter(cap: float = math.inf, jitter: float = 0.0) -> Meter:
    return Meter("m", cap, random=lambda: jitter)


def rates(it: Meter, *moments: float) -> list[float]:
    """Return the rate at each moment, with sends that wait all the time."""
    found: list[float] = []
    for now in moments:
        it.available(now, 1)
        it.take(now, 0, hungry=True)
        found.append(it.rate)
    return found


def throttled_at_50(cap: float) -> Meter:
    """Return a meter of which 50 sends were accepted in the second before the first 429, at 1.0."""
    it = meter(cap)
    it.take(0.0, 1, hungry=True)
    it.accepted(0.95, 50)
    assert it.throttled(0.5, 1.0)
    return it


# --- pacing and pauses -----------------------------------------------------------------------------


def test_as_many_sends_start_as_are_due() -> None:
    """One at first, and one more after each interval; time without waiting sends is no credit."""
    it = meter(10)
    assert (it.available(0.0, 5), it.available(0.0, 0)) == (1, 0)
    it.take(0.0, 1, hungry=False)
    assert [it.available(now, 5) for now in (0.05, 0.1, 5.0)] == [0, 1, 1]

    it.take(0.1, 1, hungry=True)
    assert it.next(0.1) == pytest.approx(0.2)
    assert it.available(0.2 + CATCH_UP, 5) == 2  # double the rate, of which a twentieth of a second at once


def test_a_stall_is_made_up_for_at_no_more_than_double_the_rate() -> None:
    """A twentieth of a second at once, and then two sends in each interval."""
    it = meter(100)
    it.take(0.0, 1, hungry=True)
    assert it.available(0.21, 99) == 11
    it.take(0.21, 11, hungry=True)
    assert [it.available(now, 99) for now in (0.21, 0.216, 0.222)] == [0, 1, 2]


def test_without_a_limit_nothing_waits() -> None:
    """Neither for sends that did not leave, nor for a rate that was there before."""
    it = meter(1)
    it.take(0.0, 3, hungry=True)
    it.give_back(3)
    it.retune(math.inf, 0.1)
    assert (it.next(0.1), it.available(0.1, 7), it.out) == (0.1, 7, 0)

    unused = meter(1)
    unused.retune(math.inf, 0.0)
    unused.retune(1, 0.0)
    assert unused.available(0.0, 7) == 1


def test_what_is_given_back_leaves_no_wait() -> None:
    """At one an hour, a send that found no row kept the next one for half an hour; and no send is won."""
    it = meter(1 / 3600)
    it.take(0.0, 1, hungry=False)
    it.give_back(1)
    assert (it.next(0.0), it.available(0.0, 5)) == (0.0, 1)

    it = meter(100)
    it.take(0.0, 1, hungry=True)
    assert it.available(0.21, 99) == 11
    it.take(0.21, 11, hungry=True)
    it.give_back(4)
    assert it.available(0.21, 99) <= 4


def test_a_pause_ends_at_its_moment() -> None:
    """No send starts before it, all start at it, and then there is nothing to try."""
    it = meter()
    it.pause(0.0, 2.0, "quota")
    assert [it.available(now, 5) for now in (0.0, 1.999, 2.0)] == [0, 0, 5]
    assert it.next(1.0) == 2.0

    it.try_again(2.0)
    assert it.available(2.0, 5) == 5


def test_after_a_pause_that_is_ended_one_send_is_tried() -> None:
    """The others follow once it was accepted."""
    it = meter()
    it.pause(0.0, 9.0, "service")
    it.try_again(1.0)

    assert it.available(1.0, 5) == 1
    it.take(1.0, 1, hungry=True)
    assert (it.available(1.5, 5), it.next(1.5)) == (0, math.inf)
    it.out -= 1
    it.accepted(1.6)
    assert it.available(1.7, 5) == 5


def test_what_left_before_a_pause_begins_no_other() -> None:
    """A send that could not leave says something new if it started since, and nothing within a pause."""
    it = meter(jitter=0.5)

    assert it.unreachable(0.0, 1.0) is True
    assert it.paused_until == pytest.approx(2.1)
    assert it.pause_kind == "unreachable"
    assert not it.unreachable(1.5, 2.0)
    assert not it.unreachable(0.9, 3.0)
    assert it.unreachable(2.5, 3.0)
    assert it.paused_until == pytest.approx(5.2)


def test_what_refuses_every_send_is_tried_for_five_minutes() -> None:
    """By one send after pauses of 1, 5, 15 and 30 s, the last try at the end; an accepted one begins anew."""
    it, now, pauses = meter(), 7.0, list[float]()
    while not it.refused(now, now, "404"):
        assert (it.pause_kind, it.pause_words, it.gives_up_at) == ("service", "404", 307.0)
        assert (it.available(now, 5), it.available(it.paused_until, 5)) == (0, 1)
        pauses.append(it.paused_until - now)
        now = it.paused_until

    assert pauses == [1, 5, 15, *[30] * 9, 9]
    assert now == 307.0
    assert it.paused_until == 337.0
    it.accepted(337.0)
    assert it.available(337.0, 5) == 5
    assert not it.refused(338.0, 338.0, "404")
    assert (it.paused_until, it.gives_up_at) == (339.0, 638.0)


def test_an_accepted_send_shows_that_the_service_can_be_reached() -> None:
    """Its response ends the trial even within the pause: one connection of several had failed."""
    it = meter()
    assert it.unreachable(1.0, 2.0)
    it.accepted(2.5)
    assert (it.available(2.9, 5), it.available(3.0, 5)) == (0, 5)


def test_an_old_response_neither_ends_nor_begins_the_wait_for_a_service_that_refuses() -> None:
    """It is that of a send that left before the pause."""
    it = meter()
    assert not it.refused(1.0, 2.0, "404")
    it.accepted(2.5, 3)
    assert it.available(3.0, 5) == 1

    it.take(3.0, 1, hungry=True)
    it.out -= 1
    it.accepted(3.1)
    assert not it.refused(1.0, 3.2, "404")
    assert it.gives_up_at == math.inf
    assert it.available(3.2, 5) == 5


def test_what_the_service_demands_of_a_pause_is_kept() -> None:
    """Its seconds count, but no less than one; without a demand there is a jitter."""
    for demanded, pause in [(7.0, 7.0), (0.2, 1.0), (None, 1.1)]:
        it = meter(jitter=0.5)
        assert it.throttled(0.0, 1.0, demanded)
        assert it.paused_until == pytest.approx(1.0 + pause)
        assert not it.throttled(0.5, 9.0)


def test_an_accepted_send_ends_the_doubling_of_pauses() -> None:
    """An answer that comes within the pause is that of a send from before it, and says nothing."""
    it = meter(100)
    assert it.throttled(1.0, 1.0)
    it.accepted(1.5)
    assert it.throttled(2.0, 2.0)
    assert it.paused_until == 4.0
    it.accepted(4.0)
    assert it.throttled(4.0, 5.0)
    assert it.paused_until == 6.0


def test_a_pause_of_another_worker_is_kept_and_learned_from() -> None:
    """A quota is a stop alone, a 429 is a slower rate as well."""
    it, other = meter(100), meter(100)
    it.heed(1.0, 3.0, "quota")
    other.heed(1.0, 3.0, "throttled")

    assert (it.paused_until, it.pause_kind, it.rate) == (4.0, "quota", 100)
    assert (other.paused_until, other.pause_kind, other.rate) == (4.0, "throttled", 25)


# --- without headers -------------------------------------------------------------------------------


def test_without_a_known_rate_a_429_finds_one() -> None:
    """Nothing was accepted: one send a second is where it rests, and it begins with half of that."""
    it = meter()
    assert it.throttled(0.0, 1.0)

    assert it.rate == 0.5
    assert rates(it, 3.0, 4.0) == [0.75, 1.0]


def test_a_limit_is_approached_and_then_probed() -> None:
    """From half of what was accepted upwards, then beyond it by a fifth, by two and four; the cap ends it."""
    it = throttled_at_50(cap=100)

    assert rates(it, 1.5, 2.0, 3.0, 4.0) == pytest.approx([23.75, 23.75, 35.625, 47.5])
    assert rates(it, 5.0, 6.0, 7.0) == pytest.approx([57.0, 79.8, 100])


def test_probes_double_at_most() -> None:
    """By a fifth, two, four, and from then on to double the rate each second."""
    it = throttled_at_50(cap=1000)
    assert rates(it, *range(3, 10))[-2:] == pytest.approx([287.28, 574.56])


def test_a_cap_that_is_reached_ends_what_was_learned() -> None:
    """Exactly, too: a higher cap is the rate from then on."""
    it = throttled_at_50(cap=57)
    rates(it, 3.0, 4.0, 5.0)
    it.retune(1000, 5.5)
    assert it.rate == 1000


def test_a_probe_of_which_little_was_accepted_finds_another_limit() -> None:
    """Less than half of the rate at which it rested: the limit has changed, and is searched from there."""
    it = throttled_at_50(cap=1000)
    rates(it, 3.0, 4.0, 5.0)
    it.accepted(5.25, 10)
    assert it.throttled(5.2, 5.5)
    assert it.rate == pytest.approx(0.5 * 0.95 * 10)
    assert it.paused_until == 6.0


def test_a_429_at_the_very_beginning_counts_nothing_as_accepted() -> None:
    """No send was."""
    it = meter()
    assert it.throttled(0.0, 0.05)
    assert it.rate == 0.5


def test_a_rate_rises_a_second_after_a_pause_that_is_ended() -> None:
    """As after one that passed."""
    it = throttled_at_50(cap=1000)
    it.try_again(1.5)
    assert rates(it, 2.4, 2.5) == pytest.approx([23.75, 35.625])


def test_without_waiting_sends_nothing_is_probed() -> None:
    """A higher rate would prove nothing."""
    it = throttled_at_50(cap=100)
    it.available(4.0, 1)
    it.take(4.0, 0, hungry=False)

    for now in (5.0, 6.0, 20.0):
        it.available(now, 1)
    assert it.rate == pytest.approx(47.5)


def test_a_probe_that_fails_near_the_last_one_waits_longer() -> None:
    """Four seconds without a 429 after a failure, eight after a second one there; near it steps are small."""
    it = throttled_at_50(cap=1000)
    assert rates(it, 3.0, 4.0, 5.0, 6.0, 7.0)[-1] == pytest.approx(143.64)
    it.accepted(7.25, 60)
    assert it.throttled(7.2, 7.5)
    rest = 0.97 * 57.0  # what was proven: an answer to the last step but one came
    assert it.paused_until == 8.0
    assert it.rate == pytest.approx(rest)

    assert rates(it, 9.0, 10.0, 11.0) == pytest.approx([rest] * 3)
    steps = [1.05, 1.1, 1.2, 1.4, 1.1]
    expected = [rest * math.prod(steps[:number]) for number in (1, 2, 3, 4, 5)]
    assert rates(it, 12.0, 13.0, 14.0, 15.0, 16.0) == pytest.approx(expected)
    it.accepted(16.25, 60)
    assert it.throttled(16.2, 16.5)
    rest = 0.97 * expected[2]
    assert rates(it, *range(17, 25)) == pytest.approx([rest] * 8)
    assert rates(it, 25.0) == pytest.approx([rest * 1.05])


def test_a_429_where_the_limit_is_known_moves_the_rate_a_little() -> None:
    """As long as most of the rate is accepted it rests a bit lower; else the limit is another one."""
    for accepted, rate in [(50, 0.97 * 55.29), (20, 0.5 * 0.95 * 20), (0, 0.5 * 0.5 * 55.29)]:
        it = throttled_at_50(cap=1000)
        rates(it, 3.0, 4.0, 5.0, 6.0, 7.0)
        it.accepted(7.25, 60)
        assert it.throttled(7.2, 7.5)
        rates(it, 9.0, 10.0)
        it.accepted(10.25, accepted)
        assert it.throttled(10.2, 10.5)
        assert it.rate == pytest.approx(rate)
        assert it.paused_until == 11.5


def test_a_429_below_the_rate_of_rest_rests_below_it() -> None:
    """Where a quota slows it down further, the slower rate is the one that was too fast."""
    it = throttled_at_50(cap=1000)
    rates(it, 3.0, 4.0, 5.0, 6.0, 7.0)
    it.accepted(7.25, 60)
    assert it.throttled(7.2, 7.5)
    it.apply_quota(Quota(limit=100, window=10, used=0), 9.0)
    it.accepted(10.25, 9)
    assert it.throttled(10.2, 10.5)
    assert it.rate == pytest.approx(0.97 * 9.9)


def test_only_what_was_accepted_in_the_last_second_counts() -> None:
    """The rate is learned from ten tenths of a second, of which older ones are forgotten."""
    it = meter(1000)
    for now, number in [(0.25, 400), (1.35, 200), (1.45, 10), (1.55, 10), (2.25, 10)]:
        it.accepted(now, number)
    assert it.throttled(2.0, 2.3)

    assert it.rate == pytest.approx(0.5 * 0.95 * 30)


def test_no_rate_is_slower_than_one_a_minute() -> None:
    """A service that refuses everything is asked every minute or so."""
    it, now = meter(1 / 50), 1.0
    for _ in range(3):
        assert it.throttled(now, now)
        now = it.paused_until
    assert it.rate == pytest.approx(1 / 60)


def test_a_new_cap_scales_the_wait_that_is_left() -> None:
    """A send that is due stays due, and one that waits comes as much earlier as the rate is faster."""
    it = meter(0.1)
    it.take(0.0, 1, hungry=True)
    it.retune(1.0, 5.0)
    assert it.next(5.0) == pytest.approx(5.5)

    it.retune(0.1, 20.0)
    assert it.next(20.0) == 20.0
    assert it.available(20.0, 1) == 1


# --- quotas ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "rate"),
    [
        (Quota(limit=100, window=10, used=20, reset_in=5), 0.99 * 16),
        (Quota(limit=100, window=10, used=90, reset_in=5), 0.99 * 2),
        (Quota(limit=100, window=10, used=0, reset_in=1), 0.99 * 20),
        (Quota(limit=100, window=10, used=100, reset_in=5), 1 / 10),
        (Quota(limit=100, window=9.9, used=90, reset_in=5), 0.99 * 100 / 9.9),
        (Quota(limit=100, window=10, used=20), 0.99 * 10),
        (Quota(limit=3600, window=3600, reset_in=5), 0.99),
        (Quota(limit=3601, window=3601, used=0, reset_in=5), math.inf),
        (Quota(limit=100), math.inf),
    ],
)
def test_a_quota_is_spread_over_what_is_left_of_its_window(quota: Quota, rate: float) -> None:
    """At most at double its even pace, at least one call a window; a window above an hour is no pace."""
    it = meter()
    it.apply_quota(quota, 1.0)
    assert it.rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("quota", "until"),
    [
        (Quota(limit=9, window=10, used=9, reset_in=5), 6.0),
        (Quota(limit=9, used=9, reset_in=5), 6.0),
        (Quota(limit=9, window=9.9, used=9, reset_in=5), -math.inf),
        (Quota(limit=9, window=10, used=8, reset_in=5), -math.inf),
        (Quota(limit=9, window=10, used=9), -math.inf),
    ],
)
def test_a_spent_quota_stops_until_its_reset(quota: Quota, until: float) -> None:
    """That of a window below ten seconds is over before a stop could help."""
    it = meter()
    it.apply_quota(quota, 1.0)
    assert it.paused_until == until


def test_a_quota_without_a_window_is_no_pace_after_its_reset() -> None:
    """Nothing says how fast to go then."""
    it = meter()
    it.apply_quota(Quota(limit=9, used=9, reset_in=5), 1.0)
    assert (it.next(1.0), it.next(7.0), it.available(7.0, 20)) == (6.0, 7.0, 20)


def test_a_new_window_begins_at_its_even_pace() -> None:
    """Nothing of it is used yet, and a send that waited for the old pace leaves earlier."""
    it = meter()
    it.apply_quota(Quota(limit=100, window=100, used=99, reset_in=10), 0.0)
    it.take(0.0, 1, hungry=True)
    assert it.rate == pytest.approx(0.099)
    assert it.next(0.0) == pytest.approx(1 / 0.099)

    assert it.next(10.0) == pytest.approx(1 / 0.099)
    assert it.rate == pytest.approx(0.99)


def test_a_faster_pace_waits_for_no_interval_of_the_slow_one() -> None:
    """The last call of an hour is paced by the hour: the calls of the next one came half an hour late."""
    it = meter()
    it.take(0.0, 1, hungry=True)
    it.apply_quota(Quota(limit=3600, window=3600, used=3599, reset_in=1000), 0.0)
    it.take(0.0, 1, hungry=True)
    it.apply_quota(Quota(limit=3600, window=3600, used=3600, reset_in=999), 1.0)
    assert it.paused_until == 1000.0
    assert [it.available(now, 1) for now in (999.9, 1000.0, 1001.02)] == [0, 0, 1]

    it = meter()
    it.apply_quota(Quota(limit=100, window=100, used=99, reset_in=50), 0.0)
    it.take(0.0, 1, hungry=True)
    it.apply_quota(Quota(limit=1000, window=100, used=100, reset_in=49), 1.0)
    assert it.next(1.0) == pytest.approx(1.0 + 1 / it.rate)


def test_the_wait_for_a_quota_ends_with_its_window() -> None:
    """The slow pace of the last calls ends there: status named a moment up to an hour after the reset."""
    it = meter()
    it.apply_quota(Quota(limit=3600, window=3600, used=3600, reset_in=1000), 0.0)
    it.take(0.0, 1, hungry=True)
    assert it.next(0.0) == pytest.approx(1000 + 1 / 0.99)
    assert it.available(it.next(0.0), 1) == 1

    slow = meter(0.1)
    slow.apply_quota(Quota(limit=3600, window=3600, used=3600, reset_in=1000), 0.0)
    slow.take(0.0, 1, hungry=True)
    assert slow.next(0.0) == pytest.approx(1010)

    shared = meter()
    shared.share = 0.5
    shared.apply_quota(Quota(limit=3600, window=3600, used=3600, reset_in=1000), 0.0)
    shared.take(0.0, 1, hungry=True)
    assert shared.next(0.0) == pytest.approx(1000 + 2 / 0.99)


def test_a_spent_quota_of_another_window_stops() -> None:
    """Its reset comes earlier, and yet it is no old answer: the gateway counts in another unit now."""
    it = meter()
    it.apply_quota(Quota(limit=100, window=100, used=60, reset_in=50), 0.0)
    it.apply_quota(Quota(limit=10, window=10, used=10, reset_in=5), 1.0)
    assert it.paused_until == 6.0


def test_answers_of_one_window_come_in_any_order() -> None:
    """A smaller count of one window is old, an earlier reset no news, and a later one is a new window."""
    it = meter()
    it.apply_quota(Quota(limit=100, window=100, used=60, reset_in=50), 0.0)
    paced = it.rate
    assert paced == pytest.approx(0.99 * 40 / 50)

    it.apply_quota(Quota(limit=100, window=100, used=40, reset_in=50), 0.0)
    assert it.rate == paced
    it.apply_quota(Quota(limit=100, window=100, used=0, reset_in=44), 0.0)
    assert it.rate == paced
    it.apply_quota(Quota(limit=100, window=100, used=70, reset_in=46), 0.0)
    assert it.rate == pytest.approx(0.99 * 30 / 50)
    it.apply_quota(Quota(limit=100, window=100, used=10, reset_in=100), 0.0)
    assert it.rate == pytest.approx(0.99 * 90 / 100)


@pytest.mark.parametrize(
    ("quota", "rate"),
    [
        (Quota(limit=9, window=86_400, used=1, reset_in=60), 12.5),
        (Quota(limit=1000, window=10, used=1, reset_in=5), 12.5),
        (Quota(limit=1000, window=10, reset_in=5), 50),
    ],
)
def test_a_429_beside_a_quota_teaches_what_the_quota_does_not_say(quota: Quota, rate: float) -> None:
    """A pace without a count is trusted; beside any other quota that is not spent the rate is learned."""
    it = meter(50)
    it.apply_quota(quota, 0.0)
    assert it.throttled(1.0, 1.0)
    assert (it.rate, it.paused_until, it.pause_kind) == (rate, 2.0, "throttled")


@pytest.mark.parametrize(
    ("reset_in", "demanded", "until"),
    [(5.0, None, 5.0), (None, None, 2.0), (5.0, 0.2, 1.2), (0.5, None, 2.0)],
)
def test_a_429_of_a_spent_quota_waits_for_its_end(
    reset_in: float | None, demanded: float | None, until: float
) -> None:
    """Nothing is learned of the rate; what the service demands wins, and without a moment it is a pause."""
    it = meter(50)
    it.apply_quota(Quota(limit=900, window=9, used=900, reset_in=reset_in), 0.0)
    assert it.throttled(1.0, 1.0, demanded)
    assert (it.rate, it.paused_until, it.pause_kind) == (50, until, "quota")
