"""`nexmo-dispatch doctor` names each misconfiguration by its own code, with a cure, over real sockets."""

import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner

from nexmo_dispatch_async.cli import doctor
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.cli.doctor_settings import read_settings
from nexmo_dispatch_async.cli.doctor_verdicts import application_findings, callback_finding
from nexmo_dispatch_async.cli.doctor_versions import examine_versions, read_requirements
from nexmo_dispatch_async.models.responses import Application
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_core.findings import Finding
from nexmo_dispatch_webhooks import MessageStatus, Router
from nexmo_dispatch_webhooks.aiohttp import setup
from tests.support.connect_proxy import ConnectProxy
from tests.support.paths import ROOT
from tests.support.tls import make_certificate, server_context

SECRETS = {"a1b2c3d4": "signature-secret"}
NETWORK = DoctorOptions(parts=frozenset(Part) - {Part.VERSIONS, Part.STORE})


@asynccontextmanager
async def served(application: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve an application on a free loopback port; yield its origin."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def receiver(seen: list[str] | None = None) -> Iterator[web.Application]:
    """Yield an application with a receiver that verifies signatures."""
    router, application = Router(), web.Application()

    @router.message_status()
    async def on_status(event: MessageStatus) -> None:
        if seen is not None:
            seen.append(str(event.client_ref))

    setup(application, router, path="/webhooks", secrets=SECRETS)
    yield application


def environment(sim: Simulator, url: str) -> dict[str, str]:
    """Return the environment of an application that works."""
    application = sim.create_application(status_url=f"{url}/webhooks", inbound_url=f"{url}/webhooks")
    return {
        "NEXMO_DISPATCH_CLIENT_ID": sim.client_id,
        "NEXMO_DISPATCH_CLIENT_SECRET": sim.client_secret,
        "NEXMO_DISPATCH_APPLICATION_ID": application.id,
        "NEXMO_DISPATCH_BASE_URL": sim.base_url,
        "NEXMO_DISPATCH_TOKEN_URL": sim.token_url,
        "NEXMO_DISPATCH_SIGNATURE_SECRETS": "=".join(*SECRETS.items()),
    }


def codes(findings: list[Finding], *levels: str) -> list[str]:
    return [finding.code for finding in findings if finding.level in (levels or ("bad",))]


@pytest.fixture
async def healthy() -> AsyncIterator[tuple[Simulator, dict[str, str]]]:
    """A simulator, a receiver, and the environment in which both are found."""
    with receiver() as application:
        async with Simulator(speed=1) as sim, served(application) as url:
            yield sim, environment(sim, url)


async def test_nothing_is_bad_when_all_is_well() -> None:
    """When settings, service and receiver work, nothing is found, and the handler sees one event."""
    seen: list[str] = []
    with receiver(seen) as application:
        async with Simulator(speed=1) as sim, served(application) as url:
            findings = await doctor.examine(DoctorOptions(), environment(sim, url))

    assert codes(findings, "bad", "warning") == []
    assert seen == ["nexmo-dispatch doctor"]
    assert {"connection", "clock", "credentials", "webhook", "webhook-unsigned", "versions"} <= set(
        codes(findings, "good")
    )


Change = Callable[[Simulator, dict[str, str]], None]


def _change(**values: str) -> Change:
    def change(_: Simulator, environ: dict[str, str]) -> None:
        environ.update({f"NEXMO_DISPATCH_{name}": value for name, value in values.items()})

    return change


def _hide_urls(sim: Simulator, _: dict[str, str]) -> None:
    sim.applications[-1].urls.clear()


def _lead_astray(sim: Simulator, _: dict[str, str]) -> None:
    urls = sim.applications[-1].urls
    urls.update({name: url.replace("/webhooks", "/hooks") for name, url in urls.items()})


def _lead_nowhere(sim: Simulator, _: dict[str, str]) -> None:
    sim.applications[-1].urls.update(
        status="http://127.0.0.1:9/webhooks", inbound="http://127.0.0.1:9/webhooks"
    )


def _mistype_base_url(sim: Simulator, environ: dict[str, str]) -> None:
    environ["NEXMO_DISPATCH_BASE_URL"] = f"{sim.url}/communication/nexmos"


def _mistype_token_url(sim: Simulator, environ: dict[str, str]) -> None:
    environ["NEXMO_DISPATCH_TOKEN_URL"] = f"{sim.url}/oauth/token"


def _spend_quota(sim: Simulator, _: dict[str, str]) -> None:
    sim.faults.add({"kind": "quota", "retry_after": 60})


@pytest.mark.parametrize(
    ("change", "code", "cure"),
    [
        (_change(CLIENT_SECRET=""), "credentials-missing", "export NEXMO_DISPATCH_CLIENT_SECRET"),
        (_change(CLIENT_SECRET="another"), "credentials", "NEXMO_DISPATCH_CLIENT_SECRET"),
        (_change(BASE_URL="api.example.com"), "setting", "variable"),
        (_change(APPLICATION_ID=""), "application-missing", "apps create"),
        (
            _change(APPLICATION_ID="00000000-0000-4000-8000-000000000000"),
            "application-unknown",
            "apps list",
        ),
        (_mistype_base_url, "base-url", "path"),
        (_mistype_token_url, "token-url", "path"),
        (_spend_quota, "quota", "again in 1 min"),
        (_hide_urls, "status-url-missing", "apps update"),
        (_lead_astray, "webhook-path", "setup(path=…)"),
        (_lead_nowhere, "webhook-connection", "start the receiver"),
        (
            _change(SIGNATURE_SECRETS="a1b2c3d4=another"),
            "webhook-secret",
            "NEXMO_DISPATCH_SIGNATURE_SECRETS",
        ),
        (_change(SIGNATURE_SECRETS="a1b2c3d4"), "secrets-malformed", "API_KEY=SECRET"),
        (
            lambda sim, environ: _change(SIGNATURE_SECRETS=f"a1b2c3d4={sim.client_secret}")(sim, environ),
            "secrets-confused",
            "another",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_misconfiguration_has_its_own_code(
    healthy: tuple[Simulator, dict[str, str]], change: Change, code: str, cure: str
) -> None:
    """A setting that is wrong is named by its code, in the first bad finding, with a cure of one line."""
    sim, environ = healthy
    change(sim, environ)

    findings = await doctor.examine(NETWORK, environ)

    wrong = [finding for finding in findings if finding.level == "bad"]
    assert wrong[0].code == code, wrong
    assert cure in wrong[0].cure
    assert "\n" not in wrong[0].cure


async def test_the_first_of_two_secrets_signs(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """While a secret is rotated, an account has two: the first one must be known to the receiver."""
    _, environ = healthy
    secret = environ["NEXMO_DISPATCH_SIGNATURE_SECRETS"]

    environ["NEXMO_DISPATCH_SIGNATURE_SECRETS"] = f"{secret} a1b2c3d4=old"
    assert codes(await doctor.examine(NETWORK, environ)) == []
    environ["NEXMO_DISPATCH_SIGNATURE_SECRETS"] = f"a1b2c3d4=new {secret}"
    assert codes(await doctor.examine(NETWORK, environ)) == ["webhook-secret"]


async def test_missing_secrets_are_a_risk(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """Without signature secrets nothing signed is posted, and the finding says which variable to set."""
    sim, environ = healthy
    del environ["NEXMO_DISPATCH_SIGNATURE_SECRETS"]

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings, "bad") == []
    assert codes(findings, "warning") == ["secrets-missing"]
    assert "webhook-unsigned" in codes(findings, "good")
    assert sim.client_secret not in repr(findings)


@pytest.mark.parametrize(
    ("skew", "level", "words"),
    [
        (-4000.0, "bad", "behind the service's: signed callbacks seem to come from the future"),
        (4000.0, "warning", " s ahead of the service's"),
        (400_000.0, "bad", "ahead of the service's: signed callbacks seem to be too old"),
        (60.0, "warning", " s ahead of the service's"),
        (0.0, "good", ""),
    ],
)
async def test_a_clock_that_is_off_is_named(
    healthy: tuple[Simulator, dict[str, str]], skew: float, level: str, words: str
) -> None:
    """The clock is compared with the `Date` header of the service."""
    _, environ = healthy
    options = DoctorOptions(parts=frozenset({Part.SERVICE}))

    findings = await doctor.examine(options, environ, clock=lambda: time.time() + skew)

    (clock,) = [finding for finding in findings if finding.code == "clock"]
    assert clock.level == level
    assert words in clock.text
    assert ("refused" in clock.text) == (level == "bad")
    assert ("NTP" in clock.cure) == (level != "good")


async def test_a_name_without_an_address_is_named(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """A host that no name server knows is `dns`, and the credentials are not tried."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_BASE_URL"] = "https://dispatch.invalid/communication/nexmo"
    environ["NEXMO_DISPATCH_TOKEN_URL"] = "https://dispatch.invalid/token"

    findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == ["dns"]


async def test_a_port_that_does_not_listen_is_named(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """A refused connection is `connection`."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_BASE_URL"] = environ["NEXMO_DISPATCH_TOKEN_URL"] = "http://127.0.0.1:9/"

    assert codes(await doctor.examine(NETWORK, environ)) == ["connection"]


async def test_a_certificate_that_is_not_trusted_is_named(
    healthy: tuple[Simulator, dict[str, str]], tmp_path: Path
) -> None:
    """A certificate of an unknown authority is `certificate`, and one that is trusted is good."""
    _, environ = healthy
    tls = server_context(make_certificate(tmp_path / "server.pem"))
    async with served(web.Application(), tls) as origin:
        environ["NEXMO_DISPATCH_BASE_URL"] = environ["NEXMO_DISPATCH_TOKEN_URL"] = origin
        findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == ["certificate"]
    assert "SSL_CERT_FILE" in next(finding.cure for finding in findings if finding.level == "bad")


async def test_a_port_without_tls_is_named(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """Plain HTTP where TLS is spoken is `tls`."""
    _, environ = healthy
    async with served(web.Application()) as plain:
        origin = plain.replace("http://", "https://")
        environ["NEXMO_DISPATCH_BASE_URL"] = environ["NEXMO_DISPATCH_TOKEN_URL"] = origin
        findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == ["tls"]


@pytest.mark.parametrize(
    ("status", "code", "cure"),
    [
        (407, "proxy-refused", "credentials"),
        (403, "proxy-refused", "administrator"),
        (0, "proxy-unreachable", ""),
    ],
)
async def test_a_proxy_that_does_not_help_is_named(
    healthy: tuple[Simulator, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    cure: str,
) -> None:
    """A proxy that refuses the tunnel, or that is not there, has a code of its own and shows no password."""
    _, environ = healthy
    environ["NEXMO_DISPATCH_BASE_URL"] = environ["NEXMO_DISPATCH_TOKEN_URL"] = "https://api.example.com"
    async with ConnectProxy(status=status) as proxy:
        url = proxy.url("user:hidden") if status else "http://user:hidden@127.0.0.1:9"
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        findings = await doctor.examine(NETWORK, environ)

    assert codes(findings) == [code]
    assert cure in next(finding.cure for finding in findings if finding.level == "bad")
    assert "hidden" not in repr(findings)


async def test_a_receiver_without_signatures_is_a_risk(healthy: tuple[Simulator, dict[str, str]]) -> None:
    """A receiver that takes what any client posts is `webhook-open`."""
    sim, environ = healthy
    application = web.Application()
    setup(application, Router(), path="/webhooks", verification=None)
    async with served(application) as url:
        sim.applications[-1].urls.update(status=f"{url}/webhooks", inbound=f"{url}/webhooks")
        findings = await doctor.examine(NETWORK, environ)

    assert codes(findings, "warning", "bad") == ["webhook-open"]


@pytest.mark.parametrize(
    ("status", "seconds", "code"),
    [
        (200, 0.1, "webhook"),
        (200, 6.0, "webhook-slow"),
        (301, 0.1, "webhook-redirect"),
        (400, 0.1, "webhook-refused"),
        (401, 0.1, "webhook-secret"),
        (405, 0.1, "webhook-path"),
        (429, 0.1, "webhook-unavailable"),
        (503, 0.1, "webhook-unavailable"),
    ],
)
def test_each_answer_to_a_callback_has_a_code(status: int, seconds: float, code: str) -> None:
    """The code of an answer follows from its status and its time (contract 5.10)."""
    finding = callback_finding("the status URL at hooks.example.com", status, seconds, update="apps update")

    assert finding.code == code
    assert (finding.level == "good") == (code == "webhook")


@pytest.mark.parametrize(
    ("application", "service", "code"),
    [
        (Application("1", type="voice"), "127.0.0.1", "application-type"),
        (
            Application(
                "1", type="messages", status_url="http://10.0.0.5/a", inbound_url="https://h.example/a"
            ),
            "api-prd.kpn.com",
            "webhook-private",
        ),
        (
            Application(
                "1", status_url="https://h.example/a", inbound_url="https://h.example/a", inbound_method="GET"
            ),
            "api-prd.kpn.com",
            "webhook-method",
        ),
        (
            Application("1", status_url="http://h.example/a", inbound_url="https://h.example/a"),
            "api-prd.kpn.com",
            "webhook-plain-http",
        ),
        (Application("1", status_url="https://h.example/a"), "api-prd.kpn.com", "inbound-url-missing"),
    ],
)
def test_each_fault_of_an_application_has_a_code(application: Application, service: str, code: str) -> None:
    """An application that cannot send, or whose callbacks are lost, is named."""
    assert codes(application_findings(application, service), "bad", "warning") == [code]


def test_a_dependency_below_its_floor_is_named() -> None:
    """Versions are compared with the floors in the metadata of the distribution, part by part."""
    versions = {"aiohttp": "3.9.0", "anyio": "4.11", "rich": None}

    findings = examine_versions(
        ["aiohttp>=3.14.4", "anyio>=4.11.0", 'rich>=13.8; extra == "cli"', "msgspec>=0.21"], versions.get
    )

    assert codes(findings) == ["dependency-old", "dependency-missing"]
    assert findings[1].cure == "pip install --upgrade 'aiohttp>=3.14.4'"
    assert codes(examine_versions(read_requirements()), "bad", "warning") == []
    assert codes(examine_versions([]), "warning") == ["metadata-missing"]


def test_plain_http_to_another_machine_is_a_risk() -> None:
    """Credentials that travel unencrypted are named, and to the service itself they are refused."""
    urls = {
        "NEXMO_DISPATCH_BASE_URL": "http://proxy.example.com",
        "NEXMO_DISPATCH_TOKEN_URL": "http://proxy.example.com",
    }
    given = {"NEXMO_DISPATCH_CLIENT_ID": "id", "NEXMO_DISPATCH_CLIENT_SECRET": "secret"}

    found = [each.text for each in read_settings({**given, **urls})[1] if each.code == "plain-http"]
    assert [text.partition(" is http: ")[0] for text in found] == ["NEXMO_DISPATCH_BASE_URL", "token_url"]
    kpn = {"NEXMO_DISPATCH_TOKEN_URL": "http://api-prd.kpn.com/token"}
    assert "setting" in codes(read_settings({**given, **kpn})[1])


async def test_json_and_exit_codes(
    healthy: tuple[Simulator, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` prints one object; 1 stands for something bad, and for a risk with `--strict`."""
    _, environ = healthy
    options = DoctorOptions(parts=frozenset({Part.SETTINGS, Part.SERVICE}), json=True)

    assert await doctor.run(options, environ) == 0
    assert json.loads(capsys.readouterr().out)["bad"] == 0
    del environ["NEXMO_DISPATCH_SIGNATURE_SECRETS"]
    assert await doctor.run(options, environ) == 0
    strict = DoctorOptions(parts=options.parts, strict=True)
    assert await doctor.run(strict, environ) == 1
    environ["NEXMO_DISPATCH_CLIENT_SECRET"] = "another"
    capsys.readouterr()

    assert await doctor.run(options, environ) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["bad"], report["warnings"]) == (1, 1)
    wrong = [finding for finding in report["findings"] if finding["level"] == "bad"]
    assert set(wrong[0]) == {"level", "code", "text", "cure"}


def test_the_command_without_an_account_says_what_to_set() -> None:
    """A newcomer who runs `doctor` first reads which variables to set, and the exit code is 1."""
    done = CliRunner().invoke(app, ["doctor", "--only", "settings"], env={"NEXMO_DISPATCH_CLIENT_ID": ""})

    assert done.exit_code == 1
    assert "BAD      credentials-missing: NEXMO_DISPATCH_CLIENT_ID is not set" in done.stdout
    assert CliRunner().invoke(app, ["doctor", "--only", "weather"]).exit_code == 2


def test_the_documentation_has_every_code() -> None:
    """Each code of a fault or a risk stands once in the table of docs/command.md, and no other code."""
    faults: set[str] = set()
    others: set[str] = set()
    for path in [
        *(ROOT / "nexmo_dispatch_async" / "cli").glob("doctor*.py"),
        *(ROOT / "nexmo_dispatch_core").glob("*/examination.py"),
    ]:
        source = path.read_text("utf-8")
        for of, what in (("", "status"), ("webhook-", "inbound")):
            faults |= {text.format(of=of, what=what) for text in _FAULT.findall(source)}
        others |= set(_GOOD.findall(source))
    table = (ROOT / "docs" / "command.md").read_text("utf-8").split("| code | cause | cure |", 1)[1]
    listed = re.findall(r"^\| `([a-z-]+)` \|", table.split("\n## ", 1)[0], re.MULTILINE)

    assert len(faults) > 40
    assert len(listed) == len(set(listed))
    assert faults - set(listed) == set()
    assert set(listed) - faults - others == set()


# The first argument of bad() and warning(), and the first of two texts that a helper returns.
_FAULT = re.compile(r'(?:\b(?:bad|warning)\(\s*|return \(?\s*)f?"([a-z{}-]+)",')
_GOOD = re.compile(r'\bgood\(\s*"([a-z-]+)",')


def test_lines_are_whole_for_scripts_and_wrapped_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe a finding is one line; on a terminal of 80 columns its further lines stand below its text."""
    environment = {"NEXMO_DISPATCH_CLIENT_ID": "", "NEXMO_DISPATCH_CLIENT_SECRET": "", "COLUMNS": "80"}
    command = ["doctor", "--only", "settings"]

    piped = CliRunner().invoke(app, command, env=environment).stdout.splitlines()
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    shown = CliRunner().invoke(app, command, env=environment).stdout.splitlines()

    assert max(map(len, piped)) > 80
    assert max(map(len, shown)) <= 80
    assert " ".join(" ".join(shown).split()) == " ".join(" ".join(piped).split())
