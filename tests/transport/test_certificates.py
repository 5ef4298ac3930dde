"""A client certificate that the service does not take: nothing was sent, and trying again is of no use."""

import ssl
from collections import Counter
from pathlib import Path

import pytest

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APIError, CertificateError, OutcomeUnknownError
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport.causes import certificate_alert
from nexmo_dispatch_async.transport.failures import failure_of
from nexmo_dispatch_async.transport.keep_alive import KeptConnections
from nexmo_dispatch_async.transport.progress import Progress
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import APPLICATION
from tests.support.misbehaving import TOKEN_PATH
from tests.support.tls import client_context, make_certificate, server_context
from tests.support.tls_thread import TlsThread

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Authority:
    """The certificates of one test."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.certificate = certificate
        self.files = {
            "good": make_certificate(folder / "good.pem", "good.example"),
            "expired": make_certificate(folder / "expired.pem", "expired.example", ended=True),
            "of another authority": make_certificate(folder / "other.pem", "other.example"),
        }

    def server(self, version: ssl.TLSVersion, tickets: int = 2) -> ssl.SSLContext:
        """Return the settings of a server that wants a certificate."""
        context = server_context(self.certificate)
        context.maximum_version = version
        context.num_tickets = tickets
        context.verify_mode = ssl.CERT_REQUIRED
        for name in ("good", "expired"):
            context.load_verify_locations(self.files[name])
        return context

    def client(self, kind: str) -> ssl.SSLContext:
        """Return the settings of a client with a certificate of that kind."""
        context = client_context(self.certificate)
        if kind in self.files:
            context.load_cert_chain(self.files[kind])
        return context


@pytest.fixture
def authority(tmp_path: Path, certificate: Path) -> Authority:
    return Authority(tmp_path, certificate)


def client_of(server: TlsThread, context: ssl.SSLContext) -> DispatchClient:
    async def no_sleep(_seconds: float) -> None: ...

    return DispatchClient(
        auth=BearerToken("secret-token"),
        application_id=APPLICATION,
        base_url=server.url,
        ssl=context,
        sleep=no_sleep,
    )


@pytest.fixture
def refused_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the writes that the operating system refuses."""
    refused: list[str] = []
    check_write = Progress.check_write

    def checked(progress: Progress) -> None:
        try:
            check_write(progress)
        except ConnectionResetError as error:
            refused.append(str(error))
            raise

    monkeypatch.setattr(Progress, "check_write", checked)
    return refused


ALERTS = {
    "missing": "certificate required",
    "expired": "certificate expired",
    "of another authority": "unknown ca",
}


@pytest.mark.parametrize("delay", [0.0, 0.005], ids=["at once", "a moment later"])
@pytest.mark.parametrize("kind", ALERTS)
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.long)])
async def test_tls_1_3_a_client_certificate_that_is_not_taken(
    workflow: Workflow, authority: Authority, rounds: int, kind: str, delay: float, refused_writes: list[str]
) -> None:
    """The alert comes after the end of the handshake here: not sent, one try, each time.

    There is one connection for each send, and one more for each write that the operating system refuses: the
    service closed its side between the last look at the socket and the write. The alert is in the socket
    then, but asyncio closes a transport whose write failed without reading it, so nothing tells that the
    next connection will end in the same way.
    """
    seen: Counter[tuple[str, int, str]] = Counter()
    with TlsThread(authority.server(V1_3), delay) as server:
        for _ in range(rounds):
            async with client_of(server, authority.client(kind)) as client:
                with pytest.raises(APIError) as caught:
                    await client.send(workflow)
            error = caught.value
            seen[type(error).__name__, error.attempts, error.phase] += 1

    assert seen == {("CertificateError", 1, "connect"): rounds}
    assert (error.outcome, error.error_class) == ("not_sent", "configuration")
    assert error.message == (
        f"POST /dispatch: no connection: the service does not take the client's certificate: {ALERTS[kind]}"
    )
    assert server.requests == 0
    assert server.connections == rounds + len(refused_writes)


@pytest.mark.parametrize("kind", ALERTS)
async def test_tls_1_2_a_client_certificate_that_is_not_taken(
    workflow: Workflow, authority: Authority, kind: str
) -> None:
    """The handshake fails before a request could leave: one try as well."""
    with TlsThread(authority.server(V1_2)) as server:
        async with client_of(server, authority.client(kind)) as client:
            with pytest.raises(CertificateError, match="does not take the client's certificate: "):
                await client.send(workflow)

    assert (server.requests, server.connections) == (0, 1)


@pytest.mark.parametrize("version", [V1_2, V1_3])
@pytest.mark.parametrize("tickets", [0, 2])
async def test_a_certificate_that_is_taken_sends(
    workflow: Workflow, authority: Authority, version: ssl.TLSVersion, tickets: int
) -> None:
    with TlsThread(authority.server(version, tickets)) as server:
        async with client_of(server, authority.client("good")) as client:
            assert (await client.send(workflow)).dispatch_uuid


async def test_the_token_endpoint_may_want_a_certificate_too(
    workflow: Workflow, authority: Authority, refused_writes: list[str]
) -> None:
    """As for a send, a connection more for each write that the operating system refuses."""
    with TlsThread(authority.server(V1_3)) as server:
        auth = KpnOAuth("id", "client-secret", server.url + TOKEN_PATH)
        context = authority.client("missing")
        async with DispatchClient(auth=auth, application_id="a", base_url=server.url, ssl=context) as client:
            with pytest.raises(CertificateError) as caught:
                await client.send(workflow)

    assert caught.value.phase == "token"
    assert server.connections == 1 + len(refused_writes)


# --- what an alert proves -----------------------------------------------------------------------------


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


class Connection:
    """Stands for one."""


def sent(*, fresh: bool) -> Progress:
    """Return the progress of a request that left on a connection, of which it was the first or not."""
    connection, kept = Connection(), KeptConnections(lambda: 0.0)
    if not fresh:
        kept.answered(connection, None, 0.0)
    progress = Progress(kept)
    progress.reached(None, connection)
    progress.report_write()
    return progress


REQUEST = Request("POST", "https://service.example/dispatch", {}, b"{}", "/dispatch")
REQUIRED = "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_an_alert_on_a_connection_that_answered_before_proves_nothing() -> None:
    """The service had taken the certificate, and may have read the request."""
    assert isinstance(failure_of(REQUEST, sent(fresh=True), alert(REQUIRED)), CertificateError)
    assert type(failure_of(REQUEST, sent(fresh=False), alert(REQUIRED))) is OutcomeUnknownError


def test_an_alert_in_the_middle_of_an_answer_proves_nothing() -> None:
    progress = sent(fresh=True)
    progress.answering = True

    failure = failure_of(REQUEST, progress, alert(REQUIRED))

    assert type(failure) is OutcomeUnknownError


@pytest.mark.parametrize(
    "reason", ["TLSV1_ALERT_INTERNAL_ERROR", "SSLV3_ALERT_BAD_RECORD_MAC", "SSLV3_ALERT_HANDSHAKE_FAILURE"]
)
def test_another_alert_after_the_handshake_proves_nothing(reason: str) -> None:
    assert type(failure_of(REQUEST, sent(fresh=True), alert(reason))) is OutcomeUnknownError


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("SSLV3_ALERT_BAD_CERTIFICATE", "bad certificate"),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "unsupported certificate"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "certificate revoked"),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", "certificate unknown"),
        ("ssl/tls alert certificate unknown", "certificate unknown"),
        ("TLSV1_ALERT_ACCESS_DENIED", "access denied"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", ""),
        ("TLSV1_ALERT_UNKNOWN_CASE", ""),
    ],
)
def test_the_alerts_that_are_about_certificates(reason: str, said: str) -> None:
    assert certificate_alert(alert(reason), connecting=False) == said


def test_before_its_end_a_handshake_may_fail_for_a_missing_certificate() -> None:
    assert certificate_alert(alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), connecting=True) == "handshake failure"
