"""`Meter`: limits one rate, and adapts it to the responses of the service.

The rate limiter is GCRA: one number is the time at which the next send is due. The module reads no clock:
every method takes `now` in monotonic seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Literal

from nexmo_dispatch_async.quota import Quota
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["CATCH_UP", "Meter", "PauseKind"]

#: Reasons of a pause: the quota of the gateway is exhausted, the service throttles, there is no connection
#: or no token, or the service fails for all sends: it refuses them, or a run of them was unknown.
PauseKind = Literal["quota", "throttled", "unreachable", "service"]

#: Seconds of a stall that are made up for afterwards, at most at double the rate.
CATCH_UP = 0.25
_BURST = 0.05  # seconds whose share may be sent at once while catching up

# Parameters of learning without headers, tested against services with and without fixed windows.
_SAFE = 0.95  # share of what was accepted in the last second
_REST = 0.97  # share of a rate that was accepted at which it stays
_CLEAN_AT_FIRST = 1.0  # seconds without a 429 before it probes, as long as the limit is not found
_CLEAN = 4.0  # the same, after a probe found the limit
_CLEAN_MOST = 16.0  # the same, when probes keep failing at one place: more would delay the recovery
_CLEAN_SLOW = 120.0
_PROBE_FIRST = 0.2  # by which the first probe goes further, as long as the limit is not found
_PROBE = 0.05  # by which a probe goes further, each second; it doubles while probes succeed
_PROBE_MOST = 1.0
_PROBE_NEAR = 0.1  # the same, near the rate at which a probe failed
_SLOWEST = 1 / 60
_PAUSE = 1.0  # so long that what was accepted in the last second was accepted after the limit changed
_PAUSE_OF_PROBE = 0.5
_PAUSE_MOST = 60.0

_BRAKES = (1.0, 5.0, 15.0, 30.0)  # while the service fails for all sends, one is tried after each
# Seconds for which a service that refuses all sends is waited for: a gateway is deployed, and rolled back, in
# less, and an operator who has to act hears of it while the cause can still be seen.
_PATIENCE = 300.0

_HEADERS = 0.99  # share of a quota that the gateway tells
_PACED_WINDOW = 3600.0  # a longer window says when to stop, not how fast to go
_SHORT_WINDOW = 10.0  # what is left of a shorter one is old before it arrives

_EPSILON = 1e-9


class Meter:
    """A limited rate, configured or learned.

    Args:
        name: Name of the meter, for the status.
        cap: Configured sends per second; infinite for as fast as the service allows.
        random: Returns a number from [0, 1), for the jitter of pauses.
    """

    __slots__ = (
        "_accepted",
        "_accepted_at",
        "_clean_wait",
        "_due",
        "_failed_at",
        "_failures",
        "_hungry",
        "_learned",
        "_next_burst",
        "_paced",
        "_paused_from",
        "_proven",
        "_quota",
        "_random",
        "_reset_at",
        "_rest",
        "_steady_from",
        "_step",
        "_strikes",
        "_tick",
        "_trial",
        "_used",
        "_was_hungry",
        "cap",
        "gives_up_at",
        "name",
        "out",
        "pause_kind",
        "pause_words",
        "paused_until",
        "share",
    )

    def __init__(
        self, name: str, cap: float = math.inf, *, random: Callable[[], float] = random.random
    ) -> None:
        self.name: str = name
        self.cap: float = cap
        self._random = random
        # Pacing
        self._due = self._next_burst = -math.inf
        self._hungry = False
        #: Sends without a response yet.
        self.out: int = 0
        # Pauses
        self.paused_until: float = -math.inf
        self._paused_from = -math.inf
        self.pause_kind: PauseKind = "throttled"
        #: Why the service fails for all sends, in words.
        self.pause_words: str = ""
        #: When it is no use to wait for a service that refuses all sends; infinite while it does not.
        self.gives_up_at: float = math.inf
        self._strikes = 0
        self._failures = 0
        self._trial = False
        # Learned without headers: the present rate, and the rate at which it stays
        self._learned = self._rest = math.inf
        self._tick = self._steady_from = math.inf
        self._step = self._proven = 0.0  # the step is 0 while it does not probe
        self._clean_wait, self._failed_at = _CLEAN_AT_FIRST, math.inf
        self._was_hungry = False
        self._accepted = [0] * 10
        self._accepted_at = 0
        # Read from headers
        self._quota: Quota | None = None
        self._paced = math.inf
        self._used = 0
        self._reset_at = -math.inf
        #: The part of a quota that this process may use, of several that send.
        self.share: float = 1.0

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Meter {self.rate:g}/s out={self.out}>"

    @property
    def rate(self) -> float:
        """The present sends per second, without pauses."""
        return min(self.cap, self._learned, self._paced * self.share)

    @property
    def failures(self) -> int:
        """Number of consecutive pauses that ended with another send that was unknown, or refused for all."""
        return self._failures

    # --- what may leave ---

    def available(self, now: float, want: int) -> int:
        """Return how many of `want` sends may start now."""
        self._advance(now)
        if now < self.paused_until:
            return 0
        if self._trial:
            return 0 if self.out else min(want, 1)
        rate = self.rate
        if rate == math.inf:
            return want
        due = max(self._due, now - CATCH_UP if self._hungry else now)
        burst = max(self._next_burst, now - _BURST)
        if max(due, burst) > now + _EPSILON:
            return 0
        allowed = min((now - due) * rate, (now - burst) * 2 * rate)
        return min(want, int(allowed + 1 + _EPSILON * rate))

    def take(self, now: float, n: int, *, hungry: bool) -> None:
        """Start `n` sends.

        Args:
            now: Monotonic seconds.
            n: Number of sends, at most the available number.
            hungry: Whether this meter limited the number: only then a later stall counts as lost time, which
                may be made up for.
        """
        rate = self.rate
        if n and rate != math.inf:
            due = max(self._due, now - CATCH_UP if self._hungry else now)
            self._due = due + n / rate
            self._next_burst = max(self._next_burst, now - _BURST) + n / (2 * rate)
        self._hungry = hungry
        self._was_hungry = self._was_hungry or hungry
        self.out += n

    def give_back(self, n: int) -> None:
        """Take back sends that did not leave."""
        if self.rate != math.inf:
            self._due -= n / self.rate
            self._next_burst -= n / (2 * self.rate)
        self._hungry = False
        self.out -= n

    def next(self, now: float) -> float:
        """Return when the next send may start, `now` or later; infinite during a trial."""
        self._advance(now)
        if self._trial and self.out:
            return math.inf
        moment = max(now, self.paused_until)
        if self.rate == math.inf:
            return moment
        due = max(self._due, self._next_burst)
        if now < self._reset_at < due and (pace := self._fresh_pace()) is not None:
            # From the reset on the pace is that of the new window.
            due = min(due, self._reset_at + 1 / min(self.cap, self._learned, pace * self.share))
        return max(moment, due)

    def retune(self, cap: float, now: float) -> None:
        """Set the configured rate; the time of the next send changes accordingly."""
        if cap == self.cap:
            return
        before, self.cap = self.rate, cap
        if self._due > now:
            # The remaining wait scales: a slow rate must not delay the first send of a fast one.
            share = before / self.rate if math.isfinite(before) else 1.0
            self._due = now + (self._due - now) * share
            self._next_burst = min(self._next_burst, self._due)
        if self._rest >= cap:
            self._release()

    # --- responses ---

    def accepted(self, now: float, n: int = 1) -> None:
        """Count sends that the service accepted, or refused for a reason of their own."""
        if now >= self.paused_until or self.gives_up_at == math.inf:
            self._trial, self._failures, self.gives_up_at = False, 0, math.inf
        if now >= self.paused_until:
            self._strikes = 0
        slot = int(now * 10)
        if slot != self._accepted_at:
            self._forget(slot)
        self._accepted[slot % 10] += n

    def throttled(self, sent: float, now: float, retry_after: float | None = None) -> bool:
        """Count a send that was rejected for its rate; return whether a pause begins.

        Args:
            sent: Start of the send: sends before the last pause give no new information.
            now: Monotonic seconds.
            retry_after: Seconds to wait that the service demands, or `None`.
        """
        if self._is_old(sent, now):
            return False
        self._advance(now)
        quota = self._quota
        self._strikes += 1
        pause = _PAUSE_OF_PROBE if self._step else _PAUSE
        spent = quota is not None and quota.spent
        if not spent and (quota is None or self._paced == math.inf or quota.used is not None):
            self._learn(now)
        if retry_after is None:
            if spent and self._reset_at > now:
                retry_after = self._reset_at - now
            else:
                doubled = min(_PAUSE_MOST, pause * 2.0 ** min(self._strikes - 1, 10))
                retry_after = doubled * (1 + 0.2 * self._random())
        elif not spent:
            retry_after = max(retry_after, pause)
        self.pause(now, retry_after, "quota" if spent else "throttled")
        return True

    def apply_quota(self, quota: Quota, now: float) -> None:
        """Apply the gateway's quota: a pace for windows of up to an hour, and a stop."""
        moment = now + quota.reset_in if quota.reset_in is not None else None
        if not self._is_news(quota, moment, now):
            return
        self._quota = quota
        if 0 < quota.window <= _PACED_WINDOW:
            self._pace(quota, now)
        if quota.spent and moment is not None and not 0 < quota.window < _SHORT_WINDOW:
            self.pause(now, moment - now, "quota")

    def unreachable(self, sent: float, now: float) -> bool:
        """Count a send that could not leave, without connection or token; return whether a pause begins."""
        if self._is_old(sent, now):
            return False
        self._strikes += 1
        pause = min(_PAUSE_MOST, 2.0 ** min(self._strikes - 1, 10))
        self.pause(now, pause * (1 + 0.2 * self._random()), "unreachable")
        self._trial = True
        return True

    def refused(self, sent: float, now: float, words: str) -> bool:
        """Count a send that was refused for a reason that all sends share; return whether to wait no longer.

        A pause begins, after which a single send is tried. Pauses follow one another for some minutes.

        Args:
            sent: Start of the send.
            now: Monotonic seconds.
            words: The reason, without personal data.
        """
        if self._is_old(sent, now):
            return False
        over = now >= self.gives_up_at
        self.gives_up_at = min(self.gives_up_at, now + _PATIENCE)
        self.brake(sent, now, words)
        return over

    def brake(self, sent: float, now: float, words: str = "") -> None:
        """Pause while the service fails for all sends; then a single send is tried.

        Args:
            sent: Start of the send that failed.
            now: Monotonic seconds.
            words: The reason, without personal data.
        """
        if self._is_old(sent, now):
            return
        seconds, left = _BRAKES[min(self._failures, len(_BRAKES) - 1)], self.gives_up_at - now
        self.pause(now, min(seconds, left) if left > 0 else seconds, "service")
        self.pause_words = words
        self._failures += 1
        self._trial = True

    def heed(self, now: float, seconds: float, kind: Literal["quota", "throttled"]) -> None:
        """Keep a pause that the service demanded of another worker, and learn from it as from an own one."""
        if kind == "quota":
            self.pause(now, seconds, kind)
        else:
            self.throttled(now, now, seconds)

    def pause(self, now: float, seconds: float, kind: PauseKind) -> None:
        """Stop sends for a number of seconds."""
        if now + seconds <= self.paused_until:
            return
        if now >= self.paused_until:
            self._paused_from = now
        self.paused_until, self.pause_kind = now + seconds, kind
        self._due = max(self._due, self.paused_until)
        self._hungry = False
        self._tick = self._steady_from = self.paused_until + 1

    def try_again(self, now: float) -> None:
        """End a pause: one send is tried, and the others follow once the service has accepted it."""
        if now >= self.paused_until:
            return
        self.paused_until, self._trial = now, True
        self._due = self._next_burst = now
        if self._tick != math.inf:
            self._tick = self._steady_from = now + 1

    def _is_old(self, sent: float, now: float) -> bool:
        """Whether a failure says nothing new: its send left before the last pause, or the pause lasts."""
        return sent < self._paused_from or now < self.paused_until

    # --- without headers ---

    def _learn(self, now: float) -> None:
        rate, accepted, step = self.rate, self._recently(now), self._step
        if step and accepted >= 0.5 * self._rest:
            # The probe went too far: return, and wait longer before the next probe at the same rate.
            near = 0.75 < rate / self._failed_at < 1.33
            # At a slow rate one probe is a large share of the calls.
            most = min(_CLEAN_SLOW, max(_CLEAN_MOST, 60 / self._rest))
            self._clean_wait = min(most, self._clean_wait * 2) if near else _CLEAN
            self._failed_at = rate
            self._rest = max(self._rest, _REST * self._proven, 0.9 * min(accepted, rate / (1 + step)))
            self._learned = self._rest
        elif self._failed_at != math.inf and accepted >= 0.8 * rate:
            # The limit was found before, and the place to rest at was a little too near.
            self._rest = self._learned = _REST * min(rate, self._rest)
        else:
            base = self._rest if self._rest != math.inf else rate
            fallback = base * 0.5 if base != math.inf else 1.0
            good = min(base, accepted * _SAFE if accepted else fallback)
            self._clean_wait, self._failed_at = _CLEAN_AT_FIRST, math.inf
            self._rest = max(_SLOWEST, min(good, self.cap))
            self._learned = max(_SLOWEST, 0.5 * self._rest)
        self._step = 0.0

    def _advance(self, now: float) -> None:
        """Count the seconds without a 429 since the last pause."""
        if now >= self._reset_at > 0:
            self._begin_window()
        while self._tick <= now:
            if self._rest == math.inf:
                self._tick = math.inf
                return
            # Nothing more happens in two minutes of silence.
            self._tick = max(self._tick, now - 120) + 1
            self._rise()
            self._was_hungry = self._hungry

    def _rise(self) -> None:
        if self._learned < self._rest:
            self._learned = min(self._rest, self._learned * 1.5)
            self._steady_from = self._tick
        elif self._step or self._tick - self._steady_from >= self._clean_wait:
            if not self._was_hungry:
                return  # no send had to wait, so a higher rate would prove nothing
            # Answers are late, and a service that counts in windows says no at their end: what held for two
            # seconds is proven.
            self._proven = self._learned / (1 + self._step)
            first = _PROBE_FIRST if self._failed_at == math.inf else _PROBE
            self._step = min(_PROBE_MOST, self._step * 2) if self._step else first
            if 0.6 < self._learned / self._failed_at < 1.15:
                self._step = min(self._step, _PROBE_NEAR)
            self._learned *= 1 + self._step
            if self._learned >= self.cap:
                self._release()
                return
            self._due = min(self._due, self._tick - 1 + 1 / self._learned)

    def _release(self) -> None:
        """Discard the learned rate: the configured rate was accepted."""
        self._learned = self._rest = self._tick = math.inf
        self._step = 0.0
        self._clean_wait, self._failed_at = _CLEAN_AT_FIRST, math.inf

    def _forget(self, slot: int) -> None:
        gone = min(slot - self._accepted_at, 10)
        for each in range(slot - gone + 1, slot + 1):
            self._accepted[each % 10] = 0
        self._accepted_at = slot

    def _recently(self, now: float) -> int:
        slot = int(now * 10)
        if slot != self._accepted_at:
            self._forget(slot)
        return sum(self._accepted)

    # --- with headers ---

    def _is_news(self, quota: Quota, moment: float | None, now: float) -> bool:
        """Take `used`, only upwards within a window; return whether the response is of the current window."""
        used = quota.used if quota.used is not None else 0
        if moment is None:
            # The only sign of a new window is a count that falls far.
            self._used = used if used < self._used / 2 else max(self._used, used)
            return True
        tolerance = max(1.0, 0.05 * quota.window) if quota.window > _SHORT_WINDOW else 0.25 * quota.window
        if self._reset_at > now:
            if moment < self._reset_at - tolerance:
                same_length = self._quota is not None and self._quota.window == quota.window
                if same_length:
                    return False
            if moment <= self._reset_at + tolerance:
                self._used = max(self._used, used)
                return True
        self._used, self._reset_at = used, moment
        return True

    def _pace(self, quota: Quota, now: float) -> None:
        even = quota.limit / quota.window
        pace = even
        if quota.used is not None and self._reset_at > now and quota.window >= _SHORT_WINDOW:
            free = quota.limit - self._used - self.out
            pace = min(2 * even, free / (self._reset_at - now))
        self._set_pace(max(_HEADERS * pace, 1 / quota.window), now)

    def _set_pace(self, pace: float, now: float) -> None:
        before = self.rate
        self._paced = pace
        if self._due > now and self.rate > before:
            self._due = min(self._due, now + 1 / self.rate)
            # Or a send of the slow pace would hold the next one for half of its long interval.
            self._next_burst = min(self._next_burst, self._due)

    def _begin_window(self) -> None:
        """Begin a new window, of which nothing is used yet."""
        moment, self._reset_at, self._used = self._reset_at, -math.inf, 0
        pace = self._fresh_pace()
        if pace is not None:
            self._set_pace(pace, moment)

    def _fresh_pace(self) -> float | None:
        """Return the pace of a window of which nothing is used; `None` where the quota is no pace."""
        quota = self._quota
        if quota is None or not 0 < quota.window <= _PACED_WINDOW:
            return None
        return max(_HEADERS * quota.limit / quota.window, 1 / quota.window)
