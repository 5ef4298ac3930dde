"""What every `Ledger` promises of the rates that several workers share; `conformance` says how to use it."""

from __future__ import annotations

from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW, Ledgers
from nexmo_dispatch_async.bulk.ledger.rates import RateRequest, SharedPause


class RateConformance:
    """Grants and pauses. A ledger may go by a clock of its own, so times are compared roughly."""

    async def test_grants_of_a_rate_follow_each_other(self, ledgers: Ledgers) -> None:
        """What is granted lies behind what was granted before, and no further ahead than allowed."""
        ledger = await ledgers.new()

        async def ask(name: str, n: int, back: int = 0) -> tuple[int, float]:
            request = RateRequest(name=name, n=n, rate=0.01, back=back)
            (grant,) = (await ledger.lease([request], now=NOW)).grants
            return grant.n, 100 * round(grant.wait / 100, 1)

        assert await ask("a", 10) == (1, 0)
        assert await ask("a", 10) == (0, 100)
        assert await ask("b", 1) == (1, 0)
        assert await ask("a", 0, back=1) == (0, 0)
        assert await ask("a", 1) == (1, 0)

    async def test_a_rate_that_rises_shortens_the_wait(self, ledgers: Ledgers) -> None:
        """The first send of a fast rate does not wait as long as the next one of a slow rate."""
        ledger = await ledgers.new()

        for rate, n in ((0.01, 1), (10, 0), (100, 0)):
            request = RateRequest(name="a", n=n, rate=rate)
            (grant,) = (await ledger.lease([request], now=NOW)).grants
        assert grant.wait <= 0.01

    async def test_each_request_has_its_grant(self, ledgers: Ledgers) -> None:
        """In the order of the requests, whatever their names."""
        ledger = await ledgers.new()
        requests = [RateRequest(name=name, n=n, rate=1000) for name, n in (("z", 1), ("a", 2), ("m", 3))]

        answer = await ledger.lease(requests, now=NOW)

        assert [grant.n for grant in answer.grants] == [1, 2, 3]

    async def test_a_pause_is_known_to_all(self, ledgers: Ledgers) -> None:
        """Until it ends; a shorter one for the same bucket does not end it earlier."""
        ledger = await ledgers.new()

        await ledger.lease([], [SharedPause("sms|1", 60, "throttled")], now=NOW)
        await ledger.lease(
            [], [SharedPause("sms|1", 5, "quota"), SharedPause("gateway", 0, "quota")], now=NOW
        )
        (pause,) = (await ledger.lease([], now=NOW)).pauses

        assert (pause.name, pause.kind) == ("sms|1", "throttled")
        assert 30 < pause.seconds <= 60

    async def test_a_pause_of_no_seconds_ends_one(self, ledgers: Ledgers) -> None:
        """For all: an operator resumed the campaign. One that begins afterwards counts."""
        ledger = await ledgers.new()

        await ledger.lease([], [SharedPause("gateway", 3600, "quota")], now=NOW)
        assert (await ledger.lease([], [SharedPause("gateway", 0, "quota")], now=NOW)).pauses == ()
        await ledger.lease([], [SharedPause("gateway", 60, "throttled")], now=NOW)
        (pause,) = (await ledger.lease([], now=NOW)).pauses

        assert (pause.name, pause.kind) == ("gateway", "throttled")
        assert 30 < pause.seconds <= 60
