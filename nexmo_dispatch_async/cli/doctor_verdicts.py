"""What the examinations of `nexmo-dispatch doctor` mean: from facts and exceptions to findings.

It opens no connection, so each verdict can be read and tested alone.
"""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from nexmo_dispatch_async.durations import in_words
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.models.problems import gateway_reason
from nexmo_dispatch_async.models.responses import Application
from nexmo_dispatch_async.transport.causes import reason_of
from nexmo_dispatch_async.transport.proxies import proxy_name
from nexmo_dispatch_async.urls import is_loopback, is_of_the_service, plain_host
from nexmo_dispatch_core.findings import Finding, bad, good, warning
from nexmo_dispatch_webhooks.signature import LEEWAY, MAX_AGE

__all__ = [
    "application_findings",
    "callback_finding",
    "callback_findings",
    "clock_finding",
    "reach_finding",
    "refusal_finding",
    "unsigned_finding",
]

# Seconds by which the clocks may differ without a finding: a `Date` header has whole seconds.
_SKEW = 5.0
# Seconds after which the service may give up on a connection or a response (contract 5.10).
CONNECT_S, ANSWER_S = 3.0, 15.0
_SLOW_S = 2.0
#: Who uses a proxy of the environment.
OF_COMMANDS = " (all commands follow HTTPS_PROXY, a client of your code only with trust_env=True)"


def reach_finding(
    error: Exception, host: str, *, proxy: URL | None = None, of: str = "", update: str = ""
) -> Finding:
    """Return why a server cannot be reached.

    Args:
        error: The exception of aiohttp, or a `TimeoutError`.
        host: Its name, with the port if there is one.
        proxy: The proxy on the way.
        of: Prefix of the codes: `webhook-` for the receiver, none for the service.
        update: Of the receiver: the command that corrects the URL.
    """
    reason = reason_of(error)
    if proxy is not None and (found := _of_the_proxy(error, proxy, reason)) is not None:
        return found
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        cure = "check the name, and the name server of this machine (/etc/resolv.conf)"
        if of:
            cure = f"{cure}; another URL: {update}"
        return bad(f"{of}dns", f"{host} has no address{reason}", cure)
    if isinstance(error, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
        cure = "name its authority in SSL_CERT_FILE, renew the certificate, or set the clock of this machine"
        if of:
            cure = "serve a certificate of a public authority, with all its intermediate certificates"
        return bad(f"{of}certificate", f"the certificate of {host} is not trusted{reason}", cure)
    if isinstance(error, ssl.SSLError | aiohttp.ClientConnectorSSLError):
        cure = "check that the port speaks TLS 1.2 or later, and that nothing on the way breaks it up"
        return bad(f"{of}tls", f"{host} does not complete the TLS handshake{reason}", cure)
    if isinstance(error, TimeoutError):
        cure = "let the firewall pass connections from this machine, or set HTTPS_PROXY"
        if of:
            cure = "answer within 15 seconds: store the event first and handle it later, as an inbox does"
        return bad(f"{of}timeout", f"{host} does not respond in time", cure)
    if isinstance(error, aiohttp.ClientConnectorError):
        cure = "check host and port, and that a firewall lets this machine connect"
        if of:
            cure = f"start the receiver there, and check host, port and firewall; another URL: {update}"
        return bad(f"{of}connection", f"{host} refuses the connection{reason}", cure)
    return bad(f"{of}http", f"{host} does not speak HTTP{reason}", "check scheme, host and port of the URL")


def _of_the_proxy(error: Exception, proxy: URL, reason: str) -> Finding | None:
    """Return what is wrong with the proxy, or nothing if the error is none of the proxy."""
    name = proxy_name(proxy)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        cure = "let the administrator of the proxy allow the host, or name it in NO_PROXY"
        if error.status == 407:
            cure = "put the credentials into HTTPS_PROXY: http://user:password@host:port"
        text = f"the proxy {name} refuses the tunnel with {error.status}{OF_COMMANDS}"
        return bad("proxy-refused", text, cure)
    unresolved = isinstance(error, aiohttp.ClientConnectorDNSError) and error.host == proxy.host
    if isinstance(error, aiohttp.ClientProxyConnectionError) or unresolved:
        cure = "correct HTTPS_PROXY, or name the host in NO_PROXY"
        text = f"the proxy {name} cannot be reached{reason}{OF_COMMANDS}"
        return bad("proxy-unreachable", text, cure)
    return None


def clock_finding(skew: float) -> Finding:
    """Return what a difference of the clocks means.

    Args:
        skew: Seconds by which this machine is ahead of the service.
    """
    if abs(skew) <= _SKEW:
        return good("clock", "the clock of this machine agrees with that of the service")
    text = (
        f"the clock of this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's"
    )
    cure = "let NTP set the clock (timedatectl set-ntp true)"
    if skew < -LEEWAY:
        what = "signed callbacks seem to come from the future and are refused by a receiver on this machine"
        return bad("clock", f"{text}: {what}", cure)
    if skew > MAX_AGE:
        what = "signed callbacks seem to be too old and are refused by a receiver on this machine"
        return bad("clock", f"{text}: {what}", cure)
    return warning("clock", text, cure)


def refusal_finding(error: APIError, application_id: str) -> Finding:
    """Return what a failed call to the service means.

    Args:
        error: The error of the token request, or of reading the application.
        application_id: The application that was asked for; `""` if the applications were listed.
    """
    service = "the service"
    if error.phase == "token" and (error.status in (404, 405) or isinstance(error, ProtocolError)):
        text = "NEXMO_DISPATCH_TOKEN_URL leads to no token endpoint"
        return bad("token-url", f"{text}: {error.message}", "correct its path")
    if isinstance(error, AuthenticationError):
        if error.phase == "token":
            cure = "set NEXMO_DISPATCH_CLIENT_ID and NEXMO_DISPATCH_CLIENT_SECRET to those of one project"
            return bad("credentials", f"{service} refuses the client id or the client secret", cure)
        cure = "let NEXMO_DISPATCH_BASE_URL and NEXMO_DISPATCH_TOKEN_URL name the same service"
        return bad("token", f"{service} refuses the token that its token endpoint issued", cure)
    if isinstance(error, PermissionDeniedError):
        text = f"{service} knows the project and does not let it use this API"
        return bad(
            "not-entitled", text, "order the product for this project, or use the keys of another project"
        )
    if isinstance(error, NotFoundError) and application_id:
        cure = "compare NEXMO_DISPATCH_APPLICATION_ID with `nexmo-dispatch apps list`"
        return bad("application-unknown", "the account has no application with this id", cure)
    if isinstance(error, NotFoundError | ProtocolError):
        text = "NEXMO_DISPATCH_BASE_URL leads to nothing of the service"
        return bad("base-url", f"{text}: {error.message}", "correct its path")
    if isinstance(error, RateLimitError):
        return _limit_finding(error)
    if isinstance(error, PaymentRequiredError):
        return bad("balance", "the account has no credit left", "top up the account")
    if isinstance(error, TokenUnavailableError):
        return bad("token-endpoint", error.message, "check NEXMO_DISPATCH_TOKEN_URL, or try again later")
    if isinstance(error, APIConnectionError):
        return bad("connection", error.message, "check host, port, proxy and firewall")
    return bad("service", error.message, "try again later; if it stays, ask the support with this text")


def _limit_finding(error: RateLimitError) -> Finding:
    """Return what a 429 means: a quota that is used up stops all sends, a rate limit slows them down."""
    wait = "later" if error.retry_after is None else f"in {in_words(error.retry_after)}"
    spent = error.quota is not None and error.quota.spent
    if spent or (error.details is not None and "quotaviolation" in gateway_reason(error.details)):
        text = "the quota of the account is used up: no message is sent until it begins anew or is raised"
        cure = f"try again {wait}; or let KPN raise it (api_developer@kpn.com), then run bulk resume"
        return bad("quota", text, cure)
    return warning("rate-limit", "the service takes no more calls at this moment", f"try again {wait}")


def application_findings(application: Application, service: str) -> list[Finding]:
    """Return what is wrong with an application.

    Args:
        application: As the service has it.
        service: The host of the service.
    """
    name = f"application {application.id}"
    if application.type not in ("messages", ""):
        text = f"{name} has the type {application.type}: it cannot send workflows"
        return [bad("application-type", text, "create another with `nexmo-dispatch apps create`")]
    found: list[Finding] = []
    for what, url, method in (
        ("status", application.status_url, application.status_method),
        ("inbound", application.inbound_url, application.inbound_method),
    ):
        cure = f"nexmo-dispatch apps update {application.id} --{what}-url https://…"
        problem = _url_problem(what, url, method, service)
        if problem is not None:
            code, text = problem
            level = warning if code == "webhook-plain-http" else bad
            found.append(level(code, text, cure))
    return found or [good("application", f"{name} has a status URL and an inbound URL")]


def _url_problem(what: str, url: str, method: str, service: str) -> tuple[str, str] | None:
    """Return code and text of what is wrong with a callback URL, or nothing."""
    lost = {"status": "statuses and reports", "inbound": "messages of customers"}[what]
    if not url:
        return f"{what}-url-missing", f"the application has no {what} URL: {lost} are lost"
    host = urlsplit(url).hostname or ""
    if is_of_the_service(service) and _is_private(host):
        return (
            "webhook-private",
            f"the {what} URL names {host}, which the service cannot reach: {lost} are lost",
        )
    if method.upper() not in ("POST", ""):
        return "webhook-method", f"the {what} URL is called with {method}: a receiver takes POST"
    if plain_host(url):
        return "webhook-plain-http", f"the {what} URL is http: numbers and texts travel unencrypted to {host}"
    return None


def _is_private(host: str) -> bool:
    """Return whether a host lies in a network that the Internet cannot reach."""
    if is_loopback(host):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return host.rpartition(".")[2] in ("local", "internal", "lan") or "." not in host
    return not address.is_global


def callback_findings(
    where: str, status: int, seconds: float, skew: float | None, *, update: str
) -> list[Finding]:
    """Return what the answer to a signed test callback means (contract 5.9, 5.10).

    Args:
        where: The host and port of the URL, for the text.
        status: The status of the answer.
        seconds: How long the answer took.
        skew: Seconds by which this machine is ahead of the `Date` of the answer; None if it told no time.
        update: The command that corrects the URL.
    """
    finding = callback_finding(where, status, seconds, update=update)
    if skew is None and status in _OF_A_CLOCK:
        cure = f"{finding.cure}; the answer tells no time: compare the clock of the receiver too"
        return [bad(finding.code, finding.text, cure)]
    if skew is None or abs(skew) <= _SKEW:
        return [finding]
    side = "behind" if skew > 0 else "ahead of"
    text = f"{where}: the clock of the receiver is {abs(skew):.0f} s {side} that of this machine"
    if status not in _OF_A_CLOCK:
        return [finding, warning("webhook-clock", text, _NTP)]
    text = f"{text}, and it answers {status} to a signed callback"
    return [bad("webhook-clock", text, f"{_NTP}; if the answer stays, {finding.cure}")]


#: What a receiver answers to a signature whose time it takes for wrong; those of this package answer 503.
_OF_A_CLOCK = frozenset({401, 403, 503})
_NTP = "let NTP set both clocks (timedatectl set-ntp true)"


def callback_finding(where: str, status: int, seconds: float, *, update: str) -> Finding:
    """Return what the status and the time of an answer to a signed test callback mean.

    Args:
        where: The host and port of the URL, for the text.
        status: The status of the answer.
        seconds: How long the answer took.
        update: The command that corrects the URL.
    """
    if 200 <= status <= 205:
        if seconds > _SLOW_S:
            text = f"{where} takes {seconds:.1f} s to answer"
            return warning(
                "webhook-slow", text, "answer first and handle later, as a receiver with an inbox does"
            )
        return good("webhook", f"{where} answers {status} to a signed callback")
    if status in (401, 403):
        text = f"{where} refuses the signature of a test callback with {status}"
        cure = (
            "give the receiver the api key and the secret of NEXMO_DISPATCH_SIGNATURE_SECRETS, and let it "
            "hash the bytes of the body as they came: a proxy or a parser may have changed them"
        )
        return bad("webhook-secret", text, cure)
    if 300 <= status < 400:
        text = f"{where} redirects with {status}, and the service follows no redirect"
        cure = f"set the URL to where the redirect leads: {update}"
        return bad("webhook-redirect", text, cure)
    if status in (404, 405):
        text = f"{where} answers {status}: the receiver is not on this path"
        cure = f"let the URL end in the path of the receiver, setup(path=…) in Python: {update}"
        return bad("webhook-path", text, cure)
    if status == 429 or status >= 500:
        text = f"{where} answers {status}: the service repeats its callbacks for 24 hours, then drops them"
        return bad(
            "webhook-unavailable", text, "read the log of the receiver: a proxy, its store or its clock"
        )
    text = f"{where} answers {status} to a well-formed callback, which is then lost"
    return bad("webhook-refused", text, "answer 200 to every well-formed callback")


def unsigned_finding(where: str, status: int) -> Finding:
    """Return what the answer to an unsigned test callback means."""
    if 200 <= status <= 205:
        text = f"{where} accepts callbacks without a signature, which any client can post"
        cure = "let the receiver verify signatures, secrets=… in Python, or put a secret into its path"
        return warning("webhook-open", text, cure)
    return good("webhook-unsigned", f"{where} refuses callbacks without a signature")
