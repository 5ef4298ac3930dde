"""What `nexmo-dispatch doctor` says: which URL, which command mends it, and what was looked at."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli import doctor
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.cli.doctor_settings import SECRETS, read_settings
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_core.findings import Finding
from tests.cli.test_doctor import NETWORK, codes, healthy

__all__ = ["healthy"]  # the fixture

Healthy = tuple[Simulator, dict[str, str]]


def found(findings: list[Finding], code: str) -> Finding:
    return next(each for each in findings if each.code == code)


@pytest.mark.parametrize(
    ("status", "code"), [("http://127.0.0.1:9/webhooks", "webhook-connection"), ("", "webhook-path")]
)
async def test_a_callback_that_does_not_arrive_names_its_url_and_the_command(
    healthy: Healthy, status: str, code: str
) -> None:
    """Status or inbound URL: only one of the two is wrong here, and `apps update` corrects it."""
    sim, environ = healthy
    urls = sim.applications[-1].urls
    urls["status"] = status or urls["status"].replace("/webhooks", "/hooks")

    finding = found(await doctor.examine(NETWORK, environ), code)

    assert finding.text.startswith("the status URL at 127.0.0.1:")
    identity = environ["NEXMO_DISPATCH_APPLICATION_ID"]
    assert f"nexmo-dispatch apps update {identity} --status-url http://…" in finding.cure
    assert "--inbound-url" not in finding.cure


async def test_a_secret_that_cannot_be_read_is_set(healthy: Healthy) -> None:
    """The variable is malformed: nothing says that it is not set."""
    _, environ = healthy
    environ[SECRETS] = "signature-secret-without-its-key"

    findings = await doctor.examine(DoctorOptions(parts=NETWORK.parts), environ)

    assert codes(findings) == ["secrets-malformed"]
    assert "is not set" not in " ".join(finding.text for finding in findings)


async def test_what_is_well_has_no_code_of_a_fault(healthy: Healthy) -> None:
    """In `--json` the code of a good finding says what was looked at."""
    _, environ = healthy

    findings = await doctor.examine(DoctorOptions(parts=NETWORK.parts), environ)

    assert {"settings", "secrets", "application", "webhook-unsigned"} <= set(codes(findings, "good"))
    assert not {"credentials-missing", "secrets-missing", "application-unknown", "webhook-open"} & {
        finding.code for finding in findings
    }


def test_a_missing_application_is_looked_for_first() -> None:
    """Who has one needs no second one."""
    cure = found(read_settings({})[1], "application-missing").cure

    assert cure.index("apps list") < cure.index("apps create")


async def test_a_proxy_is_said_to_be_that_of_the_commands(
    healthy: Healthy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that uses from_env() goes past the proxy of doctor; the reason is that of the system."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_BASE_URL"] = environ["NEXMO_DISPATCH_TOKEN_URL"] = "https://api.example.com"
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    finding = found(
        await doctor.examine(DoctorOptions(parts=frozenset({Part.SERVICE})), environ), "proxy-unreachable"
    )

    assert finding.text.startswith(
        "the proxy 127.0.0.1:9 cannot be reached: Connection refused (all commands"
    )
    assert "only with trust_env=True" in finding.text


def test_a_fault_names_the_page_of_the_codes() -> None:
    """A reader finds there what a code means; where all is well there is no such line."""
    wrong = CliRunner().invoke(app, ["doctor", "--only", "settings"], env={"NEXMO_DISPATCH_CLIENT_ID": ""})

    assert "each code: " in wrong.stdout
    assert "command.md" in wrong.stdout
