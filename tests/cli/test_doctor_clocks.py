"""`nexmo-dispatch doctor` compares the clock of the receiver as well, and blames no secret for it."""

import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import NamedTuple

import pytest
from aiohttp import web

from nexmo_dispatch_async.cli import doctor
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_core.findings import Finding
from tests.cli.test_doctor import codes, environment, served

CALLBACKS = DoctorOptions(parts=frozenset({Part.CALLBACKS}))


class Setup(NamedTuple):
    """A receiver that answers as told, and the environment in which it is found."""

    environ: dict[str, str]
    #: status and headers of the answer to a signed callback; 503 answers one without a signature
    answers: Callable[[int, dict[str, str]], None]


@pytest.fixture
async def told() -> AsyncIterator[Setup]:
    """A receiver in any language: it has a check, a clock and headers of its own."""
    status, headers = 204, dict[str, str]()

    def answers(answer: int, its_headers: dict[str, str]) -> None:
        nonlocal status, headers
        status, headers = answer, its_headers

    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status if "Authorization" in request.headers else 503, headers=headers)

    application = web.Application()
    application.router.add_post("/webhooks", handle)
    async with Simulator(speed=1) as sim, served(application) as url:
        yield Setup(environment(sim, url), answers)


def dated(ahead: float) -> dict[str, str]:
    """Return the `Date` of a machine whose clock is ahead of this one by so many seconds."""
    return {"Date": formatdate(time.time() + ahead, usegmt=True)}


def named(findings: list[Finding], code: str) -> Finding:
    (finding,) = [each for each in findings if each.code == code and each.level != "skipped"]
    return finding


@pytest.mark.parametrize("status", [401, 403, 503])
@pytest.mark.parametrize(("ahead", "side"), [(600, "ahead of"), (-600, "behind")])
async def test_a_refusal_by_a_receiver_with_another_clock_names_the_clock(
    told: Setup, status: int, ahead: int, side: str
) -> None:
    """The secret is right: who is told to change it loses every callback."""
    told.answers(status, dated(ahead))

    findings = await doctor.examine(CALLBACKS, told.environ)

    clock = named(findings, "webhook-clock")
    seconds = int(clock.text.partition(": the clock of the receiver is ")[2].split()[0])
    assert codes(findings, "bad", "warning") == ["webhook-clock"]
    assert abs(seconds - 600) <= 3
    assert f" s {side} that of this machine, and it answers {status} to a signed callback" in clock.text
    assert clock.cure.startswith("let NTP set both clocks")
    assert "if the answer stays, " in clock.cure


async def test_another_clock_is_a_risk_where_callbacks_are_taken(told: Setup) -> None:
    """The receiver may tolerate it, or not look; the records have wrong times."""
    told.answers(204, dated(-60))

    findings = await doctor.examine(CALLBACKS, told.environ)

    assert codes(findings, "bad") == []
    assert codes(findings, "warning") == ["webhook-clock"]
    assert {"webhook", "webhook-unsigned"} <= set(codes(findings, "good"))


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_another_clock_hides_no_other_fault(told: Setup, status: int) -> None:
    """These answers have other reasons than the time of a signature."""
    told.answers(status, dated(600))

    findings = await doctor.examine(CALLBACKS, told.environ)

    assert len(codes(findings, "bad")) == 1
    assert codes(findings, "warning") == ["webhook-clock"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": ""},
        {"Date": "soon"},
        {"Date": "inf"},
        {"Date": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        {"Age": "600"},
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [204, 401])
async def test_an_answer_that_tells_no_time_accuses_no_clock(
    told: Setup, status: int, headers: dict[str, str]
) -> None:
    """Missing, garbled or kept by a cache: a date is no difference then; a refusal says what is not known."""
    told.answers(status, dated(-600) | headers)

    findings = await doctor.examine(CALLBACKS, told.environ)

    assert codes(findings, "bad", "warning") == (["webhook-secret"] if status == 401 else [])
    if status == 401:
        assert "the answer tells no time: compare the clock" in named(findings, "webhook-secret").cure


async def test_a_refusal_at_the_right_time_names_more_than_one_cause(told: Setup) -> None:
    """Secret, api key, or a body that was changed before it was hashed."""
    told.answers(401, dated(0))

    finding = named(await doctor.examine(CALLBACKS, told.environ), "webhook-secret")

    assert "the api key and the secret of NEXMO_DISPATCH_SIGNATURE_SECRETS" in finding.cure
    assert "the bytes of the body as they came" in finding.cure
    assert "clock" not in finding.cure


async def test_a_date_within_the_time_of_a_slow_answer_is_no_difference(told: Setup) -> None:
    """The receiver may write it when it begins; the answer comes eight seconds later."""
    now = time.time()
    told.answers(204, {"Date": formatdate(now + 2, usegmt=True)})
    times = iter([now, now + 8])

    findings = await doctor.examine(CALLBACKS, told.environ, clock=lambda: next(times, now + 8))

    assert codes(findings, "bad", "warning") == []


async def test_the_good_finding_says_whose_clock_it_means(told: Setup) -> None:
    findings = await doctor.examine(DoctorOptions(parts=frozenset({Part.SERVICE})), told.environ)

    assert "of this machine" in named(findings, "clock").text
