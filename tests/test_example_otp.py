"""The one-time password of `examples/otp.py`: each failure has its words, and none a second send."""

import logging
import runpy
from collections.abc import Callable
from typing import Any

import pytest

from nexmo_dispatch_async import KpnOAuth
from nexmo_dispatch_async.simulator import Simulator
from tests.support.paths import ROOT

OTP: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "otp.py"), run_name="otp")
NUMBER, CODE, REFERENCE = "999100000001", "314159", "login-17"
ROUTE = "POST /dispatch"
TOKEN_ROUTE = "POST /oauth/client_credential/accesstoken"
UNKNOWN = "a code may have been sent: wait for it before you ask for another, in 60 s"
AGAIN, CLOSED = "no code was sent: try again", "no code can be sent now: log in another way"
WRONG_NUMBER = "this number cannot be reached: correct it"


def fault(kind: str, **more: Any) -> Callable[[Simulator], object]:
    return lambda sim: sim.faults.add({"kind": kind, "route": ROUTE, **more})


def quota(sim: Simulator) -> None:
    sim.settings.quota_limit = 0


def not_entitled(sim: Simulator) -> None:
    sim.settings.not_entitled = 401


CASES: dict[str, tuple[Callable[[Simulator], object], str, int]] = {
    "lost response": (fault("reset", when="after"), UNKNOWN, 1),
    "half a response": (fault("half_response"), UNKNOWN, 1),
    "502": (fault("error", status=502, form="html"), UNKNOWN, 1),
    "503 of the service": (fault("error", status=503, when="after", form="problem"), UNKNOWN, 1),
    "hung up": (fault("reset"), UNKNOWN, 1),
    "token endpoint": (fault("error", route=TOKEN_ROUTE, status=503), AGAIN, 0),
    "408 of a proxy": (fault("error", status=408, form="text"), AGAIN, 2),
    "401": (fault("error", status=401, form="apigee"), CLOSED, 2),
    "no credit": (fault("error", status=402, form="problem"), CLOSED, 1),
    "403": (fault("error", status=403, form="problem"), CLOSED, 1),
    "no product": (not_entitled, CLOSED, 1),
    "quota of the day": (quota, CLOSED, 1),
    "quota without a time": (fault("error", status=429, form="apigee"), CLOSED, 2),
    "quota of ten minutes": (
        fault("error", status=429, form="apigee", retry_after=600),
        "no code was sent: try again in 10 min",
        1,
    ),
    "quota of eleven minutes": (fault("error", status=429, form="apigee", retry_after=660), CLOSED, 1),
    "spike arrest": (
        fault("error", status=429, form="apigee", retry_after=90),
        "no code was sent: try again in 2 min",
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_failure_has_words_for_the_person(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """The page tells what the person can do, in no words of the service; the log tells the operator why."""
    arrange, words, posts = CASES[case]
    async with (
        Simulator() as sim,
        sim.client(retry=OTP["RETRY"], timeout=OTP["TIMEOUT"]) as client,
    ):
        arrange(sim)
        with caplog.at_level(logging.WARNING, "otp"):
            said, sent = await OTP["send_password"](client, NUMBER, CODE, REFERENCE)

        assert (said, sent) == (words, None)
        assert sim.counts[ROUTE] == posts
        assert sim.accepted <= 1
    (record,) = [each for each in caplog.records if each.name == "otp"]
    assert record.getMessage().startswith("one-time password: ")  # what is known says the error itself
    assert not any(private in record.getMessage() for private in (NUMBER, CODE, REFERENCE))


async def test_wrong_credentials_are_the_operators() -> None:
    """A person who is told to try again would do so for ever."""
    async with Simulator() as sim:
        auth = KpnOAuth(sim.client_id, "another", token_url=sim.token_url)
        async with sim.client(auth=auth, retry=OTP["RETRY"]) as client:
            assert await OTP["send_password"](client, NUMBER, CODE, REFERENCE) == (CLOSED, None)


async def test_a_number_that_is_none_is_the_persons_to_correct(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing leaves for a number that the rules refuse, and the log has one line, without the number."""
    async with Simulator() as sim, sim.client() as client:
        assert await OTP["send_password"](client, "07700900123", CODE, REFERENCE) == (WRONG_NUMBER, None)
        assert sim.accepted == 0
    (record,) = [each for each in caplog.records if each.name == "otp"]
    assert "to.number: must begin with the country code" in record.getMessage()
    assert not any(unwanted in record.getMessage() for unwanted in ("\n", "07700900123", CODE))


async def test_each_step_carries_the_reference_of_the_login() -> None:
    """A code whose outcome is unknown is known again by its callbacks."""
    async with Simulator() as sim, sim.client() as client:
        said, sent = await OTP["send_password"](client, NUMBER, CODE, REFERENCE)

        assert (said, sent.client_ref) == ("a code was sent", REFERENCE)
        body = next(each.body for each in sim.requests if each.path.endswith("/dispatch"))
    assert body.count(REFERENCE) == 2
