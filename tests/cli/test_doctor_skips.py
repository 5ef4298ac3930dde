"""`nexmo-dispatch doctor` says what it did not look at, blames no right variable, and wakes no person."""

import json
from collections.abc import AsyncIterator

import pytest

from nexmo_dispatch_async.cli import doctor
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.cli.doctor_verdicts import refusal_finding
from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_core.findings import Finding
from nexmo_dispatch_webhooks.aiohttp import RECEIVERS
from tests.cli.test_doctor import NETWORK, codes, environment, receiver, served


@pytest.fixture
async def healthy() -> AsyncIterator[tuple[Simulator, dict[str, str]]]:
    """A simulator, a receiver, and the environment in which both are found."""
    with receiver() as application:
        async with Simulator(speed=1) as sim, served(application) as url:
            yield sim, environment(sim, url)


def texts(findings: list[Finding], level: str) -> str:
    return "\n".join(finding.text for finding in findings if finding.level == level)


async def test_a_wrong_path_names_its_variable_and_no_application(
    healthy: tuple[Simulator, dict[str, str]],
) -> None:
    """The application is there: its list is asked for, which is never unknown where the path is right."""
    sim, environ = healthy
    environ["NEXMO_DISPATCH_BASE_URL"] = f"{sim.url}/communication/nexmos"

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == ["base-url"]
    assert "NEXMO_DISPATCH_BASE_URL" in texts(findings, "bad")


@pytest.mark.parametrize("missing", ["TOKEN_URL", "BASE_URL"])
async def test_a_url_that_is_not_set_is_one_finding(
    healthy: tuple[Simulator, dict[str, str]], missing: str
) -> None:
    """The host of KPN is not reached instead, and the application id, which is set, is not called missing."""
    _, environ = healthy
    del environ[f"NEXMO_DISPATCH_{missing}"]

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings, "bad", "warning") == ["setting"]
    assert f"NEXMO_DISPATCH_{missing}" in texts(findings, "bad")
    assert "kpn" not in texts(findings, "good")
    assert "the settings do not tell its URL" in texts(findings, "skipped")


async def test_a_variable_that_is_wrong_hides_no_other(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """Each is read by itself."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_BASE_URL"] = "api.example.com"
    environ["NEXMO_DISPATCH_TOKEN_URL"] = "token.example.com"
    del environ["NEXMO_DISPATCH_APPLICATION_ID"]

    findings = await doctor.examine(DoctorOptions(parts=frozenset({Part.SETTINGS})), environ)

    assert codes(findings) == ["setting", "setting", "application-missing"]


async def test_an_application_id_that_cannot_be_sent_is_a_setting(
    healthy: tuple[Simulator, dict[str, str]],
) -> None:
    """No client can be made with it: it is a finding, and no traceback."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_APPLICATION_ID"] = "app\u2026"

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == ["setting"]
    assert "NEXMO_DISPATCH_APPLICATION_ID" in texts(findings, "bad")


async def test_what_wrong_credentials_prevent_is_listed_as_skipped(
    healthy: tuple[Simulator, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, in words and in JSON; the exit code is that of the fault."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_CLIENT_SECRET"] = "another"

    assert await doctor.run(NETWORK, environ) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("skipped")] == [
        "skipped  the application was not read: see the failure above",
        "skipped  no test callback was posted: without the application its URLs are not known",
    ]
    assert lines[-1].endswith(", 2 skipped")
    await doctor.run(DoctorOptions(parts=NETWORK.parts, json=True), environ)
    report = json.loads(capsys.readouterr().out)
    assert report["skipped"] == 2
    assert [each["level"] for each in report["findings"]].count("skipped") == 2


@pytest.mark.parametrize(
    ("name", "value", "code"), [("CLIENT_ID", "", "credentials-missing"), ("BASE_URL", "x", "setting")]
)
async def test_callbacks_alone_name_the_setting_that_prevents_them(
    healthy: tuple[Simulator, dict[str, str]], name: str, value: str, code: str
) -> None:
    """`--only callbacks` without complete settings was a success without a check."""
    _, environ = healthy
    environ[f"NEXMO_DISPATCH_{name}"] = value

    findings = await doctor.examine(DoctorOptions(parts=frozenset({Part.CALLBACKS})), environ)

    assert codes(findings) == [code]
    assert "the settings are not complete" in texts(findings, "skipped")


async def test_what_a_missing_secret_prevents_is_listed(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """Nothing is signed; that unsigned callbacks are refused is looked at all the same."""
    _, environ = healthy
    del environ["NEXMO_DISPATCH_SIGNATURE_SECRETS"]

    findings = await doctor.examine(NETWORK, environ)

    assert "was sent no signed callback" in texts(findings, "skipped")
    assert "webhook-unsigned" in codes(findings, "good")


async def test_a_store_that_is_not_named_is_listed() -> None:
    """The part was left out in silence."""
    findings = await doctor.examine(DoctorOptions(parts=frozenset({Part.STORE})), {})

    assert codes(findings, "skipped") == ["store"]


async def test_the_secret_at_the_service_is_said_to_be_unknown(
    healthy: tuple[Simulator, dict[str, str]],
) -> None:
    """After a rotation there, all is green: the service shows no secret, so the receiver's counts tell."""
    _, environ = healthy

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings, "bad", "warning") == []
    assert codes(findings, "skipped") == ["webhook-secret"]
    assert "wrong_signatures" in texts(findings, "skipped")


async def test_an_examination_leaves_no_warning_at_the_receiver(caplog: pytest.LogCaptureFixture) -> None:
    """Nor a count: the person on call would look for an account that does not sign."""
    with receiver() as application:
        async with Simulator(speed=1) as sim, served(application) as url:
            findings = await doctor.examine(NETWORK, environment(sim, url))
            health = application[RECEIVERS]["/webhooks"].health()

    assert codes(findings, "bad", "warning") == []
    assert "webhook-unsigned" in codes(findings, "good")
    assert (health["missing_signatures"], health["wrong_signatures"]) == (0, 0)
    assert [each for each in caplog.records if each.levelname in {"WARNING", "ERROR"}] == []


def test_a_rate_limit_is_a_risk_and_a_quota_is_a_failure() -> None:
    """One slows sends down for a moment, the other one stops them."""
    finding = refusal_finding(RateLimitError("GET /applications: 429", status=429, retry_after=1.0), "app")

    assert (finding.level, finding.code) == ("warning", "rate-limit")


@pytest.mark.parametrize("url", ["http://h:99999", "http://[x"])
async def test_a_proxy_url_that_cannot_be_read_is_one_finding(
    healthy: tuple[Simulator, dict[str, str]], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """The client would refuse it as well: it is not asked, and the command ends with its findings."""
    _, environ = healthy
    monkeypatch.setenv("HTTPS_PROXY", url)

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == ["proxy-url"]
    assert "credentials and application were not tried" in texts(findings, "skipped")
