"""What an exception of the network means, and what of it is shown (contract 3.8)."""

import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CertificateError,
    ConfigurationError,
    OutcomeUnknownError,
    ProtocolError,
    ProxyError,
)
from nexmo_dispatch_async.models.problems import parse_problem
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport.causes import certificate_alert, presentable, proxy_of, reason_of
from nexmo_dispatch_async.transport.failures import failure_of, without_token
from nexmo_dispatch_async.transport.progress import Phase, Progress

POST = Request("POST", "https://h/dispatch", {}, b"{}", "/dispatch")


def progress_in(phase: Phase, *, answering: bool = False) -> Progress:
    progress = Progress()
    progress.phase, progress.answering = phase, answering
    return progress


TIMEOUT = TimeoutError()


@pytest.mark.parametrize(
    ("error", "phase", "answering", "kind", "reached"),
    [
        (TIMEOUT, Phase.PREPARED, False, APITimeoutError, "connect"),
        (TIMEOUT, Phase.STALE, False, APITimeoutError, "write"),
        (aiohttp.ConnectionTimeoutError(), Phase.UNSEEN, False, APITimeoutError, "connect"),
        (OSError("x"), Phase.PREPARED, False, APIConnectionError, "connect"),
        (aiohttp.InvalidURL("x"), Phase.PREPARED, False, APIConnectionError, "connect"),
        (aiohttp.InvalidURL("x"), Phase.LEFT, False, OutcomeUnknownError, "wait"),
        (ssl.SSLCertVerificationError("x"), Phase.PREPARED, False, CertificateError, "connect"),
        (TIMEOUT, Phase.LEFT, False, OutcomeUnknownError, "wait"),
        (TIMEOUT, Phase.LEFT, True, OutcomeUnknownError, "read"),
        (aiohttp.ClientPayloadError("x"), Phase.LEFT, True, ProtocolError, "read"),
        (OSError("x"), Phase.LEFT, False, OutcomeUnknownError, "wait"),
        (OSError("x"), Phase.UNSEEN, False, OutcomeUnknownError, "wait"),
        (ValueError("x"), Phase.PREPARED, False, APIConnectionError, "connect"),
        (RuntimeError("x"), Phase.LEFT, False, OutcomeUnknownError, "wait"),
    ],
)
def test_what_an_exception_means(
    error: Exception, phase: Phase, answering: bool, kind: type[APIError], reached: str
) -> None:
    """By what left before it; each of our errors names its request and how far it got."""
    failure = failure_of(POST, progress_in(phase, answering=answering), error)

    assert type(failure) is kind
    assert isinstance(failure, APIError)
    assert (failure.request, failure.phase) == ("POST /dispatch", reached)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (RuntimeError("Session is closed"), "Session is closed"),
        (RuntimeError("Task <Task pending name='Task-1'> got Future"), "RuntimeError"),
        (OSError("a < b"), "a < b"),
        (OSError("https://h/x?key=1"), "OSError"),
        (OSError("no route to +31617185666"), "no route to …66"),
        (RuntimeError("see https://h/x?key=1"), "RuntimeError"),
    ],
)
def test_a_reason_is_shown_unless_it_names_an_address_or_a_task(error: Exception, shown: str) -> None:
    failure = failure_of(POST, progress_in(Phase.PREPARED), error)

    assert isinstance(failure, APIError)
    assert failure.message.endswith(f": {shown}")


def caused(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


ALERT = ssl.SSLError(1, "x")
ALERT.reason = "TLSV1_ALERT_UNKNOWN_CA"
KEY: Any = SimpleNamespace(proxy=None, host="h", port=1, ssl=True)
INFO = aiohttp.RequestInfo(URL("https://h/9998887"), "POST", CIMultiDictProxy(CIMultiDict()))


@pytest.mark.parametrize("proxy", ["", "proxy.example:3128"])
@pytest.mark.parametrize(
    ("error", "phase", "answering", "message"),
    [
        (OSError("x"), Phase.PREPARED, False, "no connection{by}: x"),
        (TIMEOUT, Phase.PREPARED, False, "no connection{by} in time"),
        (ssl.SSLCertVerificationError(1, "x"), Phase.PREPARED, False, "no connection{by}: x"),
        (
            ALERT,
            Phase.LEFT,
            False,
            "no connection: the service does not take the client's certificate: unknown ca",
        ),
        (ALERT, Phase.LEFT, True, "sent, and the connection broke: x"),
        (TIMEOUT, Phase.LEFT, False, "sent, and no response in time"),
        (OSError("x"), Phase.LEFT, False, "sent, and the connection broke: x"),
        (aiohttp.ClientPayloadError("x"), Phase.LEFT, True, "sent, and the response is unusable: x"),
    ],
)
def test_each_failure_tells_what_happened(
    error: Exception, phase: Phase, answering: bool, message: str, proxy: str
) -> None:
    """One sentence: which call, how far it got, by way of which proxy, and the reason."""
    failure = failure_of(POST, progress_in(phase, answering=answering), error, proxy=proxy)

    assert isinstance(failure, APIError)
    by = f" by way of the proxy {proxy}" if proxy else ""
    assert failure.message.removeprefix("POST /dispatch: ") == message.format(by=by)
    assert failure.request == "POST /dispatch"


def test_a_proxy_that_refuses_the_tunnel_is_named_with_its_status() -> None:
    """Nothing was sent; the status decides whether trying again makes sense."""
    error = aiohttp.ClientHttpProxyError(INFO, (), status=407, message="Who are you?")

    failure = failure_of(POST, progress_in(Phase.PREPARED), error, proxy="proxy.example:3128")
    unnamed = failure_of(POST, progress_in(Phase.PREPARED), error)

    assert isinstance(failure, ProxyError)
    assert isinstance(unnamed, ProxyError)
    said = "refuses the tunnel with 407: Who are you?"
    assert failure.message == f"POST /dispatch: the proxy proxy.example:3128 {said}"
    assert unnamed.message == f"POST /dispatch: the proxy {said}"
    assert (failure.request, failure.status, failure.phase) == ("POST /dispatch", 407, "connect")


def test_a_rejected_certificate_is_told_with_its_call() -> None:
    """No connection came about, so nothing was sent."""
    failure = failure_of(POST, progress_in(Phase.LEFT), ALERT)

    assert isinstance(failure, CertificateError)
    assert (failure.request, failure.phase, failure.outcome) == ("POST /dispatch", "connect", "not_sent")


@pytest.mark.parametrize("error", [ValueError("odd header"), RuntimeError("odd header")])
def test_a_request_that_the_session_refuses_to_build_is_a_wrong_setting(error: Exception) -> None:
    """Nothing was sent, and nothing will be until the setting changes."""
    failure = failure_of(POST, progress_in(Phase.UNSEEN), error)

    assert isinstance(failure, ConfigurationError)
    assert str(failure) == "POST /dispatch: nothing was sent, the session refuses it: odd header"


CLEAN, ADDRESS = OSError("refused"), OSError("https://h/x?key=1")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (CLEAN, CLEAN),
        (caused(ValueError("http://h/ is odd"), CLEAN), CLEAN),
        (caused(ValueError("http://h/ is odd"), ADDRESS), None),
        (caused(ValueError("http://h/ is odd"), None), None),
        (caused(ValueError("http://h/ is odd"), KeyboardInterrupt()), None),
        (ADDRESS, None),
    ],
)
def test_a_cause_that_shows_an_address_is_left_out(error: Exception, cause: Exception | None) -> None:
    """A traceback shows causes: the one that is clean stands in, or there is none."""
    assert presentable(error) is cause


def test_a_cause_that_holds_the_headers_is_left_out() -> None:
    """An error about an answer holds the request with its token: what is behind it stands in."""
    headers: CIMultiDict[str] = CIMultiDict({"Authorization": "Bearer very-secret"})
    info = aiohttp.RequestInfo(URL("https://h/"), "POST", CIMultiDictProxy(headers), URL("https://h/"))

    assert presentable(caused(aiohttp.ClientResponseError(info, ()), CLEAN)) is CLEAN


def test_a_failed_token_request_tells_all_that_is_known() -> None:
    """Contract 2.2: what the token endpoint said, with its trace id, stands on the error of the call."""
    details = parse_problem(b'{"error": {"transactionId": "t-1", "message": "out of order"}}')
    failed = OutcomeUnknownError("m", request="POST /token", status=503, details=details, phase="wait")
    failed.__cause__ = CLEAN

    error = without_token(failed)

    assert (error.message, error.request, error.status) == ("m", "POST /token", 503)
    assert (error.transaction_id, error.phase, error.outcome) == ("t-1", "token", "not_sent")
    assert error.__cause__ is CLEAN


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ServerDisconnectedError(), ": the server disconnected"),
        (
            aiohttp.ServerFingerprintMismatch(b"a", b"b", "secret.example", 443),
            ": the certificate has another fingerprint",
        ),
        (aiohttp.ClientResponseError(INFO, (), message="Bad head"), ": Bad head"),
        (OSError("a\nb"), ": a"),
        (OSError("  a   b: "), ": a b"),
        (OSError("by XX"), ": by XX"),
        (OSError("line too long: b'secret'"), ": line too long"),
        (OSError(f"x {'y' * 400}"), f": x {'y' * 298}"),
        (OSError(), ": OSError"),
        (OSError("b'secret'"), ": OSError"),
        (TimeoutError(), ""),
        (TimeoutError("too late"), ": too late"),
        (RuntimeError("a < b"), ": RuntimeError"),
        (caused(OSError("https://h/9998887"), OSError("refused")), ": refused"),
        (caused(OSError("https://h/9998887"), OSError("http://h/")), ": OSError"),
        (caused(TimeoutError("https://h/9998887"), None), ""),
    ],
)
def test_a_reason_is_one_short_line_without_anything_received(error: Exception, reason: str) -> None:
    """What aiohttp quotes may echo the request, and an address may hold an id."""
    assert reason_of(error) == reason


def openssl(reason: str | None, text: str = "") -> ssl.SSLError:
    error = ssl.SSLError(1, text)
    if reason is not None:
        error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "connecting", "alert"),
    [
        (openssl("SSLV3_ALERT_BAD_CERTIFICATE"), False, "bad certificate"),
        (openssl("TLSV1_ALERT_UNKNOWN_CA"), False, "unknown ca"),
        (openssl("TLSV1_ALERT_ACCESS_DENIED"), True, "access denied"),
        (openssl("tlsv13 alert certificate required"), False, "certificate required"),
        (openssl("TLSV1_ALERT_UNKNOWN_CA_MORE"), False, ""),
        (openssl("SSLV3_ALERT_HANDSHAKE_FAILURE"), True, "handshake failure"),
        (openssl("SSLV3_ALERT_HANDSHAKE_FAILURE"), False, ""),
        (aiohttp.ClientOSError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] it (_ssl.c:1)"), False, "unknown ca"),
        (aiohttp.ClientOSError(1, "TLSV1_ALERT_UNKNOWN_CA"), False, ""),
        (caused(OSError("x"), openssl("TLSV1_ALERT_UNKNOWN_CA")), False, "unknown ca"),
        (OSError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] it"), False, ""),
        (None, True, ""),
    ],
)
def test_the_alert_with_which_a_service_rejects_a_certificate(
    error: Exception | None, connecting: bool, alert: str
) -> None:
    """RFC 8446, 6.2: as OpenSSL spells it, at any depth; before TLS 1.3 it is a failed handshake."""
    assert certificate_alert(error, connecting=connecting) == alert


def test_a_proxy_is_named_by_host_and_port_alone() -> None:
    """Where an exception knows one: its password stays where it is."""
    proxy = URL("http://user:secret@proxy.example:3128")
    key: Any = SimpleNamespace(proxy=proxy, host="h", port=1, ssl=True)
    unreachable = aiohttp.ClientProxyConnectionError(key, OSError())

    assert proxy_of(unreachable) == "h:1"
    assert proxy_of(aiohttp.ClientConnectorError(key, OSError())) == "proxy.example:3128"
    assert proxy_of(OSError()) == ""


def test_a_circle_of_causes_ends() -> None:
    """Two exceptions that name each other are each looked at once."""
    one, other = ValueError("http://one"), ValueError("http://other")
    one.__cause__, other.__cause__ = other, one
    clean = OSError(5, "one")
    clean.__cause__ = caused(OSError(6.5, "other"), clean)

    assert presentable(one) is None
    assert presentable(clean) is clean
    assert certificate_alert(one, connecting=True) == ""


def test_what_a_traceback_does_not_show_still_counts() -> None:
    """`raise … from None` hides a context and keeps it: it is no cause, and its error is not presentable."""
    hidden = OSError("refused")
    hidden.__context__ = ValueError("http://user:secret@h")
    hidden.__suppress_context__ = True
    shown = ValueError("http://h")
    shown.__context__ = OSError("behind")

    assert presentable(hidden) is None
    assert presentable(shown) is shown.__context__
    shown.__suppress_context__ = True
    assert presentable(shown) is None
