"""The one-time password of `examples/otp.py`: each failure has its kind, and none a second send."""

import asyncio
import json
import logging
import runpy
from collections.abc import Callable
from typing import Any, Literal

import pytest

from nexmo_dispatch_async import BadRequestError, KpnOAuth, Rules
from nexmo_dispatch_async.models.problems import InvalidParameter, Problem
from nexmo_dispatch_async.simulator import Person, Settings, Simulator
from tests.support.paths import ROOT

OTP: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "otp.py"), run_name="otp")
NUMBER, CODE, REFERENCE = "999100000001", "314159", "login-17"
ROUTE = "POST /dispatch"
TOKEN_ROUTE = "POST /oauth/client_credential/accesstoken"
UNKNOWN, AGAIN, CORRECT, OTHER_WAY = (
    ("perhaps_sent", 60, None),
    ("ask_again", 0, None),
    ("correct_number", 0, None),
    ("other_way", 0, None),
)


def fault(kind: str, **more: Any) -> Callable[[Simulator], object]:
    return lambda sim: sim.faults.add({"kind": kind, "route": ROUTE, **more})


def quota(sim: Simulator) -> None:
    sim.settings.quota_limit = 0


def not_entitled(sim: Simulator) -> None:
    sim.settings.not_entitled = 401


CASES: dict[str, tuple[Callable[[Simulator], object], tuple[str, int, None], int]] = {
    "lost response": (fault("reset", when="after"), UNKNOWN, 1),
    "half a response": (fault("half_response"), UNKNOWN, 1),
    "502": (fault("error", status=502, form="html"), UNKNOWN, 1),
    "503 of the service": (fault("error", status=503, when="after", form="problem"), UNKNOWN, 1),
    "hung up": (fault("reset"), UNKNOWN, 1),
    "token endpoint": (fault("error", route=TOKEN_ROUTE, status=503), AGAIN, 0),
    "token endpoint, later": (
        fault("error", route=TOKEN_ROUTE, status=503, retry_after=90),
        ("ask_again", 90, None),
        0,
    ),
    "limit of the token endpoint": (fault("error", route=TOKEN_ROUTE, status=429), AGAIN, 0),
    "408 of a proxy": (fault("error", status=408, form="text"), AGAIN, 2),
    "401": (fault("error", status=401, form="apigee"), OTHER_WAY, 2),
    "no credit": (fault("error", status=402, form="problem"), OTHER_WAY, 1),
    "403": (fault("error", status=403, form="problem"), OTHER_WAY, 1),
    "no product": (not_entitled, OTHER_WAY, 1),
    "quota of the day": (quota, OTHER_WAY, 1),
    "spike arrest": (fault("error", status=429, form="apigee"), AGAIN, 2),
    "spike arrest as 500": (fault("quota", status=500), AGAIN, 2),
    "limit per second": (fault("error", status=429, form="problem"), AGAIN, 2),
    "limit of KPN": (fault("error", status=429, form="kpn"), AGAIN, 2),
    "429 without a body": (fault("error", status=429, form="empty"), AGAIN, 2),
    "429, now": (fault("error", status=429, retry_after=0), AGAIN, 2),
    "429, in 90 s": (fault("error", status=429, retry_after=90), ("ask_again", 90, None), 1),
    "429, in ten minutes": (fault("error", status=429, retry_after=600), ("ask_again", 600, None), 1),
    "429, in eleven minutes": (fault("error", status=429, retry_after=660), OTHER_WAY, 1),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_failure_has_a_kind_to_act_on(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """The login learns what the person can do, and when; the log tells the operator why."""
    arrange, expected, posts = CASES[case]
    async with (
        Simulator() as sim,
        sim.client(retry=OTP["RETRY"], timeout=OTP["TIMEOUT"]) as client,
    ):
        arrange(sim)
        with caplog.at_level(logging.WARNING, "otp"):
            answer = await OTP["send_password"](client, NUMBER, CODE, REFERENCE)

        assert answer == expected
        assert sim.counts[ROUTE] == posts
        assert sim.accepted <= 1
    (record,) = [each for each in caplog.records if each.name == "otp"]
    assert record.levelno == (logging.ERROR if expected == OTHER_WAY else logging.WARNING)
    assert record.getMessage().startswith("one-time password: ")  # what is known says the error itself
    assert not any(private in record.getMessage() for private in (NUMBER, CODE, REFERENCE))


async def test_the_quota_of_a_day_is_the_persons_when_it_soon_resets() -> None:
    """Five minutes before midnight the person asks again; before that the operator is asked."""
    async with Simulator() as sim, sim.client(retry=OTP["RETRY"]) as client:
        sim.settings.quota_limit = 1
        answers = [await OTP["send_password"](client, NUMBER, CODE, REFERENCE) for _ in range(2)]
        await sim.advance(86_400 - 300, settle=0)
        answers.append(await OTP["send_password"](client, NUMBER, CODE, REFERENCE))

    assert [(answer.kind, answer.seconds) for answer in answers] == [
        ("sent", 60),
        ("other_way", 0),
        ("ask_again", 300),
    ]


async def test_wrong_credentials_are_the_operators() -> None:
    """A person who is told to try again would do so for ever."""
    async with Simulator() as sim:
        auth = KpnOAuth(sim.client_id, "another", token_url=sim.token_url)
        async with sim.client(auth=auth, retry=OTP["RETRY"]) as client:
            assert await OTP["send_password"](client, NUMBER, CODE, REFERENCE) == OTHER_WAY


async def test_a_closed_client_sent_nothing() -> None:
    """The process ends, and the person asks the next one."""
    async with Simulator() as sim:
        async with sim.client() as client:
            pass
        assert await OTP["send_password"](client, NUMBER, CODE, REFERENCE) == AGAIN


async def test_a_client_that_is_closed_before_the_response_leaves_the_outcome_unknown() -> None:
    """The service may have the code, so the person waits for it."""
    async with Simulator() as sim, sim.client() as client:
        sim.faults.add({"kind": "latency", "route": ROUTE, "seconds": 60})
        sending = asyncio.create_task(OTP["send_password"](client, NUMBER, CODE, REFERENCE))
        async with asyncio.timeout(10):
            while not sim.accepted:  # noqa: ASYNC110 - no event announces it
                await asyncio.sleep(0)
        await client.aclose()

        assert await sending == UNKNOWN


async def test_a_wrong_number_is_the_persons_to_correct(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing leaves for a number that the rules refuse, and the log has one line, without the number."""
    async with Simulator() as sim, sim.client() as client:
        with caplog.at_level(logging.INFO, "otp"):
            assert await OTP["send_password"](client, "07700900123", CODE, REFERENCE) == CORRECT
        assert sim.counts[ROUTE] == 0
    (record,) = [each for each in caplog.records if each.name == "otp"]
    assert record.levelno == logging.INFO  # no alert for a typing error
    assert "to.number: must begin with the country code" in record.getMessage()
    assert not any(unwanted in record.getMessage() for unwanted in ("\n", "07700900123", CODE))


@pytest.mark.parametrize("form", ["array", "object"])
async def test_a_number_that_the_service_refuses_is_the_persons_too(form: Literal["array", "object"]) -> None:
    """A 400 that names the recipient, in either form of the contract (9.7)."""
    async with (
        Simulator(settings=Settings(invalid_parameters=form)) as sim,
        sim.client(rules=Rules(off=["e164"])) as client,
    ):
        assert await OTP["send_password"](client, "07700900123", CODE, REFERENCE) == CORRECT
        assert sim.counts[ROUTE] == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("to", CORRECT), ("to.number", CORRECT), ("workflow[0].to.number", CORRECT), ("from.number", OTHER_WAY)],
)
def test_the_service_may_name_the_number_in_its_own_way(name: str, expected: tuple[str, int, None]) -> None:
    """No source says how it writes the path; a word such as `total` is another parameter."""
    details = Problem(invalid_parameters=(InvalidParameter("total", "x"), InvalidParameter(name, "x")))
    assert OTP["answer_to"](BadRequestError("400", details=details)) == expected


async def test_each_step_carries_the_reference_of_the_login() -> None:
    """A code whose outcome is unknown is known again by its callbacks."""
    async with Simulator() as sim, sim.client() as client:
        answer = await OTP["send_password"](client, NUMBER, CODE, REFERENCE)

        (request,) = [each for each in sim.requests if each.path.endswith("/dispatch")]
    assert answer == ("sent", 60, json.loads(request.answer)["dispatch_uuid"])
    assert request.body.count(REFERENCE) == 2


async def test_the_sms_has_left_before_a_second_code_may() -> None:
    """The failover waits for `delivered`, also if the platform takes three seconds more (10.2)."""
    async with Simulator(settings=Settings(expiry_lag=3)) as sim, sim.client() as client:
        sim.people.add(NUMBER, Person(outcome="silent"), channel="whatsapp")
        answer = await OTP["send_password"](client, NUMBER, CODE, REFERENCE)
        await sim.advance(answer.seconds - 1, settle=0)

        assert sim.sent_channels() == ["whatsapp", "sms"]


async def test_a_delivered_code_needs_no_sms() -> None:
    """A person without read receipts costs one message."""
    async with Simulator() as sim, sim.client() as client:
        await OTP["send_password"](client, "999100000001", CODE, REFERENCE)  # never reads
        await sim.advance(600)

        assert sim.sent_channels() == ["whatsapp"]
